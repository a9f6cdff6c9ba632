"""Bars in which one piece of information has been shuffled in time and the rest is kept.

A bar is taken apart into log return, overnight gap, upper and lower shadow and volume. Any mixture
of these from different bars puts together into a possible bar again.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.observe import observe

INPUTS = ("return", "open", "high", "low", "volume")


def informative_inputs(bars: Bars) -> tuple[str, ...]:
    """The inputs that these bars carry: without a range or volume there is nothing to shuffle."""
    found = INPUTS if bars.has_range else ("return", "volume")
    return tuple(name for name in found if name != "volume" or np.ptp(bars.volume) > 0.0)


def block_permutation(rng: np.random.Generator, n: int, block: int) -> np.ndarray:
    """The positions 0 to n - 1 with blocks of neighbours in random order, shape (n,).

    Blocks begin at a random offset, so that no bar is always at an end.

    Examples
    --------
    >>> order = block_permutation(np.random.default_rng(0), 7, 3)
    >>> sorted(order.tolist())
    [0, 1, 2, 3, 4, 5, 6]
    """
    if n < 1 or block < 1:
        raise InputError("cannot permute", got=f"{n} rows in blocks of {block}")
    rolled = np.roll(np.arange(n), -int(rng.integers(n)))
    parts = [rolled[start : start + block] for start in range(0, n, block)]
    return np.concatenate([parts[k] for k in rng.permutation(len(parts))])


def permuted_bars(bars: Bars, name: str, start: int, order: np.ndarray) -> Bars:
    """Bars with one input of the rows from ``start`` on taken in another order.

    Rows before ``start`` are unchanged, and so are all other inputs; prices follow from them.

    Parameters
    ----------
    bars : Bars
    name : str
        One of :data:`INPUTS`. ``open`` is the overnight gap, ``high`` and ``low`` are the
        shadows beyond open and close.
    start : int
        First row permuted, at least 1.
    order : numpy.ndarray, shape (len(bars) - start,), int
    """
    rows = len(bars) - start
    if name not in INPUTS or start < 1 or not np.array_equal(np.sort(order), np.arange(rows)):
        raise InputError(
            "cannot permute these bars",
            expected=f"one of {', '.join(INPUTS)} and an order of the rows after the first",
            got=f"{name}, {len(order)} positions for {rows} rows from {start}",
        )
    logs = {field: np.log(getattr(bars, field)) for field in ("open", "high", "low", "close")}
    before = logs["close"][start - 1 : -1]
    tail = {field: values[start:] for field, values in logs.items()}
    parts = {
        "return": tail["close"] - before,
        "open": tail["open"] - before,
        "high": tail["high"] - np.maximum(tail["open"], tail["close"]),
        "low": np.minimum(tail["open"], tail["close"]) - tail["low"],
        "volume": bars.volume[start:],
    }
    parts[name] = parts[name][order]
    return _assembled(bars, start, parts)


def _assembled(bars: Bars, start: int, parts: dict[str, np.ndarray]) -> Bars:
    first = np.log(bars.close[start - 1])
    close = first + np.cumsum(parts["return"])
    opened = np.concatenate([[first], close[:-1]]) + parts["open"]
    tail = {"open": np.exp(opened), "close": np.exp(close), "volume": parts["volume"]}
    # Rounding must not put open or close outside the range.
    upper, lower = np.maximum(tail["open"], tail["close"]), np.minimum(tail["open"], tail["close"])
    tail["high"] = np.maximum(np.exp(np.maximum(opened, close) + parts["high"]), upper)
    tail["low"] = np.minimum(np.exp(np.minimum(opened, close) - parts["low"]), lower)
    if not bars.has_range:
        tail |= dict.fromkeys(("open", "high", "low"), tail["close"])
    values = {field: np.concatenate([getattr(bars, field)[:start], tail[field]]) for field in tail}
    source = bars.provenance
    note = "one input permuted in time"
    return bars.with_values(
        provenance=replace(source, kind="simulated", notes=(*source.notes, note)), **values
    )


def position_changes(
    subject: Subject, bars: Bars, start: int, name: str, orders: list[np.ndarray]
) -> np.ndarray:
    """Mean absolute change of position at each row from ``start`` on, shape (rows,).

    Parameters
    ----------
    subject : Subject
        Trained.
    bars : Bars
        Replayed from the first bar; only rows from ``start`` on are permuted.
    start : int
    name : str
        One of :data:`INPUTS`.
    orders : list of numpy.ndarray
        Permutations; the changes are averaged over them.
    """
    before = observe(subject, bars).position[start:]
    changes = [
        np.abs(observe(subject, permuted_bars(bars, name, start, order)).position[start:] - before)
        for order in orders
    ]
    return np.mean(changes, axis=0)
