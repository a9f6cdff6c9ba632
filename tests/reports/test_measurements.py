"""Every measurement reaches the page, in a table one can read."""

from __future__ import annotations

from governance.record import Interval, Residual, Window
from reports.judgements import worst_verdicts
from reports.measurements import evidence_tables, self_checks
from reports.numbers import trained
from reports.tables import Table
from tests.reports.sample import sample
from tests.reports.sample_checks import drift, kill_switch, simple, stress, walk_forward
from tests.reports.sample_parts import evidence


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def shown(tables: tuple[Table, ...]) -> set[str]:
    return {cell.exact for table in tables for row in table.rows for cell in row if cell.exact}


def test_every_value_of_every_check_is_shown_once_in_full_precision() -> None:
    for check, items, _ in (
        walk_forward(40),
        drift(),
        stress(),
        kill_switch(),
        simple("x", "outcomes_analysis", "X", 0),
    ):
        tables = evidence_tables(check, items, {})
        assert shown(tables) == {repr(item.value) for item in items if item.value is not None}
        cells = sum(bool(c.exact) for t in tables for row in t.rows for c in row)
        assert cells == sum(item.value is not None for item in items)


def test_tables_are_rectangular() -> None:
    for check, items, _ in (walk_forward(40), drift(), stress(), kill_switch()):
        for table in evidence_tables(check, items, {}):
            assert {len(row) for row in table.rows} == {len(table.heads)}


def test_slices_stand_down_and_measures_across() -> None:
    check, items, _ = drift()
    (table,) = evidence_tables(check, items, {})
    assert [head.text for head in table.heads] == ["Feature", "PSI", "JS", "KS", "PSI limit"]
    assert len(table.rows) == 24
    assert "n = 1,250." in table.notes[0]
    assert "95%, stationary bootstrap" in table.notes[0]


def test_wide_tables_are_cut_between_measures() -> None:
    check, items, _ = walk_forward(40)
    titles = [table.title for table in evidence_tables(check, items, {})]
    assert titles == ["Overall", "By fold (1 of 2)", "By fold (2 of 2)"]


def test_what_was_not_measured_stands_there_with_its_reason() -> None:
    check, items, _ = stress(("crash_1929", "crash_1987"))
    (table,) = evidence_tables(check, items, {})
    row = texts(table)[0]
    assert row[0] == "crash_1929"
    assert row.count("skipped [1]") == 5
    assert table.notes[-1].startswith("[1] Skipped: the scenario has closes alone")


def test_same_slice_over_two_windows_gets_a_row_for_each() -> None:
    check, items, _ = walk_forward(40)
    twice = [evidence(check, "sharpe", 0.1, fold="1"), evidence(check, "sortino", 0.2, fold="1")]
    windows = {item.slice["fold"]: item.window for item in items if item.slice}
    twice.append(evidence(check, "sharpe", 0.3, window=windows["2"], fold="1"))
    (table,) = evidence_tables(check, twice, {})
    assert len(table.rows) == 3
    assert table.heads[-1].text == "Window"


def test_judged_values_carry_a_letter_and_its_meaning() -> None:
    run = sample("small").run
    check = next(card for card in run.cards if card.name == "walk_forward")
    items = [item for item in run.evidence if item.check == "walk_forward"]
    overall = evidence_tables(check, items, worst_verdicts(run.findings))[0]
    flags = {row[0].text: row[1].flag for row in overall.rows}
    assert flags["Max drawdown"] == "F"
    assert flags["Sortino"] == ""
    assert "F: breaches a limit." in overall.notes[0]


def test_a_lower_bound_is_marked_and_explained() -> None:
    check, _, _ = walk_forward(40)
    items = [evidence(check, "sharpe", value, fold=str(value)) for value in (0.5, 0.25)]
    items[0] = items[0].model_copy(update={"at_least": True})
    (table,) = evidence_tables(check, items, {})
    assert [row[1].text for row in table.rows] == ["≥ 0.500", "0.250"]
    assert "≥: a lower bound" in table.notes[0]


def test_values_of_one_metric_in_several_units_keep_their_own() -> None:
    check, _, _ = walk_forward(40)
    items = [evidence(check, "sharpe", 0.5, fold="1"), evidence(check, "sharpe", 3.0, fold="2")]
    items = [
        items[0].model_copy(update={"unit": "fraction"}),
        items[1].model_copy(update={"unit": "bars"}),
    ]
    (table,) = evidence_tables(check, items, {})
    assert [[cell.text for cell in row[1:3]] for row in table.rows] == [["50", "%"], ["3", "bars"]]


def test_a_digest_that_all_share_is_a_note_and_no_column() -> None:
    check, _, _ = walk_forward(40)
    whole = "ab" * 32
    items = [evidence(check, "sharpe", 0.5, fold=str(k), anchors=whole) for k in (1, 2)]
    (table,) = evidence_tables(check, items, {})
    assert "Anchors" not in [head.text for head in table.heads]
    assert f"Anchors SHA-256 {whole}." in table.notes[0]


def test_training_is_said_without_a_semblance_of_looking_ahead() -> None:
    whole = Window(start="2006-01-03", end="2018-12-31", trained_until="2016-10-13")
    assert trained(whole, "out") == "trained to 2016-10-13, on no bar of it"
    assert trained(whole, "in") == "trained to 2016-10-13, on bars of it too"
    assert trained(whole.model_copy(update={"trained_until": ""})) == ""
    folds = trained(whole.model_copy(update={"refitted": True}))
    assert folds.startswith("each fold by a model trained only on bars before that fold")


def test_self_checks_show_the_worst_of_each_kind() -> None:
    check, _, _ = walk_forward(40)
    items = [
        evidence(
            check, "sharpe", 0.1, fold=str(k), self_check=Residual(what="sum", value=v, tolerance=1)
        )
        for k, v in enumerate((0.5, -3.0, 0.25))
    ]
    table = self_checks(items)
    assert table is not None
    assert texts(table) == [["sum", "3", "−3", "1", "1 missed"]]
    assert self_checks([evidence(check, "sharpe", 0.1)]) is None


def test_methods_that_differ_in_numbers_are_said_as_one() -> None:
    check, _, _ = walk_forward(40)
    items = [
        evidence(check, "sharpe", 0.1, half=0.2, fold=str(k)).model_copy(
            update={"interval": Interval(low=0, high=1, level=0.95, method=method)}
        )
        for k, method in enumerate(
            ("block 9 bars, 99 draws", "block 12 bars, 99 draws", "exact {7*7")
        )
    ]
    (table,) = evidence_tables(check, items, {})
    assert "Intervals: 95%, block 9 to 12 bars, 99 draws." in table.notes[0]
    assert "Intervals: 95%, exact {7*7." in table.notes[0]
