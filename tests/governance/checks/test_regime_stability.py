"""Regimes that change names, flicker, never change or mean nothing are found."""

from __future__ import annotations

import numpy as np
import pytest

from finchaos.core.errors import InputError
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, Subject
from governance.challengers.hidden_markov import HiddenMarkov
from governance.challengers.jump_model import JumpModel
from governance.challengers.volatility_threshold import VolatilityThreshold
from governance.check import Context
from governance.checks.regime_stability import RegimeStability
from governance.harness import measure as measure_safely
from governance.policy import load_policy
from governance.splits import anchored_folds
from tests.planted import regimes
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import Measured, measure
from tests.planted.skill import coin_flips

CHECK = RegimeStability(draws=300)


def context_of(seed: int = 3, n: int = 2000) -> Context:
    bars = regime_switching_bars(seed, n)
    return Context(bars=bars, folds=anchored_folds(n, first_test=700, count=3, gap=2), seed=5)


def breached(found: Measured, *, severe: bool = True) -> set[str]:
    findings = load_policy("baseline").judge(found.evidence).findings
    return {
        one.rule.partition(".")[2]
        for one in findings
        if one.check == "regime_stability"
        and one.verdict == "fail"
        and (one.severity in ("critical", "high")) is severe
    }


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("kind", [VolatilityThreshold, HiddenMarkov, JumpModel])
def test_sound_models_are_left_alone(kind: type, seed: int) -> None:
    found = measure(CHECK, kind(), context_of(seed))
    assert not breached(found)
    assert found.value("relabelling_gain") < 0.02


def test_names_that_are_swapped_by_a_refit_are_found() -> None:
    found = measure(CHECK, regimes.Spoilt(regimes.swapped_after_refits), context_of())
    sound = measure(CHECK, regimes.Spoilt(), context_of())
    assert {"names_kept", "calm_is_calm"} <= breached(found)
    assert found.find("relabelling_gain").note == "at the refit for fold 2"
    # The partition itself is as stable as before: the index does not see names.
    for fold in ("2", "3"):
        assert found.value("adjusted_rand", fold=fold) == sound.value("adjusted_rand", fold=fold)
    signs = [found.value("stress_volatility_correlation", fold=f) > 0 for f in ("1", "2", "3")]
    assert signs == [True, False, False]


def test_names_that_were_wrong_from_the_beginning_are_found() -> None:
    found = measure(CHECK, regimes.Spoilt(regimes.always_swapped), context_of())
    assert "calm_is_calm" in breached(found)
    assert "names_kept" not in breached(found)
    assert {"separates", "agrees_with_falls"} & breached(found, severe=False)


def test_one_regime_for_ever_is_found() -> None:
    found = measure(CHECK, regimes.Spoilt(regimes.constant), context_of())
    assert breached(found) == {"not_constant"}
    assert "never changes" in found.find("stress_volatility_correlation", fold="1").reason
    assert "too few" in found.find("next_volatility_ratio").reason
    assert "too few" in found.find("one_bar_spells").reason


def test_flicker_and_chance_are_matters_of_degree() -> None:
    flicker = measure(CHECK, regimes.Spoilt(regimes.flickering), context_of())
    assert "no_flicker" in breached(flicker, severe=False)
    assert flicker.value("one_bar_spells") > 0.8
    chance = measure(CHECK, regimes.Spoilt(regimes.unrelated), context_of())
    assert {"refits_agree", "separates"} <= breached(chance, severe=False)
    assert abs(chance.value("least_adjusted_rand")) < 0.1


def test_regimes_that_say_nothing_of_the_next_bar_are_found() -> None:
    coins = np.random.default_rng(2).integers(0, 2, 2000)

    def drawn(signals: Signals, rows: int) -> Signals:
        return regimes._with(signals, coins[: len(signals)])

    found = measure(CHECK, regimes.Spoilt(drawn), context_of())
    assert "persists" in breached(found)
    assert abs(found.value("persistence", of="regime")) < 0.1
    assert "the state lasts" in found.find("persistence", of="exposure").reason


@pytest.mark.slow
def test_labels_without_meaning_are_seldom_said_to_have_one() -> None:
    """In a market of clustered volatility, with labels that last as long as its storms."""
    separates = inverted = 0
    for seed in range(60):
        bars = regime_switching_bars(seed, 1200)
        context = Context(
            bars=bars, folds=anchored_folds(1200, first_test=600, count=2, gap=2), seed=seed
        )
        rng = np.random.default_rng(seed)
        drawn = np.repeat(rng.integers(0, 2, 30), 40)

        def labels(signals: object, rows: int, drawn: np.ndarray = drawn) -> object:
            return regimes._with(signals, drawn[: len(signals)])  # type: ignore[arg-type]

        found = measure(CHECK, regimes.Spoilt(labels), context)  # type: ignore[arg-type]
        said = found.find("next_volatility_ratio").interval
        separates += said is not None and said.low > 1.0
        inverted += "calm_is_calm" in breached(found)
    assert separates <= 9
    assert inverted <= 3


def test_what_cannot_be_compared_is_not_assessed() -> None:
    fixed = regimes.Spoilt(capabilities=frozenset({Capability.REGIMES}))
    found = measure(CHECK, fixed, context_of())
    assert "does not declare refit" in found.find("least_adjusted_rand").reason
    silent: Subject = coin_flips(1, 2000)
    skipped = measure_safely(CHECK, silent, context_of())
    assert {item.status for item in skipped.evidence} == {"skipped"}


def test_heat_map_is_symmetric_and_the_same_seed_says_the_same() -> None:
    twice = [measure(CHECK, HiddenMarkov(starts=1), context_of()) for _ in range(2)]
    assert twice[0].digests == twice[1].digests
    (heat,) = twice[0].exhibits
    table = np.array([column.values for column in heat.columns[1:]], dtype=float)
    assert np.array_equal(table, table.T)
    assert (np.diagonal(table) == 1.0).all()


@pytest.mark.parametrize("wrong", [{"volatility_bars": 1}, {"draws": 10}])
def test_impossible_parameters_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError):
        RegimeStability(**wrong)
