"""Who signs: private keys with their certificates, and signers read from PKCS#12 files."""

from __future__ import annotations

import getpass
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from finchaos.core.errors import InputError
from finchaos.core.people import checked_name
from finchaos.core.provenance import sha256

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

PASSWORD_VARIABLE = "FINCHAOS_PKCS12_PASSWORD"  # noqa: S105  (the variable's name)
SMALLEST_RSA = 2048
CURVES = ("secp256r1", "secp384r1", "secp521r1")


@dataclass(frozen=True)
class Credential:
    """A private key with its certificate.

    Attributes
    ----------
    key : PrivateKey
        Ed25519, ECDSA on a NIST curve, or RSA of at least 2048 bits.
    certificate : x509.Certificate
    chain : tuple of x509.Certificate
        Intermediate certificates, issuer of ``certificate`` first; never the root.
    """

    key: PrivateKey = field(repr=False)
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True)
class Identity:
    """A person who can sign.

    Attributes
    ----------
    person : str
        Common name of both certificates.
    records : Credential
        Signs the sign-off record (DSSE).
    documents : Credential
        Signs the PDF (PAdES). It may be the same credential: the demonstration authority issues
        Ed25519 for records and ECDSA P-256 for PDFs, because hardly any viewer checks Ed25519.
    """

    person: str
    records: Credential
    documents: Credential


def certificate_digest(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, DER."""
    return sha256(certificate.public_bytes(serialization.Encoding.DER))


def public_key_digest(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate's SubjectPublicKeyInfo, DER."""
    return sha256(
        certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def common_name(certificate: x509.Certificate) -> str:
    """The certificate's common name; empty if it has none."""
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[-1].value) if names else ""


def pkcs12_identity(path: Path, password: bytes | None) -> Identity:
    """The person that a PKCS#12 file (``.p12``, ``.pfx``) lets sign.

    Parameters
    ----------
    path : Path
    password : bytes or None
        None for a file without password.

    Raises
    ------
    InputError
        If the file cannot be read, the password is wrong, the key is of a kind that cannot sign
        here, or the certificate names nobody.
    """
    try:
        key, certificate, others = pkcs12.load_key_and_certificates(path.read_bytes(), password)
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise InputError(
            f"cannot open {path} as PKCS#12",
            got=str(error).splitlines()[0] if str(error) else type(error).__name__,
            remedy="check the file and its password",
        ) from error
    if key is None or certificate is None:
        raise InputError(
            f"{path} cannot sign", expected="a private key with its certificate", got="one of them"
        )
    name = common_name(certificate)
    if not name:
        raise InputError(f"the certificate in {path} names nobody", expected="a common name")
    credential = Credential(usable_key(key), certificate, _intermediates(certificate, others))
    return Identity(checked_name(name), credential, credential)


def usable_key(key: object) -> PrivateKey:
    """``key`` if it is of a kind that can sign here.

    Raises
    ------
    InputError
        For any other kind, a short RSA key or an uncommon curve.
    """
    expected = f"Ed25519, ECDSA on {', '.join(CURVES)}, or RSA of at least {SMALLEST_RSA} bits"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= SMALLEST_RSA:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
        return key
    kind = type(key).__name__.removesuffix("PrivateKey")
    if isinstance(key, ec.EllipticCurvePrivateKey):
        got = f"ECDSA on {key.curve.name}"
    else:
        got = f"{kind} of {size} bits" if (size := getattr(key, "key_size", None)) else kind
    raise InputError("this key cannot sign a run", expected=expected, got=got)


def password_for(path: Path) -> bytes | None:
    """Password of a PKCS#12 file: from the environment, else asked for at the terminal.

    An empty answer means a file without password.

    Raises
    ------
    InputError
        If the environment does not give one and there is no terminal to ask at.
    """
    given = os.environ.get(PASSWORD_VARIABLE)
    if given is None:
        if not sys.stdin.isatty():
            raise InputError(
                f"no password for {path}",
                remedy=f"set {PASSWORD_VARIABLE}, or sign at a terminal to be asked for it",
            )
        given = getpass.getpass(f"Password of {path.name}: ")
    return given.encode() or None


def _intermediates(
    certificate: x509.Certificate, others: list[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    """The issuers of ``certificate`` among ``others``, in order, without the root."""
    chain: list[x509.Certificate] = []
    current = certificate
    while current.issuer != current.subject:
        issuers = [c for c in others if c.subject == current.issuer and c not in chain]
        if not issuers or issuers[0].issuer == issuers[0].subject:
            break
        current = issuers[0]
        chain.append(current)
    return tuple(chain)
