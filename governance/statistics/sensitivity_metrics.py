"""The metrics of sensitivity: name, unit, which is better, meaning."""

from __future__ import annotations

from governance.cards import Better
from governance.record import MetricSpec

_ROWS: tuple[tuple[str, str, Better, str], ...] = (
    ("seed_position_change", "fraction of capital", "lower",
     "Mean absolute difference of position from the run's seed, the largest over other seeds"),
    ("seed_sharpe_spread", "ratio p.a.", "lower",
     "Largest less smallest Sharpe ratio over all seeds"),
    ("training_position_change", "fraction of capital", "lower",
     "Mean absolute difference of position when training ends earlier"),
    ("hyper_position_change", "fraction of capital", "lower",
     "Mean absolute difference of position with a neighbouring value of a hyper-parameter"),
    ("hyper_sharpe_change", "ratio p.a.", "higher",
     "Change of the Sharpe ratio with a neighbouring value of a hyper-parameter"),
    ("hyper_peak", "ratio p.a.", "lower",
     "Sharpe ratio with the value as it is less the better of those with its two neighbours: "
     "above zero where both are worse"),
    ("noise_position_change", "fraction of capital", "lower",
     "Mean absolute difference of position under noise on prices"),
    ("fault_position_change", "fraction of capital", "lower",
     "Mean absolute difference of position after a bar that did not come, or came twice"),
    ("sharpe_change", "ratio p.a.", "higher", "Change of the Sharpe ratio by one factor"),
    ("sharpe_retained", "fraction", "higher", "Sharpe ratio under a factor over that without"),
    ("morris_effect", "ratio p.a.", "lower",
     "Mean absolute effect of a factor's whole range on the Sharpe ratio, the others anywhere"),
    ("morris_spread", "ratio p.a.", "none",
     "Standard deviation of those effects: interaction and curvature"),
    ("sobol_first", "fraction of variance", "none",
     "Share of the Sharpe ratio's variance over the design that a factor explains alone"),
    ("sobol_total", "fraction of variance", "none",
     "Share that is left when all other factors are known: alone and in interaction"),
)  # fmt: skip
METRICS = tuple(
    MetricSpec(name=name, unit=unit, better=better, meaning=meaning)
    for name, unit, better, meaning in _ROWS
)
JOINT_METRICS = {
    "morris": ("morris_effect", "morris_spread"),
    "sobol": ("sobol_first", "sobol_total"),
}
"""Those of each method that moves factors together."""
