"""Features bar by bar: the only engine there is; the batch form runs it over all bars at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from finchaos.core.bars import PRICE_FIELDS, Bar, Bars
from finchaos.core.errors import DataError
from finchaos.features.formula import Formula, Moves, price_rows


class FeatureStream:
    """A live session of a schema. Memory and time per bar do not grow.

    Opened by :meth:`finchaos.features.schema.FeatureSchema.open`.
    """

    def __init__(self, formulas: Sequence[Formula], paths: int = 1) -> None:
        self.needs_range = any(formula.needs_range for formula in formulas)
        self._recursions = [formula.open(paths) for formula in formulas]
        self._last_close: np.ndarray | None = None

    def step(self, bar: Bar) -> np.ndarray:
        """Features after the next bar, shape (f,).

        Raises
        ------
        DataError
            If a price is not finite and positive, or the range does not contain open and close.
            The stream has then not moved.
        """
        prices = {name: np.array([getattr(bar, name)]) for name in PRICE_FIELDS}
        if not bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high:
            raise DataError("the bar's range does not contain its open and close", got=str(bar))
        values: np.ndarray = self.advance(prices)[0]
        return values

    def replay(self, bars: Bars) -> np.ndarray:
        """Features after each of the next bars, shape (t, f).

        Raises
        ------
        DataError
            If a feature needs the range and the bars have none.
        """
        if self.needs_range and not bars.has_range:
            raise DataError(
                f"{bars.symbol} has closes only, and features of the range are asked for",
                expected="bars with open, high and low",
                remedy="use a schema without range features, such as regime_close_v1",
            )
        return self.advance({name: getattr(bars, name) for name in PRICE_FIELDS})

    def advance(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Features after the next rows of all paths, shape (..., t, f).

        Parameters
        ----------
        arrays : mapping of str to numpy.ndarray, shape (..., t)
            open, high, low and close; close alone is enough without range features.
        """
        rows = price_rows(arrays, self.needs_range)
        lead = np.shape(arrays["close"])[:-1]
        count, paths = rows["close"].shape
        columns = len(self._recursions)
        values = np.empty((count, paths, columns))
        if count:
            moves = self._moves(rows)
            for column, recursion in enumerate(self._recursions):
                values[:, :, column] = recursion.advance(moves)
        return np.ascontiguousarray(values.transpose(1, 0, 2)).reshape(*lead, count, columns)

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
        )
