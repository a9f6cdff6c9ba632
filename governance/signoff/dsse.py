"""DSSE: a signed envelope around one JSON document.

The signature covers the envelope's type and payload in the pre-authentication encoding of the DSSE
protocol, version 1 (https://github.com/secure-systems-lab/dsse, protocol.md). Each signature also
carries the signer's certificates under ``cert``, a field the protocol tells others to ignore.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from finchaos.core.errors import IntegrityError
from finchaos.core.provenance import canonical_json, parse_json
from governance.signoff.keys import CURVES, SMALLEST_RSA, Credential, public_key_digest

SIGN_OFF = "application/vnd.finchaos.signoff+json"
"""Payload type of a :class:`governance.record.SignOff`."""

_HASHES: dict[str, hashes.HashAlgorithm] = dict(
    zip(CURVES, (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()), strict=True)
)


@dataclass(frozen=True)
class Envelope:
    """A signed document.

    Attributes
    ----------
    payload : bytes
    payload_type : str
    keyid : str
        SHA-256 of the signer's SubjectPublicKeyInfo, DER.
    signature : bytes
    certificates : tuple of x509.Certificate
        The signer's first, then intermediates; never the root.
    """

    payload: bytes
    payload_type: str
    keyid: str
    signature: bytes
    certificates: tuple[x509.Certificate, ...]

    def to_json(self) -> bytes:
        """The envelope's one canonical form."""
        pem = b"".join(c.public_bytes(serialization.Encoding.PEM) for c in self.certificates)
        return canonical_json(
            {
                "payload": base64.b64encode(self.payload).decode(),
                "payloadType": self.payload_type,
                "signatures": [
                    {
                        "cert": pem.decode(),
                        "keyid": self.keyid,
                        "sig": base64.b64encode(self.signature).decode(),
                    }
                ],
            }
        )

    @classmethod
    def from_json(cls, data: bytes) -> Envelope:
        """The envelope that ``data`` is the canonical form of.

        Raises
        ------
        IntegrityError
            If ``data`` is anything else, were it only another spelling of the same envelope.
        """
        try:
            raw = parse_json(data)
            (signature,) = raw["signatures"]
            envelope = cls(
                payload=_decoded(raw["payload"]),
                payload_type=str(raw["payloadType"]),
                keyid=str(signature["keyid"]),
                signature=_decoded(signature["sig"]),
                certificates=tuple(
                    x509.load_pem_x509_certificates(signature["cert"].encode("ascii"))
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise IntegrityError(
                "this is not a signed envelope", got=" ".join(str(error).split())[:200]
            ) from error
        if envelope.to_json() != data:
            raise IntegrityError("the signed envelope was rewritten", expected="canonical form")
        return envelope

    def require_signature(self) -> None:
        """Check the signature against the envelope's first certificate.

        Whether that certificate deserves trust is for :mod:`governance.signoff.trust`.

        Raises
        ------
        IntegrityError
            If the signature is not that of the certificate's key over this payload.
        """
        certificate = self.certificates[0]
        if self.keyid != public_key_digest(certificate):
            raise IntegrityError("the envelope's key id is not that of its certificate")
        try:
            _verify(certificate.public_key(), self.signature, encoded(self))
        except InvalidSignature as error:
            raise IntegrityError(
                "the signature does not fit the payload",
                got=f"a signature said to be by {certificate.subject.rfc4514_string()}",
            ) from error


def sign_payload(payload: bytes, payload_type: str, credential: Credential) -> Envelope:
    """Sign ``payload``: Ed25519, ECDSA with the curve's SHA-2, or RSA-PSS with SHA-256."""
    unsigned = Envelope(
        payload=payload,
        payload_type=payload_type,
        keyid=public_key_digest(credential.certificate),
        signature=b"",
        certificates=(credential.certificate, *credential.chain),
    )
    message, key = encoded(unsigned), credential.key
    if isinstance(key, ed25519.Ed25519PrivateKey):
        signature = key.sign(message)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        signature = key.sign(message, ec.ECDSA(_HASHES[key.curve.name]))
    else:
        signature = key.sign(message, _pss(), hashes.SHA256())
    return Envelope(
        payload, payload_type, unsigned.keyid, signature, certificates=unsigned.certificates
    )


def encoded(envelope: Envelope) -> bytes:
    """Pre-authentication encoding: the bytes that are signed."""
    kind = envelope.payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(envelope.payload), envelope.payload)


def _verify(key: Any, signature: bytes, message: bytes) -> None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, message)
    elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _HASHES:
        key.verify(signature, message, ec.ECDSA(_HASHES[key.curve.name]))
    elif isinstance(key, rsa.RSAPublicKey) and key.key_size >= SMALLEST_RSA:
        key.verify(signature, message, _pss(), hashes.SHA256())
    else:
        raise IntegrityError("the signer's key is of a kind that is not accepted")


def _pss() -> padding.PSS:
    return padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
