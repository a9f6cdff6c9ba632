"""Losses over what is known: targets that are NaN, or labels below zero, carry none.

Each gives the weighted mean of its parts and the sum of the weights, so that means over small
batches can be put together to that over the large one. Nothing known means a loss and a weight of
zero, and no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import huber_loss, logsigmoid, softplus

from finchaos.core.errors import InputError

LEAST_RISE = 1e-6
"""Least step between neighbouring quantiles of :func:`ordered_quantiles`."""


class Loss(NamedTuple):
    """A mean and how much stands behind it.

    Attributes
    ----------
    mean : torch.Tensor, shape ()
    weight : torch.Tensor, shape ()
        Sum of the weights, without gradient; a count where all weigh the same.
    """

    mean: Tensor
    weight: Tensor


def weighted_mean(values: Tensor, weights: Tensor) -> Loss:
    """Mean of ``values`` by ``weights`` of the same shape, zero if all weights are."""
    total = weights.sum()
    return Loss((values * weights).sum() / torch.where(total > 0, total, 1.0), total.detach())


def masked_huber(said: Tensor, targets: Tensor, delta: float = 1.0) -> Tensor:
    """Mean Huber loss over the targets that are known; zero if none is."""
    return huber(said, targets, delta).mean


def huber(said: Tensor, targets: Tensor, delta: float = 1.0) -> Loss:
    """Huber loss: squares up to ``delta``, linear beyond.

    Parameters
    ----------
    said, targets : torch.Tensor, of one shape
    delta : float
        In the units of the targets; its least error in the mean lies between median and mean.

    References
    ----------
    Huber (1964), Annals of Mathematical Statistics 35(1).

    Examples
    --------
    >>> [float(huber(torch.zeros(1), torch.tensor([x]), 1.5).mean) for x in (0.5, 1.5, 3.0)]
    [0.125, 1.125, 3.375]
    """
    _check_shape(said, targets.shape)
    _check_positive("delta", delta)
    known = torch.isfinite(targets)
    losses = huber_loss(
        said, torch.where(known, targets, said.detach()), reduction="none", delta=delta
    )
    count = known.sum()
    return Loss((losses * known).sum() / count.clamp(min=1), count.to(said.dtype))


def directional(
    said: Tensor,
    returns: Tensor,
    *,
    margin: float = 0.0,
    softness: float = 1.0,
    size_power: float = 1.0,
) -> Loss:
    """Penalise a forecast whose sign is not that of the return.

    With s the sign of the return r and f the forecast, a forecast costs
    ``softness * softplus((margin - s f) / softness)``: about the distance that f lacks to stand
    ``margin`` on the right side, a hinge as the softness goes to zero. It is weighted by
    ``|r| ** size_power``; returns of zero have no sign and no weight.

    Among constant forecasts the best has the sign of the mean return for a power of 1, and that of
    the median for a power of 0. Without margin it is the softness times the log odds of the
    weights.

    Parameters
    ----------
    said, returns : torch.Tensor, of one shape
    margin : float
        In the units of the forecast, not negative.
    softness : float
        In the units of the forecast, positive.
    size_power : float
        Not negative.

    References
    ----------
    Bartlett, Jordan and McAuliffe (2006), JASA 101(473): surrogates of the 0-1 loss whose
    minimum has the right sign.
    """
    _check_shape(said, returns.shape)
    _check_positive("softness", softness)
    if not (0.0 <= margin < math.inf and 0.0 <= size_power < math.inf):
        raise InputError(
            "impossible directional loss",
            expected="finite margin and size_power, not negative",
            got=f"margin {margin}, size_power {size_power}",
        )
    known = torch.isfinite(returns) & (returns != 0)
    seen = torch.where(known, returns, 1.0)
    losses = softness * softplus((margin - seen.sign() * said) / softness)
    weights = torch.where(known, seen.abs() ** size_power, 0.0)
    return weighted_mean(losses, weights.to(said.dtype))


def ordered_quantiles(raw: Tensor) -> Tensor:
    """Quantiles that cannot cross, from free numbers of shape (..., q).

    The first stays; each further one lies above the one before by the softplus of its number.

    Examples
    --------
    >>> bool((ordered_quantiles(torch.tensor([1.0, -50.0, 0.0])).diff() > 0).all())
    True
    """
    rises = softplus(raw[..., 1:]) + LEAST_RISE
    return torch.cat([raw[..., :1], raw[..., :1] + rises.cumsum(-1)], dim=-1)


def pinball(said: Tensor, targets: Tensor, levels: Sequence[float]) -> Loss:
    """Pinball loss of several quantiles; least at the quantiles of the targets.

    Parameters
    ----------
    said : torch.Tensor, shape (..., q)
        A forecast of each quantile; from :func:`ordered_quantiles` they do not cross.
    targets : torch.Tensor, shape (...)
    levels : sequence of float, length q
        Increasing, in (0, 1).

    References
    ----------
    Koenker and Bassett (1978), Econometrica 46(1), eq. 2.1.

    Examples
    --------
    >>> float(pinball(torch.tensor([[0.0]]), torch.tensor([1.0]), [0.9]).mean)
    0.8999999761581421
    """
    if not levels or not all(0.0 < level < 1.0 for level in levels) or _falls(levels):
        raise InputError(
            "impossible levels of quantiles",
            expected="increasing levels in (0, 1)",
            got=", ".join(map(str, levels)) or "none",
        )
    _check_shape(said, (*targets.shape, len(levels)))
    known = torch.isfinite(targets).unsqueeze(-1).expand_as(said)
    above = torch.where(known, targets.unsqueeze(-1), said.detach()) - said
    level = torch.tensor(list(levels), dtype=said.dtype, device=said.device)
    losses = torch.maximum(level * above, (level - 1.0) * above)
    return weighted_mean(losses, known.to(said.dtype))


def binary_focal(
    logits: Tensor, labels: Tensor, *, gamma: float = 2.0, positive_share: float | None = None
) -> Loss:
    """Focal loss of two classes: cross entropy times ``(1 - p) ** gamma``, p that of the truth.

    A gamma of 0 is cross entropy. Above, what is nearly certain counts less, and the
    probabilities at the minimum are drawn towards one half: calibrate them before they are read
    as such.

    Parameters
    ----------
    logits, labels : torch.Tensor, of one shape
        Labels are 0, 1 or NaN for unknown.
    gamma : float
        Not negative.
    positive_share : float, optional
        Weight of label 1, in (0, 1); label 0 has the rest. Both weigh one by default.

    References
    ----------
    Lin et al. (2017), "Focal loss for dense object detection", arXiv:1708.02002, eq. 4 and 5.
    Charoenphakdee et al. (2021), arXiv:2011.09172, on its minimum.
    """
    _check_shape(logits, labels.shape)
    _check_gamma(gamma)
    if positive_share is not None and not 0.0 < positive_share < 1.0:
        raise InputError("the share of a class must lie in (0, 1)", got=str(positive_share))
    known = ~torch.isnan(labels)
    truth = torch.where(known, labels, 0.0)
    if not bool(((truth == 0) | (truth == 1)).all()):
        raise InputError("binary labels are 0, 1 or NaN")
    signed = torch.where(truth == 1, logits, -logits)
    losses = -torch.exp(gamma * logsigmoid(-signed)) * logsigmoid(signed)
    if positive_share is not None:
        losses = losses * torch.where(truth == 1, positive_share, 1.0 - positive_share)
    return weighted_mean(losses, known.to(logits.dtype))


def focal(
    logits: Tensor, labels: Tensor, *, gamma: float = 2.0, shares: Sequence[float] | None = None
) -> Loss:
    """Focal loss of several classes, see :func:`binary_focal`.

    Parameters
    ----------
    logits : torch.Tensor, shape (..., c)
        c >= 2.
    labels : torch.Tensor of integers, shape (...)
        Below zero for unknown.
    gamma : float
        Not negative.
    shares : sequence of float, length c, optional
        Positive weights of the classes; all one by default.
    """
    _check_gamma(gamma)
    classes = logits.shape[-1]
    _check_shape(logits, (*labels.shape, classes))
    if classes < 2 or labels.is_floating_point() or bool((labels >= classes).any()):
        raise InputError(
            "labels are integers below the number of classes, of which there are at least two",
            got=f"{labels.dtype}, up to {labels.max()}, {classes} classes",
        )
    known = labels >= 0
    truth = labels.clamp(min=0).unsqueeze(-1).long()
    whole = logits.logsumexp(-1)
    log_p = logits.gather(-1, truth).squeeze(-1) - whole
    # log(1 - p) from the other classes: exact where p rounds to one.
    log_rest = logits.scatter(-1, truth, -math.inf).logsumexp(-1) - whole
    losses = -torch.exp(gamma * log_rest) * log_p
    if shares is not None:
        if len(shares) != classes or not all(0.0 < share < math.inf for share in shares):
            raise InputError(f"expected {classes} positive shares", got=str(shares))
        by_class = torch.tensor(list(shares), dtype=logits.dtype, device=logits.device)
        losses = losses * by_class[truth.squeeze(-1)]
    return weighted_mean(losses, known.to(logits.dtype))


def _falls(levels: Sequence[float]) -> bool:
    return any(b <= a for a, b in pairwise(levels))


def _check_shape(said: Tensor, expected: Sequence[int]) -> None:
    if tuple(said.shape) != tuple(expected):
        raise InputError(
            "forecasts and targets do not fit", expected=str(tuple(expected)), got=str(said.shape)
        )


def _check_positive(name: str, value: float) -> None:
    if not 0.0 < value < math.inf:
        raise InputError(f"{name} must be positive", got=str(value))


def _check_gamma(gamma: float) -> None:
    if not 0.0 <= gamma < math.inf:
        raise InputError("gamma of a focal loss must be finite and not negative", got=str(gamma))
