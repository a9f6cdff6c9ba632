"""Each loss: reference values, its gradient, its minimum, what is unknown, what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from finchaos.core.errors import InputError
from finchaos.training.losses import (
    Loss,
    binary_focal,
    directional,
    focal,
    huber,
    ordered_quantiles,
    pinball,
    weighted_mean,
)

NAN = math.nan
RETURNS = torch.tensor([0.02, -0.01, 0.005, NAN, -0.03, 0.0], dtype=torch.float64)
LABELS = torch.tensor([1.0, 0.0, 1.0, NAN, 0.0, 1.0], dtype=torch.float64)
CLASSES = torch.tensor([0, 2, 1, -1, 2, 0])


def said(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


CASES: dict[str, tuple[Callable[[Tensor], Loss], tuple[int, ...]]] = {
    "huber": (lambda x: huber(x, RETURNS * 100.0, 1.5), (6,)),
    "directional": (lambda x: directional(x, RETURNS, margin=0.2, softness=0.5), (6,)),
    "directional, equal": (lambda x: directional(x, RETURNS, size_power=0.0), (6,)),
    "pinball": (lambda x: pinball(ordered_quantiles(x), RETURNS, [0.1, 0.5, 0.9]), (6, 3)),
    "binary focal": (lambda x: binary_focal(x, LABELS, positive_share=0.3), (6,)),
    "binary focal, small gamma": (lambda x: binary_focal(x, LABELS, gamma=0.5), (6,)),
    "focal": (lambda x: focal(x, CLASSES, gamma=1.5, shares=[1.0, 2.0, 0.5]), (6, 3)),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_the_loss(name: str) -> None:
    loss, shape = CASES[name]
    assert torch.autograd.gradcheck(lambda x: loss(x).mean, (said(*shape),))


@pytest.mark.parametrize("name", CASES)
def test_what_is_unknown_has_no_gradient_and_no_weight(name: str) -> None:
    loss, shape = CASES[name]
    x = said(*shape)
    found = loss(x)
    found.mean.backward()
    assert x.grad is not None
    assert not x.grad[3].any()
    assert bool(torch.isfinite(x.grad).all())
    assert float(found.weight) > 0
    assert not found.weight.requires_grad
    other = x.detach().clone()
    other[3] = 1e6
    assert float(loss(other).mean) == float(found.mean.detach())


def test_nothing_known_is_a_loss_of_zero() -> None:
    none = torch.full((4,), NAN, dtype=torch.float64)
    for loss in (
        huber(said(4), none),
        directional(said(4), none),
        pinball(said(4, 2), none, [0.1, 0.9]),
        binary_focal(said(4), none),
        focal(said(4, 3), torch.full((4,), -1)),
    ):
        loss.mean.backward()
        assert (float(loss.mean.detach()), float(loss.weight)) == (0.0, 0.0)


def test_means_over_parts_make_the_mean_over_the_whole() -> None:
    values, weights = said(10).detach(), torch.arange(10.0, dtype=torch.float64)
    parts = [weighted_mean(values[k], weights[k]) for k in (slice(0, 4), slice(4, 10))]
    joined = sum(part.mean * part.weight for part in parts) / sum(part.weight for part in parts)
    assert float(joined) == pytest.approx(np.average(values, weights=weights), rel=1e-12)


def test_huber_at_published_points() -> None:
    at = [float(huber(torch.zeros(1), torch.tensor([x]), 1.5).mean) for x in (0.5, 1.5, 3.0)]
    assert at == [0.125, 1.125, 3.375]


def best_constant(loss: Callable[[Tensor], Loss], low: float = -9.0, high: float = 9.0) -> float:
    """Where a loss of one number is least."""
    found = optimize.minimize_scalar(
        lambda x: float(loss(torch.tensor(x, dtype=torch.float64)).mean),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(found.x)


def test_huber_is_least_between_median_and_mean() -> None:
    x = torch.from_numpy(np.random.default_rng(1).exponential(size=501))
    assert best_constant(lambda c: huber(c.expand(501), x, 100.0)) == pytest.approx(
        float(x.mean()), abs=1e-6
    )
    assert best_constant(lambda c: huber(c.expand(501), x, 1e-4)) == pytest.approx(
        float(x.median()), abs=1e-3
    )


@pytest.mark.parametrize("margin", [0.0, 0.4])
def test_directional_is_least_at_its_closed_form(margin: float) -> None:
    r = torch.tensor([0.03, 0.01, -0.02, 0.005, -0.001, 0.0], dtype=torch.float64)
    tau, up, down = 0.7, 0.045, 0.021
    found = best_constant(lambda c: directional(c.expand(6), r, margin=margin, softness=tau))
    if margin:
        k = math.exp(-margin / tau)
        root = math.sqrt((up - down) ** 2 + 4 * up * down * k * k)
        expected = tau * math.log((up - down + root) / (2 * down * k))
    else:
        expected = tau * math.log(up / down)
    assert found == pytest.approx(expected, abs=1e-6)


def test_directional_follows_the_mean_or_the_median_as_returns_weigh() -> None:
    """One crash outweighs three small gains by size, and not by number."""
    r = torch.tensor([0.01, 0.01, 0.01, -0.08], dtype=torch.float64)
    assert best_constant(lambda c: directional(c.expand(4), r)) < 0 < float(r.median())
    assert (
        best_constant(lambda c: directional(c.expand(4), r, size_power=0.0)) > 0 > float(r.mean())
    )


def test_directional_with_a_hard_edge_is_a_hinge() -> None:
    f = torch.tensor([0.5, -0.5, 2.0], dtype=torch.float64)
    r = torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64)
    loss = directional(f, r, margin=1.0, softness=1e-6)
    assert float(loss.mean) == pytest.approx((0.5 + 1.5 + 0.0) / 3)


@given(st.sampled_from([0.05, 0.25, 0.5, 0.9]), st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_pinball_is_least_at_the_empirical_quantile(level: float, seed: int) -> None:
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=101))
    lowest = best_constant(lambda c: pinball(c.expand(101, 1), x, [level]))
    value = float(pinball(torch.full((101, 1), lowest, dtype=torch.float64), x, [level]).mean)
    exact = float(np.quantile(x, level, method="inverted_cdf"))
    at_quantile = pinball(torch.full((101, 1), exact, dtype=torch.float64), x, [level])
    assert value == pytest.approx(float(at_quantile.mean), abs=1e-8)
    assert float((x <= lowest + 1e-6).double().mean()) >= level - 1e-9
    assert float((x < lowest - 1e-6).double().mean()) <= level + 1e-9


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=7))
@settings(deadline=None)
def test_ordered_quantiles_never_cross_and_reach_every_increasing_row(raw: list[float]) -> None:
    rows = ordered_quantiles(torch.tensor(raw, dtype=torch.float64))
    assert float(rows[0]) == raw[0]
    assert bool((rows.diff() > 0).all())


def test_focal_without_gamma_is_cross_entropy() -> None:
    x, known = said(6).detach(), ~torch.isnan(LABELS)
    expected = binary_cross_entropy_with_logits(x[known], LABELS[known])
    assert float(binary_focal(x, LABELS, gamma=0.0).mean) == pytest.approx(float(expected))
    many = said(6, 3).detach()
    expected = cross_entropy(many, CLASSES, ignore_index=-1)
    assert float(focal(many, CLASSES, gamma=0.0).mean) == pytest.approx(float(expected))


def test_focal_of_two_classes_is_the_binary_one() -> None:
    x = said(5).detach()
    labels = torch.tensor([0, 1, 1, 0, -1])
    both = torch.stack([torch.zeros_like(x), x], dim=-1)
    binary = binary_focal(x, torch.where(labels < 0, NAN, labels.double()), gamma=1.3)
    assert float(focal(both, labels, gamma=1.3).mean) == pytest.approx(float(binary.mean))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_is_least_where_its_derivative_says(gamma: float) -> None:
    """At a true probability of 0.8: itself for gamma 0, between it and one half above."""
    truth = torch.tensor([1.0] * 8 + [0.0] * 2, dtype=torch.float64)
    p = special.expit(best_constant(lambda c: binary_focal(c.expand(10), truth, gamma=gamma)))

    def slope(q: float) -> float:
        def part(x: float) -> float:
            return (1 - x) ** gamma / x - gamma * (1 - x) ** (gamma - 1) * math.log(x)

        return 0.8 * part(q) - 0.2 * part(1 - q)

    assert p == pytest.approx(optimize.brentq(slope, 0.5, 0.99), abs=1e-6)
    assert (p == pytest.approx(0.8, abs=1e-6)) == (gamma == 0.0)


def test_focal_of_certainty_is_finite_in_value_and_gradient() -> None:
    for gamma in (0.0, 0.5, 2.0):
        x = torch.tensor([800.0, -800.0, 800.0], requires_grad=True)
        loss = binary_focal(x, torch.tensor([1.0, 0.0, 0.0]), gamma=gamma).mean
        loss.backward()
        assert float(loss.detach()) == pytest.approx(800.0 / 3)
        assert x.grad is not None
        assert bool(torch.isfinite(x.grad).all())
        many = torch.tensor([[900.0, 0.0, 0.0]], requires_grad=True)
        focal(many, torch.tensor([0]), gamma=gamma).mean.backward()
        assert many.grad is not None
        assert bool(torch.isfinite(many.grad).all())


BAD: dict[str, Callable[[], Loss]] = {
    "shapes": lambda: huber(torch.zeros(2), torch.zeros(2, 1)),
    "delta": lambda: huber(torch.zeros(2), torch.zeros(2), 0.0),
    "softness": lambda: directional(torch.zeros(2), torch.zeros(2), softness=0.0),
    "margin": lambda: directional(torch.zeros(2), torch.zeros(2), margin=-1.0),
    "size power": lambda: directional(torch.zeros(2), torch.zeros(2), size_power=math.inf),
    "no level": lambda: pinball(torch.zeros(2, 0), torch.zeros(2), []),
    "level of one": lambda: pinball(torch.zeros(2, 1), torch.zeros(2), [1.0]),
    "falling levels": lambda: pinball(torch.zeros(2, 2), torch.zeros(2), [0.9, 0.1]),
    "too few quantiles": lambda: pinball(torch.zeros(2, 1), torch.zeros(2), [0.1, 0.9]),
    "gamma": lambda: binary_focal(torch.zeros(2), torch.zeros(2), gamma=-1.0),
    "label": lambda: binary_focal(torch.zeros(2), torch.full((2,), 0.5)),
    "share": lambda: binary_focal(torch.zeros(2), torch.zeros(2), positive_share=1.0),
    "class": lambda: focal(torch.zeros(2, 3), torch.tensor([0, 3])),
    "float classes": lambda: focal(torch.zeros(2, 3), torch.zeros(2)),
    "one class": lambda: focal(torch.zeros(2, 1), torch.zeros(2, dtype=torch.long)),
    "shares": lambda: focal(torch.zeros(2, 3), torch.tensor([0, 1]), shares=[1.0, 2.0]),
}


@pytest.mark.parametrize("name", BAD)
def test_impossible_input_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        BAD[name]()
