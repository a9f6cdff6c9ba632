"""Evidence on whether attributions can be trusted: fidelity, stability, ranks of ablation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import numpy as np

from finchaos.core.subject import Capability, Differentiable
from governance.check import not_measured
from governance.record import Evidence
from governance.statistics.attribution import (
    Attributions,
    drawn_agreements,
    drawn_means,
    importance_agreement,
)
from governance.statistics.attribution_trust import (
    drawn_ratios,
    feature_masks,
    removal,
    sensitivity_max,
)
from governance.statistics.attribution_windows import stratified_rows
from governance.statistics.explainer import Explainer

if TYPE_CHECKING:
    from governance.splits import Fold
    from governance.statistics.gradient_attribution import GradientAttribution

MASKS, CHANGES, RADIUS = 16, 3, 0.02
"""Subsets removed, small changes tried, and their size in training spreads of each feature."""
SENSITIVE_WINDOWS = 10


def ablation_rank(run: GradientAttribution, moved: np.ndarray) -> Evidence:
    """Whether features rank alike by attribution and by what their ablation does.

    Parameters
    ----------
    run : GradientAttribution
    moved : numpy.ndarray, shape (n, f)
        Change of the decision when one feature is at its baseline.
    """
    name = "ablation_rank_correlation"
    said, done = np.abs(run.main.net_by_feature), np.abs(moved)
    value = importance_agreement(said, done)
    if value is None:
        reason = "fewer than three features, or none moves the decision"
        return not_measured(run.check, name, reason, window=run.window)
    both = np.concatenate([said, done], axis=1)
    return run.found(name, value, run.intervals(both, drawn_agreements, name)[0])


def infidelity(run: GradientAttribution) -> Evidence:
    """Share of what removing features does that attributions do not say."""
    name = "infidelity"
    if len(run.features) < 2:
        reason = "one feature has no proper subset"
        return not_measured(run.check, name, reason, window=run.window)
    main = run.main.rows(run.compared)
    windows = run.explainer.windows(run.ends[run.compared])
    masks = feature_masks(run.context.rng("attribution.masks"), len(run.features), MASKS)
    baselines = np.broadcast_to(run.explainer.baseline, windows.shape)
    found = removal(main.values, windows, baselines, masks, run.explainer.network.decide)
    if found.moved.sum() <= 0.0:
        reason = "removing features does not move the decision"
        return not_measured(run.check, name, reason, window=run.window)
    value = float(found.infidelity.sum() / found.moved.sum())
    interval = run.intervals(found.table, drawn_ratios, name)[0]
    return run.found(name, value, interval, n=len(windows))


def sensitivity(run: GradientAttribution) -> Evidence:
    """How far attributions move under changes of two per cent of a training spread."""
    name = "sensitivity_max"
    rows = run.compared[:: max(1, len(run.compared) // SENSITIVE_WINDOWS)]
    windows = run.explainer.windows(run.ends[rows])
    baselines = np.broadcast_to(run.explainer.baseline, windows.shape)
    rng = run.context.rng("attribution.noise")
    radius = RADIUS * run.explainer.training.std(axis=0)
    noise = rng.uniform(-1.0, 1.0, size=(CHANGES, *windows.shape)) * radius
    network = run.explainer.network
    found = sensitivity_max(
        windows,
        baselines,
        noise,
        lambda at, base: network.attribute(at, base).values,
        run.main.values[rows],
    )
    defined = found[np.isfinite(found)]
    if len(defined) < SENSITIVE_WINDOWS // 2:
        reason = "hardly any window has an attribution"
        return not_measured(run.check, name, reason, window=run.window)
    interval = run.intervals(defined[:, None], drawn_means, name)[0]
    return run.found(name, float(defined.mean()), interval, n=len(defined))


def seeds(run: GradientAttribution) -> Iterator[tuple[str, Evidence, Attributions | None]]:
    """The same windows by the model trained anew with other seeds."""
    name, count = "seed_rank_correlation", run.settings.seeds
    if Capability.REFIT not in run.subject.capabilities or count == 0:
        reason = "no model of another seed was asked for, or none can be trained"
        yield "", not_measured(run.check, name, reason, window=run.window), None
        return
    bars = run.context.bars.rows(0, run.fold.train_end)
    for number in range(1, count + 1):
        seed = run.context.seed + number
        trained = run.context.cache.fit(run.subject, bars, seed)
        explainer = Explainer(
            cast("Differentiable", trained),
            run.network,
            run.explainer.bars,
            run.explainer.trained_rows,
            run.settings.length,
        )
        other = explainer.attribute(run.ends[run.compared])
        label = f"seed +{number}"
        main = run.main.rows(run.compared)
        yield label, run.agreement(name, main, other, seed=f"+{number}"), other


def own_tests(run: GradientAttribution) -> Iterator[tuple[str, Evidence, Attributions | None]]:
    """What moved the decision in each earlier fold's own test, by the model that was tested."""
    name = "test_rank_correlation"
    earlier: tuple[Fold, ...] = run.context.folds[:-1]
    if Capability.REFIT not in run.subject.capabilities or not earlier:
        reason = "there is no model of an earlier fold"
        yield "", not_measured(run.check, name, reason, window=run.window), None
        return
    main = run.main.rows(run.compared)
    warm = run.subject.card.warmup_bars + run.settings.length - 1
    for fold in earlier:
        number = str(fold.number)
        rows = stratified_rows(
            run.context.rng(f"attribution.own.{number}"),
            max(fold.test_start, warm),
            fold.test_end,
            len(run.compared),
        )
        if len(rows) < len(run.compared):
            reason = f"the test of fold {number} holds {len(rows)} windows"
            yield "", not_measured(run.check, name, reason, window=run.window, fold=number), None
            continue
        other = run.explainers[fold.number].attribute(rows)
        yield f"test {number}", run.agreement(name, main, other, fold=number), other
