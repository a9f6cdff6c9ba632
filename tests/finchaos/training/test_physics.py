"""The Heston losses against the exact law of the variance."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from finchaos.core.errors import InputError
from finchaos.training.physics import (
    HestonParameters,
    drift_residual,
    feller_violation,
    heston_drift,
    implied_parameters,
)

DT = 1.0 / 252.0
KAPPA, THETA, XI = 3.0, 0.04, 0.4


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def expected_path(start: float, kappa: Tensor, theta: Tensor) -> Tensor:
    """A path on which every variance is the expectation given the one before."""
    values = [number(start)]
    for k, level in zip(kappa, theta, strict=True):
        values.append(level + (values[-1] - level) * torch.exp(-k * DT))
    return torch.stack(values)[None]


def exact_paths(paths: int, bars: int, seed: int = 1, xi: float = XI) -> Tensor:
    """CIR by its exact non-central chi-square law."""
    rng = np.random.default_rng(seed)
    decay = math.exp(-KAPPA * DT)
    scale = xi**2 * (1 - decay) / (4 * KAPPA)
    v = np.full((paths, bars), THETA)
    for t in range(1, bars):
        freedom = 4 * KAPPA * THETA / xi**2
        v[:, t] = scale * rng.noncentral_chisquare(freedom, v[:, t - 1] * decay / scale)
    return torch.from_numpy(v)


def test_no_residual_on_exact_expectations_regime_by_regime() -> None:
    regimes = torch.arange(60) // 20 % 2
    kappa, theta = number(3.0).expand(60), torch.tensor([0.02, 0.16]).double()[regimes]
    path = expected_path(0.09, kappa, theta)
    assert float(drift_residual(path, kappa, theta, DT).abs().max()) < 1e-16
    assert float(heston_drift(path, kappa, theta, DT, regimes=regimes[None]).mean) < 1e-20
    # Under the parameters of one regime alone it is not.
    assert float(heston_drift(path, number(3.0), number(0.02), DT).mean) > 0.1


def test_mean_residual_of_euler_is_of_second_order_and_seen() -> None:
    half_year = 0.5
    path = torch.tensor([[0.09, 0.09 + KAPPA * (THETA - 0.09) * half_year]], dtype=torch.float64)
    residual = float(drift_residual(path, number(KAPPA), number(THETA), half_year))
    euler_error = (THETA - 0.09) * (KAPPA * half_year + math.expm1(-KAPPA * half_year))
    assert residual == pytest.approx(euler_error)


def test_least_at_the_least_squares_line() -> None:
    """An independent oracle: numpy's regression of each variance on the one before."""
    v = exact_paths(1, 4000)
    slope, intercept = np.polyfit(v[0, :-1], v[0, 1:], 1)
    kappa = number(-math.log(slope) / DT).requires_grad_()
    theta = number(intercept / (1 - slope)).requires_grad_()
    least = heston_drift(v, kappa, theta, DT).mean
    least.backward()
    assert float(least.detach()) < 1e-18
    assert kappa.grad is not None
    assert float(kappa.grad.abs()) < 1e-9
    for k, level in ((1.2, 1.0), (0.8, 1.0), (1.0, 1.1), (1.0, 0.9)):
        with torch.no_grad():
            assert float(heston_drift(v, kappa * k, theta * level, DT).mean) > 1e-4
    found = implied_parameters(v, DT)
    assert float(found.kappa) == pytest.approx(float(kappa.detach()), rel=1e-9)
    assert float(found.theta) == pytest.approx(float(theta.detach()), rel=1e-9)


def test_noise_of_the_variance_is_not_penalised() -> None:
    """The truth scores far below a wrong drift, though its single changes are mostly noise."""
    v = exact_paths(400, 500)
    right = float(heston_drift(v, number(KAPPA), number(THETA), DT).mean)
    wrong = float(heston_drift(v, number(KAPPA), number(2 * THETA), DT).mean)
    assert right < 0.01 * wrong
    pointwise = float(
        (drift_residual(v, number(KAPPA), number(THETA), DT) / DT / THETA).square().mean()
    )
    assert pointwise > 100 * right


def test_implied_parameters_are_those_of_the_exact_law() -> None:
    found = implied_parameters(exact_paths(60, 6000), DT)
    for values, truth in zip(found, (KAPPA, THETA, XI), strict=True):
        se = float(values.std()) / math.sqrt(60)
        # The slope of a short autoregression is biased: (1 + 3 s) / n, here 0.17 in kappa.
        bias = 4 / 6000 / DT if truth == KAPPA else 0.0
        assert float(values.mean()) - bias == pytest.approx(truth, abs=4 * se + 1e-3 * truth)


def test_feller_is_hurt_only_beyond_its_bound() -> None:
    xi = torch.tensor([0.3, math.sqrt(2 * KAPPA * THETA), 0.6]).double().requires_grad_()
    loss = feller_violation(HestonParameters(number(KAPPA).expand(3), number(THETA).expand(3), xi))
    loss.mean.backward()
    assert float(loss.mean.detach()) == pytest.approx((0.36 - 2 * KAPPA * THETA) / 3)
    assert xi.grad is not None
    assert float(xi.grad[0]) == 0.0
    assert float(xi.grad[2]) == pytest.approx(2 * 0.6 / 3)


def test_gradients_are_those_of_the_losses() -> None:
    v = exact_paths(3, 12).requires_grad_()
    kappa, theta = number(KAPPA).requires_grad_(), number(THETA).requires_grad_()
    regimes = torch.tensor([[0] * 5 + [1] * 6, [1] * 11, [0] * 10 + [-1]])
    check = torch.autograd.gradcheck
    assert check(lambda *x: heston_drift(*x, DT, regimes=regimes).mean, (v, kappa, theta), eps=1e-8)
    assert check(
        lambda x: feller_violation(implied_parameters(x, 0.3)).mean,
        (v.detach()[:, ::3].requires_grad_(),),
        eps=1e-9,
    )
    assert check(
        lambda k, t, x: feller_violation(HestonParameters(k, t, x)).mean,
        (kappa, theta, number(0.9).requires_grad_()),
    )


def test_unknown_variances_and_regimes_do_not_count() -> None:
    v = exact_paths(2, 30)
    kappa = number(2.0).requires_grad_()
    regimes = torch.zeros(2, 29, dtype=torch.long)
    known = heston_drift(v[:1], kappa, number(THETA), DT)
    torn = v.clone()
    torn[1] = math.nan
    masked = heston_drift(torn, kappa, number(THETA), DT)
    assert float(masked.mean.detach()) == pytest.approx(float(known.mean.detach()), rel=1e-12)
    assert float(masked.weight) == 29.0
    masked.mean.backward()
    assert kappa.grad is not None
    assert bool(torch.isfinite(kappa.grad))
    regimes[1] = -1
    with torch.no_grad():
        masked = heston_drift(v, kappa, number(THETA), DT, regimes=regimes)
    assert float(masked.mean) == pytest.approx(float(known.mean.detach()), rel=1e-12)
    none = heston_drift(torch.full((1, 5), math.nan), number(2.0), number(THETA), DT)
    assert (float(none.mean), float(none.weight)) == (0.0, 0.0)


BAD: dict[str, Callable[[], object]] = {
    "one bar": lambda: drift_residual(torch.ones(1, 1), number(1), number(1), DT),
    "no batch": lambda: drift_residual(torch.ones(5), number(1), number(1), DT),
    "dt": lambda: drift_residual(torch.ones(1, 5), number(1), number(1), 0.0),
    "regimes' shape": lambda: heston_drift(
        torch.ones(1, 5), number(1), number(1), DT, regimes=torch.zeros(1, 5, dtype=torch.long)
    ),
    "regimes' type": lambda: heston_drift(
        torch.ones(1, 5), number(1), number(1), DT, regimes=torch.zeros(1, 4)
    ),
    "two bars to fit": lambda: implied_parameters(torch.ones(1, 2), DT),
    "unknown bars to fit": lambda: implied_parameters(torch.tensor([[1.0, math.nan, 1.0]]), DT),
}


@pytest.mark.parametrize("name", BAD)
def test_impossible_input_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        BAD[name]()
