"""Shares of variance agree with closed forms and refuse what has none."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from finchaos.core.errors import InputError, MissingDependencyError
from governance.statistics.sobol import sobol_indices


def ishigami(point: tuple[float, ...]) -> float:
    x, y, z = (np.pi * (2.0 * value - 1.0) for value in point)
    return float(np.sin(x) + 7.0 * np.sin(y) ** 2 + 0.1 * z**4 * np.sin(x))


def test_the_ishigami_function_has_its_closed_form() -> None:
    """Ishigami & Homma (1990), a = 7, b = 0.1, on (-pi, pi)."""
    pytest.importorskip("SALib")
    a, b = 7.0, 0.1
    alone = (0.5 * (1.0 + b * np.pi**4 / 5.0) ** 2, a**2 / 8.0, 0.0)
    jointly = b**2 * np.pi**8 * (1.0 / 18.0 - 1.0 / 50.0)
    whole = sum(alone) + jointly
    found = sobol_indices(("x", "y", "z"), ishigami, points=2048, seed=3)
    np.testing.assert_allclose(found.first, np.array(alone) / whole, atol=0.02)
    total = np.array([alone[0] + jointly, alone[1], jointly]) / whole
    np.testing.assert_allclose(found.total, total, atol=0.02)
    assert (found.first_error > 0.0).all()
    assert found.asked <= 2048 * 5


def test_a_sum_shares_out_squares_and_an_idle_factor_gets_nothing() -> None:
    pytest.importorskip("SALib")
    names = ("a", "b", "idle")
    weights = np.array([3.0, 1.0, 0.0])
    found = sobol_indices(names, lambda point: float(weights @ point), points=512, seed=1)
    np.testing.assert_allclose(found.first, [0.9, 0.1, 0.0], atol=0.02)
    np.testing.assert_allclose(found.total, [0.9, 0.1, 0.0], atol=0.02)
    assert found.first[2] == found.total[2] == 0.0


@pytest.mark.parametrize("answer", [lambda point: 3.0, lambda point: float("nan")])
def test_what_has_no_variance_is_refused(answer: object) -> None:
    pytest.importorskip("SALib")
    with pytest.raises(InputError):
        sobol_indices(("a", "b"), answer, points=8, seed=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("names", "points"), [(("a",), 8), (("a", "b"), 12), (("a", "b"), 4)])
def test_an_impossible_design_is_refused(names: tuple[str, ...], points: int) -> None:
    with pytest.raises(InputError, match="power of two"):
        sobol_indices(names, sum, points=points, seed=1)


def test_without_salib_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SALib.sample", None)
    with pytest.raises(MissingDependencyError, match="sensitivity"):
        sobol_indices(("a", "b"), sum, points=8, seed=1)
