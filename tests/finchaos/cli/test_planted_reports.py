"""``finchaos selftest --reports``: what a committee reads of a defect that was planted."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from finchaos.cli.main import app
from finchaos.cli.planted_reports import require_room
from finchaos.core.errors import InputError
from governance.record import Run
from governance.selftest.matrix import DEFECTS, SEVERE
from governance.selftest.sealed import one_of_each_family
from governance.selftest.sound import KINDS

SMALL = ("--kind", "volatility_threshold", "--sound", "1", "--workers", "0")
FORMATS = ("--report-format", "html", "--report-format", "json")


def invoke(*arguments: str):
    return CliRunner().invoke(app, ["selftest", *arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("planted")
    places = ("--reports", str(home / "out"), "--page", str(home / "page.md"))
    out = ("--out", str(home / "selftest.json"))
    done = invoke(*SMALL, "--defect", "next_return", *FORMATS, *places, *out)
    assert done.exit_code == 0, done.output
    return home


def run_of(made: Path, name: str) -> Run:
    return Run.from_json((made / "out" / name / "report.json").read_bytes())


def page_one(made: Path, name: str) -> str:
    html = (made / "out" / name / "report.html").read_text(encoding="utf-8")
    front = html[html.index('<section id="verdict"') : html.index("</section>")]
    return " ".join(re.sub(r"<[^>]+>", " ", front).split())


def test_page_one_says_that_the_future_is_read_and_by_which_alteration(made: Path) -> None:
    said = page_one(made, "next_return")
    assert "Gate: Closed" in said
    assert "The model reads the future (look-ahead)." in said
    assert re.search(r"Seen by alteration: [a-z]+ \(\d+ rows\)", said)
    assert "What to do: Find the input that is not yet known at its bar" in said
    assert "Clauses: A7 (Test in sample, out of sample" in said


def test_figures_of_page_one_are_those_of_the_sealed_evidence(made: Path) -> None:
    run = run_of(made, "next_return")
    rows = {
        item.slice.get("alteration", ""): item.value
        for item in run.evidence
        if (item.check, item.metric) == ("point_in_time", "changed_rows")
    }
    whole = rows.pop("")
    assert sum(rows.values()) == whole > 0
    said = page_one(made, "next_return")
    assert f"changed when the future was altered: {whole:.0f} rows" in said
    for name, count in rows.items():
        assert (f"{name} ({count:.0f} rows)" in said) is (count > 1)


def test_the_same_model_without_the_defect_is_not_accused(made: Path) -> None:
    assert "look-ahead" not in page_one(made, "none")
    assert run_of(made, "none").gate != "closed"


def test_the_report_says_what_the_matrix_says(made: Path) -> None:
    (row,) = json.loads((made / "selftest.json").read_text())["rows"]
    failed = {
        name: {f.rule for f in run_of(made, name).findings if f.verdict == "fail"
               and f.severity in SEVERE}
        for name in ("next_return", "none")
    }  # fmt: skip
    assert set(row["rules"]) == failed["next_return"] - failed["none"] != set()


def test_the_index_names_defect_gate_report_and_checks(made: Path) -> None:
    index = (made / "out" / "index.md").read_text(encoding="utf-8")
    page = (made / "page.md").read_text(encoding="utf-8")
    assert "[`next_return`](next_return/report.html)" in index
    assert "](" not in page
    for text in (index, page):
        assert "| look-ahead |" in text
        assert run_of(made, "next_return").digest[:12] in text
        assert re.search(r"\| `next_return` \| .* \| 1 of 1 \|  \| C \|", text)
        assert "finchaos selftest --sound 1 --kind volatility_threshold" in text
    assert sorted(path.name for path in made.iterdir()) == ["out", "page.md", "selftest.json"]


def test_its_own_folder_is_replaced_and_no_other(made: Path, tmp_path: Path) -> None:
    mine = tmp_path / "out"
    shutil.copytree(made / "out", mine)
    require_room(mine)
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds other things.*notes\.txt"):
        require_room(mine)
    done = invoke(*SMALL, "--defect", "next_return", "--reports", str(mine))
    assert done.exit_code == 2
    assert "notes.txt" in done.output
    (mine / "notes.txt").unlink()
    (mine / "index.md").write_text("# Somebody else's\n")
    with pytest.raises(InputError, match="holds other things"):
        require_room(mine)
    with pytest.raises(InputError, match="holds other things"):
        require_room(mine / "index.md")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--page", "page.md"), "add --reports"),
        (("--reports", "new", "--defect", "non_latching"), "cannot be planted in the kinds chosen"),
        (("--reports", "new", "--report-format", "docx"), "docx"),
        (("--reports", "new"), "no defect of the family 'kill switch' can be planted"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_measured(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke(*SMALL, *arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())
    assert not list(tmp_path.iterdir())


def test_every_family_has_a_report_in_the_kind_that_has_everything() -> None:
    planted = one_of_each_family(DEFECTS, {"volatility_regime": KINDS["volatility_regime"]})
    assert [one.defect.family for one in planted] == list(dict.fromkeys(d.family for d in DEFECTS))
