"""What changes when a model is trained, fed or traded a little differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.provenance import stream_seed
from finchaos.core.subject import Subject
from governance.check import Context
from governance.record import Interval
from governance.splits import Fold
from governance.statistics import perturbations
from governance.statistics.accounting import profit_and_loss
from governance.statistics.outcomes import difference
from governance.statistics.performance import sharpe
from governance.statistics.resampling import Bootstrap, block_length


@dataclass
class Sensitivity:
    """One subject's out-of-sample positions, and what they would have been.

    Attributes
    ----------
    subject : Subject
        Untrained.
    context : Context
    refit_bars : int
        Longest training window that is trained on again.
    """

    subject: Subject
    context: Context
    refit_bars: int
    _positions: dict[tuple[float, int], np.ndarray] = field(default_factory=dict)

    @cached_property
    def bars(self) -> Bars:
        """Everything up to the end of the last test."""
        return self.context.bars.rows(0, self.context.last_fold.test_end)

    @cached_property
    def tests(self) -> slice:
        """Rows of all tests."""
        return slice(self.context.folds[0].test_start, self.context.last_fold.test_end)

    @cached_property
    def noise(self) -> np.ndarray:
        """Standard normal noise of every bar, shape (t,)."""
        return self.context.rng("sensitivity:noise").standard_normal(len(self.bars))

    def positions(self, noise_bps: float = 0.0, offset: int = 0) -> np.ndarray:
        """Out-of-sample positions of all folds, shape (t,), on bars that are disturbed or late.

        Parameters
        ----------
        noise_bps : float
            Noise on prices.
        offset : int
            Bars by which the history that the models are given begins later.
        """
        key = (noise_bps, offset)
        if key not in self._positions:
            parts = [self._of_fold(fold, noise_bps, offset) for fold in self.context.folds]
            self._positions[key] = np.concatenate(parts)
        return self._positions[key]

    def _of_fold(self, fold: Fold, noise_bps: float, offset: int) -> np.ndarray:
        trained = self.context.trained(self.subject, fold)
        bars = self.bars.rows(0, fold.test_end)
        if not noise_bps and not offset:
            return self.context.test_signals(self.subject, fold).position
        if noise_bps:
            bars = perturbations.noisy(bars, self.noise[: fold.test_end], noise_bps)
        answer = trained.signals(bars.rows(offset, None))
        return answer.position[fold.test_start - offset : fold.test_end - offset]

    @cached_property
    def last_test(self) -> slice:
        """Rows of the candidate's own test."""
        fold = self.context.last_fold
        return slice(fold.test_start, fold.test_end)

    def refitted(self, seed: int, fewer: int = 0, subject: Subject | None = None) -> np.ndarray:
        """Positions over the candidate's test of a model trained as it was, but for the seed.

        Parameters
        ----------
        seed : int
        fewer : int
            Bars cut off the end of the training window.
        subject : Subject, optional
            Another than the one that is validated.
        """
        end = self.context.last_fold.train_end
        first, cut = max(end - self.refit_bars, 0), end - fewer
        if cut - first < 2:
            raise InputError("no bars are left to train on", got=f"{cut - first}")
        wanted = self.subject if subject is None else subject
        trained = self.context.cache.fit(wanted, self.context.bars.rows(first, cut), seed)
        return self.context.cache.signals(trained, self.bars).position[self.last_test]

    def seeds(self, count: int) -> list[int]:
        """Seeds that follow from that of the run; of 31 bits, as many libraries want them."""
        name = "sensitivity.seed"
        return [stream_seed(self.context.seed, f"{name}.{k}") % 2**31 for k in range(count)]

    def after_fault(self, kind: str, rows: Sequence[int], horizon: int) -> np.ndarray:
        """Mean change of position over the bars after a faulty one, shape (len(rows),).

        Parameters
        ----------
        kind : {"missing", "repeated"}
        rows : sequence of int
            Bars that do not come, or come twice.
        horizon : int
            Bars after each.
        """
        candidate = self.context.candidate(self.subject)
        base = self.context.cache.signals(candidate, self.bars).position
        found = []
        for row in rows:
            if kind == "missing":
                answer, shift = candidate.signals(perturbations.without(self.bars, row)), -1
            else:
                answer, shift = candidate.signals(perturbations.repeated(self.bars, row)), 1
            after = np.arange(row + 1, min(row + 1 + horizon, len(self.bars)))
            found.append(np.abs(answer.position[after + shift] - base[after]).mean())
        return np.array(found)

    def earnings(
        self,
        position: np.ndarray,
        *,
        cost: float = 1.0,
        delay: int = 0,
        skip: int = 0,
        rows: slice | None = None,
    ) -> np.ndarray:
        """Net returns of positions over the tests from the ``skip``-th period on.

        Parameters
        ----------
        position : numpy.ndarray, shape (t,)
        cost : float
            Multiple of the plan's cost.
        delay : int
            Bars added to the plan's delay.
        skip : int
            Periods left out at the beginning, the same for all that are compared.
        rows : slice, optional
            Rows of the positions; all tests if not given.
        """
        where = rows or self.tests
        returns = self.bars.rows(where.start, where.stop).returns()
        earned = profit_and_loss(
            position,
            returns,
            cost_bps=cost * self.context.cost_bps,
            delay_bars=self.context.delay_bars + delay,
        )
        return earned.net[self.context.delay_bars + skip :]

    def ratio(self, net: np.ndarray) -> float:
        """Sharpe ratio a year."""
        return float(sharpe(net, self.bars.bars_per_year))


def paired_interval(
    changed: np.ndarray,
    base: np.ndarray,
    bars_per_year: float,
    *,
    draws: int,
    rng: np.random.Generator,
) -> Interval | None:
    """Interval of the difference of two Sharpe ratios, both resampled by the same rows."""
    bootstrap = Bootstrap(block_length(changed, base), draws)
    statistic = difference(lambda columns: sharpe(columns["net"], bars_per_year))
    columns = {"net": changed, "other.net": base}
    return bootstrap.intervals({"change": statistic}, columns, rng)["change"]
