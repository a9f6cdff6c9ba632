from __future__ import annotations

import io
import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519

from finchaos.core.errors import InputError, IntegrityError
from governance.signoff.demo import DEMO, DemoAuthority, demo_folder, demo_roots, is_demo
from governance.signoff.keys import (
    PASSWORD_VARIABLE,
    password_for,
    pkcs12_identity,
    usable_key,
)
from governance.signoff.trust import require_trusted, trust_label, trusted_roots
from tests.governance.signoff.authority import DAY, KEYS, NOW, Authority


@pytest.fixture(scope="module")
def authority():
    return Authority()


def test_pkcs12_gives_person_key_and_intermediates_without_the_root(authority, tmp_path):
    identity = pkcs12_identity(authority.p12(tmp_path, "Ada Lovelace"), b"secret")
    assert identity.person == "Ada Lovelace"
    assert identity.records.chain == (authority.middle,)
    assert identity.records == identity.documents
    assert "key" not in repr(identity)


@pytest.mark.parametrize("password", [None, b"", b"wrong"])
def test_a_wrong_password_is_refused(authority, tmp_path, password):
    with pytest.raises(InputError, match="as PKCS#12"):
        pkcs12_identity(authority.p12(tmp_path, "Ada"), password)


def test_files_that_are_not_pkcs12_are_refused(tmp_path):
    (tmp_path / "x.p12").write_bytes(b"nothing")
    for name in ("x.p12", "missing.p12"):
        with pytest.raises(InputError, match="as PKCS#12"):
            pkcs12_identity(tmp_path / name, None)


@pytest.mark.parametrize(("kind", "said"), [("k1", "secp256k1"), ("weak rsa", "1024 bits")])
def test_keys_that_cannot_sign_are_refused(authority, tmp_path, kind, said):
    with pytest.raises(InputError, match=said):
        pkcs12_identity(authority.p12(tmp_path, "Ada", key=kind), b"secret")


def test_other_kinds_of_key_are_refused():
    with pytest.raises(InputError, match="Ed448"):
        usable_key(ed448.Ed448PrivateKey.generate())


def test_the_password_comes_from_the_environment_or_a_terminal(monkeypatch, tmp_path):
    monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
    assert password_for(tmp_path) == b"secret"
    monkeypatch.setenv(PASSWORD_VARIABLE, "")
    assert password_for(tmp_path) is None
    monkeypatch.delenv(PASSWORD_VARIABLE)
    monkeypatch.setattr("sys.stdin", io.StringIO("typed\n"))
    with pytest.raises(InputError, match=PASSWORD_VARIABLE):
        password_for(tmp_path)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "typed")
    assert password_for(tmp_path) == b"typed"


def test_demonstration_keys_are_private_labelled_and_kept(tmp_path):
    folder = demo_folder(tmp_path)
    first = DemoAuthority(folder).identity("Ada Lovelace", NOW)
    again = DemoAuthority(folder).identity(" Ada  Lovelace", NOW + DAY)
    assert first.records.certificate == again.records.certificate
    assert isinstance(first.records.key, ed25519.Ed25519PrivateKey)
    assert isinstance(first.documents.key, ec.EllipticCurvePrivateKey)
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    for credential in (first.records, first.documents):
        assert is_demo(credential.certificate)
        root = require_trusted(credential.certificate, (), demo_roots(tmp_path), NOW)
        assert DEMO in root.subject.rfc4514_string()
        assert trust_label(root) == "demo"
    assert DEMO in (folder / "root" / "NOTICE").read_text()


def test_a_damaged_demonstration_key_is_reported(tmp_path):
    DemoAuthority(demo_folder(tmp_path)).identity("Ada Lovelace", NOW)
    (key,) = (demo_folder(tmp_path) / "people").rglob("records.key")
    key.write_bytes(b"damaged")
    with pytest.raises(InputError, match="cannot be read"):
        DemoAuthority(demo_folder(tmp_path)).identity("Ada Lovelace", NOW)
    (demo_folder(tmp_path) / "root" / "root.pem").write_bytes(b"damaged")
    with pytest.raises(IntegrityError, match="not a certificate"):
        demo_roots(tmp_path)


def test_a_chain_through_an_intermediate_is_trusted(authority, tmp_path):
    identity = pkcs12_identity(authority.p12(tmp_path, "Ada"), b"secret")
    roots = trusted_roots(authority.root_file(tmp_path), tmp_path)
    one = identity.records
    root = require_trusted(one.certificate, one.chain, roots, NOW)
    assert trust_label(root) == "CN=Bank Root"
    with pytest.raises(IntegrityError, match="is not trusted"):
        require_trusted(one.certificate, (), roots, NOW)


@pytest.mark.parametrize("days", [(-20.0, -1.0), (1.0, 20.0)])
def test_a_certificate_outside_its_validity_is_not_trusted(authority, tmp_path, days):
    one = pkcs12_identity(authority.p12(tmp_path, "Ada", days=days), b"secret").records
    roots = trusted_roots(authority.root_file(tmp_path), tmp_path)
    with pytest.raises(IntegrityError, match="is not trusted"):
        require_trusted(one.certificate, one.chain, roots, NOW)
    inside = NOW + (days[0] + 5) * DAY
    assert require_trusted(one.certificate, one.chain, roots, inside) == authority.root


def test_a_certificate_that_may_not_sign_is_not_trusted(authority, tmp_path):
    one = pkcs12_identity(authority.p12(tmp_path, "Ada", ca=True), b"secret").records
    roots = trusted_roots(authority.root_file(tmp_path), tmp_path)
    with pytest.raises(IntegrityError, match="is not trusted"):
        require_trusted(one.certificate, one.chain, roots, NOW)


def test_a_person_cannot_issue_for_another(authority, tmp_path):
    false_issuer = Authority()
    false_issuer.middle_key, false_issuer.middle = KEYS["p256"](), authority.middle
    one = pkcs12_identity(false_issuer.p12(tmp_path, "Ada"), b"secret").records
    roots = trusted_roots(authority.root_file(tmp_path), tmp_path)
    with pytest.raises(IntegrityError, match="is not trusted"):
        require_trusted(one.certificate, one.chain, roots, NOW)


def test_no_root_trusts_nobody(authority, tmp_path):
    one = pkcs12_identity(authority.p12(tmp_path, "Ada"), b"secret").records
    assert trusted_roots(None, tmp_path) == ()
    with pytest.raises(IntegrityError, match="no root to trust"):
        require_trusted(one.certificate, one.chain, (), NOW)


def test_a_certificate_without_a_name_is_refused(authority, tmp_path, monkeypatch):
    monkeypatch.setattr(x509.NameOID, "COMMON_NAME", x509.NameOID.ORGANIZATION_NAME)
    path = authority.p12(tmp_path, "Ada")
    monkeypatch.undo()
    with pytest.raises(InputError, match="names nobody"):
        pkcs12_identity(path, b"secret")
