"""The metrics of attribution by gradients: name, unit, which is better, meaning."""

from __future__ import annotations

from typing import Literal

Better = Literal["higher", "lower", "none"]
Metric = tuple[str, str, Better, str]

GRADIENT_METRICS: tuple[Metric, ...] = (
    ("completeness_residual", "probability", "lower",
     "Largest gap between the sum of a window's attributions and the change of its decision"),
    ("explained_change", "probability", "none",
     "Mean absolute difference between decisions and the baseline's: what shares are shares of"),
    ("window_gap", "probability", "lower",
     "Mean absolute difference between the decision explained, made from a window alone, and the "
     "stress probability that the subject issued at its last bar"),
    ("feature_share", "fraction", "none", "Share of a feature in all absolute attribution"),
    ("top_feature_share", "fraction", "lower", "Largest feature_share"),
    ("lag_share", "fraction", "none",
     "Share of bars so far before the decision in all absolute attribution"),
    ("baseline_rank_correlation", "rank correlation", "higher",
     "Agreement of the features' importance with that under another baseline"),
    ("randomisation_correlation", "absolute rank correlation", "lower",
     "Agreement of attributions with those of the same network with its weights drawn anew"),
    ("fold_rank_correlation", "rank correlation", "higher",
     "Agreement of the features' importance with that in the model of an earlier fold"),
    ("ablation_agreement", "fraction of windows", "higher",
     "Windows in which setting the most important feature to its baseline moves the decision "
     "more than setting any other"),
    ("ablation_rank_correlation", "rank correlation", "higher",
     "Agreement of the features' importance with what setting each to its baseline does"),
    ("infidelity", "fraction", "lower",
     "Mean square of what attributions say of removing random sets of features less what removing "
     "them does, over the mean square of the latter: 0 is exact, 1 as bad as saying nothing"),
    ("sensitivity_max", "fraction", "lower",
     "Largest relative change of a window's attributions under changes of its inputs by up to "
     "two per cent of a training standard deviation; windows averaged"),
    ("seed_rank_correlation", "rank correlation", "higher",
     "Agreement of the features' importance with that in the model trained with another seed"),
    ("test_rank_correlation", "rank correlation", "higher",
     "Agreement of the features' importance with that in the own test of an earlier fold's model"),
    ("nodes_per_window", "gradients", "lower",
     "Gradients computed for a window explained, refinements among them: the cost of one, "
     "whatever the machine; the time is in the run's timings, outside its digest"),
)  # fmt: skip
