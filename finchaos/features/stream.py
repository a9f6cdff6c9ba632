"""Features bar by bar: the only engine there is; the batch form runs it over all bars at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from finchaos.core.bars import BAR_FIELDS, PRICE_FIELDS, Bar, Bars
from finchaos.core.errors import DataError
from finchaos.features.formula import (
    Formula,
    Moves,
    needs_volume,
    no_volume,
    price_rows,
    unusable_price,
    volume_rows,
)


class FeatureStream:
    """A live session of a schema. Memory and time per bar do not grow.

    Opened by :meth:`finchaos.features.schema.FeatureSchema.open`.

    Parameters
    ----------
    formulas : sequence of Formula, length f
    paths : int
    names : sequence of str, length f, optional
        Of the features, for messages.
    """

    def __init__(
        self, formulas: Sequence[Formula], paths: int = 1, names: Sequence[str] = ()
    ) -> None:
        called = names or [type(formula).__name__ for formula in formulas]
        self.needs_range = any(formula.needs_range for formula in formulas)
        self._of_volume = ", ".join(
            name for name, f in zip(called, formulas, strict=True) if needs_volume(f)
        )
        self._traded = False
        self._recursions = [formula.open(paths) for formula in formulas]
        self._last_close: np.ndarray | None = None

    def step(self, bar: Bar) -> np.ndarray:
        """Features after the next bar, shape (f,).

        Raises
        ------
        DataError
            If a price is not finite and positive, the range does not contain open and close, or
            a feature needs the volume and it is not finite and non-negative. The stream has then
            not moved.
        """
        if not bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high:
            raise DataError("the bar's range does not contain its open and close", got=str(bar))
        row = self._row(bar)
        moves = self._moves(row)
        return np.array([recursion.advance(moves)[0, 0] for recursion in self._recursions])

    def _row(self, bar: Bar) -> dict[str, np.ndarray]:
        """The fields of one bar that features need, each of shape (1, 1)."""
        row = {}
        for name in PRICE_FIELDS:
            value = float(getattr(bar, name if self.needs_range else "close"))
            if not 0.0 < value < np.inf:
                raise unusable_price(name, 1, value)
            row[name] = np.array([[value]])
        if self._of_volume:
            row["volume"] = volume_rows(
                {"close": row["close"][0], "volume": np.array([bar.volume])}, self._of_volume
            )
            self._traded = self._traded or bar.volume > 0
        return row

    def replay(self, bars: Bars) -> np.ndarray:
        """Features after each of the next bars, shape (t, f).

        Raises
        ------
        DataError
            If a feature needs the range or the volume and the bars have none.
        """
        return self.advance(self._fields(bars))

    def moves(self, bars: Bars) -> Moves:
        """What formulas would see of the next bars; the stream itself moves on by them.

        Raises
        ------
        DataError
            If a feature needs the range or the volume and the bars have none.
        """
        return self._moves(self._rows(self._fields(bars)))

    def _fields(self, bars: Bars) -> dict[str, np.ndarray]:
        if self.needs_range and not bars.has_range:
            raise DataError(
                f"{bars.symbol} has closes only, and features of the range are asked for",
                expected="bars with open, high and low",
                remedy="use a schema without range features, such as regime_close_v1",
            )
        if self._of_volume and len(bars) and not (self._traded or bars.volume.any()):
            raise no_volume(self._of_volume, f"zeros throughout {bars.symbol}")
        return {name: getattr(bars, name) for name in BAR_FIELDS}

    def advance(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Features after the next rows of all paths, shape (..., t, f).

        Parameters
        ----------
        arrays : mapping of str to numpy.ndarray, shape (..., t)
            open, high, low and close; close alone is enough without range features. Volume where
            a feature needs it.

        Raises
        ------
        DataError
            If a field is missing, has another shape, or holds values that cannot be.
        """
        rows = self._rows(arrays)
        lead = np.shape(arrays["close"])[:-1]
        count, paths = rows["close"].shape
        columns = len(self._recursions)
        values = np.empty((count, paths, columns))
        if count:
            moves = self._moves(rows)
            for column, recursion in enumerate(self._recursions):
                values[:, :, column] = recursion.advance(moves)
        return np.ascontiguousarray(values.transpose(1, 0, 2)).reshape(*lead, count, columns)

    def _rows(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = price_rows(arrays, self.needs_range)
        if self._of_volume:
            rows["volume"] = volume_rows(arrays, self._of_volume)
            self._traded = self._traded or bool(rows["volume"].any())
        return rows

    def _moves(self, rows: dict[str, np.ndarray]) -> Moves:
        # Ratios first: they are exact in the scale of prices up to rounding, and a logarithm of
        # a ratio near one loses nothing.
        close = rows["close"]
        before = rows["open"][:1] if self._last_close is None else self._last_close[None]
        self._last_close = close[-1].copy()
        previous = np.concatenate([before, close[:-1]])
        return Moves(
            log_return=np.log(close / previous),
            log_range=np.log(rows["high"] / rows["low"]),
            log_body=np.log(close / rows["open"]),
            previous_close=previous,
            **rows,
        )
