"""Check: whether a model with a state is one model however it is run, forgets, stays bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.check import Context, Skip
from governance.record import CheckCard, Evidence, Exhibit, MetricSpec
from governance.statistics.state_measurement import StateMeasurement, StateSettings

_LEAST_BARS = 200
_PARITY = (
    ("scan_step_difference", "Stepping from the first bar against one call"),
    ("chunk_difference", "Chunks of several sizes, each stepped after a warm-up on all before it, "
     "against one call"),
    ("length_difference", "One call on fewer bars against one call on all of them"),
    ("recalled_difference", "One call after other markets and streams, against the same before"),
    ("reopened_difference", "A stream opened again, after another market, against the first"),
    ("interleaved_difference", "Streams of two markets run in turns against each run alone"),
    ("resumed_difference", "A stream continued from its saved state against one never stopped"),
    ("layer_length_difference", "Hidden states after the same bars, asked with fewer to follow"),
    ("long_step_difference", "Steps at the end of a long run against one call on all of it"),
    ("scale_difference", "Prices times a power of two, which rounds nothing, against as they are"),
)  # fmt: skip


@dataclass(frozen=True)
class StateSpaceSoundness:
    """Parity of all ways to run a model, and how its state behaves over long and other histories.

    Parameters
    ----------
    parity_bars : int
        Newest bars on which ways of running are compared, the older half as warm-up.
    chunks : tuple of int
        Bars in a chunk.
    chunks_compared : int
        Of each size, at most.
    reach_bars : int
        Bars for which another past is followed.
    pasts : int
        Other pasts.
    long_bars : int
        Bars of the long run.
    still_bars : int
        Bars of the market in which nothing happens.
    """

    parity_bars: int = 500
    chunks: tuple[int, ...] = (1, 7, 64, 250)
    chunks_compared: int = 6
    reach_bars: int = 500
    pasts: int = 4
    long_bars: int = 20_000
    still_bars: int = 3000

    card: ClassVar[CheckCard] = CheckCard(
        name="state_space_soundness",
        version=1,
        title="Soundness of the state",
        question="Does a model that remembers say the same however it is run, and does what it "
        "remembers stay bounded, fade and never mix?",
        pillar="conceptual_soundness",
        method="Through the public protocol alone. The candidate answers the same bars at once, "
        "step by step from the first, in chunks after warm-ups, in shorter calls, again after "
        "other markets, in streams opened twice, run in turns, and stopped and resumed; fields are "
        "compared by their largest difference over the larger of 1 and their size. Prices are "
        "rounded to float32 and multiplied by powers of two. The past is replaced by one resampled "
        "from it, and what that still changes is followed bar by bar. A long history of whole bars "
        "resampled in blocks shows growth of the latents and whether its last bars are answered as "
        "in a fresh start; a market that moves a basis point to and fro shows whether they settle. "
        "Where the subject says so, hidden states and their time constants are looked at.",
        limitations=(
            "One process on one machine; other hardware and precisions of the model are not tried",
            "A long run of resampled bars holds moves of the kinds in the sample, and no others",
            "Where a kill switch trips on a probe, what it hides is not seen behind it",
            "How slowly a past may fade is for the purpose to say; nothing here fixes it",
            "Time constants are what the model's own code says, at typical step sizes; attribution "
            "gives their distribution",
        ),
        references=(
            "Gu & Dao (2023), Mamba: linear-time sequence modeling with selective state spaces, "
            "sections 3.2 and 3.3, on the recurrent and the scanned form",
            "Gu, Goel & Ré (2022), Efficiently modeling long sequences with structured state "
            "spaces, section 2, on eigenvalues and step sizes",
            "Jaeger (2001), The echo state approach, GMD report 148, on states that forget their "
            "beginning",
            "Higham (2002), Accuracy and Stability of Numerical Algorithms, chapter 1",
        ),
        requires=("model",),
        metrics=(
            *(
                MetricSpec(name=name, unit="field's unit, relative above 1", better="lower",
                           meaning=meaning)
                for name, meaning in _PARITY
            ),
            MetricSpec(name="float32_change", unit="field's unit", better="lower",
                       meaning="Largest change of a decision when bars are rounded to float32"),
            MetricSpec(name="float32_changed_share", unit="fraction of bars", better="lower",
                       meaning="Bars on which that moves the position by a hundredth of capital"),
            MetricSpec(name="nonfinite_rows", unit="rows", better="lower",
                       meaning="Rows of a probe with a number that is not finite, or missing"),
            MetricSpec(name="failed_probes", unit="probes", better="lower",
                       meaning="Probes on which the subject raised"),
            MetricSpec(name="past_influence", unit="field's unit", better="lower",
                       meaning="Mean largest change by another past, so many bars after it ended; "
                       "latents in standard deviations"),
            MetricSpec(name="forgetting_bars", unit="bars", better="none",
                       meaning="Bars until another past changes a field by less than a hundredth"),
            MetricSpec(name="latent_growth", unit="ratio", better="lower",
                       meaning="Reach of latents, last tenth of the long run over the first"),
            MetricSpec(name="state_growth", unit="ratio", better="lower",
                       meaning="Norm of a layer's states, last tenth of 3000 bars over the second"),
            MetricSpec(name="restart_change", unit="field's unit", better="lower",
                       meaning="Mean change of a decision at the end of the long run against a "
                       "fresh start a tenth before its end"),
            MetricSpec(name="still_drift", unit="standard deviations", better="lower",
                       meaning="Move of latents over the last half of a still market"),
            MetricSpec(name="largest_eigenvalue", unit="share kept a bar", better="lower",
                       meaning="Of a state, the largest of a layer at its typical step size"),
            MetricSpec(name="shortest_memory", unit="bars", better="none",
                       meaning="Bars until 1/e is left, the quickest state of a layer"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        counts = (self.chunks_compared, self.pasts, *self.chunks)
        if min(counts, default=0) < 1 or self.parity_bars < 2 * max(self.chunks, default=1):
            raise InputError(
                "state_space_soundness cannot use these parameters",
                expected="positive counts, and parity_bars of at least two chunks",
                got=repr(self),
            )
        if self.reach_bars < 10 or self.long_bars < 2000 or self.still_bars < 200:
            raise InputError(
                "state_space_soundness needs longer probes",
                expected="reach_bars >= 10, long_bars >= 2000, still_bars >= 200",
                got=f"{self.reach_bars}, {self.long_bars}, {self.still_bars}",
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield parity, sensitivity to precision, forgetting, and behaviour in the long run."""
        if len(context.bars.rows(0, context.last_fold.test_end)) < _LEAST_BARS:
            raise Skip(f"fewer than {_LEAST_BARS} bars")
        settings = StateSettings(
            self.parity_bars,
            self.chunks,
            self.chunks_compared,
            self.reach_bars,
            self.pasts,
            self.long_bars,
            self.still_bars,
        )
        yield from StateMeasurement(self, subject, context, settings).measure()
