"""R/S analysis against the published expectation, simulation, and a window at a time."""

from __future__ import annotations

import numpy as np
import pytest

from finchaos.core.errors import DataError
from finchaos.core.provenance import random_stream
from finchaos.features.rescaled_range import (
    HurstRescaledRange,
    expected_rescaled_range,
    rescaled_range,
)
from tests.finchaos.features.fractional import fractional_noise, values_of


def by_hand(returns: np.ndarray) -> float:
    walk = np.cumsum(returns - returns.mean())
    return float((max(walk.max(), 0.0) - min(walk.min(), 0.0)) / returns.std())


def exponent_by_hand(returns: np.ndarray, sizes: tuple[int, ...]) -> float:
    logs = []
    for n in sizes:
        boxes = returns[::-1][: len(returns) // n * n].reshape(-1, n)[:, ::-1]
        ratios = [by_hand(box) for box in boxes if np.ptp(box) > 0.0]
        logs.append(np.log(np.mean(ratios) / expected_rescaled_range(n)))
    return float(np.clip(0.5 + np.polyfit(np.log(sizes), logs, 1)[0], 0.0, 1.0))


def test_the_expectation_is_the_published_one() -> None:
    assert expected_rescaled_range(64) == pytest.approx(8.8955240, abs=5e-8)
    with pytest.raises(DataError, match="count"):
        expected_rescaled_range(1)


def test_the_expectation_is_that_of_normal_returns() -> None:
    """Without Peters's factor Anis and Lloyd's expectation is exact."""
    noise = random_stream(1, "test.rs").standard_normal((20_000, 16))
    found = np.mean([rescaled_range(row) for row in noise])
    assert found == pytest.approx(expected_rescaled_range(16) * 16.0 / 15.5, rel=0.01)


def test_one_box_by_hand() -> None:
    returns = random_stream(2, "test.rs/box").standard_t(3, 50)
    assert rescaled_range(returns) == pytest.approx(by_hand(returns), rel=1e-12)
    assert rescaled_range.py_func(returns) == pytest.approx(rescaled_range(returns), rel=1e-14)
    assert rescaled_range(np.full(9, 0.1)) == 0.0
    assert rescaled_range(np.zeros(9)) == 0.0


@pytest.mark.parametrize(("window", "sizes"), [(64, (8, 16, 32)), (107, (8, 16, 32))])
def test_every_window(window: int, sizes: tuple[int, ...]) -> None:
    rng = random_stream(3, "test.rs/windows")
    returns = 0.01 * rng.standard_t(3, 400)
    returns[150:190] *= 1e-6
    returns[250:270] = 0.0
    found = values_of(HurstRescaledRange(window), returns)
    assert (found[: window - 1] == 0.5).all()
    for end in range(window, 401):
        hurst = exponent_by_hand(returns[end - window : end], sizes)
        assert found[end - 1] == pytest.approx(hurst, abs=1e-9)


def test_independent_returns_have_half_and_others_their_order() -> None:
    means = []
    for hurst in (0.3, 0.5, 0.7):
        noise = fractional_noise(hurst, 256, 400, random_stream(4, f"test.rs/{hurst}"))
        means.append(values_of(HurstRescaledRange(256), noise)[-1].mean())
    assert means[0] == pytest.approx(0.33, abs=0.03)
    assert means[1] == pytest.approx(0.48, abs=0.03)
    assert means[2] == pytest.approx(0.62, abs=0.03)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"window": 15}, "window"),
        ({"window": 100, "box_min": 2.5}, "box_min"),
        ({"window": 100, "box_share": 0.6}, "box_share"),
        ({"window": 40}, "too few sizes"),
    ],
)
def test_wrong_boxes_are_refused(params: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        HurstRescaledRange(**params)
