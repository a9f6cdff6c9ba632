"""Claims of the developer: what is so is upheld, what is not is found, whatever made it untrue."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.subject import Claim, ModelCard
from governance.adapters import function
from governance.check import Context, Skip
from governance.checks.claims import Claims
from governance.policy import load_policy
from governance.record import Evidence
from governance.splits import anchored_folds
from governance.statistics.claims import relative_error
from governance.statistics.out_of_sample import out_of_sample
from tests.planted.measurements import Measured, measure
from tests.planted.skill import CARD, Scripted, memoryless_bars

BARS = memoryless_bars(4, 1500, mean=0.0004)
FIRST, LAST = "2003-01-01", "2006-09-01"


def trader(seed: int = 1, **card: Any) -> Scripted:
    """In and out every few days, so that costs matter."""
    generator = np.random.default_rng(seed)
    position = np.repeat(generator.integers(0, 2, 500), 3).astype(float)
    return Scripted(position, card=replace(CARD, **card))


def context_of(bars: Bars = BARS, cost: float = 10.0) -> Context:
    folds = anchored_folds(len(bars), first_test=400, count=3, gap=3)
    return Context(bars=bars, folds=folds, seed=5, cost_bps=cost)


def daily(cost: float = 10.0, *, first: str = FIRST, last: str = LAST) -> np.ndarray:
    """Net returns of the trader on those days, from first principles."""
    held = trader().position[400:-1]
    held = np.concatenate([[0.0], held[:-1]])
    market = BARS.close[401:] / BARS.close[400:-1] - 1.0
    net = held * market - cost * 1e-4 * np.abs(np.diff(held, prepend=0.0))
    days = BARS.index[401:].tz_convert(None).normalize()
    return net[(days >= np.datetime64(first)) & (days <= np.datetime64(last))]


def sharpe(net: np.ndarray, year: float) -> float:
    return float(net.mean() / net.std(ddof=1) * np.sqrt(year))


def judged(found: Measured) -> set[str]:
    findings = load_policy("baseline").judge(found.evidence).findings
    return {one.rule for one in findings if one.verdict == "fail"}


def claiming(*claims: Claim, **card: Any) -> Measured:
    return measure(Claims(), trader(claims=claims, **card), context_of())


def test_what_is_so_is_upheld() -> None:
    net, year = daily(), BARS.bars_per_year
    found = claiming(
        Claim("sharpe", round(sharpe(net, year), 3), FIRST, LAST),
        Claim("annual_volatility", round(float(net.std(ddof=1) * np.sqrt(year)), 3), FIRST, LAST),
        Claim("max_drawdown", -0.9),
    )
    assert not judged(found)
    exact = claiming(Claim("sharpe", sharpe(net, year), FIRST, LAST))
    (error,) = (e for e in exact if e.metric == "claim_error")
    assert error.value == pytest.approx(0.0, abs=1e-9)
    assert error.n == len(net)
    assert error.window.start[:10] >= FIRST
    assert error.window.end[:10] <= LAST


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(lambda: sharpe(daily(cost=0.0), BARS.bars_per_year), id="costs left out"),
        pytest.param(lambda: sharpe(daily(), 365.25), id="a year of 365 trading days"),
        pytest.param(lambda: 1.9, id="never measured"),
    ],
)
def test_what_is_not_so_is_found(said: Any) -> None:
    found = claiming(Claim("sharpe", said(), FIRST, LAST))
    assert judged(found) == {"claims.reproduced"}
    (table,) = found.exhibits
    assert table.columns[1].values[0] == pytest.approx(said())


def test_an_undated_claim_is_measured_in_errors_and_modesty_is_no_fault() -> None:
    true = sharpe(daily(first="1990-01-01", last="2030-01-01"), BARS.bars_per_year)
    for claimed, fails in ((true + 0.2, False), (true - 3.0, False), (true + 5.0, True)):
        found = claiming(Claim("sharpe", claimed))
        assert (judged(found) == {"claims.plausible"}) is fails
    deep, shallow = claiming(Claim("max_drawdown", -0.99)), claiming(Claim("max_drawdown", 0.0))
    assert not judged(deep)
    assert judged(shallow) == {"claims.plausible"}


def test_undated_claims_of_sound_models_are_accused_at_the_rate_of_the_limit() -> None:
    """The truth is claimed of coin-flippers; half of all tests lie below it."""
    accused = 0
    for seed in range(30):
        bars = memoryless_bars(seed + 50, 900)
        position = np.random.default_rng(seed).integers(0, 2, 900).astype(float)
        card = replace(CARD, claims=(Claim("sharpe", 0.0),))
        found = measure(Claims(draws=100), Scripted(position, card=card), context_of(bars, 0.0))
        accused += bool(judged(found))
    assert accused <= 2


def test_days_that_were_not_tested_and_figures_nobody_knows() -> None:
    found = claiming(
        Claim("sharpe", 1.0, "1999-01-01", "2006-01-01"), Claim("sharpe", 1.0, FIRST, "2009-01-01"),
        Claim("happiness", 7.0),
    )  # fmt: skip
    early, late = (e for e in found if e.metric == "claim_error")
    assert early.status == late.status == "skipped"
    assert "were not all tested" in early.reason
    assert judged(found) == {"claims.known"}
    assert found.value("unsupported_claims") == 3


def test_another_model_than_the_card_names() -> None:
    same = trader()
    assert not judged(claiming_digest(same.digest))
    assert judged(claiming_digest("0" * 64)) == {"claims.same_model"}
    with pytest.raises(Skip, match="claims no figure"):
        measure(Claims(), trader(), context_of())


def claiming_digest(approved: str) -> Measured:
    subject = trader(approved_digest=approved)
    measuring = Claims().measure(subject, context_of())
    first = next(measuring)
    assert isinstance(first, Evidence)
    with pytest.raises(Skip):
        next(measuring)
    return Measured((first,), ())


def test_nothing_after_the_claimed_days_matters() -> None:
    claim = Claim("sharpe", 0.3, FIRST, "2005-06-30")
    close = BARS.close.copy()
    close[1200:] *= 1.5
    changed = replace(BARS, open=close, high=close, low=close, close=close)
    values = []
    for bars in (BARS, changed):
        found = measure(Claims(), trader(claims=(claim,)), context_of(bars))
        (error,) = (e for e in found if e.metric == "claim_error")
        values.append(error.value)
    assert values[0] == values[1]
    tested = out_of_sample(trader(), context_of())
    assert tested.index[790].date().isoformat() < "2006-01-01"


def test_the_same_seed_gives_the_same_evidence() -> None:
    claims = (Claim("calmar", 0.4), Claim("sharpe", 0.3, FIRST, LAST), Claim("sharpe", 0.3))
    assert claiming(*claims).digests == claiming(*claims).digests


def test_adapters_take_claims_and_impossible_ones_are_refused(tmp_path: Any) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def positions(frame):\n    return frame['close'].to_numpy() * 0.0\n")
    params = {"path": str(path), "attribute": "positions"}
    claim = {"metric": "sharpe", "value": 0.4, "start": FIRST, "end": LAST}
    card: ModelCard = function.build({**params, "claims": [claim]}, seed=1).card
    assert card.claims == (Claim("sharpe", 0.4, FIRST, LAST),)
    assert card.as_json()["claims"][0]["value"] == 0.4
    for wrong in ({"value": float("nan")}, {"start": "2003"}, {"end": ""}, {"start": "2009-01-01"}):
        with pytest.raises(InputError):
            function.build({**params, "claims": [{**claim, **wrong}]}, seed=1)
    with pytest.raises(InputError):
        Claims(draws=5)


def test_rounding_is_no_error_and_errors_near_zero_are_small() -> None:
    assert relative_error(0.23, 0.2349, 0.1) == 0.0
    assert relative_error(0.23, 0.24, 0.1) == pytest.approx(0.005 / 0.24)
    assert relative_error(0.0211, 0.0241, 0.1) == pytest.approx(0.0295)
    assert relative_error(-0.2000001, -0.1, 0.1) == pytest.approx(0.5, abs=1e-5)
    assert relative_error(1e-05, 0.0, 0.1) == pytest.approx(9.5e-5)
    for claimed, found in ((0.1, 0.0501), (1.0, 0.94), (-0.2, -0.2499), (10.0, 9.4), (0.0, 0.02)):
        assert relative_error(claimed, found, 0.1) > 0.001  # few digits are no excuse


@given(
    value=st.floats(0.1, 5), digits=st.integers(2, 6), floor=st.floats(0.01, 1.0)
)  # fmt: skip
def test_a_rounded_truth_is_never_an_error(value: float, digits: int, floor: float) -> None:
    assert relative_error(round(value, digits), value, floor) < 1e-9
