"""Check: whether a model decides anything, by what it says itself, and at a price it can earn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.check import Context, measured, not_measured
from governance.crash_probe import Answer, Probe, crash_answers, stressed
from governance.record import CheckCard, Column, Evidence, Exhibit, Interval, MetricSpec
from governance.replay import is_daily
from governance.statistics.out_of_sample import OutOfSample, out_of_sample
from governance.statistics.performance import annual_volatility, sharpe
from governance.statistics.proportion import exact_interval
from governance.statistics.resampling import Bootstrap, Columns, block_length

_SHARES = ("crashes_held", "stress_held", "bolder_in_crash")
_LEAST_ANSWERS = 5
_LEAST_BARS = 20
_LEVEL = 0.95


@dataclass(frozen=True)
class Decisions:
    """Distinct exposures, answers to crashes put after the model's own past, price of trading.

    Parameters
    ----------
    starts : int
        Crashes and unrests that are put after bars of the tests, over all folds.
    draws : int
        Resampled histories of an interval.
    """

    starts: int = 24
    draws: int = 500

    card: ClassVar[CheckCard] = CheckCard(
        name="decisions",
        version=1,
        title="Decisions",
        question="Does the model decide anything, does it act on what it says, and is what it "
        "trades worth its price?",
        pillar="conceptual_soundness",
        method="Exposures that differ are counted over all bars, training included, and exposure "
        "at bars that the model calls stressed is compared with that at others. A metamorphic "
        "test puts two futures after bars of the tests at which the model is invested: up and down "
        "again by each of the last twenty moves, scaled to three times the volatility of training, "
        "as they are (unrest) and with a fall of thirty per cent over the forty bars on top "
        "(crash). The past is not altered. Exposure in the second twenty bars is compared with "
        "that at the start: most of it held in a crash; held at bars that the model itself calls "
        "stressed; given up in unrest but held in a crash just as restless. Shares of starts have "
        "exact intervals. Costs a year over the volatility of returns before costs are the Sharpe "
        "ratio that trading must earn first; where a reward after costs is established, trading "
        "has paid for itself and nothing is measured. Other intervals by stationary block "
        "bootstrap.",
        limitations=(
            "A crash is one shape, smoother in its fall than any on record",
            "Starts of one history share bars, so that they are not quite independent",
            "Made for models of regimes that hold less under stress; a model that buys falls by "
            "design needs a waiver that says so",
            "A model that does not recognise the crash at all is seen by the share of crashes held "
            "alone, and so are a few models fitted to few bars in calm markets",
            "Bars that are not daily get no crash",
        ),
        references=(
            "Chen, Cheung & Yiu (1998), Metamorphic testing, HKUST-CS98-01",
            "Clopper & Pearson (1934), Biometrika 26",
            "Politis & Romano (1994), The stationary bootstrap, JASA 89",
        ),
        requires=("model", "regimes"),
        metrics=(
            MetricSpec(name="distinct_exposures", unit="exposures", better="higher",
                       meaning="Different exposures on all bars after the warm-up"),
            MetricSpec(name="crashes_held", unit="fraction of starts", better="lower",
                       meaning="Crashes in which most of the exposure at the start is kept"),
            MetricSpec(name="stress_held", unit="fraction of starts", better="lower",
                       meaning="Of the crashes that the model calls stress, those in which it "
                       "keeps most of its exposure while it does"),
            MetricSpec(name="bolder_in_crash", unit="fraction of starts", better="lower",
                       meaning="Of the unrests that it leaves, those whose like with a fall on top "
                       "it holds"),
            MetricSpec(name="exposure_in_stress", unit="fraction", better="lower",
                       meaning="Mean exposure at bars that the model calls stressed, over the "
                       "larger of that and the mean at others: 1 if no less is held in stress"),
            MetricSpec(name="break_even_sharpe", unit="ratio p.a.", better="lower",
                       meaning="Costs a year over the volatility of returns before costs: the "
                       "Sharpe ratio at which trading earns nothing"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not 1 <= self.starts <= 1000 or not 100 <= self.draws <= 100_000:
            raise InputError(
                "decisions cannot use these parameters",
                expected="1 to 1000 starts and 100 to 100000 draws",
                got=f"{self.starts}, {self.draws}",
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield how many exposures there are, answers to crashes, and the price of trading."""
        yield from self._exposures(subject, context)
        yield self._price(out_of_sample(subject, context), context)
        window = context.out_of_sample_window
        if not is_daily(context.bars):
            for metric in _SHARES:
                reason = "crashes are made of daily bars, and these are not"
                yield not_measured(self, metric, reason, window=window)
            return
        answers = crash_answers(subject, context, Probe(), self.starts)
        for metric, chosen, nothing in (
            ("crashes_held", [a.held for a in answers], "starts at which the model is invested"),
            (
                "stress_held",
                [a.held_in_stress for a in answers if a.says_stress],
                "crashes that the model calls stress",
            ),
            (
                "bolder_in_crash",
                [a.bolder_in_crash for a in answers if a.leaves_unrest],
                "unrests that the model leaves",
            ),
        ):
            yield self._share(metric, chosen, nothing, context)
        if answers:
            yield self._exhibit(answers, context)

    def _exposures(self, subject: Subject, context: Context) -> Iterator[Evidence]:
        last, first = context.last_fold.test_end, subject.card.warmup_bars
        said = context.cache.signals(context.candidate(subject), context.bars.rows(0, last))
        window = context.window(min(first, last - 1), last - 1)
        held = said.position[first:]
        if not len(held):
            for metric in ("distinct_exposures", "exposure_in_stress"):
                reason = "every bar belongs to the warm-up"
                yield not_measured(self, metric, reason, window=window)
            return
        count = float(len(np.unique(held)))
        yield measured(self, "distinct_exposures", count, n=len(held), window=window)
        off = stressed(said, 1)[first:]
        if min(off.sum(), (~off).sum()) < _LEAST_BARS:
            reason = f"{off.sum()} of {len(off)} bars are called stressed"
            yield not_measured(self, "exposure_in_stress", reason, window=window)
            return
        columns = {"held": held, "off": off.astype(float)}
        value = float(_in_stress(columns))
        if not np.isfinite(value):
            reason = "nothing is held on average, in stress or elsewhere"
            yield not_measured(self, "exposure_in_stress", reason, window=window)
            return
        interval = Interval(low=value, high=value, level=_LEVEL, method="the same in any history")
        if np.ptp(held[off]) > 0.0 or np.ptp(held[~off]) > 0.0:
            drawn = Bootstrap(block_length(*columns.values()), self.draws, _LEVEL).intervals(
                {"share": _in_stress}, columns, context.rng("decisions:stress")
            )["share"]
            interval = drawn or interval
        yield measured(
            self, "exposure_in_stress", value, n=len(held), window=window, interval=interval
        )

    def _share(self, metric: str, chosen: list[bool], nothing: str, context: Context) -> Evidence:
        window, n, events = context.out_of_sample_window, len(chosen), sum(chosen)
        if n < _LEAST_ANSWERS:
            reason = f"{n} {nothing} are fewer than {_LEAST_ANSWERS}"
            return not_measured(self, metric, reason, window=window)
        interval = exact_interval(events, n, level=_LEVEL)
        return measured(self, metric, events / n, n=n, window=window, interval=interval)

    def _price(self, tested: OutOfSample, context: Context) -> Evidence:
        name, window, n = "break_even_sharpe", context.out_of_sample_window, len(tested.net)
        if not tested.traded.any() or np.ptp(tested.gross) == 0.0:
            reason = "nothing is traded, or nothing varies"
            return not_measured(self, name, reason, window=window)
        year = tested.bars.bars_per_year

        def price(columns: Columns) -> np.ndarray:
            paid = (columns["gross"] - columns["net"]).mean(axis=-1) * year
            risk = np.asarray(annual_volatility(columns["gross"], year))
            return np.where(risk > 0.0, paid / np.where(risk > 0.0, risk, 1.0), np.nan)

        columns = {"gross": tested.gross, "net": tested.net}
        statistics = {"price": price, "reward": lambda c: np.asarray(sharpe(c["net"], year))}
        found = Bootstrap(block_length(tested.net), self.draws, _LEVEL).intervals(
            statistics, columns, context.rng("decisions:price")
        )
        reward = found["reward"]
        if reward is not None and reward.low > 0.0:
            reason = "a reward after costs is established: trading has paid for itself"
            return not_measured(self, name, reason, window=window)
        value = float(price(columns))
        return measured(self, name, value, n=n, window=window, interval=found["price"])

    def _exhibit(self, answers: tuple[Answer, ...], context: Context) -> Exhibit:
        days = tuple(context.bars.index[answer.row].date().isoformat() for answer in answers)
        return Exhibit(
            check=self.card.name,
            name="crashes",
            title="Exposure kept when the market crashes or is restless after bars of the tests",
            kind="table",
            columns=(
                Column(name="after", values=days),
                Column(name="in unrest", values=tuple(a.in_unrest for a in answers)),
                Column(name="in a crash", values=tuple(a.in_crash for a in answers)),
                Column(
                    name="in a crash it calls stress",
                    values=tuple(a.in_stated_stress if a.says_stress else None for a in answers),
                ),
            ),
            note="As a share of the exposure at the start; bars 21 to 40 after it.",
        )


def _in_stress(columns: Columns) -> np.ndarray:
    """Mean held while off over the larger of that and the mean while not; NaN where undefined."""
    held, off = columns["held"], columns["off"]
    count, rest = off.sum(axis=-1), (1.0 - off).sum(axis=-1)
    inside = (held * off).sum(axis=-1) / np.maximum(count, 1.0)
    larger = np.maximum(inside, (held * (1.0 - off)).sum(axis=-1) / np.maximum(rest, 1.0))
    known = (count > 0.0) & (rest > 0.0) & (larger > 0.0)
    return np.where(known, inside / np.where(known, larger, 1.0), np.nan)
