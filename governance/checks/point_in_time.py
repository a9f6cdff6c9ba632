"""Whether any signal knew something that had not happened yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, Subject
from governance.alterations import (
    ALTERATIONS,
    alter_future,
    anonymous,
    extend,
    price_factors,
    rescale,
    spread_cuts,
)
from governance.altered_answers import Outcome, answer_on, outcome_of
from governance.check import Context, measured, not_measured
from governance.comparison import compare, decisions_apart
from governance.record import (
    CheckCard,
    Column,
    Evidence,
    Exhibit,
    MetricSpec,
    Residual,
    Window,
)
from governance.statistics.proportion import exact_interval

EXTRA_BARS = 64
"""Bars invented beyond the sample, so that a model that keeps the longest history keeps those."""
POSITION_TOLERANCE = 1e-6
"""Positions closer than this are the same at another price level, where rounding may differ."""


@dataclass(frozen=True)
class PointInTime:
    """Alter the future, run the model again and count past signals that changed.

    Parameters
    ----------
    rounds : int
        Cuts of the whole history for each alteration.
    windows : int
        Short histories that are cut more often; they lie at the end of the sample, at the edges
        of the last fold, and then at random.
    window_bars : int
        Their length beyond the warm-up.
    cuts_per_window : int
        Cuts of each, spread over weekdays and hours, two before its largest moves.
    refit_bars : int
        Longest training window for the test through ``fit``.
    rescaled_bars : int
        Longest history at other price levels, beyond the warm-up; it ends with the sample.
    """

    rounds: int = 1
    windows: int = 4
    window_bars: int = 280
    cuts_per_window: int = 16
    refit_bars: int = 1000
    rescaled_bars: int = 1500

    card: ClassVar[CheckCard] = CheckCard(
        name="point_in_time",
        version=3,
        title="Point-in-time integrity",
        question="Does any signal depend on data that lay in the future when it was made?",
        pillar="conceptual_soundness",
        method=(
            "The history is cut at a bar and everything from the cut on is removed, replaced by "
            "another random walk, mirrored, run backwards, rescaled, let fall, or changed in "
            "volume or range alone. Every field of every signal before the cut must be the same "
            "number as without the alteration, bit for bit. Cuts lie at fold edges, before the "
            "largest moves, at every weekday and hour, and at random. The same is asked of "
            "training: the model is trained on bars whose name, dates and source are withheld, "
            "after it has been shown an altered and longer future, and must give the signals it "
            "gives when trained plainly. Finally the latest history is shown with all prices "
            "multiplied by a power of two above one and, with name and dates withheld, by one "
            "below: a model that sees returns decides the same, while one that finds its place in "
            "a stored series by price loses it. Positions within a millionth of capital are the "
            "same."
        ),
        limitations=(
            "A leak that shows only at bars that were not cut can escape; the number of cuts is "
            "reported with an exact interval for the share that leak.",
            "A model that carries future knowledge inside it, such as parameters chosen by its "
            "developer on the whole sample, does not react to altered data and is not found. "
            "A stored series is found where it is searched by name, date or price, and not where "
            "it is searched by returns or before the history that is rescaled.",
            "Decisions that change with the price level need not be a look-up: inputs in units "
            "of price or absolute thresholds have the same effect. They are a weakness of their "
            "own, since splits and growth move the level, but no knowledge of the future. "
            "A developer must say which it is.",
            "Rounding that depends on the length of the history counts as a change; its size is "
            "reported beside the count.",
            "A model whose training is not repeatable changes here as well; see reproducibility.",
            "A model that may legitimately look data up by name or date shows in the metrics "
            "without names and dates, and needs a judgement there.",
        ),
        references=(
            "López de Prado, Advances in Financial Machine Learning (2018), chapter 7",
            "Kaufman, Rosset, Perlich and Stitelman, Leakage in data mining, ACM TKDD 6 (2012)",
        ),
        requires=("model",),
        metrics=(
            MetricSpec(
                name="changed_rows",
                unit="rows",
                better="lower",
                meaning="Signals before a cut that changed when the future was altered",
            ),
            MetricSpec(
                name="leaking_cuts_share",
                unit="share",
                better="lower",
                meaning="Share of cuts at which any earlier signal changed",
            ),
            MetricSpec(
                name="max_position_change",
                unit="fraction of capital",
                better="lower",
                meaning="Largest change of a position before a cut",
            ),
            MetricSpec(
                name="reach_bars",
                unit="bars",
                better="lower",
                meaning="How long before a cut the earliest changed signal lies",
            ),
            MetricSpec(
                name="anonymous_changed_rows",
                unit="rows",
                better="lower",
                meaning="Signals that changed when name, dates and source were withheld",
            ),
            MetricSpec(
                name="refit_changed_rows",
                unit="rows",
                better="lower",
                meaning="Signals that changed when the future of the training window was altered",
            ),
            MetricSpec(
                name="rescaled_changed_rows",
                unit="rows",
                better="lower",
                meaning="Rows whose position or regime changed when all prices were multiplied by "
                "a constant: a look-up by price, or inputs that depend on the price level",
            ),
            MetricSpec(
                name="rescaled_max_position_change",
                unit="fraction of capital",
                better="lower",
                meaning="Largest change of a position when all prices were multiplied",
            ),
            MetricSpec(
                name="failed_calls",
                unit="calls",
                better="lower",
                meaning="Calls that raised an error on altered bars",
            ),
        ),
    )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield changes overall and by alteration, then through fit, and the table of changes."""
        rng = context.rng("point_in_time")
        candidate = context.candidate(subject)
        window = context.window(0, len(context.bars) - 1, context.last_fold.train_end)
        whole = candidate.signals(context.bars.rows())
        outcomes, repeated = [], 0
        for history, cuts in self._histories(candidate, context, rng):
            plain = whole
            if history is not context.bars:
                plain = candidate.signals(history.rows())
                repeated += compare(plain, candidate.signals(history.rows()), len(history)).rows
            for name, cut in cuts:
                altered = alter_future(history, cut, name, rng)
                outcomes.append(outcome_of(name, candidate, plain, cut, altered))
        steady = Residual(what="rows that differ on repetition", value=repeated, tolerance=0)
        yield from self._report(outcomes, window, steady)
        for name in ALTERATIONS:
            chosen = [outcome for outcome in outcomes if outcome.alteration == name]
            if chosen:
                yield from self._report(chosen, window, steady, alteration=name)
        failed = sum(bool(outcome.failure) for outcome in outcomes)
        yield measured(self, "failed_calls", failed, n=len(outcomes), window=window)
        rows = _changed_when_anonymous(whole, candidate, context.bars)
        yield self._rows("anonymous_changed_rows", rows, len(context.bars), window)
        yield from self._through_fit(subject, context, rng)
        yield from self._at_other_levels(candidate, context, whole)
        yield self._exhibit(outcomes)

    def _histories(
        self, candidate: Subject, context: Context, rng: np.random.Generator
    ) -> Iterator[tuple[Bars, list[tuple[str, int]]]]:
        """Each history with what to do to it at which rows."""
        bars, names = context.bars, list(ALTERATIONS)
        wanted = len(names) * self.rounds
        edges = [fold.test_start for fold in context.folds]
        random_rows = rng.integers(edges[0], len(bars), wanted).tolist()
        cuts = rng.permutation([*edges, *random_rows])[:wanted].tolist()
        yield bars, [(names[i % len(names)], int(cut)) for i, cut in enumerate(cuts)]
        length = min(candidate.card.warmup_bars + self.window_bars, len(bars))
        first = min(candidate.card.warmup_bars + 1, length // 2)
        last = context.last_fold
        stops = [len(bars), last.test_start + length // 4, last.train_end + 1]
        stops += rng.integers(length, len(bars) + 1, max(self.windows - len(stops), 0)).tolist()
        for number, stop in enumerate(stops[: self.windows]):
            end = int(np.clip(stop, length, len(bars)))
            history = bars.rows(end - length, end)
            rows = spread_cuts(history, first, self.cuts_per_window, rng)
            yield history, [(names[(i + number) % len(names)], cut) for i, cut in enumerate(rows)]

    def _report(
        self, outcomes: Sequence[Outcome], window: Window, steady: Residual, **where: Any
    ) -> Iterator[Evidence]:
        """The four metrics of the cuts that the model answered."""
        answered = [outcome for outcome in outcomes if not outcome.failure]
        if not answered:
            reason = f"the model failed on every altered history: {outcomes[0].failure}"
            for name in ("changed_rows", "leaking_cuts_share", "max_position_change", "reach_bars"):
                yield not_measured(self, name, reason, window=window, errored=True, **where)
            return
        n, leaking = len(answered), sum(outcome.changed > 0 for outcome in answered)
        yield measured(
            self,
            "changed_rows",
            sum(outcome.changed for outcome in answered),
            n=sum(outcome.rows for outcome in answered),
            window=window,
            self_check=steady,
            **where,
        )
        yield measured(
            self,
            "leaking_cuts_share",
            leaking / n,
            n=n,
            window=window,
            interval=exact_interval(leaking, n),
            **where,
        )
        change = max(outcome.position_change for outcome in answered)
        yield measured(self, "max_position_change", change, n=n, window=window, **where)
        reach = max(outcome.reach for outcome in answered)
        yield measured(self, "reach_bars", reach, n=n, window=window, **where)

    def _through_fit(
        self, subject: Subject, context: Context, rng: np.random.Generator
    ) -> Iterator[Evidence]:
        """Train with another future in view and without name and dates; compare the signals."""
        bars = context.bars
        cut = min(self.refit_bars, context.folds[0].train_end)
        probe = bars.rows(0, min(cut + self.window_bars, len(bars)))
        n, window = len(probe), context.window(0, len(probe) - 1, cut)
        if Capability.REFIT not in subject.capabilities:
            reason = "the subject does not declare refit"
            yield not_measured(self, "refit_changed_rows", reason, window=window)
            yield not_measured(self, "anonymous_changed_rows", reason, window=window, through="fit")
            return
        plain = context.cache.fit(subject, bars.rows(0, cut), context.seed)
        expected = plain.signals(probe.rows())
        decoy = extend(alter_future(bars, cut, "noise", rng), EXTRA_BARS, rng)
        # What the model says to it does not matter here, only that it has now been seen.
        outcome_of("noise", plain, expected, cut, decoy)
        # One training answers both questions where nothing changed; only a leak costs two.
        hidden = subject.fit(anonymous(decoy.rows(0, cut)), seed=context.seed)
        rows = _changed_when_anonymous(expected, hidden, probe)
        changed = 0
        if rows != 0:
            shown = subject.fit(decoy.rows(0, cut), seed=context.seed).signals(probe.rows())
            changed = compare(expected, shown, n).rows
            rows = _changed_when_anonymous(shown, hidden, probe)
        yield self._rows("refit_changed_rows", changed, n, window)
        yield self._rows("anonymous_changed_rows", rows, n, window, through="fit")

    def _at_other_levels(
        self, candidate: Subject, context: Context, whole: Signals
    ) -> Iterator[Evidence]:
        """Decisions at another price level, as it is named and dated and then without either."""
        up, down = price_factors(context.rng("point_in_time.levels"))
        total = len(context.bars)
        first = max(total - candidate.card.warmup_bars - self.rescaled_bars, 0)
        history = context.bars.rows(first)
        window = context.window(first, total - 1, context.last_fold.train_end)
        expected = whole if first == 0 else candidate.signals(history.rows())
        metrics = ("rescaled_changed_rows", "rescaled_max_position_change")
        shown: list[tuple[Bars, dict[str, Any]]] = [
            (rescale(history, up), {}),
            (anonymous(rescale(history, down)), {"names": "withheld"}),
        ]
        for bars, where in shown:
            answer = answer_on(expected, candidate, bars, "at another price level")
            if isinstance(answer, str):
                for name in metrics:
                    yield not_measured(self, name, answer, window=window, errored=True, **where)
                continue
            apart, gaps = decisions_apart(expected, answer, tolerance=POSITION_TOLERANCE)
            for name, value in zip(metrics, (int(apart.sum()), float(gaps.max())), strict=True):
                yield measured(self, name, value, n=len(bars), window=window, **where)

    def _rows(self, metric: str, rows: int | str, n: int, window: Window, **where: Any) -> Evidence:
        """Evidence of a count, or of the reason in its place."""
        if isinstance(rows, str):
            return not_measured(self, metric, rows, window=window, errored=True, **where)
        return measured(self, metric, rows, n=n, window=window, **where)

    def _exhibit(self, outcomes: Sequence[Outcome]) -> Exhibit:
        groups = [[o for o in outcomes if o.alteration == name] for name in ALTERATIONS]
        numbers: dict[str, list[float]] = {
            "cuts": [len(group) for group in groups],
            "cuts that leak": [sum(o.changed > 0 for o in group) for group in groups],
            "signals compared": [sum(o.rows for o in group) for group in groups],
            "signals changed": [sum(o.changed for o in group) for group in groups],
            "failed calls": [sum(bool(o.failure) for o in group) for group in groups],
        }
        words = {
            "first changed signal": [
                min((o.first_time for o in group if o.first_time), default="none")
                for group in groups
            ],
            "fields changed": [
                ", ".join(sorted({name for o in group for name in o.fields})) or "none"
                for group in groups
            ],
        }
        columns = [Column(name="alteration", values=tuple(ALTERATIONS))]
        columns += [Column(name=name, values=tuple(map(float, v))) for name, v in numbers.items()]
        columns += [Column(name=name, values=tuple(v)) for name, v in words.items()]
        return Exhibit(
            check=self.card.name,
            name="changes",
            title="Signals before the cut that changed, by alteration of the future",
            kind="table",
            columns=tuple(columns),
        )


def _changed_when_anonymous(expected: Signals, model: Subject, bars: Bars) -> int | str:
    """Rows in which the model on nameless, dateless bars differs from what is expected of it.

    The text of the error if it fails on them.
    """
    answer = answer_on(expected, model, anonymous(bars), "without name and dates")
    return answer if isinstance(answer, str) else compare(expected, answer, len(bars)).rows
