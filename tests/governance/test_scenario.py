from __future__ import annotations

import hashlib
import json
import shutil
from datetime import date
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from finchaos.core.errors import DataError, DocumentError, InputError, UnknownNameError
from governance import scenario as module
from governance.checks.stress import Stress
from governance.scenario import (
    Expectation,
    Metric,
    Scenario,
    load_scenario,
    load_scenarios,
    scenario_names,
)

HOME = Path(str(files("stress_scenarios")))
KNOWN = {
    "black_monday_1987": ("1987-10-19", -0.2047),
    "crash_1929": ("1929-10-28", -0.1234),
    "gfc_2008": ("2008-10-15", -0.0903),
    "covid_2020": ("2020-03-16", -0.1198),
    "flash_crash_2010": ("2010-05-06", -0.0324),
}


@pytest.fixture
def folder(tmp_path):
    """A user's own folder with one scenario to spoil."""
    (tmp_path / "windows").mkdir()
    for name in ("black_monday_1987.yaml", "windows/black_monday_1987.csv"):
        shutil.copy(HOME / name, tmp_path / name)
    return tmp_path


def spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_twelve_scenarios_ship_and_load():
    assert len(scenario_names()) == 12
    loaded = load_scenarios()
    assert [item.name for item in loaded] == list(scenario_names())
    assert len({item.digest for item in loaded}) == 12
    assert [item.kind for item in loaded].count("reconstructed") == 1


@pytest.mark.parametrize(("name", "day", "expected"), [(n, *v) for n, v in KNOWN.items()])
def test_returns_agree_with_the_published_ones(name, day, expected):
    data = load_scenario(name).data
    assert round(data.returns[data.dates.index(date.fromisoformat(day))], 4) == expected


def test_every_shipped_row_names_its_source_and_no_price_level_ships():
    for path in (HOME / "windows").iterdir():
        head, *rows = path.read_text().splitlines()
        assert head == "date,return,source"
        assert all(len(row.split(",")) == 3 and row.split(",")[2].strip() for row in rows)
        assert all(abs(float(row.split(",")[1])) < 0.25 for row in rows)


def test_every_yaml_names_its_schema_and_the_schema_is_up_to_date():
    for name in scenario_names():
        first = (HOME / f"{name}.yaml").read_text().splitlines()[0]
        assert first == "# yaml-language-server: $schema=scenario.schema.json"
    stored = json.loads((HOME / "scenario.schema.json").read_text())
    assert stored == Scenario.model_json_schema(), (
        "write it anew: finchaos schema scenario > stress_scenarios/scenario.schema.json"
    )


def test_the_shipped_files_fit_the_schema_for_editors():
    import jsonschema
    from ruamel.yaml import YAML

    schema = json.loads((HOME / "scenario.schema.json").read_text())
    for name in scenario_names():
        raw = YAML(typ="safe", pure=True).load((HOME / f"{name}.yaml").read_text())
        jsonschema.validate(json.loads(json.dumps(raw, default=str)), schema)


def test_expectations_speak_of_metrics_of_the_check():
    metrics = {spec.name for spec in Stress.card.metrics}
    assert set(Metric.__args__) <= metrics


def test_windows_begin_before_the_fall_and_the_fall_becomes_visible():
    for item in load_scenarios():
        level = np.cumprod(1.0 + item.returns)
        depth = 1.0 - level / np.maximum.accumulate(level)
        assert depth.max() >= item.onset_drawdown, item.name


def test_anchors_digest_is_that_of_the_file():
    path = HOME / "facts" / "flash_crash_2010_anchors.csv"
    item = load_scenario("flash_crash_2010_minutes")
    assert item.anchors_digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_scenario("gfc_2008").anchors_digest == ""


def test_a_scenario_loads_from_a_path(folder):
    shipped = load_scenario("black_monday_1987")
    assert load_scenario(folder / "black_monday_1987.yaml").digest == shipped.digest
    assert load_scenario("black_monday_1987.yaml", beside=folder).digest == shipped.digest


def test_the_digest_covers_definition_and_data(folder):
    path = folder / "black_monday_1987.yaml"
    before = load_scenario(path).digest
    spoil(folder / "windows/black_monday_1987.csv", "great_tables", "another_source")
    changed = load_scenario(path).digest
    spoil(path, "at_most: 6", "at_most: 7")
    assert len({before, changed, load_scenario(path).digest}) == 3


def test_an_installed_package_can_add_scenarios(tmp_path, monkeypatch, folder):
    package = tmp_path / "place" / "outside_crises"
    shutil.copytree(folder, package, ignore=shutil.ignore_patterns("place"))
    (package / "__init__.py").write_text("")
    (package / "black_monday_1987.yaml").rename(package / "outside.yaml")
    spoil(package / "outside.yaml", "name: black_monday_1987", "name: outside")
    monkeypatch.syspath_prepend(str(package.parent))

    class Point:
        name, module = "outside", "outside_crises"

    real = module.entry_points
    monkeypatch.setattr(
        module, "entry_points", lambda group: [Point] if "scenarios" in group else real(group=group)
    )
    assert "outside" in scenario_names()
    assert load_scenario("outside").data == load_scenario("black_monday_1987").data
    Point.name = "gfc_2008"
    with pytest.raises(InputError, match="gfc_2008"):
        scenario_names()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("title:", "titel: x\ntitle:", "titel"),
        ("title:", "name: twice\ntitle:", "not valid YAML"),
        ("name: black_monday_1987", "name: other", "name of its file"),
        ("instrument: S&P 500 index", "instrument: [", "not valid YAML"),
        ("worst_return: -0.2047", "worst_return: -0.2147", "worst return -0.2147"),
        ("trough: 1987-12-04", "trough: 1987-12-07", "trough"),
        ("event_days: [1987-10-19]", "event_days: [1987-10-18]", "1987-10-18 is not in"),
        ("kind: replay", "kind: reconstructed", "reconstruction"),
        ("frequency: daily", "frequency: minute", "reconstruction"),
        ("window: windows/black", "window: ../black", "beside it"),
        ("window: windows/black", "window: /windows/black", "beside it"),
        ("window: windows/black", "window: windows/missing", "cannot read"),
        ("at_most: 6", "at_most: .inf", "finite"),
        ("metric: bars_to_derisk", "metric: vibes", "excess_loss"),
        ("metric: bars_to_derisk", "metric: excess_loss", "one expectation a metric"),
        ("onset_drawdown: 0.07", "onset_drawdown: 7", "less than 1"),
    ],
)
def test_malformed_scenarios_are_refused(folder, old, new, says):
    path = folder / "black_monday_1987.yaml"
    spoil(path, old, new)
    with pytest.raises(DocumentError, match=says):
        load_scenario(path)


def test_a_broken_window_is_refused(folder):
    window = folder / "windows/black_monday_1987.csv"
    spoil(window, "1987-10-19", "1987-10-15")
    with pytest.raises(DataError, match="increasing"):
        load_scenario(folder / "black_monday_1987.yaml")


def test_unknown_names_and_missing_files():
    with pytest.raises(UnknownNameError, match="gfc_2008"):
        load_scenario("nowhere")
    with pytest.raises(DocumentError, match="cannot read"):
        load_scenario("nowhere.yaml")


def test_a_scenario_without_its_data_says_so():
    definition = load_scenario("gfc_2008").model_dump(mode="json")
    with pytest.raises(InputError, match="load_scenario"):
        _ = Scenario.model_validate(definition).returns


def test_how_far_an_expectation_is_missed():
    because = "a reason of enough words"
    both = Expectation(metric="loss", at_least=-0.1, at_most=0.2, because=because)
    assert [both.shortfall(x) for x in (-0.1, 0.0, 0.2)] == [0.0, 0.0, 0.0]
    assert both.shortfall(0.5) == pytest.approx(0.3)
    assert both.shortfall(-0.4) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="at_least <= at_most"):
        Expectation(metric="loss", at_least=0.3, at_most=0.2, because=because)
    with pytest.raises(ValueError, match="give at_most"):
        Expectation(metric="loss", because=because)
