"""The demonstration authority: a root and signers made on first use, for show and not for trust.

Whoever can read the folder can sign as anybody, so everything under this root says so: its
certificates, every PDF signed under it and every verification.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from finchaos.core.errors import InputError, IntegrityError
from finchaos.core.files import sync_directory
from finchaos.core.people import checked_name
from governance.signoff.keys import Credential, Identity, PrivateKey, PublicKey, usable_key

DEMO = "DEMO TRUST"
_NOTICE = (
    f"{DEMO}\n\nThe private keys in this folder were made for demonstration and are not protected."
    "\nAnybody who can read them can sign as any person. They prove nothing about who signed.\n"
)
_YEARS = 10


def demo_folder(store_root: Path) -> Path:
    """Where the demonstration authority of a store keeps its keys."""
    return Path(store_root) / ".demo-trust"


def is_demo(certificate: x509.Certificate) -> bool:
    """Whether a certificate says that it is for demonstration."""
    return DEMO in certificate.subject.rfc4514_string()


class DemoAuthority:
    """Issues demonstration certificates.

    Parameters
    ----------
    folder : Path
        Where keys and certificates are kept; made on first use, readable by its owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def identity(self, person: str, now: dt.datetime) -> Identity:
        """The signer called ``person``; keys and certificates are made if there are none.

        Parameters
        ----------
        person : str
        now : datetime with zone
            Start of the validity of what is made.
        """
        name = checked_name(person)
        # The name as written, not a person's many spellings: two spellings get two keys, and
        # telling that they are one person is the business of the separation of duties.
        spelled = unicodedata.normalize("NFC", name).encode()
        place = self.folder / "people" / hashlib.sha256(spelled).hexdigest()[:16]
        if not place.is_dir():
            root = self._root(now)
            _make_folder(
                place,
                {
                    f"{kind}.{part}": data
                    for kind, key in (
                        ("records", ed25519.Ed25519PrivateKey.generate()),
                        ("documents", ec.generate_private_key(ec.SECP256R1())),
                    )
                    for part, data in _person_files(name, key, root, now).items()
                },
            )
        return Identity(
            name, _load_credential(place, "records"), _load_credential(place, "documents")
        )

    def _root(self, now: dt.datetime) -> Credential:
        place = self.folder / "root"
        if not place.is_dir():
            key = ec.generate_private_key(ec.SECP256R1())
            name = _name(f"finchaos {DEMO} root")
            certificate = _certificate(name, name, key.public_key(), key, now, authority=True)
            _make_folder(
                place,
                {"root.key": _pem(key), "root.pem": _pem(certificate), "NOTICE": _NOTICE.encode()},
            )
        return _load_credential(place, "root")


def demo_roots(store_root: Path) -> tuple[x509.Certificate, ...]:
    """The root of a store's demonstration authority, or nothing if there is none.

    Raises
    ------
    IntegrityError
        If the root's certificate is damaged.
    """
    path = demo_folder(store_root) / "root" / "root.pem"
    if not path.is_file():
        return ()
    return (_read_certificate(path),)


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"{DEMO} - proves nothing"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _person_files(
    person: str, key: PrivateKey, root: Credential, now: dt.datetime
) -> dict[str, bytes]:
    certificate = _certificate(
        _name(person), root.certificate.subject, key.public_key(), root.key, now, authority=False
    )
    return {"key": _pem(key), "pem": _pem(certificate)}


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    public: PublicKey,
    signer: PrivateKey,
    now: dt.datetime,
    *,
    authority: bool,
) -> x509.Certificate:
    usage = x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=not authority,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
    issuer_key = signer.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(authority, 0 if authority else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
        )
        .sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )


def _pem(item: PrivateKey | x509.Certificate) -> bytes:
    if isinstance(item, x509.Certificate):
        return item.public_bytes(serialization.Encoding.PEM)
    return item.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _make_folder(place: Path, files: dict[str, bytes]) -> None:
    """Make a private folder with private files at once, or find that another process did."""
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    building = Path(tempfile.mkdtemp(prefix=".making-", dir=place.parent))
    try:
        _write_private(building, files.items())
        building.rename(place)
    except OSError:
        shutil.rmtree(building, ignore_errors=True)
        if not place.is_dir():
            raise
    sync_directory(place.parent)


def _write_private(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    for name, data in files:
        handle = os.open(folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)


def _load_credential(folder: Path, name: str) -> Credential:
    path = folder / f"{name}.key"
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise InputError(
            f"the demonstration key {path} cannot be read",
            got=str(error).splitlines()[0],
            remedy=f"remove {folder} to have new demonstration keys made",
        ) from error
    return Credential(usable_key(key), _read_certificate(folder / f"{name}.pem"))


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise IntegrityError(
            f"{path} is not a certificate", got=str(error).splitlines()[0]
        ) from error
