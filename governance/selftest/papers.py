"""Defects of what is said about a model: its card, and the register of what was tried before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from finchaos.core.subject import Claim, ModelCard, Subject
from governance.check import Context
from governance.selftest.planted import Behaviour, Defect, Planted
from governance.statistics.out_of_sample import OutOfSample, out_of_sample
from governance.statistics.performance import max_drawdown, sharpe
from governance.trials import Trials

_FAMILY = "papers"
Stated = Callable[[OutOfSample, Context], Claim]


@dataclass(frozen=True)
class Misstated(Defect):
    """The card claims what is not so; the model itself is sound."""

    stated: Stated | None = None
    digest: str = ""

    def within(self, base: Subject, context: Context) -> tuple[Subject, Context]:
        """The subject with another card."""
        card: ModelCard = replace(base.card, approved_digest=self.digest)
        if self.stated is not None:
            card = replace(card, claims=(self.stated(out_of_sample(base, context), context),))
        return Planted(base, self.name, Behaviour(), card), context


@dataclass(frozen=True)
class Undeclared(Defect):
    """The register names a few of the trials whose returns are handed in."""

    def within(self, base: Subject, context: Context) -> tuple[Subject, Context]:
        """The subject as it is, with a register that is not whole."""
        periods = len(out_of_sample(base, context).net)
        returns = 0.01 * context.rng("selftest/trials").standard_normal((periods, 12))
        scores = sharpe(returns[:, :4].T, context.bars.bars_per_year)
        trials = Trials("search", 4, scores, True, "0" * 64, returns)
        return Planted(base, self.name, Behaviour()), replace(context, trials=trials)


def _of_all_days(metric: str, value: float, tested: OutOfSample) -> Claim:
    first, last = (tested.index[place].date().isoformat() for place in (0, -1))
    return Claim(metric, value, first, last)


def _without_costs(tested: OutOfSample, context: Context) -> Claim:
    value = float(sharpe(tested.gross, tested.bars.bars_per_year))
    return _of_all_days("sharpe", value, tested)


def _longer_year(tested: OutOfSample, context: Context) -> Claim:
    return _of_all_days("sharpe", float(sharpe(tested.net, 365.25)), tested)


def _same_bar(tested: OutOfSample, context: Context) -> Claim:
    """Earned by the close from which the decision was made."""
    held = tested.signals.position[: len(tested.market)]
    return _of_all_days("sharpe", float(sharpe(held * tested.market, 252.0)), tested)


def _half_the_fall(tested: OutOfSample, context: Context) -> Claim:
    return _of_all_days("max_drawdown", 0.5 * float(max_drawdown(tested.net)), tested)


def _invented(tested: OutOfSample, context: Context) -> Claim:
    return Claim("sharpe", 9.9)


DEFECTS: tuple[Defect, ...] = (
    Misstated("costs_left_out", _FAMILY, "The claimed ratio is before costs",
              stated=_without_costs),
    Misstated("longer_year", _FAMILY, "The claimed ratio is annualised by 365 days",
              stated=_longer_year),
    Misstated("without_delay", _FAMILY, "The claimed ratio is earned by the close it is decided at",
              stated=_same_bar),
    Misstated("half_the_fall", _FAMILY, "Half of the drawdown is claimed", stated=_half_the_fall),
    Misstated("invented_ratio", _FAMILY, "A ratio that nobody measured", stated=_invented),
    Misstated("other_weights", _FAMILY, "The card speaks of another digest", digest="f" * 64),
    Undeclared("undeclared_trials", _FAMILY, "Trials were run that the register lacks"),
)  # fmt: skip
