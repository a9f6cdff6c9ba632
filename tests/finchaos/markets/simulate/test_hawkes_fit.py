"""Residuals and likelihoods against sums and integrals over all of the past; estimates."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from finchaos.core.errors import DataError, InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.hawkes import HawkesEvents, HawkesLaw, simulate_hawkes
from finchaos.markets.simulate.hawkes_fit import (
    fit_univariate,
    log_likelihood,
    residuals,
    univariate_log_likelihood,
)
from tests.finchaos.markets.simulate.test_hawkes import ONE, TWO


def stream(name: str) -> np.random.Generator:
    return random_stream(5, f"test.hawkes_fit.{name}")


def intensity(law: HawkesLaw, events: HawkesEvents, time: float, channel: int) -> float:
    """By the definition."""
    found = law.base[channel]
    for s, j in zip(events.time, events.channel, strict=True):
        if s < time:
            for part, decay in zip(law.excitation, law.decay, strict=True):
                found += part[channel][j] * np.exp(-decay * (time - s))
    return float(found)


def test_likelihood_and_residuals_by_the_definition() -> None:
    events = simulate_hawkes(TWO, 15.0, stream("definition"))
    assert len(events) > 10
    edges = [0.0, *events.time.tolist(), 15.0]

    def area(channel: int, start: float, stop: float) -> float:
        cuts = [x for x in edges if start <= x <= stop]
        return sum(
            quad(lambda t: intensity(TWO, events, t, channel), a, b)[0] for a, b in pairwise(cuts)
        )

    logs = sum(
        np.log(intensity(TWO, events, t, c))
        for t, c in zip(events.time, events.channel, strict=True)
    )
    expected = logs - area(0, 0.0, 15.0) - area(1, 0.0, 15.0)
    assert log_likelihood(TWO, events) == pytest.approx(expected, rel=1e-7)
    found = residuals(TWO, events)
    last = {0: 0.0, 1: 0.0}
    for k, (t, c) in enumerate(zip(events.time, events.channel.tolist(), strict=True)):
        assert found[k] == pytest.approx(area(c, last[c], t), rel=1e-6)
        last[c] = t


@pytest.mark.parametrize("law", [ONE, TWO], ids=["one", "two"])
def test_time_rescaled_events_are_a_unit_poisson_process(law: HawkesLaw) -> None:
    events = simulate_hawkes(law, 20_000.0, stream("rescaled"))
    found = residuals(law, events)
    for channel in range(law.channels):
        own = found[events.channel == channel]
        assert len(own) > 5_000
        assert stats.kstest(own, "expon").pvalue > 0.01
        assert abs(np.corrcoef(own[1:], own[:-1])[0, 1]) < 4 / np.sqrt(len(own))


def test_the_rescaling_test_has_power() -> None:
    events = simulate_hawkes(ONE, 5_000.0, stream("power"))
    for wrong in (HawkesLaw.univariate(2.5, 0.0, 1.0), HawkesLaw.univariate(1.0, 1.2, 2.0)):
        assert stats.kstest(residuals(wrong, events), "expon").pvalue < 1e-6


def test_the_branching_ratio_is_recovered() -> None:
    events = simulate_hawkes(ONE, 20_000.0, stream("fit"))
    law = fit_univariate(events.time, events.horizon)
    assert law.branching_ratio == pytest.approx(0.6, abs=0.02)
    assert law.base[0] == pytest.approx(1.0, abs=0.05)
    assert law.decay[0] == pytest.approx(1.0, abs=0.08)
    # The truth is no likelier than the estimate, and by no more than chance allows.
    gain = log_likelihood(law, events) - log_likelihood(ONE, events)
    assert 0 <= 2 * gain < stats.chi2.ppf(0.999, 3)


def test_two_forms_of_the_likelihood_agree() -> None:
    events = simulate_hawkes(ONE, 300.0, stream("forms"))
    for base, branching, decay in ((1.0, 0.6, 1.0), (0.3, 0.2, 7.0)):
        law = HawkesLaw.univariate(base, branching * decay, decay)
        short = univariate_log_likelihood(events.time, 300.0, base, branching, decay)
        assert short == pytest.approx(log_likelihood(law, events), rel=1e-10)


def test_events_that_cannot_be_used_are_refused() -> None:
    good = np.linspace(0.1, 99.0, 200)
    for bad in (good[:50], good[::-1], good + 2.0, np.append(good, np.nan), good.reshape(2, 100)):
        with pytest.raises(DataError, match="cannot be used"):
            fit_univariate(bad, 100.0)
    strange = HawkesEvents(np.array([1.0]), np.array([2]), 3.0, 3)
    for measure in (residuals, log_likelihood):
        with pytest.raises(InputError, match="other channels than the law"):
            measure(TWO, strange)
