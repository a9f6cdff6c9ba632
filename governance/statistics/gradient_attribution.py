"""Evidence from Integrated Gradients: shares, and whether they can be trusted.

Nothing here computes a gradient: the network is asked through :class:`Network`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np

from finchaos.core.provenance import stream_seed
from finchaos.core.subject import Capability, Differentiable, Subject
from governance.check import Context, Skip, measured, not_measured
from governance.record import Evidence, Exhibit, Interval, Residual, Window
from governance.splits import Fold
from governance.statistics import attribution_checks as checks
from governance.statistics import attribution_exhibits as exhibits
from governance.statistics.attribution import (
    Attributions,
    WindowBootstrap,
    drawn_agreements,
    drawn_means,
    drawn_shares,
    importance_agreement,
    shares,
    spread,
    window_agreement,
)
from governance.statistics.attribution_summary import summary_exhibit
from governance.statistics.attribution_windows import (
    rows_around_fall,
    rows_between,
    stratified_rows,
    worst_rows,
)
from governance.statistics.explainer import Explainer, Network

LEAST_WINDOWS = 20
COMPLETENESS_TOLERANCE = 1e-3
WORST_BARS, FALL_DATES, MOST_CRISES = 10, 12, 8
DRAWS, LEVEL = 1000, 0.95
_AFTER_SHARES = (
    "feature_share",
    "top_feature_share",
    "lag_share",
    "baseline_rank_correlation",
    "randomisation_correlation",
    "fold_rank_correlation",
    "ablation_agreement",
    "ablation_rank_correlation",
    "infidelity",
    "sensitivity_max",
    "seed_rank_correlation",
    "test_rank_correlation",
    "nodes_per_window",
)


@dataclass(frozen=True)
class WindowSettings:
    """Windows explained, those compared, bars in each, copies with weights drawn anew,
    and models trained anew with other seeds."""

    windows: int
    compared: int
    length: int
    copies: int
    seeds: int = 0


@dataclass(frozen=True)
class GradientAttribution:
    """One measurement of a differentiable subject.

    Attributes
    ----------
    check : Check
        Whose evidence this is.
    subject : Subject
        As delivered, with the capability ``gradients``.
    context : Context
    window : Window
        What the evidence speaks about.
    settings : WindowSettings
    network : function from torch.nn.Module to Network
    """

    check: Any
    subject: Subject
    context: Context
    window: Window
    settings: WindowSettings
    network: Callable[[Any], Network]

    @property
    def fold(self) -> Fold:
        """The candidate's."""
        return self.context.last_fold

    @cached_property
    def explainers(self) -> dict[int, Explainer]:
        """The model of every fold by the fold's number, asked over the whole sample."""
        bars = self.context.bars.rows(0, self.fold.test_end)
        warm = self.subject.card.warmup_bars
        return {
            fold.number: Explainer(
                cast("Differentiable", self.context.trained(self.subject, fold)),
                self.network,
                bars,
                (warm, fold.train_end),
                self.settings.length,
            )
            for fold in self.context.folds
        }

    @property
    def explainer(self) -> Explainer:
        """The candidate."""
        return self.explainers[self.fold.number]

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features of a window."""
        return tuple(self.explainer.model.feature_names)

    @cached_property
    def first_row(self) -> int:
        """The first test row that ends a whole window outside warm-up."""
        warm = self.subject.card.warmup_bars + self.settings.length - 1
        return max(self.fold.test_start, warm)

    @cached_property
    def ends(self) -> np.ndarray:
        """Rows at which the explained windows end.

        Raises
        ------
        Skip
            If the test holds too few.
        """
        rows = stratified_rows(
            self.context.rng("attribution.windows"),
            self.first_row,
            self.fold.test_end,
            self.settings.windows,
        )
        if len(rows) < LEAST_WINDOWS:
            raise Skip(f"the test holds {len(rows)} windows, at least {LEAST_WINDOWS} are needed")
        return rows

    @cached_property
    def main(self) -> Attributions:
        """Attributions of those windows by the candidate, from the training median."""
        return self.explainer.attribute(self.ends)

    @cached_property
    def compared(self) -> np.ndarray:
        """Positions among the windows of those that are compared."""
        return spread(len(self.ends), self.settings.compared)

    def measure(self) -> Iterator[Evidence | Exhibit]:
        """Yield exactness, shares, sanity checks, stability and the charts."""
        yield from self._exactness()
        if shares(self.main.by_feature) is None:
            reason = "no input moves the decision in these windows"
            for name in _AFTER_SHARES:
                yield not_measured(self.check, name, reason, window=self.window)
            return
        yield from self._shares()
        moved = self.explainer.ablated(self.ends)
        yield self._ablation(moved)
        yield checks.ablation_rank(self, moved)
        yield checks.infidelity(self)
        yield checks.sensitivity(self)
        yield self._randomised()
        yield from self._other_explanations(moved)
        yield from self._crises()
        network = self.explainer.network
        cost = network.gradients / network.windows_explained
        yield self.found("nodes_per_window", cost, n=network.windows_explained)

    def _exactness(self) -> Iterator[Evidence]:
        largest = float(np.abs(self.main.residuals).max())
        check = Residual(
            what="sum of attributions less the change of the decision, largest of all windows",
            value=largest,
            tolerance=COMPLETENESS_TOLERANCE,
        )
        yield self.found("completeness_residual", largest, self_check=check)
        change = np.abs(self.main.outputs - self.main.baseline_outputs)[:, None]
        interval = self.intervals(change, drawn_means, "change")[0]
        yield self.found("explained_change", float(change.mean()), interval)
        issued = self.context.test_signals(self.subject, self.fold).stress_probability
        if issued is None:
            reason = "the signals carry no stress probability"
            yield not_measured(self.check, "window_gap", reason, window=self.window)
            return
        gaps = np.abs(issued[self.ends - self.fold.test_start] - self.main.outputs)
        yield self.found(
            "window_gap",
            float(gaps.mean()),
            self.intervals(gaps[:, None], drawn_means, "window_gap")[0],
        )

    def _shares(self) -> Iterator[Evidence | Exhibit]:
        check, main = self.check, self.main
        by_feature = cast("np.ndarray", shares(main.by_feature))
        intervals = self.intervals(main.by_feature, drawn_shares, "features")
        for name, value, interval in zip(self.features, by_feature, intervals, strict=True):
            yield self.found("feature_share", float(value), interval, feature=name)
        top = int(np.argmax(by_feature))
        yield self.found("top_feature_share", float(by_feature[top]), intervals[top])
        buckets, by_lag = main.by_lag()
        lag_shares = cast("np.ndarray", shares(by_lag))
        lag_intervals = self.intervals(by_lag, drawn_shares, "lags")
        for name, value, interval in zip(buckets, lag_shares, lag_intervals, strict=True):
            yield self.found("lag_share", float(value), interval, lag=name)
        worst = worst_rows(self.context.bars.close, self.first_row, self.fold.test_end, WORST_BARS)
        at_worst = shares(self.explainer.attribute(worst).by_feature)
        yield exhibits.shares_exhibit(
            check.card.name, self.features, by_feature, intervals, at_worst, LEVEL
        )
        yield exhibits.lags_exhibit(check.card.name, self.features, main)

    def _ablation(self, moved: np.ndarray) -> Evidence:
        agree = np.abs(self.main.net_by_feature).argmax(axis=1) == np.abs(moved).argmax(axis=1)
        table = agree.astype(np.float64)[:, None]
        interval = self.intervals(table, drawn_means, "ablation")[0]
        return self.found("ablation_agreement", float(agree.mean()), interval)

    def _randomised(self) -> Evidence:
        name = "randomisation_correlation"
        main = self.main.rows(self.compared)
        found = []
        for k in range(self.settings.copies):
            seed = stream_seed(self.context.seed, f"attribution.weights.{k}")
            other = self.explainer.randomised(seed).attribute(self.ends[self.compared])
            found.append(window_agreement(main, other))
        table = np.array(found).T
        defined = table[np.isfinite(table).all(axis=1)]
        if len(defined) < LEAST_WINDOWS // 2:
            reason = "with weights drawn anew no input moves the decision"
            return not_measured(self.check, name, reason, window=self.window)
        means = defined.mean(axis=1)
        interval = self.intervals(means[:, None], drawn_means, name)[0]
        return self.found(name, float(means.mean()), interval, n=len(means))

    def _other_explanations(self, moved: np.ndarray) -> Iterator[Evidence | Exhibit]:
        """The same windows from other baselines and by other models, and what it all says."""
        ends = self.ends[self.compared]
        main = self.main.rows(self.compared)
        importance = {"candidate": main}
        rng = self.context.rng("attribution.calm")
        for name, baseline in self.explainer.other_baselines(rng).items():
            other = self.explainer.attribute(ends, baseline)
            importance[f"baseline {name}"] = other
            yield self.agreement("baseline_rank_correlation", main, other, baseline=name)
        earlier = self.context.folds[:-1]
        if Capability.REFIT not in self.subject.capabilities or not earlier:
            reason = "there is no model of an earlier fold"
            yield not_measured(self.check, "fold_rank_correlation", reason, window=self.window)
            earlier = ()
        for fold in earlier:
            other = self.explainers[fold.number].attribute(ends)
            importance[f"fold {fold.number}"] = other
            yield self.agreement("fold_rank_correlation", main, other, fold=str(fold.number))
        for label, evidence, seen in (*checks.seeds(self), *checks.own_tests(self)):
            yield evidence
            if seen is not None:
                importance[label] = seen
        table = {name: shares(found.by_feature) for name, found in importance.items()}
        known = {name: found for name, found in table.items() if found is not None}
        yield exhibits.stability_exhibit(self.check.card.name, self.features, known)
        yield summary_exhibit(
            self.check.card.name,
            self.features,
            self.main,
            self.intervals(self.main.by_feature, drawn_shares, "features"),
            moved,
            known,
        )

    def agreement(
        self, metric: str, main: Attributions, other: Attributions, **where: str
    ) -> Evidence:
        """Rank correlation of the features' importance in two explanations of as many windows."""
        value = importance_agreement(main.by_feature, other.by_feature)
        if value is None:
            reason = "fewer than three features, or none moves the decision"
            return not_measured(
                self.check, metric, reason, window=self.window, errored=False, **where
            )
        both = np.concatenate([main.by_feature, other.by_feature], axis=1)
        stream = f"{metric}.{'.'.join(where.values())}"
        interval = self.intervals(both, drawn_agreements, stream)[0]
        n = len(main.values)
        return self.found(metric, value, interval, n=n, self_check=None, **where)

    def _crises(self) -> Iterator[Exhibit]:
        """Attribution around the deepest fall and around every dated crisis out of sample."""
        warm = self.subject.card.warmup_bars + self.settings.length - 1
        first, stop = max(self.context.folds[0].test_start, warm), self.fold.test_end
        bars = self.context.bars
        deepest = rows_around_fall(bars.close, first, stop, FALL_DATES)
        yield self._around(deepest, "around_fall", "the market's deepest fall out of sample")
        dates = [
            (scenario.name, scenario.title, scenario.known.peak, scenario.known.trough)
            for scenario in self.context.scenarios
            if scenario.frequency == "daily"
        ]
        for name, title, peak, trough in dates[:MOST_CRISES]:
            rows = rows_between(bars.index, peak, trough, first, stop, FALL_DATES)
            if len(rows):
                yield self._around(rows, f"around_{name}", title)

    def _around(self, rows: np.ndarray, name: str, what: str) -> Exhibit:
        """Attribution at some rows, each by the model that was tested on it.

        From a calm window, because the median of a stressed training window may itself be stress.
        """
        parts = []
        for fold in self.context.folds:
            mine = rows[(rows >= fold.test_start) & (rows < fold.test_end)]
            if len(mine):
                explainer = self.explainers[fold.number]
                calm = explainer.calm_baseline(self.context.rng("attribution.calm"))
                parts.append(explainer.attribute(mine, calm))
        return exhibits.fall_exhibit(
            self.check.card.name,
            self.features,
            [str(stamp.date()) for stamp in self.context.bars.index[rows]],
            np.concatenate([part.net_by_feature for part in parts]),
            np.concatenate([part.outputs - part.baseline_outputs for part in parts]),
            name=name,
            what=what,
        )

    def intervals(
        self, table: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], stream: str
    ) -> list[Interval | None]:
        """Intervals of a statistic over the explained windows."""
        bootstrap = WindowBootstrap.of(self.main.outputs, DRAWS, LEVEL)
        return bootstrap.intervals(table, statistic, self.context.rng(f"attribution.{stream}"))

    def found(
        self,
        metric: str,
        value: float,
        interval: Interval | None = None,
        *,
        n: int = 0,
        self_check: Residual | None = None,
        **where: str,
    ) -> Evidence:
        """Evidence over the explained windows, or over ``n`` of them."""
        return measured(
            self.check,
            metric,
            value,
            n=n or len(self.ends),
            window=self.window,
            interval=interval,
            self_check=self_check,
            **where,
        )
