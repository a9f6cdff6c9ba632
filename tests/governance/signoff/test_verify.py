"""Verification: quiet on what was signed, loud on any change."""

from __future__ import annotations

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finchaos.core.errors import InputError
from finchaos.core.provenance import sha256
from governance.record import ROLES
from governance.signoff.demo import DemoAuthority
from tests.governance.signoff.authority import NOW, Authority


def test_a_signed_run_verifies(sealed):
    found = sealed.verify()
    assert sealed.failures() == ""
    assert found.ok
    assert found.trust == "demo"
    assert [record.role for record in found.records] == list(ROLES)
    assert {o.name for o in found.outcomes} >= {
        "run record", "exhibits", "signed files", "audit chain", "audit entries", "signed PDF",
        "PDF signatures", "order of sign-offs", "separation of duties", "sign-off of the approver",
    }  # fmt: skip


def test_the_outcome_is_json(sealed):
    said = json.loads(json.dumps(sealed.verify().as_json()))
    assert said["ok"] is True
    assert len(said["sign_offs"]) == 3


def test_an_unsigned_run_verifies_without_trust(new_case):
    found = new_case().verify()
    assert found.ok
    assert found.trust == ""
    assert found.records == ()


def test_sign_offs_bind_run_report_and_each_other(sealed):
    developer, validator, approver = sealed.verify().records
    assert developer.manifest["run.json"] == sealed.run.digest
    assert {"report/report.html", "report/report.pdf", "report/report.xml", "timings.json"} < set(
        developer.manifest
    )
    for path, digest in approver.manifest.items():
        assert sha256((sealed.folder / path).read_bytes()) == digest
    assert (validator.previous, approver.previous) == (developer.digest, validator.digest)


def files_of(case):
    return sorted(p for p in [*case.folder.rglob("*"), case.chain] if p.is_file())


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_any_flipped_bit_fails(signed, data):
    path = data.draw(st.sampled_from(files_of(signed)))
    original = path.read_bytes()
    changed = bytearray(original)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(changed)
    try:
        assert not signed.verify().ok
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize("cut", [0, 1, 0.5, -1])
def test_any_shortened_file_fails(signed, cut):
    for path in files_of(signed):
        original = path.read_bytes()
        path.write_bytes(original[: len(original) // 2 if cut == 0.5 else cut])
        assert not signed.verify().ok, path
        path.write_bytes(original)
    assert signed.verify().ok


def test_any_missing_file_fails(signed):
    for path in files_of(signed):
        original = path.read_bytes()
        path.unlink()
        assert not signed.verify().ok, path
        path.write_bytes(original)


@pytest.mark.parametrize(
    "place", ["note.txt", "report/extra.md", "exhibits/more.json", "signoffs/extra.dsse.json"]
)
def test_an_added_file_is_reported(signed, place):
    (signed.folder / place).write_text("x")
    assert place in signed.failures()


def test_a_link_is_reported(signed):
    target = signed.root / "elsewhere.html"
    page = signed.folder / "report" / "report.html"
    shutil.move(page, target)
    page.symlink_to(target)
    assert "neither a file nor a folder" in signed.failures()


def test_a_renamed_folder_is_reported(signed):
    other = signed.root / ("0" * 64)
    signed.folder.rename(other)
    from governance.signoff.verify import verify

    assert "its folder was renamed" in verify(other, signed.root).outcomes[1].detail


def test_a_removed_sign_off_is_missed(signed):
    signed.envelope("approver").unlink()
    found = signed.failures()
    assert "approver is in the audit chain but not in the folder" in found
    assert "continued after the last recorded signature" in found


def test_a_sign_off_in_the_middle_cannot_be_taken_out(signed):
    signed.envelope("validator").unlink()
    assert "a sign-off is missing before another" in signed.failures()


def test_a_sign_off_of_another_run_does_not_count(signed, new_case):
    other = new_case(seed=8)
    other.sign("developer")
    shutil.copytree(other.root / ".demo-trust", signed.root / ".demo-trust", dirs_exist_ok=True)
    shutil.copy(other.envelope("developer"), signed.envelope("developer"))
    assert "the record is about something else" in signed.failures()


def test_roles_cannot_be_swapped(signed):
    shutil.copy(signed.envelope("validator"), signed.envelope("approver"))
    assert "the record is about something else" in signed.failures()


def test_only_the_canonical_spelling_of_an_envelope_counts(signed):
    path = signed.envelope("developer")
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1))
    assert "rewritten" in signed.failures()


def test_another_demonstration_root_is_not_trusted(signed):
    shutil.rmtree(signed.root / ".demo-trust")
    assert "there is no root to trust" in signed.failures()
    DemoAuthority(signed.root / ".demo-trust").identity("Somebody Else", NOW)
    found = signed.failures()
    assert found.count("is not trusted") == 3


def test_another_root_than_the_given_one_is_not_trusted(sealed, tmp_path):
    assert "is not trusted" in sealed.failures(Authority().root_file(tmp_path))


def test_a_demonstration_root_stays_demo_when_passed_as_trusted(sealed):
    found = sealed.verify(sealed.root / ".demo-trust" / "root" / "root.pem")
    assert found.ok
    assert found.trust == "demo"


def test_what_is_no_run_or_no_root_is_refused(sealed, tmp_path):
    from governance.signoff.verify import verify

    with pytest.raises(InputError, match="not a run's folder"):
        verify(tmp_path / "none", sealed.root)
    with pytest.raises(InputError, match="cannot read trusted roots"):
        sealed.verify(tmp_path / "none.pem")


@pytest.mark.parametrize("junk", [b"", b"\x00" * 50, b"[" * 100_000, b'{"a":1}', b"null", b'"x"'])
def test_junk_fails_and_never_crashes(signed, junk):
    for path in files_of(signed):
        original = path.read_bytes()
        path.write_bytes(junk)
        assert not signed.verify().ok, path
        path.write_bytes(original)
