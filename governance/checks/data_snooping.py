"""Check: is the best of all that was tried better than holding the market, as the best of many?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.core.errors import FinchaosError, InputError
from finchaos.core.subject import Subject
from governance.check import Context, Skip, measured, not_measured
from governance.record import CheckCard, Column, Evidence, Exhibit, Hypothesis, MetricSpec
from governance.statistics.data_snooping import (
    confidence_set,
    superior_models,
    superior_predictive_ability,
)
from governance.statistics.out_of_sample import out_of_sample
from governance.statistics.resampling import block_length

_MODEL = "model"
_NO_TRIALS = "the plan names no returns of trials"


@dataclass(frozen=True)
class DataSnooping:
    """Superior predictive ability, its steps and the model confidence set.

    Parameters
    ----------
    draws : int
        Bootstrap samples.
    size : float
        Of the steps that establish single models as better.
    most_trials : int
        More trials than this are not tested: it takes seconds for every hundred.
    """

    draws: int = 500
    size: float = 0.05
    most_trials: int = 500

    card: ClassVar[CheckCard] = CheckCard(
        name="data_snooping",
        version=1,
        title="Data snooping",
        question="Is the best of all that was compared better than holding, as the best of many?",
        pillar="outcomes_analysis",
        hypothesis=Hypothesis(
            null="None of the models earns more than holding the market",
            alternative="At least one does",
        ),
        method="Out-of-sample returns net of cost of the model and all challengers are compared "
        "with holding the market over the same periods: as they are, and each scaled to the "
        "market's volatility over the whole test, so that a model which holds less is not called "
        "worse for it. Hansen's consistent test asks whether the best leads by more than the best "
        "of as many without merit; its steps name those established as better. The confidence set "
        "asks which are not established as behind the best. Returns of the plan's trials are asked "
        "the first question against cash. All by the stationary bootstrap of the package arch.",
        limitations=(
            "One market path; what was never recorded cannot be counted",
            "Scaling uses the volatility of the whole test, which nobody knew at its start",
            "Trials' returns bring no dates: they are judged against cash, not against the market",
            "Hopeless models hardly weaken the test, but very many indifferent ones do",
        ),
        references=(
            "Hansen (2005), Journal of Business & Economic Statistics 23(4)",
            "Romano & Wolf (2005), Econometrica 73",
            "Hansen, Lunde & Nason (2011), Econometrica 79",
        ),
        metrics=(
            MetricSpec(name="spa_probability", unit="probability", better="lower",
                       meaning="Of the best's lead over holding if none is better"),
            MetricSpec(name="model_probability", unit="probability", better="lower",
                       meaning="The same of the model alone, not counting its rivals"),
            MetricSpec(name="established", unit="0 or 1", better="higher",
                       meaning="Whether the steps name the model as better than holding"),
            MetricSpec(name="best_probability", unit="probability", better="higher",
                       meaning="Of the model's lag behind the best of the set if all are equal"),
            MetricSpec(name="trials_probability", unit="probability", better="lower",
                       meaning="Of the best trial's return if none earns more than cash"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.draws < 100 or not 0.0 < self.size < 0.5 or self.most_trials < 2:
            raise InputError(
                "data_snooping cannot use these parameters",
                expected="draws >= 100, 0 < size < 0.5, two trials or more",
                got=f"{self.draws}, {self.size}, {self.most_trials}",
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield what model and challengers show, then the trials."""
        tested = out_of_sample(subject, context)
        if np.ptp(tested.net) == 0.0 or np.ptp(tested.market) == 0.0:
            raise Skip("returns that do not vary cannot be compared")
        returns = {_MODEL: tested.net}
        for name in sorted(context.challengers):
            try:
                net = out_of_sample(context.challengers[name], context).net
            except FinchaosError as error:
                yield not_measured(
                    self,
                    "best_probability",
                    str(error),
                    window=context.out_of_sample_window,
                    errored=True,
                    challenger=name,
                )
                continue
            if np.ptp(net) > 0.0:
                returns[name] = net
        market = tested.market
        matched = {name: net * (market.std() / net.std()) for name, net in returns.items()}
        rows: list[tuple[str, float, float]] = []
        for kind, compared in (("plain", returns), ("volatility_matched", matched)):
            yield from self._compare(kind, _distinct(compared), market, context, rows)
        yield self._trials(context)
        yield self._exhibit(rows, len(market))

    def _compare(
        self,
        kind: str,
        returns: dict[str, np.ndarray],
        market: np.ndarray,
        context: Context,
        rows: list[tuple[str, float, float]],
    ) -> Iterator[Evidence]:
        window, n = context.out_of_sample_window, len(market)
        rng = context.rng(f"data_snooping:{kind}")
        leads = {name: net - market for name, net in returns.items()}
        leading = {name: returns[name] for name, lead in leads.items() if np.ptp(lead) > _TINY}
        block = block_length(*leads.values())
        if _MODEL not in leading:
            reason = "the model holds the market: it cannot lead it"
            for metric in ("spa_probability", "model_probability", "established"):
                yield not_measured(self, metric, reason, window=window, returns=kind)
        else:
            single = {_MODEL: leading[_MODEL]}
            better = superior_models(
                market, leading, size=self.size, block=block, draws=self.draws, rng=rng
            )
            for metric, value in (
                ("spa_probability", superior_predictive_ability(
                    market, leading, block=block, draws=self.draws, rng=rng)),
                ("model_probability", superior_predictive_ability(
                    market, single, block=block, draws=self.draws, rng=rng)),
                ("established", float(_MODEL in better)),
            ):  # fmt: skip
                note = f"{len(leading)} models, mean block {block} bars"
                yield measured(self, metric, value, n=n, window=window, note=note, returns=kind)
        if len(returns) < 2:
            reason = "there is no other model to lag behind"
            yield not_measured(self, "best_probability", reason, window=window, returns=kind)
            return
        found = confidence_set(returns, block=block, draws=self.draws, rng=rng)
        if kind == "volatility_matched":
            rows += [(name, 1e4 * float(net.mean()), found[name]) for name, net in returns.items()]
        value, note = found[_MODEL], f"set of {len(returns)}: {', '.join(returns)}"
        metric = "best_probability"
        yield measured(self, metric, value, n=n, window=window, note=note, returns=kind)

    def _trials(self, context: Context) -> Evidence:
        window, metric = context.out_of_sample_window, "trials_probability"
        returns = None if context.trials is None else context.trials.returns
        if returns is None:
            return not_measured(self, metric, _NO_TRIALS, window=window)
        varied = returns[:, np.ptp(returns, axis=0) > 0.0]
        if not varied.shape[1]:
            return not_measured(self, metric, "no trial's return varies", window=window)
        if varied.shape[1] > self.most_trials:
            reason = f"{varied.shape[1]} trials are more than most_trials, {self.most_trials}"
            return not_measured(self, metric, reason, window=window)
        best = varied[:, int(np.argmax(varied.mean(axis=0) / varied.std(axis=0)))]
        value = superior_predictive_ability(
            np.zeros(len(varied)),
            {f"trial {place}": varied[:, place] for place in range(varied.shape[1])},
            block=block_length(best),
            draws=self.draws,
            rng=context.rng("data_snooping:trials"),
        )
        note = f"{varied.shape[1]} trials against cash"
        return measured(self, metric, value, n=len(returns), window=window, note=note)

    def _exhibit(self, rows: list[tuple[str, float, float]], n: int) -> Exhibit:
        ordered = sorted(rows, key=lambda row: -row[1])
        return Exhibit(
            check=self.card.name,
            name="confidence_set",
            title="Which models are not established as behind the best",
            kind="table",
            columns=(
                Column(name="", values=tuple(row[0].replace("_", " ") for row in ordered)),
                Column(
                    name="mean return a bar at the market's volatility",
                    unit="bps",
                    values=tuple(row[1] for row in ordered),
                ),
                Column(name="probability", values=tuple(row[2] for row in ordered)),
            ),
            note=f"{n} periods net of cost; below 0.05 is behind the best at that level. Models "
            "with the same returns as another are shown once.",
        )


_TINY = 1e-12


def _distinct(returns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first of models that earned the same: two alike cannot be told apart by any test."""
    kept: dict[str, np.ndarray] = {}
    for name, net in returns.items():
        if all(np.ptp(net - other) > _TINY for other in kept.values()):
            kept[name] = net
    return kept
