"""Check: how much hangs on seed, hyper-parameters, feed, cost, delay and beginning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from finchaos.core.errors import FinchaosError, InputError, MissingDependencyError
from finchaos.core.subject import Capability, Subject
from governance.check import Context, Skip, measured, not_measured
from governance.record import CheckCard, Evidence, Exhibit, Interval
from governance.statistics.hyper_parameters import Varied, not_varied, peak, ranking, vary
from governance.statistics.joint_sensitivity import FACTORS, Together
from governance.statistics.screening import LEVELS
from governance.statistics.sensitivity import Sensitivity as Trials
from governance.statistics.sensitivity import paired_interval
from governance.statistics.sensitivity_exhibits import (
    screening_exhibit,
    tornado_exhibit,
    variance_exhibit,
)
from governance.statistics.sensitivity_metrics import JOINT_METRICS, METRICS

_HYPER = ("hyper_position_change", "hyper_sharpe_change", "hyper_peak")
_UNVARIED = "returns that do not vary have no Sharpe ratio"
_DELAYS = 2
_LEAST_BASE = 0.1


@dataclass(frozen=True)
class Sensitivity:
    """Refits, other hyper-parameters, disturbed feeds, dearer and later trading; then jointly.

    Parameters
    ----------
    seeds : int
        Other seeds to train under; 0 to leave refits out.
    refit_bars : int
        Longest training window that is trained on again.
    training_shift : int
        Bars cut off the end of the training window in one more refit.
    hyper_refits : int
        Models trained with another value of one hyper-parameter, two for each, in the subject's
        order of weight; 0 to leave them out.
    hyper_step : float
        Relative step to that value; whole numbers move by one at least.
    noise_bps : float
        Standard deviation of noise on prices.
    faults : int
        Bars that are left out, and bars that are repeated, one at a time.
    horizon : int
        Bars over which a faulty bar is followed.
    start_bars : int
        Bars by which history may begin later.
    method : {"morris", "sobol"}
        Of moving several factors together: elementary effects, or shares of variance.
    trajectories : int
        Of Morris' design.
    base_points : int
        Of Saltelli's design, a power of two.
    draws : int
        Resampled histories of an interval.
    """

    seeds: int = 3
    refit_bars: int = 5000
    training_shift: int = 21
    hyper_refits: int = 8
    hyper_step: float = 0.2
    noise_bps: float = 5.0
    faults: int = 6
    horizon: int = 21
    start_bars: int = 60
    method: Literal["morris", "sobol"] = "morris"
    trajectories: int = 10
    base_points: int = 256
    draws: int = 1000

    card: ClassVar[CheckCard] = CheckCard(
        name="sensitivity",
        version=1,
        title="Sensitivity",
        question="Would a neighbouring validation, of another seed, a neighbouring value of a "
        "hyper-parameter, a slightly worse feed, dearer or later trading, have come to another "
        "result?",
        pillar="conceptual_soundness",
        method="One at a time: the candidate is trained again under other seeds and on a window "
        "that ends earlier, and positions over its own test are compared; so it is with each "
        "hyper-parameter a step lower and higher, and a value that both neighbours are worse than "
        "sits on a peak: it may have been tuned to these bars; bars of that "
        "test are left out or delivered twice; prices are disturbed; costs are doubled and "
        "trebled and trades delayed. Changes of the Sharpe ratio are paired, with intervals by "
        "stationary block bootstrap. Together: cost, delay, noise and the beginning of history are "
        "moved on a grid (SALib): by Morris' design, for the mean absolute effect of a factor "
        "over its range and the spread of its effects, or, if method is sobol, by Saltelli's, for "
        "first-order and total shares of the Sharpe ratio's variance, every level as likely.",
        limitations=(
            "Only the hyper-parameters that the subject names, one at a time, as many as "
            "hyper_refits allows; values that the model refuses are recorded as refused",
            "Tuning that pays over the whole neighbourhood of a value is not seen: for that, the "
            "trial register in overfitting",
            "Refits are of the last fold alone, and of its newest refit_bars bars",
            "Few seeds show that results vary, not how they are distributed",
            "Noise is independent from bar to bar and moves a bar's prices together",
            "Elementary effects rank factors on the ranges tried, and share out no variance; "
            "shares of variance are of those ranges too, and of nothing if the Sharpe ratio is "
            "unsure by more than all of it varies",
        ),
        references=(
            "Morris (1991), Factorial sampling plans for preliminary computational experiments, "
            "Technometrics 33",
            "Campolongo, Cariboni & Saltelli (2007), An effective screening design for "
            "sensitivity analysis of large models, Environmental Modelling & Software 22",
            "Sobol' (2001), Global sensitivity indices for nonlinear mathematical models, "
            "Mathematics and Computers in Simulation 55",
            "Saltelli et al. (2010), Variance based sensitivity analysis of model output, "
            "Computer Physics Communications 181",
            "Bouthillier et al. (2021), Accounting for variance in machine learning benchmarks, "
            "MLSys",
        ),
        requires=("model",),
        metrics=METRICS,
    )

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
        points = self.base_points
        if not 0 <= self.hyper_refits <= 1000 or not 0.0 < self.hyper_step < 1.0:
            raise InputError(
                "sensitivity cannot vary hyper-parameters so",
                expected="0 to 1000 refits, a step between 0 and 1",
                got=f"{self.hyper_refits}, {self.hyper_step}",
            )
        if self.method not in ("morris", "sobol") or points < 8 or points & (points - 1):
            raise InputError(
                "sensitivity cannot move factors together so",
                expected="method morris or sobol, base_points a power of two from 8",
                got=f"{self.method}, {points}",
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield refits, faults, costs and delays, a tornado, and the joint screening."""
        trials = Trials(subject, context, self.refit_bars)
        base = trials.positions()
        if len(base) < 2 * self.horizon + self.start_bars:
            raise Skip(f"{len(base)} bars of tests are too few")
        tornado: dict[str, float] = {}
        yield from self._refits(trials, tornado)
        yield from self._hyper_parameters(trials, tornado)
        yield from self._faults(trials)
        together = Together(trials, self.noise_bps, self.start_bars)
        yield from self._one_at_a_time(together, base, tornado)
        if tornado:
            yield tornado_exhibit(self.card.name, tornado)
        yield from self._jointly(together)

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
            yield not_measured(self, metrics[1], _UNVARIED, window=window)
        change = float(np.abs(shifted - plain).mean())
        yield measured(self, metrics[2], change, n=len(plain), window=window)

    def _hyper_parameters(
        self, trials: Trials, tornado: dict[str, float]
    ) -> Iterator[Evidence | Exhibit]:
        window = trials.context.test_window(trials.context.last_fold)
        reason = not_varied(trials, self.hyper_refits)
        if not reason:
            try:
                plain = trials.refitted(trials.context.seed)
            except FinchaosError as error:
                reason = f"training again failed: {error}"
        if reason:
            for metric in _HYPER:
                yield not_measured(self, metric, reason, window=window)
            return
        base = trials.earnings(plain, rows=trials.last_test)
        found = vary(trials, plain, step=self.hyper_step, budget=self.hyper_refits)
        for varied in found:
            if not varied.beyond_budget:  # else said once, below
                yield from self._steps(trials, varied, plain, base)
            yield self._peak(trials, varied, base)
            for side, net in varied.net.items():
                change = trials.ratio(net) - trials.ratio(base)
                if np.isfinite(change) and change != 0.0:
                    tornado[f"{varied.name}, {side}"] = change
        yield ranking(self.card.name, found, plain, trials.ratio(base), trials, self.hyper_step)

    def _steps(
        self, trials: Trials, varied: Varied, plain: np.ndarray, base: np.ndarray
    ) -> Iterator[Evidence]:
        window, name = trials.context.test_window(trials.context.last_fold), varied.name
        for one in varied.neighbours:
            if one.position is None:
                for metric in _HYPER[:2]:
                    yield not_measured(
                        self, metric, one.reason, window=window, errored=one.errored,
                        parameter=name, step=one.step,
                    )  # fmt: skip
                continue
            note, net = f"{varied.value:g} to {one.value:g}", varied.net[one.step]
            yield measured(
                self, _HYPER[0], float(np.abs(one.position - plain).mean()), n=len(plain),
                window=window, note=note, parameter=name, step=one.step,
            )  # fmt: skip
            change = trials.ratio(net) - trials.ratio(base)
            if not np.isfinite(change):
                yield not_measured(
                    self, _HYPER[1], _UNVARIED, window=window, parameter=name, step=one.step
                )
                continue
            interval = paired_interval(
                net, base, trials.bars.bars_per_year, draws=self.draws,
                rng=trials.context.rng(f"sensitivity:{name}:{one.step}"),
            )  # fmt: skip
            yield measured(
                self, _HYPER[1], change, n=len(net), window=window, interval=interval, note=note,
                parameter=name, step=one.step,
            )  # fmt: skip

    def _peak(self, trials: Trials, varied: Varied, base: np.ndarray) -> Evidence:
        window, name = trials.context.test_window(trials.context.last_fold), varied.name
        reason = "; ".join(
            f"{one.step}: {one.reason}" for one in varied.neighbours if one.position is None
        )
        if not reason:
            value, interval = peak(
                varied, base, trials.bars.bars_per_year, draws=self.draws,
                rng=trials.context.rng(f"sensitivity:{name}"),
            )  # fmt: skip
            if np.isfinite(value):
                return measured(
                    self, _HYPER[2], value, n=len(base), window=window, interval=interval,
                    parameter=name,
                )  # fmt: skip
            reason = _UNVARIED
        return not_measured(self, _HYPER[2], reason, window=window, parameter=name)

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
        self, together: Together, base: np.ndarray, tornado: dict[str, float]
    ) -> Iterator[Evidence]:
        trials = together.trials
        window = trials.context.out_of_sample_window
        noisy = trials.positions(noise_bps=self.noise_bps)
        late = trials.positions(offset=together.offset(LEVELS - 1))
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
                for metric in ("sharpe_change", "sharpe_retained"):
                    yield not_measured(self, metric, _UNVARIED, window=window, factor=name)
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

    def _jointly(self, together: Together) -> Iterator[Evidence | Exhibit]:
        missing = dict.fromkeys(JOINT_METRICS, f"another method was asked for: {self.method}")
        try:
            yield from (self._screening if self.method == "morris" else self._variance)(together)
            del missing[self.method]
        except (MissingDependencyError, InputError) as error:
            missing[self.method] = str(error)
        window = together.trials.context.out_of_sample_window
        for method, reason in missing.items():
            for metric in JOINT_METRICS[method]:
                yield not_measured(self, metric, reason, window=window)

    def _screening(self, together: Together) -> Iterator[Evidence | Exhibit]:
        window = together.trials.context.out_of_sample_window
        found = together.screened(self.trajectories)
        how = "normal, over resampled trajectories"
        for number, name in enumerate(FACTORS):
            interval = _around(found.effect[number], found.error[number], how)
            yield measured(
                self, "morris_effect", float(found.effect[number]), n=found.asked, window=window,
                interval=interval, factor=name,
            )  # fmt: skip
            spread = float(found.spread[number])
            yield measured(self, "morris_spread", spread, n=found.asked, window=window, factor=name)
        yield screening_exhibit(self.card.name, together, found)

    def _variance(self, together: Together) -> Iterator[Evidence | Exhibit]:
        window = together.trials.context.out_of_sample_window
        found = together.shared(self.base_points)
        for metric, values, errors in (
            ("sobol_first", found.first, found.first_error),
            ("sobol_total", found.total, found.total_error),
        ):
            for number, name in enumerate(FACTORS):
                interval = _around(values[number], errors[number], "normal, over resampled points")
                yield measured(
                    self, metric, float(values[number]), n=found.asked, window=window,
                    interval=interval, factor=name,
                )  # fmt: skip
        yield variance_exhibit(self.card.name, together, found)


def _around(value: float, error: float, method: str) -> Interval | None:
    if not error > 0.0:
        return None
    return Interval(low=float(value - error), high=float(value + error), level=0.95, method=method)
