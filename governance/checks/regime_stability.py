"""Check: whether regimes keep their meaning when a model is refitted, and over time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np

from finchaos.core.errors import InputError
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, Subject
from governance.check import Context, Skip, measured, not_measured
from governance.record import CheckCard, Column, Evidence, Exhibit, MetricSpec
from governance.statistics import regime_stability as stability
from governance.statistics.out_of_sample import OutOfSample, out_of_sample
from governance.statistics.persistence import persistence, persistence_interval
from governance.statistics.proportion import exact_interval
from governance.statistics.regimes import falls
from governance.statistics.resampling import Bootstrap, block_length

# Of a correlation's sign in each of several folds: wide, so that chance hardly shows in any.
_SIGN_LEVEL = 0.998
_LEVEL = 0.95
# Falls are few, and an interval from few is too narrow.
_LEVELS = {"next_volatility_ratio": 0.95, "fall_share_gap": 0.99}
_LEAST_SPELLS = 5
_LEAST_OFF = 20
_LEAST_SHIFTS_SHARE = 0.05
_LEAST_RANGE = 0.1


@dataclass(frozen=True)
class RegimeStability:
    """Agreement of refits, spells, separation, and agreement with dated falls.

    Parameters
    ----------
    volatility_bars : int
        Returns in the realised volatility that stress is compared with.
    draws : int
        Resampled histories of an interval.
    """

    volatility_bars: int = 21
    draws: int = 1000

    card: ClassVar[CheckCard] = CheckCard(
        name="regime_stability",
        version=2,
        title="Stability of regimes",
        question="Do regimes mean the same after a refit as before it, last long enough to act "
        "on, and tell markets apart?",
        pillar="conceptual_soundness",
        method="The models of all folds label the same bars, up to the end of the earlier one's "
        "test; their labels are compared by the adjusted Rand index, which names do not change, "
        "and by what renaming would gain, weighed by that index, since a partition that is gone "
        "has no names to change. For each model the rank "
        "correlation of stress with realised volatility of the same bars says whether its calm "
        "regime is the calm one. Out of sample, spells are counted within folds, Cohen's kappa of "
        "every bar's label with the next one's says how far a state lasts beyond what frequency "
        "says (of exposure: above or below the middle of its range), the volatility of "
        "the next return is compared between risk-off and other bars, and risk-off is set against "
        "falls of ten per cent dated in hindsight. Intervals by stationary block bootstrap, of "
        "correlations by Fisher's transformation with Bartlett's effective number of pairs.",
        limitations=(
            "How many regimes there are is not tested: no standard test does, since the "
            "parameters of an absent regime mean nothing",
            "A model that refits to other regimes may be right to; the index says that it did",
            "Falls are dated with knowledge of what came after",
            "Spells at the ends of a fold are cut short, which matters where folds hold few",
            "Stress is compared with volatility: regimes of another kind need not follow it",
        ),
        references=(
            "Hubert & Arabie (1985), Comparing partitions, Journal of Classification 2",
            "Stephens (2000), Dealing with label switching in mixture models, JRSS B 62",
            "Hansen (1992), The likelihood ratio test under nonstandard conditions, Journal of "
            "Applied Econometrics 7",
            "Lunde & Timmermann (2004), Duration dependence in stock prices, JBES 22",
            "Cohen (1960), A coefficient of agreement for nominal scales, Educational and "
            "Psychological Measurement 20",
        ),
        requires=("model", "regimes"),
        metrics=(
            MetricSpec(name="adjusted_rand", unit="index", better="higher",
                       meaning="Agreement of a model's regimes with those of the fold before, "
                       "whatever they are called"),
            MetricSpec(name="least_adjusted_rand", unit="index", better="higher",
                       meaning="The smallest of these"),
            MetricSpec(name="relabelling_gain", unit="fraction of bars", better="lower",
                       meaning="Bars that would agree with the fold before if regimes were "
                       "renamed, less those that do, times adjusted_rand; the largest over "
                       "refits"),
            MetricSpec(name="stress_volatility_correlation", unit="rank correlation",
                       better="higher",
                       meaning="Of a fold's stress with realised volatility up to the same bar"),
            MetricSpec(name="dominant_share", unit="fraction of bars", better="lower",
                       meaning="Bars in the commonest regime, of all that the candidate labels"),
            MetricSpec(name="median_spell", unit="bars", better="higher",
                       meaning="Median length of a regime's spell out of sample"),
            MetricSpec(name="one_bar_spells", unit="fraction of spells", better="lower",
                       meaning="Spells of a single bar"),
            MetricSpec(name="shifts_per_year", unit="shifts p.a.", better="lower",
                       meaning="Changes of regime out of sample"),
            MetricSpec(name="persistence", unit="kappa", better="higher",
                       meaning="Agreement of a bar's regime, or of its exposure above or below the "
                       "middle, with that of the next: 0 as by chance, -1 always the other"),
            MetricSpec(name="next_volatility_ratio", unit="ratio", better="higher",
                       meaning="Standard deviation of the next return, risk-off over other bars"),
            MetricSpec(name="fall_share_gap", unit="fraction of bars", better="higher",
                       meaning="Share of bars risk-off within falls less that outside of them"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.volatility_bars < 2 or not 100 <= self.draws <= 100_000:
            raise InputError(
                "regime_stability cannot use these parameters",
                expected="volatility_bars >= 2 and 100 to 100000 draws",
                got=f"{self.volatility_bars}, {self.draws}",
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield agreement of refits, meaning by fold, spells, separation, and two exhibits."""
        bars = context.bars.rows(0, context.last_fold.test_end)
        answers = [
            context.cache.signals(context.trained(subject, fold), bars) for fold in context.folds
        ]
        if any(answer.regime is None for answer in answers):
            raise Skip("the signals carry no regime")
        yield from self._refits(subject, context, answers)
        yield from self._meaning(subject, context, answers)
        tested = out_of_sample(subject, context)
        yield from self._spells(tested, context)
        yield from self._persistence(tested, context)
        yield from self._separation(tested, context)

    def _refits(
        self, subject: Subject, context: Context, answers: list[Signals]
    ) -> Iterator[Evidence | Exhibit]:
        window, folds = context.out_of_sample_window, context.folds
        reason = ""
        if Capability.REFIT not in subject.capabilities:
            reason = "the subject does not declare refit: all folds are answered by one model"
        elif len(folds) < 2:
            reason = "there is one fold alone"
        if reason:
            for metric in ("adjusted_rand", "least_adjusted_rand", "relabelling_gain"):
                yield not_measured(self, metric, reason, window=window)
            return
        warmup = subject.card.warmup_bars
        agreement = np.eye(len(folds))
        gains = []
        for one, other in combinations(range(len(folds)), 2):
            until = folds[one].test_end
            labels = [_labels(answers[k])[warmup:until] for k in (one, other)]
            agreement[one, other] = agreement[other, one] = stability.adjusted_rand(*labels)
            if other == one + 1:
                # Names can only have changed of a partition that is still there.
                same = max(float(agreement[one, other]), 0.0)
                gains.append(same * stability.relabelling_gain(*labels))
        for later in range(1, len(folds)):
            yield measured(
                self,
                "adjusted_rand",
                agreement[later - 1, later],
                n=folds[later - 1].test_end - warmup,
                window=context.window(warmup, folds[later - 1].test_end - 1),
                fold=str(folds[later].number),
            )
        n = folds[-2].test_end - warmup
        least = float(np.diagonal(agreement, 1).min())
        yield measured(self, "least_adjusted_rand", least, n=n, window=window)
        note = f"at the refit for fold {folds[int(np.argmax(gains)) + 1].number}"
        yield measured(
            self,
            "relabelling_gain",
            max(gains),
            n=n,
            window=window,
            note=note if max(gains) else "",
        )
        yield _heatmap(self.card.name, agreement, [fold.number for fold in folds])

    def _meaning(
        self, subject: Subject, context: Context, answers: list[Signals]
    ) -> Iterator[Evidence]:
        warmup = subject.card.warmup_bars
        for fold, answer in zip(context.folds, answers, strict=True):
            until = fold.test_end
            window = context.window(warmup, until - 1, fold.train_end)
            said = answer.stress_probability
            stress = _labels(answer).astype(float) if said is None else said
            volatility = stability.realised_volatility(
                context.bars.close[:until], self.volatility_bars
            )
            columns = stability.rank_columns(stress[warmup:until], volatility[warmup:])
            value = float(stability.rank_correlation(columns))
            number = str(fold.number)
            if not np.isfinite(value):
                yield not_measured(
                    self, "stress_volatility_correlation", "stress never changes", window=window,
                    fold=number,
                )  # fmt: skip
                continue
            interval = stability.correlation_interval(columns, _SIGN_LEVEL)
            yield measured(
                self, "stress_volatility_correlation", value, n=len(columns["stress"]),
                window=window, interval=interval, fold=number,
            )  # fmt: skip
        labels = _labels(answers[-1])[warmup:]
        share = np.unique(labels, return_counts=True)[1].max() / len(labels)
        window = context.window(warmup, context.last_fold.test_end - 1)
        yield measured(self, "dominant_share", float(share), n=len(labels), window=window)

    def _spells(self, tested: OutOfSample, context: Context) -> Iterator[Evidence]:
        window = context.out_of_sample_window
        by_fold = [
            stability.spells(tested.state[tested.fold == number])
            for number in np.unique(tested.fold)
        ]
        lengths = np.concatenate(by_fold)
        shifts = sum(len(found) - 1 for found in by_fold)
        yearly = shifts / len(tested.state) * tested.bars.bars_per_year
        yield measured(self, "median_spell", float(np.median(lengths)), n=len(lengths), window=window)  # fmt: skip # noqa: E501
        yield measured(self, "shifts_per_year", yearly, n=len(tested.state), window=window)
        if shifts < _LEAST_SPELLS:
            reason = f"{shifts} shifts are too few to say how many spells are short"
            yield not_measured(self, "one_bar_spells", reason, window=window)
            return
        short = int((lengths == 1).sum())
        yield measured(
            self,
            "one_bar_spells",
            short / len(lengths),
            n=len(lengths),
            window=window,
            interval=exact_interval(short, len(lengths), level=_LEVEL),
        )

    def _persistence(self, tested: OutOfSample, context: Context) -> Iterator[Evidence]:
        window, pairs = context.out_of_sample_window, len(tested.state) - 1
        exposure = tested.signals.position
        middle = 0.5 * (exposure.min() + exposure.max())
        for of, state in (("regime", tested.state), ("exposure", exposure > middle)):
            shifts = int((state[1:] != state[:-1]).sum())
            reason = ""
            if shifts < _LEAST_SHIFTS_SHARE * pairs:
                reason = f"{shifts} shifts in {pairs} bars: the state lasts, or there is one alone"
            elif of == "exposure" and np.ptp(exposure) < _LEAST_RANGE:
                reason = f"exposure ranges over less than {_LEAST_RANGE:g} of capital"
            if reason:
                yield not_measured(self, "persistence", reason, window=window, of=of)
                continue
            value = persistence(state)
            interval = persistence_interval(value, pairs, _LEVEL)
            yield measured(
                self, "persistence", value, n=pairs, window=window, interval=interval, of=of
            )

    def _separation(self, tested: OutOfSample, context: Context) -> Iterator[Evidence]:
        window, n = context.out_of_sample_window, len(tested.bars) - 1
        in_fall = np.zeros(len(context.bars), dtype=bool)
        for episode in falls(context.bars.close[: context.last_fold.test_end]):
            in_fall[episode.peak : episode.trough + 1] = True
        first = context.folds[0].test_start
        columns = {
            "off": tested.off[:n].astype(float),
            "next_return": tested.bars.returns(),
            "in_fall": in_fall[first : first + n].astype(float),
        }
        statistics = stability.separation_statistics()
        few = min(columns["off"].sum(), n - columns["off"].sum()) < _LEAST_OFF
        none = columns["in_fall"].sum() < _LEAST_OFF
        reasons = {
            "next_volatility_ratio": "one of the two regimes holds too few bars" if few else "",
            "fall_share_gap": "no fall of ten per cent lies in the tests" if none else "",
        }
        block = block_length(columns["off"], columns["next_return"])
        intervals = {
            name: Bootstrap(block, self.draws, _LEVELS[name]).intervals(
                {name: statistic}, columns, context.rng(f"regime_stability:{name}")
            )[name]
            for name, statistic in statistics.items()
        }
        for name, statistic in statistics.items():
            if reasons[name]:
                yield not_measured(self, name, reasons[name], window=window)
                continue
            value = float(statistic(columns))
            yield measured(self, name, value, n=n, window=window, interval=intervals[name])


def _labels(answer: Signals) -> np.ndarray:
    if answer.regime is None:
        raise Skip("the signals carry no regime")
    return answer.regime


def _heatmap(check: str, agreement: np.ndarray, numbers: list[int]) -> Exhibit:
    names = tuple(f"fold {number}" for number in numbers)
    columns = [Column(name="model of", values=names)]
    columns += [
        Column(name=name, values=tuple(column.tolist()))
        for name, column in zip(names, agreement.T, strict=True)
    ]
    return Exhibit(
        check=check,
        name="refits",
        title="Agreement of regimes between the models of the folds (adjusted Rand index)",
        kind="heatmap",
        columns=tuple(columns),
        note="On bars up to the end of the earlier model's test. 1 the same, 0 as by chance.",
    )
