"""One run signed in three roles, made once; tests that change it take a copy."""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import shutil
from pathlib import Path

import pikepdf
import pytest
import weasyprint

from governance.record import ROLES, Run
from governance.signoff.demo import DemoAuthority, demo_folder
from governance.signoff.rendered import record_reports
from governance.signoff.signoff import sign
from governance.signoff.verify import verify
from governance.store import Store
from tests.governance.evidence import EXHIBIT, small_run
from tests.governance.signoff.authority import NOW

PEOPLE = {"developer": "Ada Lovelace", "validator": "Émile Borel", "approver": "Grace Hopper"}


@dataclasses.dataclass(frozen=True)
class Case:
    """A store with one run."""

    root: Path
    run: Run

    @property
    def folder(self) -> Path:
        return self.root / self.run.digest

    @property
    def chain(self) -> Path:
        return self.root / "audit.jsonl"

    @property
    def pdf(self) -> Path:
        return self.folder / "report" / "report.signed.pdf"

    def envelope(self, role: str) -> Path:
        return self.folder / "signoffs" / f"{role}.dsse.json"

    def identity(self, role: str, person: str | None = None):
        return DemoAuthority(demo_folder(self.root)).identity(person or PEOPLE[role], NOW)

    def sign(self, role, person=None, decision="approve", conditions="", **changes):
        arguments = {
            "identity": changes.pop("identity", None) or self.identity(role, person),
            "now": NOW + dt.timedelta(hours=ROLES.index(role)),
        }
        return sign(
            self.folder,
            self.run,
            self.root,
            role,
            person or PEOPLE[role],
            decision,
            conditions,
            **{**arguments, **changes},
        )

    def record_reports(self):
        """What ``finchaos report`` does after rendering."""
        record_reports(self.folder, self.run.digest, self.root, NOW.isoformat())

    def verify(self, trust=None):
        return verify(self.folder, self.root, trust)

    def failures(self, trust=None) -> str:
        """What verification finds wrong, as text; empty if nothing."""
        return "\n".join(f"{o.name}: {o.detail}" for o in self.verify(trust).failures)


@pytest.fixture(scope="session")
def report() -> bytes:
    """A small PDF without object streams."""
    printed = weasyprint.HTML(string="<h1>Report</h1><p>Text").write_pdf()
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(printed)) as pdf:
        pdf.save(out, object_stream_mode=pikepdf.ObjectStreamMode.disable)
    return out.getvalue()


@pytest.fixture(scope="session")
def new_case(tmp_path_factory, report):
    """Make an unsigned run with a report."""

    def make(pdf=True, recorded=True, **changes) -> Case:
        case = Case(tmp_path_factory.mktemp("store"), small_run(**changes))
        Store(case.root).put(case.run, [EXHIBIT], {"seconds": {"walk_forward": 1.5}})
        (case.folder / "report").mkdir()
        (case.folder / "report" / "report.html").write_bytes(b"<h1>Report</h1>")
        (case.folder / "report" / "report.xml").write_bytes(b"<testsuites/>")
        if pdf:
            (case.folder / "report" / "report.pdf").write_bytes(report)
        if recorded:
            case.record_reports()
        return case

    return make


@pytest.fixture(scope="session")
def sealed(new_case) -> Case:
    """Signed in three roles. Never change it: take ``signed``."""
    case = new_case()
    for role in ROLES:
        case.sign(role)
    return case


@pytest.fixture(scope="session")
def half_sealed(new_case) -> Case:
    """Signed by the developer alone. Never change it: take ``half_signed``."""
    case = new_case()
    case.sign("developer")
    return case


@pytest.fixture
def signed(sealed, tmp_path) -> Case:
    return Case(shutil.copytree(sealed.root, tmp_path / "store"), sealed.run)


@pytest.fixture
def half_signed(half_sealed, tmp_path) -> Case:
    return Case(shutil.copytree(half_sealed.root, tmp_path / "store"), half_sealed.run)
