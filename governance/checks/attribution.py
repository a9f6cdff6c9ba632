"""Check: which inputs and lags move the decision, and whether that explanation can be trusted."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from finchaos.core.errors import InputError, MissingDependencyError, SubjectFault
from finchaos.core.extras import installing
from finchaos.core.subject import Capability, Subject
from governance.check import Context, measured, not_measured
from governance.record import CheckCard, Evidence, Exhibit, Interval, MetricSpec, Window
from governance.statistics.attribution import Attributions
from governance.statistics.attribution_exhibits import permutation_exhibit
from governance.statistics.attribution_metrics import GRADIENT_METRICS
from governance.statistics.gradient_attribution import (
    COMPLETENESS_TOLERANCE,
    DRAWS,
    LEAST_WINDOWS,
    LEVEL,
    GradientAttribution,
    WindowSettings,
)
from governance.statistics.model_memory import MEMORY_METRICS, MemoryMeasurement
from governance.statistics.permutation import (
    block_permutation,
    informative_inputs,
    position_changes,
)
from governance.statistics.resampling import Bootstrap, block_length

# Sequences sent through the network at a time: what a processor's cache holds.
_SEQUENCES_AT_ONCE = 256
# Where a path crosses a sharp change of decision, more nodes are needed to add up to it.
_REFINEMENTS = (2, 4, 8)

_MEMORY_METRICS = (
    ("effective_memory", "bars", "none",
     "Newest bars of a window that hold memory_share of the influence of its bars on the latents "
     "at its end; windows averaged"),
    ("window_memory", "bars", "none", "The same in single windows"),
    ("half_context_memory", "bars", "none",
     "The effective memory counted over the newer half of the windows alone: where it is much "
     "less, the windows were too short to tell"),
    ("memory_context", "bars", "none", "Bars of a window, all that the model was given"),
    ("input_lookback", "bars", "none",
     "Bars after which what came before weighs little in one row of the model's inputs"),
    ("memory_length", "bars", "none",
     "Bars until a state of a layer has kept 1/e of what was put into it, at its channel's "
     "typical step size"),
)  # fmt: skip
_PERMUTATION = (
    "permutation_importance", "fraction of capital", "none",
    "Mean absolute change of position when one input is shuffled in time",
)  # fmt: skip


@dataclass(frozen=True)
class Attribution:
    """Integrated Gradients with sanity checks, or permutation importance; and the model's memory.

    Parameters
    ----------
    windows : int
        Windows explained, spread over the candidate's test.
    compared_windows : int
        Those of them on which baselines, folds and drawn weights are compared.
    length : int
        Bars in a window.
    steps : int
        Gauss-Legendre nodes on the path from baseline to window.
    copies : int
        Copies with weights drawn anew.
    seeds : int
        Models trained anew with other seeds.
    permutations : int
        Shuffles per input of a subject without gradients.
    permutation_block : int
        Neighbouring bars that stay together in a shuffle.
    memory_bars : int
        Bars in a window in which the model's memory is measured, fewer where there are fewer:
        many more than it looks back, else what is older is missed.
    memory_share : float
        Share of the influence on the latents that the effective memory holds.
    """

    windows: int = 48
    compared_windows: int = 20
    length: int = 128
    steps: int = 10
    copies: int = 2
    seeds: int = 1
    permutations: int = 5
    permutation_block: int = 5
    memory_bars: int = 2048
    memory_share: float = 0.9

    card: ClassVar[CheckCard] = CheckCard(
        name="attribution",
        version=3,
        title="Attribution",
        question="Which inputs, and how far back, move the decision; and does that explanation "
        "depend on what the model learned rather than on how it was asked?",
        pillar="conceptual_soundness",
        method="Integrated Gradients (captum, Gauss-Legendre nodes, up to "
        "eight times as many where the sum misses the decision) from the training median of "
        "each feature to windows of features, through the network that makes the stress "
        "probability. One window ends in each of equal stretches of the candidate's test. Shares "
        "are of absolute attributions, intervals from windows resampled in blocks. Checked by: "
        "the sum of attributions against the change of the decision; the decision on the window "
        "against the signal issued; other baselines (training mean, a calm training window); "
        "copies with weights drawn anew; the models of earlier folds, on these windows and in "
        "their own tests; a model of another seed; setting each feature, and random sets of them, "
        "to the baseline (infidelity); small changes of the inputs (max-sensitivity). Maps over "
        "time show the deepest fall and each dated crisis out of sample. Without gradients, "
        "return, overnight gap, shadows and volume of the test bars are shuffled in blocks, one "
        "at a time, and the change of position is measured. "
        "A subject that can say so is asked how far back its latents look: the size of their "
        "derivative with respect to each bar of a window, and how long the states of its layers "
        "last.",
        limitations=(
            "Features that move together share credit in a way the data do not determine",
            "An attribution explains the model, not the market",
            "What the model remembers from before a window is not seen; see window_gap",
            "Debouncing, sizing and the kill switch act after the decision explained",
            "Shuffled inputs make bars that need not occur together, and may trip a kill switch",
            "Influence by lag is that of small changes of the inputs, each feature in its own "
            "scale; a feature may itself sum up many bars, see input_lookback",
            "How far back a model looks is what its own code says; see lag_share for the "
            "validator's",
        ),
        references=(
            "Sundararajan, Taly & Yan (2017), Axiomatic attribution for deep networks",
            "Yeh et al. (2019), On the (in)fidelity and sensitivity of explanations",
            "Adebayo et al. (2018), Sanity checks for saliency maps",
            "Sturmfels, Lundberg & Lee (2020), Visualizing the impact of feature attribution "
            "baselines, Distill",
            "Breiman (2001), Random forests, on permutation importance",
            "Luo, Li, Urtasun & Zemel (2016), Understanding the effective receptive field in deep "
            "convolutional neural networks, on influence as a gradient",
            "Gu & Dao (2023), Mamba, section 3.5.2, on the step size as what remembers or forgets",
        ),
        requires=("model",),
        metrics=tuple(
            MetricSpec(name=name, unit=unit, better=better, meaning=meaning)
            for name, unit, better, meaning in (
                *GRADIENT_METRICS,
                *_MEMORY_METRICS,
                _PERMUTATION,
            )
        ),
    )

    def __post_init__(self) -> None:
        counts = (
            self.length,
            self.steps,
            self.copies,
            self.permutations,
            self.permutation_block,
            self.memory_bars,
        )
        if self.compared_windows > self.windows or self.compared_windows < LEAST_WINDOWS:
            raise InputError(
                "attribution cannot compare these windows",
                expected=f"{LEAST_WINDOWS} <= compared_windows <= windows",
                got=f"{self.compared_windows} of {self.windows}",
            )
        if min(counts) < 1 or self.seeds < 0:
            raise InputError("attribution needs positive parameters", got=repr(self))
        if not 0.0 < self.memory_share < 1.0:
            raise InputError(
                "attribution needs a memory_share between 0 and 1, exclusive",
                got=str(self.memory_share),
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield shares, their checks and charts, or permutation importance; then the memory."""
        window = context.test_window(context.last_fold)
        if Capability.REFIT not in subject.capabilities:
            window = window.model_copy(update={"trained_until": ""})
        if Capability.GRADIENTS in subject.capabilities:
            settings = WindowSettings(
                self.windows, self.compared_windows, self.length, self.copies, self.seeds
            )
            yield from GradientAttribution(
                self, subject, context, window, settings, self._network
            ).measure()
            reason = "the subject has gradients, which say more"
            yield not_measured(self, _PERMUTATION[0], reason, window=window)
        else:
            reason = "the subject declares no gradients"
            for name, *_ in GRADIENT_METRICS:
                yield not_measured(self, name, reason, window=window)
            yield from self._by_permutation(subject, context, window)
        yield from self._memory(subject, context, window)

    def _memory(
        self, subject: Subject, context: Context, window: Window
    ) -> Iterator[Evidence | Exhibit]:
        if Capability.MEMORY in subject.capabilities:
            yield from MemoryMeasurement(
                self, subject, context, window, self.windows, self.memory_bars, self.memory_share
            ).measure()
            return
        reason = "the subject does not declare that it can say how far back it looks"
        for name in MEMORY_METRICS:
            yield not_measured(self, name, reason, window=window)

    def _network(self, module: Any) -> TorchNetwork:
        return TorchNetwork(module, self.steps)

    def _by_permutation(
        self, subject: Subject, context: Context, window: Window
    ) -> Iterator[Evidence | Exhibit]:
        fold = context.last_fold
        bars = context.bars.rows(0, fold.test_end)
        candidate = context.candidate(subject)
        names = informative_inputs(bars)
        values: list[float] = []
        intervals: list[Interval | None] = []
        for name in names:
            rng = context.rng(f"attribution.permutation.{name}")
            orders = [
                block_permutation(rng, fold.test_end - fold.test_start, self.permutation_block)
                for _ in range(self.permutations)
            ]
            changes = position_changes(candidate, bars, fold.test_start, name, orders)
            bootstrap = Bootstrap(block_length(changes), DRAWS, LEVEL)
            found = bootstrap.intervals({"mean": _mean}, {"change": changes}, rng)
            values.append(float(changes.mean()))
            intervals.append(found["mean"])
            yield measured(
                self,
                _PERMUTATION[0],
                values[-1],
                n=len(changes),
                window=window,
                interval=intervals[-1],
                input=name,
            )
        yield permutation_exhibit(self.card.name, names, values, intervals)


def _mean(columns: Any) -> np.ndarray:
    return np.mean(columns["change"], axis=-1)


class TorchNetwork:
    """A decision module asked about windows; the one place that computes gradients.

    Works on a copy in evaluation mode, so that the subject is not changed.
    """

    def __init__(self, module: Any, steps: int) -> None:
        self._torch, self._method = _libraries()
        self._module = copy.deepcopy(module).eval()
        weights = list(self._module.parameters())
        for weight in weights:
            weight.requires_grad_(False)
        self._dtype = weights[0].dtype if weights else self._torch.float64
        self._device = weights[0].device if weights else self._torch.device("cpu")
        self._steps = steps
        self.windows_explained = self.gradients = 0

    def decide(self, windows: np.ndarray) -> np.ndarray:
        """Decisions for windows, shapes (n, l, f) and (n,)."""
        with self._one_thread(), self._torch.no_grad():
            parts = [
                self._module(self._tensor(windows[first : first + _SEQUENCES_AT_ONCE]))
                for first in range(0, len(windows), _SEQUENCES_AT_ONCE)
            ]
        found = np.concatenate([part.cpu().numpy().astype(np.float64) for part in parts])
        if found.shape != (len(windows),) or not np.isfinite(found).all():
            raise SubjectFault(
                "the decision module does not answer windows as it should",
                expected=f"{len(windows)} finite probabilities for as many windows",
                got=f"shape {found.shape}, {int((~np.isfinite(found)).sum())} not finite",
            )
        return found

    def attribute(self, windows: np.ndarray, baselines: np.ndarray) -> Attributions:
        """Integrated Gradients along straight paths from baselines, all of shape (n, l, f).

        References
        ----------
        Sundararajan, Taly & Yan, Axiomatic attribution for deep networks (2017), equation (1).
        """
        self.windows_explained += len(windows)
        outputs, baseline_outputs = self.decide(windows), self.decide(baselines)
        found = self._along_paths(windows, baselines, self._steps)
        for factor in _REFINEMENTS:
            missed = np.abs(found.sum(axis=(1, 2)) - (outputs - baseline_outputs))
            sharp = missed > COMPLETENESS_TOLERANCE
            if not sharp.any():
                break
            steps = factor * self._steps
            found[sharp] = self._along_paths(windows[sharp], baselines[sharp], steps)
        return Attributions(found, outputs, baseline_outputs)

    def _along_paths(self, windows: np.ndarray, baselines: np.ndarray, steps: int) -> np.ndarray:
        """Attributions with ``steps`` nodes, shape (n, l, f)."""
        gradients = self._method(self._module)
        self.gradients += len(windows) * steps
        at_once = max(1, _SEQUENCES_AT_ONCE // steps)
        parts = []
        for first in range(0, len(windows), at_once):
            chunk = slice(first, first + at_once)
            with self._one_thread():
                found = gradients.attribute(
                    self._tensor(windows[chunk]),
                    baselines=self._tensor(baselines[chunk]),
                    n_steps=steps,
                    method="gausslegendre",
                )
            parts.append(found.detach().cpu().numpy().astype(np.float64))
        return np.concatenate(parts)

    @contextmanager
    def _one_thread(self) -> Iterator[None]:
        """One thread: sums in one order, and small networks lose more to threads than they gain."""
        before = self._torch.get_num_threads()
        self._torch.set_num_threads(1)
        try:
            yield
        finally:
            self._torch.set_num_threads(before)

    def _tensor(self, values: np.ndarray) -> Any:
        # A baseline of one window is a view that must not be written to, which torch will not take.
        array = np.require(values, requirements=["C", "W"])
        return self._torch.from_numpy(array).to(device=self._device, dtype=self._dtype)


def _libraries() -> tuple[Any, Any]:
    """torch, and captum's Integrated Gradients."""
    try:
        import torch
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise MissingDependencyError(
            "attribution by gradients needs torch and captum",
            got=str(error),
            remedy=installing("models"),
        ) from error
    return torch, IntegratedGradients
