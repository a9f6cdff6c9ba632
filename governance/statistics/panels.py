"""What a monitor watches around a model: its inputs, latents and outputs, as series by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, Differentiable, Subject
from finchaos.features.schema import FeatureSchema, load_schema, schema_names


@dataclass(frozen=True, eq=False)
class Panel:
    """Series that belong together.

    Attributes
    ----------
    name : str
        ``inputs``, ``latents`` or ``outputs``.
    series : tuple of str, length s
    table : numpy.ndarray, shape (t, s), float64, finite
        One row per bar; row t depends on bars up to t alone.
    first : int
        First row outside warm-up.
    source : str
        Where the series come from, for the report.
    """

    name: str
    series: tuple[str, ...]
    table: np.ndarray
    first: int
    source: str


def inputs_panel(subject: Subject, bars: Bars) -> Panel:
    """What the model reads from the bars.

    The windows of a differentiable subject; else the shipped feature schema whose features the
    card names; else log return, its size and the log range of the bar.
    """
    warm = subject.card.warmup_bars
    if Capability.GRADIENTS in subject.capabilities:
        model = cast("Differentiable", subject)
        windows = model.feature_windows(bars, np.arange(len(bars)), 1)
        values = np.asarray(windows, dtype=np.float64)[:, 0, :]
        return Panel("inputs", tuple(model.feature_names), values, warm, "the model's own features")
    schema = _schema_of(subject)
    if schema is not None and len(bars) >= schema.lookback:
        features = schema.build(bars)
        first = max(warm, schema.lookback)
        return Panel(
            "inputs", schema.names, features.values, first, f"feature schema {schema.name}"
        )
    return _generic_panel(bars, warm)


def latents_panel(signals: Signals, warm: int) -> Panel | None:
    """The model's latents; None if the signals carry none."""
    if signals.latents is None:
        return None
    names = tuple(f"latent_{k}" for k in range(signals.latents.shape[1]))
    return Panel("latents", names, signals.latents, warm, "latents in the signals")


def outputs_panel(signals: Signals, warm: int) -> Panel:
    """Position and, where there is one, stress probability."""
    columns = {"position": signals.position}
    if signals.stress_probability is not None:
        columns["stress_probability"] = signals.stress_probability
    values = np.stack(list(columns.values()), axis=1)
    return Panel("outputs", tuple(columns), values, warm, "the signals")


def _schema_of(subject: Subject) -> FeatureSchema | None:
    """The shipped schema with exactly the features that the card names, in their order."""
    for name in schema_names():
        schema = load_schema(name)
        if schema.names == tuple(subject.card.feature_names):
            return schema
    return None


def _generic_panel(bars: Bars, warm: int) -> Panel:
    # Row 0 has no return; it repeats none and lies before the first row used.
    move = np.diff(np.log(bars.close), prepend=np.log(bars.close[0]))
    columns = {"log_return": move, "absolute_return": np.abs(move)}
    if bars.has_range:
        columns["log_range"] = np.log(bars.high / bars.low)
    values = np.stack(list(columns.values()), axis=1)
    return Panel("inputs", tuple(columns), values, max(warm, 1), "returns and ranges of the bars")
