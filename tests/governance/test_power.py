"""The validator's own figures: kept, read back, printed, and held against the code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from finchaos.core.errors import IntegrityError
from governance import power
from governance.record import FamilyPower, ValidatorPower
from governance.selftest.matrix import DEFECTS, Matrix, Verdict
from reports.validator import validator_tables
from tests.reports.sample import sample

MATRIX = Matrix(
    (
        Verdict("hidden_markov", "next_return", 1, ("point_in_time.past_unchanged",)),
        Verdict("classifier", "next_return", 2, ()),
        Verdict("classifier", "nan_position", 1, ("signal_integrity.finite",)),
    ),
    tuple(Verdict("classifier", "", seed, ()) for seed in range(40)),
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in the place of the package."""
    real = power.files

    def files(package: str) -> Path:
        return tmp_path if package == "governance" else Path(str(real(package)))

    monkeypatch.setattr(power, "files", files)
    power.judging_digest.cache_clear()
    yield tmp_path
    power.judging_digest.cache_clear()


def test_what_is_kept_is_read_back_and_knows_its_code(place: Path) -> None:
    assert power.validator_power() is None
    (place / "rule.py").write_text("limit = 1\n")
    (place / power.FILE).write_text(MATRIX.kept().model_dump_json())
    found = power.validator_power()
    assert found is not None
    assert found.same_code
    assert found.families == (
        FamilyPower(family="look-ahead", defects=1, planted=2, found=1),
        FamilyPower(family="contract", defects=1, planted=1, found=1),
    )
    assert (found.sound, found.accused, found.accused_low) == (40, 0, 0.0)
    assert found.accused_high == pytest.approx(1 - 0.025 ** (1 / 40))
    assert found.missed == ("next_return in classifier",)
    (place / "rule.py").write_text('"""A rule."""\n\nlimit = 1  # as before\n')
    power.judging_digest.cache_clear()
    again = power.validator_power()
    assert again is not None
    assert again.same_code
    (place / "rule.py").write_text("limit = 2\n")
    power.judging_digest.cache_clear()
    changed = power.validator_power()
    assert changed is not None
    assert not changed.same_code


def test_a_damaged_file_is_refused(place: Path) -> None:
    (place / power.FILE).write_text("{}")
    with pytest.raises(IntegrityError, match="finchaos selftest --keep"):
        power.validator_power()


def test_the_report_prints_both_rates() -> None:
    kept = MATRIX.kept().model_dump(exclude={"judging"})
    run = sample().run.model_copy(update={"validator": ValidatorPower(**kept, same_code=False)})
    (table,) = validator_tables(run)
    text = [[cell.text for cell in row] for row in table.rows]
    assert text[-2] == ["All defects", "2", "3", "2"]
    assert text[-1] == ["Sound models accused", "", "40", "0"]
    assert any("have changed since" in note for note in table.notes)
    assert any("next return in classifier" in note for note in table.notes)
    assert validator_tables(sample().run) == ()


def test_the_shipped_figures_are_of_the_defects_that_ship() -> None:
    shipped = power.validator_power()
    assert shipped is not None
    families = {one.family: 0 for one in DEFECTS}
    for one in DEFECTS:
        families[one.family] += 1
    assert {one.family: one.defects for one in shipped.families} == families
    assert shipped.sound >= 100
    assert len(shipped.kinds) >= 5
