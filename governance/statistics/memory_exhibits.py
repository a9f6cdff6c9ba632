"""Charts of how far back a model looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from governance.record import Column, Exhibit, Interval

_STEPS = tuple(step * 10**k for k in range(6) for step in (1, 2, 5))


@dataclass(frozen=True)
class Reach:
    """What a committee is told about it.

    Attributes
    ----------
    share : float
        Of the influence on the latents.
    bars : int
        Newest bars that hold it, windows averaged.
    interval : Interval or None
        Of those bars.
    among : tuple of float
        The same in single windows, percentiles 5 and 95.
    of_half : int
        Newest bars that hold it of the influence in the newer half of a window.
    lookback : int
        Bars that one row of inputs looks back.
    """

    share: float
    bars: int
    interval: Interval | None
    among: tuple[float, float]
    of_half: int
    lookback: int

    def sentences(self, length: int) -> str:
        """It in words, for windows of ``length`` bars."""
        low, high = self.among
        said = (
            f"{100 * self.share:g}% of what moves the model's latents lies within the last "
            f"{_bars(self.bars)} ({self._interval}single windows {low:,.0f} to {high:,.0f}). "
            f"It was given {_bars(length)}; counting the newer half of them alone, it would be "
            f"{_bars(self.of_half)}."
        )
        if self.lookback:
            said += (
                " A row of inputs itself sums up bars before it: what is older than "
                f"{_bars(self.lookback)} weighs little in it."
            )
        return said

    @property
    def _interval(self) -> str:
        found = self.interval
        if found is None:
            return ""
        return f"{found.level:.0%} interval {found.low:,.0f} to {found.high:,.0f}; "


def influence_exhibit(check: str, profiles: np.ndarray, reach: Reach) -> Exhibit:
    """Influence that lies within the newest bars, for more and more of them.

    Parameters
    ----------
    profiles : numpy.ndarray, shape (n, length)
        Shares of influence by lag in each window.
    """
    length = profiles.shape[1]
    newest = np.array([*(k for k in _STEPS if k <= 0.8 * length), length])
    within = np.minimum(np.cumsum(profiles, axis=1)[:, newest - 1], 1.0)
    low, high = np.percentile(within, (5, 95), axis=0)
    columns = {
        "influence": within.mean(axis=0),
        "influence_low": low,
        "influence_high": high,
        f"{100 * reach.share:g}%": np.full(len(newest), reach.share),
    }
    return Exhibit(
        check=check,
        name="memory",
        title="How far back the model looks: influence of the newest bars on its latents",
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


def layers_exhibit(check: str, layers: Sequence[np.ndarray]) -> Exhibit:
    """How many states of each layer remember for longer than so many bars.

    Parameters
    ----------
    layers : sequence of numpy.ndarray, each of shape (states,)
        Memory lengths in bars.
    """
    every = np.concatenate(layers)
    longest = every[np.isfinite(every)].max(initial=1.0)
    bars = [k for k in _STEPS if k < longest]
    bars.append(next((k for k in _STEPS if k >= longest), _STEPS[-1]))
    forgetful = [str(k) for k, layer in enumerate(layers, 1) if not np.isfinite(layer).all()]
    note = (
        "A state remembers until it has kept 37% (1/e) of what was put into it, at the step size "
        "typical of its channel. This is what a layer could remember; how much of it moves the "
        "latents is another matter."
    )
    if forgetful:
        note += f" Some states of layer {', '.join(forgetful)} do not forget."
    return Exhibit(
        check=check,
        name="memory_of_layers",
        title="How long the states of each layer can remember",
        kind="line",
        columns=(
            Column(name="longer_than_so_many_bars", values=tuple(f"{k:,}" for k in bars)),
            *(
                Column(
                    name=f"layer {number}",
                    values=tuple(float(np.mean(layer > k)) for k in bars),
                    unit="fraction of states",
                )
                for number, layer in enumerate(layers, start=1)
            ),
        ),
        y_label="states that remember (%)",
        note=note,
    )


def _bars(count: int) -> str:
    return f"{count:,} bar" if count == 1 else f"{count:,} bars"
