"""Charts of how far back a model looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from governance.record import Column, Exhibit

_NEWEST = tuple(step * 10**k for k in range(6) for step in (1, 2, 5))


@dataclass(frozen=True)
class Reach:
    """What a committee is told about it.

    Attributes
    ----------
    share : float
        Of the influence on the latents.
    bars : int
        Newest bars that hold it, windows averaged.
    among : tuple of float
        The same in single windows, percentiles 5 and 95.
    of_half : int
        Newest bars that hold it of the influence in the newer half of a window.
    lookback : int
        Bars that one row of inputs looks back.
    """

    share: float
    bars: int
    among: tuple[float, float]
    of_half: int
    lookback: int

    def sentences(self, length: int) -> str:
        """It in words, for windows of ``length`` bars."""
        low, high = self.among
        said = (
            f"{self.share:.0%} of what moves the model's latents lies within the last "
            f"{_bars(self.bars)} (single windows: {low:,.0f} to {high:,.0f}). It was given "
            f"{_bars(length)}; counting the newer half of them alone, it would be "
            f"{_bars(self.of_half)}."
        )
        if self.lookback:
            said += (
                " A row of inputs itself sums up bars before it: what is older than "
                f"{_bars(self.lookback)} weighs little in it."
            )
        return said


def influence_exhibit(check: str, profiles: np.ndarray, reach: Reach) -> Exhibit:
    """Influence that lies within the newest bars, for more and more of them.

    Parameters
    ----------
    profiles : numpy.ndarray, shape (n, length)
        Shares of influence by lag in each window.
    """
    length = profiles.shape[1]
    newest = np.array([*(k for k in _NEWEST if k < length), length])
    within = np.minimum(np.cumsum(profiles, axis=1)[:, newest - 1], 1.0)
    low, high = np.percentile(within, (5, 95), axis=0)
    columns = {
        "influence": within.mean(axis=0),
        "influence_low": low,
        "influence_high": high,
        "share asked about": np.full(len(newest), reach.share),
    }
    return Exhibit(
        check=check,
        name="memory",
        title="How far back the model looks: influence on its latents of the newest bars",
        kind="line",
        columns=(
            Column(name="newest_bars", values=tuple(f"{k:,}" for k in newest)),
            *(
                Column(name=name, values=tuple(values.tolist()), unit="fraction")
                for name, values in columns.items()
            ),
        ),
        y_label="influence within them (%)",
        note=f"{reach.sentences(length)} Band: 5% to 95% of windows.",
    )


def layers_exhibit(check: str, found: Sequence[tuple[float, float, float]]) -> Exhibit:
    """Memory lengths of the layers' states: percentiles 5, 50 and 95, in bars."""
    low, middle, high = zip(*found, strict=True)
    ends = (("memory", middle), ("low", low), ("high", high))
    forgets = [k for k, row in enumerate(found, start=1) if not math.isfinite(row[2])]
    note = (
        "Bars until a state has kept 37% (1/e) of what was put into it, at the step size typical "
        "of its channel: what a layer could remember; what the latents use of it is another "
        "matter. Median of the layer's states; whiskers: 5% to 95% of them."
    )
    if forgets:
        note += f" Some states of layer {', '.join(map(str, forgets))} do not forget."
    return Exhibit(
        check=check,
        name="memory_of_layers",
        title="How long the states of each layer can remember",
        kind="bar",
        columns=(
            Column(name="layer", values=tuple(f"layer {k}" for k in range(1, len(found) + 1))),
            *(
                Column(
                    name=name,
                    values=tuple(v if math.isfinite(v) else None for v in values),
                    unit="bars",
                )
                for name, values in ends
            ),
        ),
        y_label="bars",
        note=note,
    )


def _bars(count: int) -> str:
    return f"{count:,} bar" if count == 1 else f"{count:,} bars"
