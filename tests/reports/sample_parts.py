"""What the checks of the sample Run are made of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from governance.record import (
    CheckCard,
    Column,
    Evidence,
    Exhibit,
    Hypothesis,
    Interval,
    MetricSpec,
    Residual,
    Window,
)

Measured = tuple[CheckCard, list[Evidence], list[Exhibit]]

OUT_OF_SAMPLE = Window(
    start="2005-12-30T21:00:00+00:00",
    end="2018-12-31T21:00:00+00:00",
    trained_until="2016-10-20T21:00:00+00:00",
)
FOLDS = tuple(
    Window(start=f"{2006 + 2 * k}-01-03T21:00:00+00:00", end=f"{2007 + 2 * k}-12-31T21:00:00+00:00")
    for k in range(6)
)
SCENARIOS = (
    "crash_1929",
    "crash_1987",
    "russia_ltcm_1998",
    "dotcom_2000",
    "crisis_2008",
    "flash_crash_2010",
    "debt_ceiling_2011",
    "august_2015",
    "volmageddon_2018",
    "covid_2020",
    "bear_2022",
)
FEATURES = (
    "ret_1", "ret_5", "ret_21", "vol_5", "vol_21", "vol_63", "range_5", "range_21",
    "drawdown_63", "drawdown_252", "skew_63", "kurt_63", "volume_z_21", "gap_1", "rsi_14",
    "macd_hist", "hurst_126", "entropy_63", "jump_21", "vol_of_vol_63", "leverage_63",
    "autocorr_21", "tail_ratio_126", "trend_200",
)  # fmt: skip
FAULTS = (
    "nan",
    "infinity",
    "zero",
    "stale feed",
    "clock skew",
    "gap",
    "unit x100",
    "spike",
    "shuffled features",
    "dead monitor",
)


def card(name: str, pillar: str, title: str, question: str, *metrics: tuple[str, ...]) -> CheckCard:
    """A card with plausible prose."""
    return CheckCard(
        name=name,
        version=1,
        title=title,
        question=question,
        pillar=pillar,
        hypothesis=Hypothesis(null="The measure is that of chance.", alternative="It is not.")
        if name in ("walk_forward", "drift")
        else None,
        method="Anchored folds over the validation sample; every position is executed one bar "
        "after the decision and charged with the cost of trading. Intervals come from the "
        "stationary bootstrap with an automatic block length.",
        limitations=(
            "One path of history was observed; resampling cannot add crises that never came.",
            "Costs are proportional and leave out market impact.",
        ),
        references=(
            "Politis and Romano (1994), The stationary bootstrap, JASA 89, 1303-1313.",
            "Ledoit and Wolf (2008), Robust performance hypothesis testing, doi:10.1016/"
            "j.jempfin.2008.03.002, http://example.org/text-only",
        ),
        metrics=tuple(MetricSpec(name=m[0], unit=m[1], better=m[2], meaning=m[3]) for m in metrics),
    )


def evidence(
    check: CheckCard,
    metric: str,
    value: float | None,
    *,
    half: float = 0.0,
    n: int = 3271,
    window: Window = OUT_OF_SAMPLE,
    reason: str = "",
    status: str = "",
    self_check: Residual | None = None,
    **where: str,
) -> Evidence:
    """One measurement, with an interval of ``half`` either side if given."""
    interval = None
    if half and value is not None:
        interval = Interval(
            low=value - half,
            high=value + half,
            level=0.95,
            method="stationary bootstrap, 999 draws",
        )
    return Evidence(
        check=check.name,
        check_version=check.version,
        params={"draws": 999, "level": 0.95},
        metric=metric,
        unit=check.metric(metric).unit,
        status=status or ("measured" if value is not None else "skipped"),
        reason=reason,
        value=value,
        interval=interval,
        n=n if value is not None else 0,
        window=window,
        slice=where,
        self_check=self_check,
    )


def days(count: int, start: str = "2005-12-30") -> tuple[str, ...]:
    """Consecutive days at the close."""
    first = datetime.fromisoformat(start).replace(hour=21, tzinfo=UTC)
    return tuple((first + timedelta(days=k)).isoformat() for k in range(count))


def column(name: str, values: Sequence[float | str | None] | np.ndarray, unit: str = "") -> Column:
    """A column from anything that lists plain values."""
    plain = values.tolist() if isinstance(values, np.ndarray) else values
    return Column(name=name, values=tuple(plain), unit=unit)
