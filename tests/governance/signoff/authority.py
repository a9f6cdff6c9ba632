"""A certificate authority of one's own, with an intermediate, for tests of real trust."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

NOW = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
KEYS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "weak rsa": lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505
}


class Authority:
    """Root, intermediate and people."""

    def __init__(self, name: str = "Bank Root") -> None:
        self.name = name
        self.root_key, self.root = self._issue(name, None, KEYS["p256"](), ca=True)
        self.middle_key, self.middle = self._issue(
            f"{name} people", (self.root_key, self.root), KEYS["p256"](), ca=True
        )

    def root_file(self, folder: Path) -> Path:
        path = folder / f"{self.name}.pem"
        path.write_bytes(self.root.public_bytes(serialization.Encoding.PEM))
        return path

    def p12(
        self,
        folder: Path,
        person: str,
        *,
        key="p256",
        password: bytes | None = b"secret",
        days=(-1.0, 365.0),
        ca=False,
    ) -> Path:
        """A PKCS#12 file for a person; ``key`` is a kind or a key to be used again."""
        made = KEYS[key]() if isinstance(key, str) else key
        made, certificate = self._issue(
            person, (self.middle_key, self.middle), made, ca=ca, days=days
        )
        protection = (
            serialization.BestAvailableEncryption(password)
            if password
            else serialization.NoEncryption()
        )
        path = folder / f"{person}.p12"
        path.write_bytes(
            pkcs12.serialize_key_and_certificates(
                b"x", made, certificate, [self.root, self.middle], protection
            )
        )
        return path

    def _issue(self, common, issuer, key, *, ca, days=(-30.0, 3650.0)):
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        signer, parent = (key, name) if issuer is None else (issuer[0], issuer[1].subject)
        usage = dict.fromkeys(
            ("key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(parent)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + days[0] * DAY)
            .not_valid_after(NOW + days[1] * DAY)
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=not ca,
                    content_commitment=not ca,
                    key_cert_sign=ca,
                    crl_sign=ca,
                    decipher_only=False,
                    **usage,
                ),
                critical=True,
            )
            .sign(signer, hashes.SHA256())
        )
        return key, certificate
