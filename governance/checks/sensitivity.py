"""Check: how much hangs on seed, feed, cost, delay and beginning, one at a time and together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.core.errors import FinchaosError, InputError, MissingDependencyError
from finchaos.core.subject import Capability, Subject
from governance.check import Context, Skip, measured, not_measured
from governance.record import CheckCard, Column, Evidence, Exhibit, Interval, MetricSpec
from governance.statistics.screening import LEVELS, Screening, morris_screening
from governance.statistics.sensitivity import Sensitivity as Trials
from governance.statistics.sensitivity import paired_interval

_FACTORS = ("cost", "delay", "noise", "start")
_DELAYS = 2
_LEAST_BASE = 0.1


@dataclass(frozen=True)
class Sensitivity:
    """Refits, disturbed feeds, dearer and later trading; then several at once by Morris.

    Parameters
    ----------
    seeds : int
        Other seeds to train under; 0 to leave refits out.
    refit_bars : int
        Longest training window that is trained on again.
    training_shift : int
        Bars cut off the end of the training window in one more refit.
    noise_bps : float
        Standard deviation of noise on prices.
    faults : int
        Bars that are left out, and bars that are repeated, one at a time.
    horizon : int
        Bars over which a faulty bar is followed.
    start_bars : int
        Bars by which history may begin later.
    trajectories : int
        Of the joint screening.
    draws : int
        Resampled histories of an interval.
    """

    seeds: int = 3
    refit_bars: int = 5000
    training_shift: int = 21
    noise_bps: float = 5.0
    faults: int = 6
    horizon: int = 21
    start_bars: int = 60
    trajectories: int = 10
    draws: int = 1000

    card: ClassVar[CheckCard] = CheckCard(
        name="sensitivity",
        version=1,
        title="Sensitivity",
        question="Would a neighbouring validation, of another seed, a slightly worse feed, dearer "
        "or later trading, have come to another result?",
        pillar="conceptual_soundness",
        method="One at a time: the candidate is trained again under other seeds and on a window "
        "that ends earlier, and positions over its own test are compared; bars of that "
        "test are left out or delivered twice; prices are disturbed; costs are doubled and "
        "trebled and trades delayed. Changes of the Sharpe ratio are paired, with intervals by "
        "stationary block bootstrap. Together: cost, delay, noise and the beginning of history are "
        "moved on a grid by Morris' design (SALib); the mean absolute effect of a factor over its "
        "range and the spread of its effects are given.",
        limitations=(
            "Hyper-parameters are not varied: the protocol has no door to them; name variants as "
            "challengers, or see the trial register in overfitting",
            "Refits are of the last fold alone, and of its newest refit_bars bars",
            "Few seeds show that results vary, not how they are distributed",
            "Noise is independent from bar to bar and moves a bar's prices together",
            "Elementary effects rank factors on the ranges tried, and share out no variance",
        ),
        references=(
            "Morris (1991), Factorial sampling plans for preliminary computational experiments, "
            "Technometrics 33",
            "Campolongo, Cariboni & Saltelli (2007), An effective screening design for "
            "sensitivity analysis of large models, Environmental Modelling & Software 22",
            "Bouthillier et al. (2021), Accounting for variance in machine learning benchmarks, "
            "MLSys",
        ),
        requires=("model",),
        metrics=(
            MetricSpec(name="seed_position_change", unit="fraction of capital", better="lower",
                       meaning="Mean absolute difference of position from the run's seed, the "
                       "largest over other seeds"),
            MetricSpec(name="seed_sharpe_spread", unit="ratio p.a.", better="lower",
                       meaning="Largest less smallest Sharpe ratio over all seeds"),
            MetricSpec(name="training_position_change", unit="fraction of capital",
                       better="lower",
                       meaning="Mean absolute difference of position when training ends earlier"),
            MetricSpec(name="noise_position_change", unit="fraction of capital", better="lower",
                       meaning="Mean absolute difference of position under noise on prices"),
            MetricSpec(name="fault_position_change", unit="fraction of capital", better="lower",
                       meaning="Mean absolute difference of position after a bar that did not "
                       "come, or came twice"),
            MetricSpec(name="sharpe_change", unit="ratio p.a.", better="higher",
                       meaning="Change of the Sharpe ratio by one factor"),
            MetricSpec(name="sharpe_retained", unit="fraction", better="higher",
                       meaning="Sharpe ratio under a factor over that without"),
            MetricSpec(name="morris_effect", unit="ratio p.a.", better="lower",
                       meaning="Mean absolute effect of a factor's whole range on the Sharpe "
                       "ratio, the others anywhere"),
            MetricSpec(name="morris_spread", unit="ratio p.a.", better="none",
                       meaning="Standard deviation of those effects: interaction and curvature"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        counts = (self.refit_bars, self.training_shift, self.faults, self.horizon, self.start_bars)
        if not 0 <= self.seeds <= 20 or min(counts) < 1 or not self.noise_bps > 0.0:
            raise InputError(
                "sensitivity cannot use these parameters",
                expected="0 to 20 seeds, positive counts and positive noise",
                got=repr(self),
            )
        if self.trajectories < 4 or not 100 <= self.draws <= 100_000:
            raise InputError(
                "sensitivity needs more trajectories or draws",
                expected="4 trajectories or more, 100 to 100000 draws",
                got=f"{self.trajectories}, {self.draws}",
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield refits, faults, costs and delays, a tornado, and the joint screening."""
        trials = Trials(subject, context, self.refit_bars)
        base = trials.positions()
        if len(base) < 2 * self.horizon + self.start_bars:
            raise Skip(f"{len(base)} bars of tests are too few")
        tornado: dict[str, float] = {}
        yield from self._refits(trials, tornado)
        yield from self._faults(trials)
        yield from self._one_at_a_time(trials, base, tornado)
        if tornado:
            yield _tornado(self.card.name, tornado)
        yield from self._jointly(trials, base)

    def _refits(self, trials: Trials, tornado: dict[str, float]) -> Iterator[Evidence]:
        window = trials.context.test_window(trials.context.last_fold)
        reason = ""
        if Capability.REFIT not in trials.subject.capabilities:
            reason = "the subject does not declare refit"
        elif not self.seeds:
            reason = "no other seeds were asked for"
        metrics = ("seed_position_change", "seed_sharpe_spread", "training_position_change")
        if not reason:
            try:
                plain = trials.refitted(trials.context.seed)
                others = [trials.refitted(seed) for seed in trials.seeds(self.seeds)]
                shifted = trials.refitted(trials.context.seed, self.training_shift)
            except FinchaosError as error:
                reason = f"training again failed: {error}"
        if reason:
            for metric in metrics:
                yield not_measured(self, metric, reason, window=window)
            return
        changes = [float(np.abs(other - plain).mean()) for other in others]
        yield measured(self, metrics[0], max(changes), n=len(others), window=window)
        ratios = np.array(
            [trials.ratio(trials.earnings(p, rows=trials.last_test)) for p in (plain, *others)]
        )
        if np.isfinite(ratios).all():
            yield measured(self, metrics[1], np.ptp(ratios), n=len(ratios), window=window)
            tornado["seed, worst"] = float(ratios[1:].min() - ratios[0])
            tornado["seed, best"] = float(ratios[1:].max() - ratios[0])
        else:
            reason = "returns that do not vary have no Sharpe ratio"
            yield not_measured(self, metrics[1], reason, window=window)
        change = float(np.abs(shifted - plain).mean())
        yield measured(self, metrics[2], change, n=len(plain), window=window)

    def _faults(self, trials: Trials) -> Iterator[Evidence]:
        fold = trials.context.last_fold
        rng = trials.context.rng("sensitivity:faults")
        room = np.arange(fold.test_start, fold.test_end - self.horizon - 1)
        window = trials.context.test_window(fold)
        for kind in ("missing", "repeated"):
            if not len(room):
                reason = f"the last test is shorter than {self.horizon} bars"
                yield not_measured(self, "fault_position_change", reason, window=window, bar=kind)
                continue
            rows = rng.choice(room, min(self.faults, len(room)), replace=False)
            try:
                found = trials.after_fault(kind, sorted(rows.tolist()), self.horizon)
            except Exception as error:  # recorded: the rest can still be measured
                reason = f"the subject failed on such bars: {type(error).__name__}: {error}"
                yield not_measured(
                    self, "fault_position_change", reason, window=window, errored=True, bar=kind
                )
                continue
            note = f"worst {found.max():.3g}" if found.any() else ""
            yield measured(
                self, "fault_position_change", found.mean(), n=len(found), window=window,
                note=note, bar=kind,
            )  # fmt: skip

    def _one_at_a_time(
        self, trials: Trials, base: np.ndarray, tornado: dict[str, float]
    ) -> Iterator[Evidence]:
        window = trials.context.out_of_sample_window
        noisy = trials.positions(noise_bps=self.noise_bps)
        late = trials.positions(offset=self._offset(trials, LEVELS - 1))
        moved = float(np.abs(noisy - base).mean())
        yield measured(self, "noise_position_change", moved, n=len(base), window=window)
        cases = {
            "cost x 2": trials.earnings(base, cost=2.0, skip=_DELAYS),
            "cost x 3": trials.earnings(base, cost=3.0, skip=_DELAYS),
            **{
                f"delay + {k}": trials.earnings(base, delay=k, skip=_DELAYS)
                for k in range(1, _DELAYS + 1)
            },
            f"noise {self.noise_bps:g} bps": trials.earnings(noisy, skip=_DELAYS),
            "later start": trials.earnings(late, skip=_DELAYS),
        }
        plain = trials.earnings(base, skip=_DELAYS)
        ratio = trials.ratio(plain)
        for name, net in cases.items():
            changed = trials.ratio(net)
            if not np.isfinite([ratio, changed]).all():
                reason = "returns that do not vary have no Sharpe ratio"
                for metric in ("sharpe_change", "sharpe_retained"):
                    yield not_measured(self, metric, reason, window=window, factor=name)
                continue
            tornado[name] = changed - ratio
            interval = paired_interval(
                net,
                plain,
                trials.bars.bars_per_year,
                draws=self.draws,
                rng=trials.context.rng(f"sensitivity:{name}"),
            )
            yield measured(
                self, "sharpe_change", changed - ratio, n=len(net), window=window,
                interval=interval, factor=name,
            )  # fmt: skip
            if ratio < _LEAST_BASE:
                reason = f"a Sharpe ratio of {ratio:.2f} leaves nothing to retain"
                yield not_measured(self, "sharpe_retained", reason, window=window, factor=name)
            else:
                yield measured(
                    self, "sharpe_retained", changed / ratio, n=len(net), window=window,
                    factor=name,
                )  # fmt: skip

    def _offset(self, trials: Trials, step: int) -> int:
        """Bars cut off the beginning; never so many that a model is still warming up."""
        room = trials.tests.start - trials.subject.card.warmup_bars
        return max(min(self.start_bars, room), 0) * step // (LEVELS - 1)

    def _jointly(self, trials: Trials, base: np.ndarray) -> Iterator[Evidence | Exhibit]:
        window = trials.context.out_of_sample_window

        def answer(levels: tuple[int, ...]) -> float:
            cost, delay, noise, start = levels
            position = trials.positions(
                noise_bps=2.0 * self.noise_bps * noise / (LEVELS - 1),
                offset=self._offset(trials, start),
            )
            scale = 1.0 + 2.0 * cost / (LEVELS - 1)
            return trials.ratio(trials.earnings(position, cost=scale, delay=delay, skip=LEVELS - 1))

        seed = int(trials.context.rng("sensitivity:morris").integers(2**31))
        try:
            found = morris_screening(_FACTORS, answer, trajectories=self.trajectories, seed=seed)
        except (MissingDependencyError, InputError) as error:
            for metric in ("morris_effect", "morris_spread"):
                yield not_measured(self, metric, str(error), window=window)
            return
        for number, name in enumerate(_FACTORS):
            effect, error_of = float(found.effect[number]), float(found.error[number])
            interval = Interval(
                low=effect - error_of, high=effect + error_of, level=0.95,
                method="normal, over resampled trajectories",
            )  # fmt: skip
            yield measured(
                self, "morris_effect", effect, n=found.asked, window=window,
                interval=interval if error_of > 0.0 else None, factor=name,
            )  # fmt: skip
            spread = float(found.spread[number])
            yield measured(self, "morris_spread", spread, n=found.asked, window=window, factor=name)
        yield self._screening(found)

    def _screening(self, found: Screening) -> Exhibit:
        ranges = {
            "cost": "1 to 3 times the plan's",
            "delay": f"0 to {LEVELS - 1} bars more",
            "noise": f"0 to {2 * self.noise_bps:g} bps",
            "start": f"0 to {self.start_bars} bars later",
        }
        return Exhibit(
            check=self.card.name,
            name="screening",
            title="Effect of several factors on the Sharpe ratio, moved together",
            kind="table",
            columns=(
                Column(name="factor", values=_FACTORS),
                Column(name="range", values=tuple(ranges[name] for name in _FACTORS)),
                Column(name="mean absolute effect", values=tuple(found.effect.tolist())),
                Column(name="spread of effects", values=tuple(found.spread.tolist())),
            ),
            note=f"Morris' design, {found.asked} different points on a grid of {LEVELS} levels.",
        )


def _tornado(check: str, changes: dict[str, float]) -> Exhibit:
    ordered = sorted(changes, key=lambda name: -abs(changes[name]))
    return Exhibit(
        check=check,
        name="tornado",
        title="Change of the Sharpe ratio by one factor at a time",
        kind="bar",
        columns=(
            Column(name="factor", values=tuple(ordered)),
            Column(name="change", unit="p.a.", values=tuple(changes[name] for name in ordered)),
        ),
        y_label="change of the Sharpe ratio",
    )
