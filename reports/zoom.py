"""Time series of an exhibit as data for the page's own zooming chart."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np

from governance.record import Exhibit
from reports.downsample import extremes
from reports.numbers import unit_style
from reports.plots import PALETTE
from reports.series import made_mark, numbers_of, panels_of, seconds_of

_BUCKETS = 1_200
_DIGITS = 6


def zoom_data(exhibit: Exhibit) -> dict[str, Any] | None:
    """Panels of a time series, or None for other kinds.

    Returns
    -------
    dict
        ``daily``: whether all times fall on one or two times of day. ``mark``: what the drawing
        must say about made data. ``panels``: a list of
        ``{"label", "x", "series": [{"label", "colour", "values"}]}`` with x in seconds since
        1970 and values of six digits, in the unit shown.
    """
    if exhibit.kind != "time_series":
        return None
    seconds = seconds_of(exhibit.columns[0])
    panels = []
    for unit, items in panels_of(exhibit):
        values = [numbers_of(item.column) for item in items]
        kept = np.unique(np.concatenate([extremes(v, _BUCKETS) for v in values]))
        heading = unit_style(unit).heading
        panels.append(
            {
                "label": heading or exhibit.y_label or items[0].label,
                "x": [int(s) if s == int(s) else s for s in seconds[kept].tolist()],
                "series": [
                    {
                        "label": item.label,
                        "colour": PALETTE[place % len(PALETTE)],
                        "values": [_short(v) for v in column[kept].tolist()],
                    }
                    for place, (item, column) in enumerate(zip(items, values, strict=True))
                ],
            }
        )
    times = {datetime.fromtimestamp(s, UTC).time() for s in seconds.tolist()}
    return {"daily": len(times) <= 2, "mark": made_mark(exhibit), "panels": panels}


def embedded_json(data: Any) -> str:
    """JSON that cannot end the script element it stands in.

    Examples
    --------
    >>> embedded_json({"a": "</script><!--"})
    '{"a":"\\\\u003c/script\\\\u003e\\\\u003c!--"}'
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _short(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.{_DIGITS}g}")
