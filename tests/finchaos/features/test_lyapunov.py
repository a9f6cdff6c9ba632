"""Lyapunov exponents of systems that have a published one."""

from __future__ import annotations

import numpy as np
import pytest

from finchaos.core.errors import DataError
from finchaos.core.provenance import random_stream
from finchaos.features.lyapunov import (
    LargestLyapunov,
    largest_lyapunov,
    lyapunov_loop,
    nearest,
    neighbours,
    rosenstein,
)
from tests.finchaos.features.fractional import henon, logistic, lorenz, moves_of, values_of

PARAMS = {"dimension": 2, "lag": 2, "theiler": 3, "fit_from": 1, "fit_to": 4}


def by_hand(x: np.ndarray, dimension: int, lag: int, theiler: int, a: int, b: int) -> float:
    points = len(x) - (dimension - 1) * lag - b
    vectors = np.array([x[i : i + dimension * lag : lag] for i in range(points + b)])
    apart = np.linalg.norm(vectors[:points, None] - vectors[None, :points], axis=2)
    near = np.abs(np.subtract.outer(np.arange(points), np.arange(points))) <= theiler
    apart[near | (apart == 0.0)] = np.inf
    other = apart.argmin(axis=1)
    other = np.where(np.isfinite(apart.min(axis=1)), other, -1)
    here = np.flatnonzero(other >= 0)
    logs = []
    for ahead in range(a, b + 1):
        gaps = np.linalg.norm(vectors[here + ahead] - vectors[other[here] + ahead], axis=1)
        logs.append(np.log(gaps[gaps > 0.0]).mean())
    return float(np.polyfit(np.arange(a, b + 1), logs, 1)[0])


def test_the_logistic_map_doubles_distances() -> None:
    found = largest_lyapunov(logistic(5000), dimension=2, lag=1, theiler=10, fit_from=0, fit_to=5)
    assert found == pytest.approx(np.log(2.0), abs=0.01)


def test_henon() -> None:
    found = largest_lyapunov(henon(5000), dimension=2, lag=1, theiler=10, fit_from=1, fit_to=8)
    assert found == pytest.approx(0.419, abs=0.015)


@pytest.mark.parametrize(("start", "stop"), [(1.0, 3.0), (0.5, 2.0)])
def test_lorenz(start: float, stop: float) -> None:
    """The method's own spread over fits and stretches of 400 units of time is 0.84 to 0.93."""
    step = 0.02
    found = largest_lyapunov(
        lorenz(20_000, step),
        dimension=5,
        lag=5,
        theiler=100,
        fit_from=round(start / step),
        fit_to=round(stop / step),
    )
    assert found / step == pytest.approx(0.906, abs=0.06)


def test_a_circle_has_none() -> None:
    series = np.sin(np.arange(3000) * 0.1 * np.sqrt(2.0))
    found = largest_lyapunov(series, dimension=2, lag=10, theiler=50, fit_from=0, fit_to=40)
    assert found == pytest.approx(0.0, abs=2e-3)


def test_neighbours_of_the_tree_are_those_of_the_search() -> None:
    rng = random_stream(1, "test.neighbours")
    series = np.r_[np.cumsum(rng.standard_normal(300)), np.ones(30)]
    vectors = np.column_stack([series[:-4], series[4:]])
    found = neighbours(vectors, 9)
    plain = [nearest(series, point, len(vectors), 2, 4, 9) for point in range(len(vectors))]
    gaps = [np.linalg.norm(vectors[found] - vectors, axis=1)] * 2
    gaps[1] = np.linalg.norm(vectors[plain] - vectors, axis=1)
    assert gaps[0] == pytest.approx(gaps[1], rel=1e-14)
    assert (np.abs(found - np.arange(len(found))) > 9).all()
    assert (neighbours(vectors, len(vectors)) == -1).all()


def test_every_refresh_by_hand_and_held_in_between() -> None:
    returns = 0.01 * random_stream(2, "test.lyapunov").standard_t(4, 200)
    found = values_of(LargestLyapunov(60, **PARAMS, stride=7), returns)
    assert (found[:59] == 0.0).all()
    for end in range(60, 201):
        fresh = end - (end - 60) % 7
        window = returns[fresh - 60 : fresh]
        assert found[end - 1] == pytest.approx(by_hand(window, 2, 2, 3, 1, 4), abs=1e-10)
        whole = largest_lyapunov(window, **PARAMS)
        assert found[end - 1] == pytest.approx(whole, abs=1e-10)


def test_compiled_and_plain_loops_agree() -> None:
    moves = moves_of(random_stream(3, "test.plain").standard_normal((90, 2)))
    formula = LargestLyapunov(60, **PARAMS, stride=20)
    plain = formula.open(2)
    plain._loop = lyapunov_loop.py_func
    assert plain.advance(moves) == pytest.approx(formula.open(2).advance(moves), abs=1e-12)
    series = np.ascontiguousarray(moves.log_return[:60, 0])
    assert rosenstein.py_func(series, *formula.whole) == pytest.approx(
        rosenstein(series, *formula.whole), abs=1e-12
    )


def test_without_points_apart_there_is_no_exponent() -> None:
    with pytest.raises(DataError, match="no two points apart"):
        largest_lyapunov(np.ones(100), **PARAMS)
    assert (values_of(LargestLyapunov(60, **PARAMS, stride=7), np.zeros(100)) == 0.0).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dimension": 0}, "dimension"),
        ({"lag": 0}, "lag"),
        ({"theiler": -1}, "theiler"),
        ({"fit_from": -1}, "fit_from"),
        ({"fit_to": 1}, "fit_to"),
        ({"theiler": 50}, "window"),
        ({"stride": 0}, "stride"),
        ({"lag": 1.5}, "lag"),
    ],
)
def test_wrong_parameters_are_refused(changed: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        LargestLyapunov(**{"window": 60, **PARAMS, "stride": 7, **changed})


def test_unusable_series_are_refused() -> None:
    with pytest.raises(DataError, match="finite"):
        largest_lyapunov(np.r_[np.ones(60), np.nan], **PARAMS)
    with pytest.raises(DataError, match="window"):
        largest_lyapunov(np.arange(10.0), **PARAMS)
