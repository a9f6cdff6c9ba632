"""Challenger: a statistical jump model, online."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.signal import lfilter

from finchaos.core.bars import Bars
from finchaos.core.errors import DataError, InputError
from finchaos.core.hyper_parameters import HyperParameterFields
from finchaos.core.provenance import array_digest, digest
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard
from finchaos.regimes.jump_model import JumpModel as Model
from finchaos.regimes.jump_model import JumpRule
from governance.regime_rule import CAPABILITIES, in_unless_stressed, log_returns, rule_card

_WARMUP = 60
_FLOOR = 1e-5


@dataclass(frozen=True, eq=False)
class JumpModel(HyperParameterFields):
    """In the market unless the cheapest path online ends in the state of higher volatility.

    Features are the downside deviation with a half-life of 10 bars, as a logarithm, and Sortino
    ratios with half-lives of 20 and 60, standardised by the training bars and clipped at three.

    Parameters
    ----------
    penalty : float
        Of a change of state.
    starts : int
        Fits, of which the cheapest is kept.
    model : finchaos.regimes.jump_model.JumpModel or None
        None until fitted: then it is always in.
    scale : tuple of numpy.ndarray or None
        Means and deviations of the features over training.

    References
    ----------
    Shu, Yu & Mulvey (2024), Downside risk reduction using regime-switching signals: a statistical
    jump model approach, Journal of Asset Management 25(5).
    """

    penalty: float = 50.0
    starts: int = 20
    model: Model | None = None
    scale: tuple[np.ndarray, np.ndarray] | None = None

    card: ClassVar[ModelCard] = rule_card(
        "statistical jump model",
        "the regime model that pays for every change",
        ("Its penalty is fixed, and results depend on it", "Slow to leave and slow to return"),
        warmup_bars=_WARMUP,
    )
    capabilities: ClassVar[frozenset[Capability]] = CAPABILITIES
    hyper_fields: ClassVar[tuple[str, ...]] = ("penalty", "starts")

    def __post_init__(self) -> None:
        if not 0.0 < self.penalty < np.inf or self.starts < 1:
            raise InputError(
                "a jump model needs a penalty above zero and a start",
                got=f"penalty {self.penalty}, starts {self.starts}",
            )

    @property
    def digest(self) -> str:
        """SHA-256 of settings and fitted values."""
        fitted = None
        if self.model is not None and self.scale is not None:
            mean, deviation = self.scale
            fitted = array_digest(
                {"centers": self.model.centers, "mean": mean, "deviation": deviation}
            )
        settings = {"penalty": self.penalty, "starts": self.starts}
        return digest({"challenger": "jump_model", **settings, "fitted": fitted})

    def fit(self, bars: Bars, *, seed: int) -> JumpModel:
        """The cheapest of several fits to the bars' features.

        Raises
        ------
        DataError
            If there are too few bars, or one state is all there is.
        """
        rows = _features(bars)[_WARMUP:]
        if len(rows) < 2:
            raise DataError(
                "too few bars to train a jump model",
                expected=f"more than {_WARMUP + 1}",
                got=str(len(bars)),
            )
        deviation = rows.std(axis=0)
        scale = (rows.mean(axis=0), np.where(deviation > 0.0, deviation, 1.0))
        rule = JumpRule(penalty=self.penalty, starts=self.starts)
        model = Model.fit(_scaled(rows, scale), log_returns(bars)[_WARMUP:], rule, seed=seed)
        return replace(self, model=model, scale=scale)

    def signals(self, bars: Bars) -> Signals:
        """One row for every bar, each from the bars up to it."""
        if self.model is None or self.scale is None:
            return in_unless_stressed(bars, np.zeros(len(bars)), _WARMUP)
        stress = self.model.stress(_scaled(_features(bars), self.scale))
        return in_unless_stressed(bars, stress, _WARMUP)


def _scaled(rows: np.ndarray, scale: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return np.clip((rows - scale[0]) / scale[1], -3.0, 3.0)


def _features(bars: Bars) -> np.ndarray:
    returns = log_returns(bars)
    below = np.minimum(returns, 0.0) ** 2
    deviation = {life: np.sqrt(_mean(below, life)) + _FLOOR for life in (10, 20, 60)}
    ratios = [_mean(returns, life) / deviation[life] for life in (20, 60)]
    return np.column_stack([np.log(deviation[10]), *ratios])


def _mean(values: np.ndarray, half_life: int) -> np.ndarray:
    """Exponentially weighted over the bars so far; weights add up to one at every bar."""
    kept = 0.5 ** (1.0 / half_life)
    weights = lfilter([1.0], [1.0, -kept], np.ones(len(values)))
    mean: np.ndarray = lfilter([1.0], [1.0, -kept], values) / weights
    return mean
