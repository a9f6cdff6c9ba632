"""Features: a numeric panel and the digest of the schema that built it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from finchaos.core.errors import DataError


@dataclass(frozen=True, eq=False)
class Features:
    """A causal feature panel.

    Attributes
    ----------
    index : pandas.DatetimeIndex, shape (t,)
    values : numpy.ndarray, shape (t, f), float64, finite, read-only
        Row t depends on bars up to t alone. Rows inside the look-back repeat what is known so far.
    names : tuple of str, length f
    schema_digest : str
    """

    index: pd.DatetimeIndex
    values: np.ndarray
    names: tuple[str, ...]
    schema_digest: str

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        values.flags.writeable = False
        object.__setattr__(self, "values", values)
        if values.shape != (len(self.index), len(self.names)):
            raise DataError(
                "feature panel has the wrong shape",
                expected=f"({len(self.index)}, {len(self.names)})",
                got=str(values.shape),
            )
        if not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0]
            raise DataError(
                f"feature {self.names[column]} is not finite at {self.index[row].isoformat()}",
                remedy="check the bars around that time",
            )
