"""One hyper-parameter at a time: the same model with a neighbouring value, trained as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np

from finchaos.core.errors import FinchaosError
from finchaos.core.hyper_parameters import Number
from finchaos.core.subject import Capability, HasHyperParameters
from governance.record import Column, Exhibit, Interval
from governance.statistics.performance import sharpe
from governance.statistics.resampling import Bootstrap, Columns, Statistic, block_length
from governance.statistics.sensitivity import Sensitivity as Trials

Step = Literal["lower", "higher"]
STEPS: tuple[Step, ...] = ("lower", "higher")
_BEYOND = "beyond the budget"


@dataclass(frozen=True, eq=False)
class Neighbour:
    """The model with one hyper-parameter changed.

    Attributes
    ----------
    step : {"lower", "higher"}
    value : int or float or None
        The neighbouring value; None where a relative step is none, at zero.
    position : numpy.ndarray or None, shape (t,)
        Over the last test; None if it was not had.
    reason : str
        Why not: refused by the model, failed, or beyond the budget; empty if it was had.
    errored : bool
        Whether the model failed other than by refusing.
    """

    step: Step
    value: Number | None
    position: np.ndarray | None = None
    reason: str = ""
    errored: bool = False


@dataclass(frozen=True, eq=False)
class Varied:
    """One hyper-parameter and its neighbours.

    Attributes
    ----------
    name : str
    value : int or float
        As the model has it.
    neighbours : tuple of Neighbour
    net : mapping of step to numpy.ndarray
        Net returns over the last test with each neighbour that was had.
    """

    name: str
    value: Number
    neighbours: tuple[Neighbour, ...]
    net: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def beyond_budget(self) -> bool:
        """Whether no neighbour was tried for want of refits."""
        return all(one.reason.startswith(_BEYOND) for one in self.neighbours)


def neighbouring(value: Number, step: float, direction: Step) -> Number | None:
    """The value a relative step away; whole numbers by one at least, and they stay whole.

    Parameters
    ----------
    value : int or float
    step : float
        Relative to the size of the value.
    direction : {"lower", "higher"}

    Returns
    -------
    int or float or None
        None for the float zero, of which a share is zero.

    Examples
    --------
    >>> neighbouring(0.5, 0.2, "higher"), neighbouring(21, 0.2, "lower"), neighbouring(2, 0.2, "lower")
    (0.6, 17, 1)
    """  # noqa: E501
    sign = 1 if direction == "higher" else -1
    if isinstance(value, int):
        return value + sign * max(round(abs(value) * step), 1)
    return value + sign * abs(value) * step if value else None


def vary(trials: Trials, plain: np.ndarray, *, step: float, budget: int) -> list[Varied]:
    """Every hyper-parameter of a subject a step lower and a step higher, in the subject's order.

    Parameters
    ----------
    trials : governance.statistics.sensitivity.Sensitivity
        Of a subject with the capability ``hyper_parameters``.
    plain : numpy.ndarray, shape (t,)
        Positions over the last test with the values as they are.
    step : float
        Relative.
    budget : int
        Models trained at most, two a hyper-parameter; what comes later is not had.
    """
    subject = cast(HasHyperParameters, trials.subject)
    found, used = [], 0
    for name, value in subject.hyper_parameters.items():
        neighbours = []
        for direction in STEPS:
            other = neighbouring(value, step, direction)
            if other is None:
                one = Neighbour(direction, None, reason="a share of zero is zero: no step to take")
            elif used >= budget:
                one = Neighbour(direction, other, reason=f"{_BEYOND} of {budget} refits")
            else:
                one = _neighbour(trials, plain, name, direction, other)
                used += 1
            neighbours.append(one)
        net: dict[str, np.ndarray] = {
            one.step: trials.earnings(one.position, rows=trials.last_test)
            for one in neighbours
            if one.position is not None
        }
        found.append(Varied(name, value, tuple(neighbours), net))
    return found


def _neighbour(
    trials: Trials, plain: np.ndarray, name: str, direction: Step, value: Number
) -> Neighbour:
    subject = trials.subject
    try:
        other = cast(HasHyperParameters, subject).with_hyper_parameters({name: value})
        if other.digest == subject.digest:
            reason = "the subject's digest does not tell this value from its own"
            return Neighbour(direction, value, reason=reason, errored=True)
        position = trials.refitted(trials.context.seed, subject=other)
    except FinchaosError as error:
        return Neighbour(direction, value, reason=f"{value:g} is refused: {error}")
    except Exception as error:  # recorded: the others can still be measured
        reason = f"the subject failed with {value:g}: {type(error).__name__}: {error}"
        return Neighbour(direction, value, reason=reason, errored=True)
    return Neighbour(direction, value, position)


def not_varied(trials: Trials, budget: int) -> str:
    """Why hyper-parameters cannot be varied; empty if they can."""
    if Capability.HYPER_PARAMETERS not in trials.subject.capabilities:
        return "the subject does not declare hyper_parameters"
    if not budget:
        return "no refits with other hyper-parameters were asked for"
    if not cast(HasHyperParameters, trials.subject).hyper_parameters:
        return "the subject names no hyper-parameters"
    return ""


def peak(
    varied: Varied,
    base: np.ndarray,
    bars_per_year: float,
    *,
    draws: int,
    rng: np.random.Generator,
) -> tuple[float, Interval | None]:
    """Sharpe ratio with the value as it is less the better of those with its neighbours.

    Above zero where both are worse: the value sits on a peak. All are resampled by the same rows.

    Parameters
    ----------
    varied : Varied
        With a neighbour on either side.
    base : numpy.ndarray, shape (t,)
        Net returns with the value as it is.
    bars_per_year : float
    draws : int
    rng : numpy.random.Generator
    """

    def of(columns: Columns) -> np.ndarray:
        ratios = {name: sharpe(column, bars_per_year) for name, column in columns.items()}
        better = np.maximum(ratios["lower"], ratios["higher"])
        return np.asarray(ratios["base"] - better)

    statistic: Statistic = of
    columns = {"base": base, **varied.net}
    bootstrap = Bootstrap(block_length(*columns.values()), draws)
    return float(of(columns)), bootstrap.intervals({"peak": statistic}, columns, rng)["peak"]


def ranking(check: str, found: Sequence[Varied], plain: np.ndarray, base: float, trials: Trials,
            step: float) -> Exhibit:  # fmt: skip
    """Hyper-parameters by the largest change of the Sharpe ratio, those not varied last."""

    def change(varied: Varied, side: str) -> float | None:
        ratio = trials.ratio(varied.net[side]) - base if side in varied.net else np.nan
        return float(ratio) if np.isfinite(ratio) else None

    def size(varied: Varied) -> float:
        changes = [change(varied, side) for side in STEPS]
        return max((abs(one) for one in changes if one is not None), default=-1.0)

    def moved(varied: Varied) -> float | None:
        had = [one.position for one in varied.neighbours if one.position is not None]
        return max((float(np.abs(one - plain).mean()) for one in had), default=None)

    def told(varied: Varied, side: int) -> str:
        one = varied.neighbours[side]
        value = "none" if one.value is None else f"{one.value:g}"
        return value if one.position is not None else f"{value} (not had)"

    rows = sorted(found, key=lambda varied: -size(varied))
    missing = sum(one.position is None for varied in found for one in varied.neighbours)
    return Exhibit(
        check=check,
        name="hyper_parameters",
        title="What changes when one hyper-parameter changes",
        kind="table",
        columns=(
            Column(name="hyper-parameter", values=tuple(one.name for one in rows)),
            Column(name="value", values=tuple(float(one.value) for one in rows)),
            Column(name="lower", values=tuple(told(one, 0) for one in rows)),
            Column(name="higher", values=tuple(told(one, 1) for one in rows)),
            Column(name="change of the Sharpe ratio, lower", unit="p.a.",
                   values=tuple(change(one, "lower") for one in rows)),
            Column(name="change of the Sharpe ratio, higher", unit="p.a.",
                   values=tuple(change(one, "higher") for one in rows)),
            Column(name="largest change of position", unit="fraction of capital",
                   values=tuple(moved(one) for one in rows)),
        ),
        note=f"Steps of {step:.0%}, whole numbers by one at least, over the last test; "
        f"{missing} of {2 * len(found)} values refused, failed or beyond the budget.",
    )  # fmt: skip
