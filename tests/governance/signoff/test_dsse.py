"""The envelope, against the protocol's own vector and against another implementation."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from finchaos.core.errors import IntegrityError
from finchaos.core.provenance import canonical_json
from governance.signoff.dsse import SIGN_OFF, Envelope, encoded, sign_payload
from governance.signoff.keys import pkcs12_identity
from tests.governance.signoff.authority import Authority

PAYLOAD = b'{"decision":"approve"}'
KINDS = ["ed25519", "p256", "p384", "rsa"]
SCHEMES = {
    "ed25519": "ed25519",
    "p256": "ecdsa-sha2-nistp256",
    "p384": "ecdsa-sha2-nistp384",
    "rsa": "rsassa-pss-sha256",
}


@pytest.fixture(scope="module")
def credentials(tmp_path_factory):
    folder, authority = tmp_path_factory.mktemp("p12"), Authority()
    return {
        kind: pkcs12_identity(
            authority.p12(folder, f"Ada {kind}", key=kind, password=None), None
        ).records
        for kind in KINDS
    }


def test_the_encoding_of_the_protocol_document():
    # Test vector of protocol.md, DSSE 1.0.
    envelope = Envelope(b"hello world", "http://example.com/HelloWorld", "", b"", ())
    assert encoded(envelope) == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


@pytest.mark.parametrize("kind", KINDS)
def test_signed_envelopes_read_back_and_verify(credentials, kind):
    envelope = sign_payload(PAYLOAD, SIGN_OFF, credentials[kind])
    again = Envelope.from_json(envelope.to_json())
    assert again == envelope
    again.require_signature()
    assert len(again.certificates) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_another_implementation_verifies_them(credentials, kind):
    made = sign_payload(PAYLOAD, SIGN_OFF, credentials[kind])
    public = credentials[kind].certificate.public_key()
    key = SSlibKey.from_crypto(public, keyid=made.keyid, scheme=SCHEMES[kind])
    theirs = OtherEnvelope.from_dict(json.loads(made.to_json()))
    assert theirs.payload == PAYLOAD
    assert theirs.verify([key], threshold=1) == {made.keyid: key}
    theirs.payload = PAYLOAD.replace(b"approve", b"reject")
    with pytest.raises(VerificationError):
        theirs.verify([key], threshold=1)


@pytest.mark.parametrize("kind", KINDS)
def test_payload_type_and_signature_are_covered(credentials, kind):
    made = sign_payload(PAYLOAD, SIGN_OFF, credentials[kind])
    flipped = bytes([made.signature[0] ^ 1]) + made.signature[1:]
    for changed in (
        {"payload": PAYLOAD + b" "},
        {"payload_type": "text/plain"},
        {"signature": flipped},
        {"signature": b""},
    ):
        other = Envelope(**{**vars(made), **changed})
        with pytest.raises(IntegrityError, match="does not fit"):
            other.require_signature()


def test_the_key_id_must_be_the_certificates(credentials):
    made = sign_payload(PAYLOAD, SIGN_OFF, credentials["p256"])
    with pytest.raises(IntegrityError, match="key id"):
        Envelope(**{**vars(made), "keyid": "0" * 64}).require_signature()
    other = credentials["ed25519"].certificate
    with pytest.raises(IntegrityError, match="key id"):
        Envelope(**{**vars(made), "certificates": (other,)}).require_signature()


def test_keys_of_other_kinds_are_not_accepted(credentials):
    made = sign_payload(PAYLOAD, SIGN_OFF, credentials["p256"])

    class Foreign:
        def public_key(self):
            return ec.generate_private_key(ec.SECP256K1()).public_key()

    from governance.signoff.keys import public_key_digest

    foreign = Foreign()
    kept = public_key_digest(made.certificates[0])
    envelope = Envelope(**{**vars(made), "certificates": (foreign,), "keyid": kept})
    with pytest.raises(IntegrityError, match="key"):
        envelope.require_signature()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw.pop("payload"),
        lambda raw: raw.update(payload="not base64!"),
        lambda raw: raw.update(payload=7),
        lambda raw: raw.update(more=1),
        lambda raw: raw.update(signatures=[]),
        lambda raw: raw["signatures"].append(raw["signatures"][0]),
        lambda raw: raw["signatures"][0].update(cert="none"),
        lambda raw: raw["signatures"][0].update(cert=""),
        lambda raw: raw["signatures"][0].update(sig=base64.b64encode(b"x").decode()[:-1]),
    ],
)
def test_what_is_no_envelope_is_refused(credentials, spoil):
    raw = json.loads(sign_payload(PAYLOAD, SIGN_OFF, credentials["p256"]).to_json())
    spoil(raw)
    with pytest.raises(IntegrityError):
        Envelope.from_json(canonical_json(raw))


def test_another_spelling_of_the_same_envelope_is_refused(credentials):
    data = sign_payload(PAYLOAD, SIGN_OFF, credentials["p256"]).to_json()
    with pytest.raises(IntegrityError, match="rewritten"):
        Envelope.from_json(data + b"\n")
