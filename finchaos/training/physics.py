"""What Heston's model asks of a variance that a network tracks.

Within a regime the variance follows ``dv = kappa (theta - v) dt + xi sqrt(v) dW``, so that

    E[v(t + dt) | v(t)] = theta + (v(t) - theta) exp(-kappa dt),

and it stays above zero if ``2 kappa theta >= xi ** 2`` (Feller). The law holds in the mean only:
single changes are mostly noise, and a loss on each of them would ask for a path without any.
Penalised is therefore the mean of the residuals, and that of their product with the variance.

References
----------
Cox, Ingersoll and Ross (1985), Econometrica 53(2), eq. 17-19: the law and its moments.
Feller (1951), Annals of Mathematics 54(1).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from finchaos.core.errors import InputError
from finchaos.training.losses import Loss

_SLOPE_MARGIN = 1e-6
_SMALLEST = 1e-30


class HestonParameters(NamedTuple):
    """Parameters of the variance per year, tensors of one shape.

    Attributes
    ----------
    kappa, theta, vol_of_vol : torch.Tensor
    """

    kappa: Tensor
    theta: Tensor
    vol_of_vol: Tensor


def drift_residual(variance: Tensor, kappa: Tensor, theta: Tensor, dt: float) -> Tensor:
    """Next variance less its expectation, shape (b, t - 1).

    Parameters
    ----------
    variance : torch.Tensor, shape (b, t)
        Annual variance; NaN where unknown.
    kappa, theta : torch.Tensor
        That broadcast to (b, t - 1): of the regime that rules from a bar to the next.
    dt : float
        Years of a bar.

    Examples
    --------
    >>> kappa, theta = torch.tensor([3.0, 0.04], dtype=torch.float64)
    >>> start = torch.tensor([[0.09]], dtype=torch.float64)
    >>> after = 0.04 + 0.05 * torch.exp(torch.tensor([[-3.0 / 252]], dtype=torch.float64))
    >>> path = torch.cat([start, after], dim=1)
    >>> float(drift_residual(path, kappa, theta, 1 / 252).abs()) < 1e-15
    True
    """
    _check_path(variance, dt)
    before, after = variance[:, :-1], variance[:, 1:]
    return (after - before) - torch.expm1(-kappa * dt) * (before - theta)


def heston_drift(
    variance: Tensor,
    kappa: Tensor,
    theta: Tensor,
    dt: float,
    *,
    regimes: Tensor | None = None,
) -> Loss:
    """Squared means of the drift residuals, regime by regime.

    For each regime two means are squared: that of the residual, and that of the residual times the
    relative distance of the variance from its mean. Both are in units of the regime's mean variance
    per year, and regimes weigh as their bars do. The loss is zero where the variance is drawn to
    theta at the speed kappa; for free kappa and theta that is the least-squares line of
    ``v(t + dt)`` on ``v(t)``.

    Parameters
    ----------
    variance, kappa, theta, dt
        As for :func:`drift_residual`.
    regimes : torch.Tensor of integers, shape (b, t - 1), optional
        Which regime rules from a bar to the next; below zero where unknown, which bars do not
        count. One regime by default.

    Raises
    ------
    InputError
        If shapes do not fit or dt is not positive.
    """
    _check_path(variance, dt)
    finite = torch.isfinite(variance)
    # Unknown variances go before the residual: times a gradient of zero they would still be NaN.
    variance = torch.where(finite, variance, 0.0)
    residual = drift_residual(variance, kappa, theta, dt)
    labels = residual.new_zeros(residual.shape, dtype=torch.long) if regimes is None else regimes
    if labels.shape != residual.shape or labels.is_floating_point():
        raise InputError(
            "regimes must be integers, one a change of the variance",
            expected=str(tuple(residual.shape)),
            got=f"{labels.dtype}, {tuple(labels.shape)}",
        )
    known = finite[:, :-1] & finite[:, 1:] & (labels >= 0)
    residual = torch.where(known, residual, 0.0)
    before = torch.where(known, variance[:, :-1], 0.0)
    member = (one_hot(labels.clamp(min=0).long()) * known.unsqueeze(-1)).to(residual.dtype)
    count = member.sum((0, 1))
    share = member / count.clamp(min=1)
    level = torch.einsum("btg,bt->g", share, before).clamp(min=_SMALLEST)
    off = (residual.unsqueeze(-1) / (level * dt)) * share
    first = off.sum((0, 1))
    second = (off * (before.unsqueeze(-1) / level - 1.0)).sum((0, 1))
    total = count.sum()
    mean = ((first.square() + second.square()) * count).sum() / total.clamp(min=1)
    return Loss(mean, total.detach())


def implied_parameters(variance: Tensor, dt: float) -> HestonParameters:
    """Parameters that the variance of each path implies, shape (b,); differentiable.

    kappa and theta are those of the least-squares line of ``v(t + dt)`` on ``v(t)``; vol_of_vol
    makes the sum of the squared residuals its expectation. A slope outside (0, 1), which no
    Heston model has, is moved to its border and gives no gradient.

    Parameters
    ----------
    variance : torch.Tensor, shape (b, t)
        Annual variance, t >= 3, all known.
    dt : float
        Years of a bar.
    """
    _check_path(variance, dt)
    if variance.shape[1] < 3 or not bool(torch.isfinite(variance).all()):
        raise InputError("parameters are read from paths of three bars or more, all known")
    before, after = variance[:, :-1], variance[:, 1:]
    x = before - before.mean(-1, keepdim=True)
    y = after - after.mean(-1, keepdim=True)
    slope = (x * y).sum(-1) / x.square().sum(-1).clamp(min=_SMALLEST)
    slope = slope.clamp(_SLOPE_MARGIN, 1.0 - _SLOPE_MARGIN)
    theta = (after.mean(-1) - slope * before.mean(-1)) / (1.0 - slope)
    kappa = -torch.log(slope) / dt
    fitted = theta.unsqueeze(-1) + slope.unsqueeze(-1) * (before - theta.unsqueeze(-1))
    # Var[v(t + dt) | v] = xi^2 / kappa [v s (1 - s) + theta (1 - s)^2 / 2], s = exp(-kappa dt).
    per_unit = slope * (1.0 - slope) * before.mean(-1) + theta * (1.0 - slope).square() / 2.0
    square = kappa * (after - fitted).square().mean(-1) / per_unit.clamp(min=_SMALLEST)
    return HestonParameters(kappa, theta, square.clamp(min=_SMALLEST).sqrt())


def feller_violation(parameters: HestonParameters) -> Loss:
    """Mean of ``max(0, vol_of_vol ** 2 - 2 kappa theta)``: zero where the variance stays positive.

    Examples
    --------
    >>> calm = HestonParameters(torch.tensor(3.0), torch.tensor(0.02), torch.tensor(0.3))
    >>> wild = calm._replace(vol_of_vol=torch.tensor(0.4))
    >>> float(feller_violation(calm).mean), round(float(feller_violation(wild).mean), 6)
    (0.0, 0.04)
    """
    kappa, theta, vol_of_vol = parameters
    over = (vol_of_vol.square() - 2.0 * kappa * theta).clamp(min=0.0)
    return Loss(over.mean(), over.new_tensor(float(over.numel())))


def _check_path(variance: Tensor, dt: float) -> None:
    if variance.dim() != 2 or variance.shape[1] < 2:
        raise InputError(
            "a variance to track has shape (b, t), t >= 2", got=str(tuple(variance.shape))
        )
    if not 0.0 < dt < math.inf:
        raise InputError("dt must be a positive number of years", got=str(dt))
