"""The dangerous regime: named when both measures agree by a margin, refused otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from finchaos.core.errors import DataError, InputError
from finchaos.regimes.crash_cluster import CrashRule, crash_cluster
from governance.statistics.performance import drawdown


def market(
    seed: int = 0, drift: tuple[float, ...] = (3e-4, -1e-3), sd: tuple[float, ...] = (0.009, 0.025)
) -> tuple[np.ndarray, np.ndarray]:
    """Spells of 250 calm and 60 stressed days with the returns of the switching Heston study."""
    rng = np.random.default_rng(seed)
    lengths = (250, 60, 100)
    labels = np.concatenate([np.repeat(k % len(sd), lengths[k % len(sd)]) for k in range(20)])
    return labels, np.array(drift)[labels] + np.array(sd)[labels] * rng.normal(size=len(labels))


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("swapped", [False, True])
def test_the_stressed_regime_is_named_wherever_its_number_is(seed: int, swapped: bool) -> None:
    labels, returns = market(seed)
    if swapped:
        labels = 1 - labels
    found = crash_cluster(labels, returns, count=2)
    assert found.label == (0 if swapped else 1)
    assert found.volatility_ratio == pytest.approx(2.7, rel=0.15)
    assert found.bars.tolist() == np.bincount(labels).tolist()


def test_the_figures_are_those_of_capital_invested_in_the_regime_alone() -> None:
    labels, returns = market(3)
    found = crash_cluster(labels, returns, count=2)
    for k in (0, 1):
        inside = returns[labels == k]
        value = np.concatenate([[1.0], np.exp(np.cumsum(inside))])
        fall = [1 - value[i] / value[max(0, i - 63) : i + 1].max() for i in range(1, len(value))]
        assert found.drawdown[k] == pytest.approx(np.mean(fall), rel=1e-9)
        assert found.worst_drawdown[k] == pytest.approx(np.max(fall), rel=1e-9)
        whole = crash_cluster(labels, returns, count=2, rule=CrashRule(window_bars=9999))
        deepest = -drawdown(np.expm1(inside)).min()
        assert whole.worst_drawdown[k] == pytest.approx(deepest, rel=1e-9)
        assert found.volatility[k] == pytest.approx(np.sqrt((inside**2).mean()), rel=1e-12)


def test_three_regimes() -> None:
    labels, returns = market(1, (3e-4, -1.5e-3, 5e-4), (0.006, 0.03, 0.012))
    assert crash_cluster(labels, returns, count=3).label == 1


def test_a_wild_rebound_and_a_quiet_bear_market_disagree_and_are_refused() -> None:
    labels, returns = market(2, (-2e-3, 4e-3), (0.006, 0.02))
    with pytest.raises(DataError, match=r"not clear which.*regime 1 most volatile.*regime 0 deep"):
        crash_cluster(labels, returns, count=2)


def test_a_margin_that_is_not_reached_is_refused() -> None:
    labels, returns = market(2, (1e-4, -3e-4), (0.02, 0.021))
    with pytest.raises(DataError, match="no regime stands out"):
        crash_cluster(labels, returns, count=2)
    labels, returns = market(2)
    for rule in (CrashRule(volatility_ratio=4.0), CrashRule(drawdown_ratio=200.0)):
        with pytest.raises(DataError, match="no regime stands out"):
            crash_cluster(labels, returns, count=2, rule=rule)


def test_a_constant_market_has_no_dangerous_regime() -> None:
    labels, returns = market()
    with pytest.raises(DataError, match="no regime stands out"):
        crash_cluster(labels, 0.0 * returns, count=2)
    still = np.where(labels == 1, returns, 0.0)
    found = crash_cluster(labels, still, count=2)
    assert (found.label, found.volatility_ratio) == (1, np.inf)


def test_bad_input_is_refused() -> None:
    labels, returns = market()
    with pytest.raises(DataError, match="finite"):
        crash_cluster(labels, returns * np.nan, count=2)
    with pytest.raises(DataError, match="too few bars"):
        crash_cluster(labels, returns, count=3)
    with pytest.raises(DataError, match=r"too few bars.*250, 10"):
        crash_cluster(labels[:260], returns[:260], count=2)
    with pytest.raises(InputError, match="out of range"):
        crash_cluster(labels, returns, count=1)
    with pytest.raises(InputError, match="out of range"):
        crash_cluster(labels - 1, returns, count=2)
    with pytest.raises(InputError, match="fit together"):
        crash_cluster(labels[1:], returns, count=2)
    with pytest.raises(InputError, match="fit together"):
        crash_cluster(labels.astype(float), returns, count=2)
    for wrong in (
        {"volatility_ratio": 1.0},
        {"drawdown_ratio": np.inf},
        {"least_bars": 1},
        {"window_bars": 1},
    ):
        with pytest.raises(InputError, match="impossible rule"):
            CrashRule(**wrong)  # type: ignore[arg-type]
