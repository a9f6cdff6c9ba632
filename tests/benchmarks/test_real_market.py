"""The benchmarks on real bars at a small size: every rule filters, and absent peers are named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("skfolio")

from benchmarks import curriculum, real_market
from benchmarks.report import Options
from finchaos.markets.builtin import load_builtin

RULES = {"volatility": real_market._volatility, "mixture": real_market._mixture}
for package, rule in (
    ("hmmlearn", real_market._hidden_markov),
    ("jumpmodels", real_market._jump_model),
):
    if real_market.find_spec(package):
        RULES[package] = rule


@pytest.mark.parametrize("name", RULES)
def test_no_rule_reads_the_future(name: str) -> None:
    bars = load_builtin("skfolio").rows(0, 1200)
    close = bars.close.copy()
    close[1000:] *= np.linspace(1.0, 0.6, 200)
    columns = dict.fromkeys(("open", "high", "low", "close"), close)
    altered = replace(bars, **columns)
    whole, other = RULES[name](bars, 800), RULES[name](altered, 800)
    assert np.array_equal(whole[:1000], other[:1000])
    assert len(np.unique(whole)) > 1


def test_a_table_of_rules_without_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_market, "find_spec", lambda _: None)
    monkeypatch.setattr(real_market, "YEARS", range(2018, 2021))
    monkeypatch.setattr(real_market, "SEEDS", ())
    monkeypatch.setattr(real_market, "DRAWS", 50)
    table, ours = real_market.run(Options()).tables
    assert table.column("rule")[0] == "buy and hold"
    assert table.column("invested")[0] == 1.0
    assert table.column("turnover a year")[0] == 0.0
    assert sum("is not installed" in note for note in table.notes) == 2
    assert not ours.rows


def test_ours_is_walked_forward_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_market, "YEARS", range(2020, 2021))
    small = {"pretrain_paths": 4, "pretrain_bars": 400, "pretrain_steps": 4, "finetune_steps": 2}
    params = {**real_market.CURRICULUM, **small, "d_model": 8, "window_bars": 128}
    bars = load_builtin("skfolio").between("2008-01-01", "2020-12-31")
    walked = real_market._walk(bars, real_market._mamba(params, 1))
    assert walked.stress.shape == (int((bars.index.year == 2020).sum()),)
    assert ((walked.stress >= 0.0) & (walked.stress <= 1.0)).all()


def test_a_table_of_ways_to_teach(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"SEEDS": (1, 2), "STEPS": 6, "REAL_STEPS": 2, "PATHS": 4, "BARS": 1200}
    for name, value in small.items():
        monkeypatch.setattr(curriculum, name, value)
    (table,) = curriculum.run(Options()).tables
    assert table.column("taught on")[:4] == [
        curriculum.REAL, curriculum.SWITCHING, curriculum.SIMULATED, curriculum.WHOLE
    ]  # fmt: skip
    tracking = table.column("tracking of v")
    difference = table.rows[4][1]
    assert difference == pytest.approx(tracking[2] - tracking[0], abs=2e-3)


def test_the_baseline_stops_early_too(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"SEEDS": (1, 2), "FEWER_STEPS": (2, 4), "PATHS": 4, "BARS": 1200}
    for name, value in small.items():
        monkeypatch.setattr(curriculum, name, value)
    (table,) = curriculum.real_alone(Options()).tables
    assert len(table.rows) == 2
    assert all(0.0 < float(area) < 1.0 for area in table.column("AUC of the regime"))
