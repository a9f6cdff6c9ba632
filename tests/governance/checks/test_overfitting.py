"""What a search leaves of a Sharpe ratio: by hand, under the null, and through a plan."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.training.register import record_trial
from governance.check import Context, Skip
from governance.checks.overfitting import Overfitting
from governance.plan import Plan
from governance.splits import anchored_folds
from governance.statistics.out_of_sample import out_of_sample
from governance.statistics.overfitting import SharpeRecord, backtest_overfitting, expected_maximum
from governance.trials import Trials, read_trials
from tests.planted.measurements import measure
from tests.planted.skill import Scripted, coin_flips, memoryless_bars, seer


def context_of(bars: object, trials: Trials | None = None) -> Context:
    n = len(bars)  # type: ignore[arg-type]
    folds = anchored_folds(n, first_test=n // 4, count=3, gap=3)
    return Context(bars=bars, folds=folds, seed=5, cost_bps=0.0, trials=trials)  # type: ignore[arg-type]


def trials_of(
    count: int, scores: np.ndarray | None = None, returns: np.ndarray | None = None
) -> Trials:
    known = np.zeros(0) if scores is None else scores
    return Trials("study", count, known, scores is not None, "f" * 64, returns)


def test_without_a_register_the_record_speaks_alone() -> None:
    bars = memoryless_bars(1, 800, mean=0.0005)
    found = measure(Overfitting(), coin_flips(1, 800), context_of(bars))
    tested = out_of_sample(coin_flips(1, 800), context_of(bars))
    record = SharpeRecord.of(tested.net)
    # The returns are independent, so that the record is worth about as many periods as it has.
    assert found.value("probabilistic_sharpe") == pytest.approx(
        record.probability_above(0.0), abs=0.05
    )
    assert found.value("track_record") == pytest.approx(len(tested.net) / bars.bars_per_year)
    for metric in ("trials", "deflated_sharpe", "overfitting_probability", "unrecorded_trials"):
        assert found.find(metric).reason == "the plan names no register of trials"


def test_many_trials_take_the_shine_off() -> None:
    bars = memoryless_bars(2, 800, mean=0.0006)
    context = context_of(bars)
    held = Scripted(np.ones(800) - 1e-9 * np.arange(800))
    one, many = (
        measure(Overfitting(), held, replace(context, trials=trials_of(count)))
        for count in (1, 1000)
    )
    assert one.value("deflated_sharpe") == pytest.approx(one.value("probabilistic_sharpe"))
    assert many.value("deflated_sharpe") < one.value("deflated_sharpe") - 0.3
    assert many.value("trials") == 1000


def test_scores_that_are_sharpe_ratios_set_the_hurdle() -> None:
    bars = memoryless_bars(2, 800, mean=0.0006)
    scores = np.array([0.1, 0.4, 0.9, 1.2])
    trials = trials_of(4, scores)
    found = measure(Overfitting(), coin_flips(2, 800), context_of(bars, trials))
    hurdle = expected_maximum(4, float(scores.std(ddof=1)))
    assert f"hurdle {hurdle:.3g} a year" in found.find("deflated_sharpe").note


def test_the_best_of_noise_is_found_out_as_often_as_the_level_says() -> None:
    """Fifty coin-flippers, the best of whom is brought to be validated."""
    established = []
    for seed in range(40):
        bars = memoryless_bars(seed, 500)
        flips = [coin_flips(1000 * seed + n, 500) for n in range(50)]
        context = context_of(bars)
        best = max(flips, key=lambda s: SharpeRecord.of(out_of_sample(s, context).net).ratio)
        found = measure(Overfitting(), best, replace(context, trials=trials_of(50)))
        established.append(
            (found.value("probabilistic_sharpe") > 0.95, found.value("deflated_sharpe") > 0.95)
        )
    alone, deflated = np.mean(established, axis=0)
    assert alone > 0.4  # what looking at the winner alone would have said
    assert deflated < 0.08


def test_returns_of_the_trials_are_cross_validated() -> None:
    rng = random_stream(3, "returns")
    noise = rng.standard_normal((640, 20)) * 0.01
    skill = noise.copy()
    skill[:, 4] += 0.004
    bars = memoryless_bars(3, 600)
    for returns, low, high in ((noise, 0.2, 0.8), (skill, 0.0, 0.02)):
        found = measure(
            Overfitting(), coin_flips(3, 600), context_of(bars, trials_of(20, None, returns))
        )
        assert low <= found.value("overfitting_probability") <= high
        assert found.value("unrecorded_trials") == 0
        assert len(found.exhibits) == 1
    hidden = measure(Overfitting(), coin_flips(3, 600), context_of(bars, trials_of(5, None, noise)))
    assert hidden.value("unrecorded_trials") == 15


def test_noise_keeps_no_promise_and_a_reward_that_all_share_does() -> None:
    """Two hundred rules that know nothing; twenty that are nearly the same and have a reward."""
    bars = memoryless_bars(3, 600)
    broken = {"noise": 0, "honest": 0}
    for seed in range(20):
        rng = random_stream(seed, "promises")
        noise = 0.01 * rng.standard_normal((600, 200))
        shared = rng.standard_normal((600, 1)) + 0.5 / 252**0.5
        honest = 0.01 * (0.95**0.5 * shared + 0.05**0.5 * rng.standard_normal((600, 20)))
        for name, returns in (("noise", noise), ("honest", honest)):
            kept = backtest_overfitting(returns, 8).kept()
            broken[name] += kept is not None and kept[1].high < 0.5
    assert broken["noise"] >= 16
    assert broken["honest"] == 0
    trials = trials_of(200, None, noise)
    found = measure(Overfitting(blocks=8), coin_flips(3, 600), context_of(bars, trials))
    assert found.find("promise_kept").note == "of 200 trials"


def test_what_is_delivered_is_the_mean_ratio_of_the_judging_halves() -> None:
    """Against the definition, split by split."""
    returns = random_stream(1, "delivered").standard_normal((64, 5))
    found = backtest_overfitting(returns, 4)
    blocks = returns.reshape(4, 16, 5)
    inside, outside = [], []
    for chosen in combinations(range(4), 2):
        one = blocks[list(chosen)].reshape(32, 5)
        other = blocks[[b for b in range(4) if b not in chosen]].reshape(32, 5)
        ratios = one.mean(axis=0) / one.std(axis=0, ddof=1)
        best = ratios.argmax()
        inside.append(ratios[best])
        outside.append(other[:, best].mean() / other[:, best].std(ddof=1))
    assert found.promised == pytest.approx(np.mean(inside))
    assert found.delivered.mean() == pytest.approx(np.mean(outside))


def test_a_loser_needs_no_record_and_a_seer_hardly_any() -> None:
    bars = memoryless_bars(4, 600)
    loser = Scripted(-seer(bars, steps=2).position)
    found = measure(Overfitting(), loser, context_of(bars))
    assert "not above zero" in found.find("least_track_record").reason
    assert found.value("probabilistic_sharpe") < 1e-6
    good = measure(Overfitting(), seer(bars, steps=2), context_of(bars))
    assert good.value("least_track_record") < 0.2


def test_nothing_earned_is_not_assessed() -> None:
    bars = memoryless_bars(5, 400)
    with pytest.raises(Skip, match="do not vary"):
        list(Overfitting().measure(Scripted(np.zeros(400)), context_of(bars)))


def test_a_plan_names_the_register(tmp_path: Path) -> None:
    from finchaos.cli.assemble import find_trials

    record_trial(tmp_path / "t.jsonl", "search", {"rate": 1}, seed=1, score=0.5, code="abc")
    plan = Plan.model_validate(
        {
            "name": "p",
            "subject": {"model": "mamba_regime"},
            "data": {"source": "spx"},
            "trials": {"record": "t.jsonl", "study": "search", "sharpe_scores": True},
        }
    )
    found = find_trials(plan, tmp_path)
    assert found is not None
    assert (
        found.digest == read_trials(tmp_path / "t.jsonl", study="search", sharpe_scores=True).digest
    )


@pytest.mark.parametrize("wrong", [{"level": 0.5}, {"blocks": 15}, {"blocks": 22}])
def test_impossible_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Overfitting(**wrong)  # type: ignore[arg-type]
