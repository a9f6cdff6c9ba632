"""A planted defect validated as any model is: planned, measured, judged, sealed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.check import Context
from governance.harness import Materials, validate
from governance.plan import DataPlan, FoldPlan, Plan, SubjectPlan
from governance.policy import Policy, load_policy
from governance.record import Scalar
from governance.selftest.matrix import CHECKS
from governance.selftest.planted import Defect
from governance.selftest.sound import MARKET_BARS, market
from governance.store import Store, StoredRun

SOUND = "none"
"""What stands in place of a defect's name for the model as it is."""
FOLDS = FoldPlan(count=2, first_test=0.5, gap_bars=5)
"""Those of the matrix."""


@dataclass(frozen=True)
class Planting:
    """One defect in one kind of sound model; no defect for the model as it is.

    Attributes
    ----------
    kind : str
    make : callable
        Gives an untrained sound subject of this kind.
    defect : Defect or None
    """

    kind: str
    make: Callable[[], Subject]
    defect: Defect | None = None

    @property
    def name(self) -> str:
        """Of the defect."""
        return SOUND if self.defect is None else self.defect.name


def one_of_each_family(
    defects: Sequence[Defect], kinds: Mapping[str, Callable[[], Subject]]
) -> tuple[Planting, ...]:
    """The first defect of every family that fits the first kind it can be planted in.

    Raises
    ------
    InputError
        If a family fits none of the kinds.
    """
    found: dict[str, Planting] = {}
    for defect in defects:
        if defect.family not in found:
            planting = _first_fit(defect, kinds)
            if planting is not None:
                found[defect.family] = planting
    missing = sorted({defect.family for defect in defects} - set(found))
    if missing:
        raise InputError(
            f"no defect of the family {missing[0]!r} can be planted in the kinds chosen",
            got=", ".join(kinds),
            remedy="add --kind volatility_regime, which has everything that a defect can spoil",
        )
    return tuple(found.values())


def each(
    defects: Sequence[Defect], kinds: Mapping[str, Callable[[], Subject]]
) -> tuple[Planting, ...]:
    """Every defect, in the first kind that it can be planted in.

    Raises
    ------
    InputError
        If a defect fits none of the kinds.
    """
    found = []
    for defect in defects:
        planting = _first_fit(defect, kinds)
        if planting is None:
            raise InputError(
                f"the defect {defect.name!r} cannot be planted in the kinds chosen",
                expected="a kind that has what the defect spoils",
                got=", ".join(kinds),
                remedy="add --kind volatility_regime, which has all of it",
            )
        found.append(planting)
    return tuple(found)


def _first_fit(defect: Defect, kinds: Mapping[str, Callable[[], Subject]]) -> Planting | None:
    fitting = (kind for kind, make in kinds.items() if defect.fits(make()))
    kind = next(fitting, None)
    return None if kind is None else Planting(kind, kinds[kind], defect)


def seal(planting: Planting, store: Store, *, policy: str = "sr_26_2", seed: int = 1) -> StoredRun:
    """Validate what is planted with the checks of the matrix, and seal the run.

    Parameters
    ----------
    planting : Planting
    store : Store
        Takes the sealed run.
    policy : str
        A pack; of its rules those count that judge the checks of the matrix, since the others
        would only say that their checks did not run.
    seed : int
        Of the market; see :func:`governance.selftest.sound.market`.
    """
    plan = _plan(planting, policy, seed)
    bars = market(seed)  # its own: a defect may write to it
    context = Context(bars=bars, folds=plan.make_folds(bars), seed=seed)
    subject = planting.make()
    if planting.defect is not None:
        subject, context = planting.defect.within(subject, context)
    materials = Materials(
        subject=subject,
        bars=bars,
        policy=served_by_the_checks(load_policy(policy)),
        challengers={},
        scenarios=(),
        trials=context.trials,
    )
    return validate(plan, materials, store, fresh=True)


def _plan(planting: Planting, policy: str, seed: int) -> Plan:
    return Plan(
        name=f"self-test {planting.name} in {planting.kind}",
        seed=seed,
        policy=policy,
        subject=SubjectPlan(
            adapter="function",
            params={
                "target": f"{__name__}:Planting",
                "arguments": {"kind": planting.kind, "defect": planting.name},
            },
        ),
        data=DataPlan(source=f"market {seed} of the self-test, {MARKET_BARS} bars"),
        folds=FOLDS,
        challengers=(),
        scenarios=(),
        checks={check.card.name: _params(check) for check in CHECKS},
        formats=("html",),
    )


def _params(check: Any) -> dict[str, Scalar]:
    """What a plan can say of how a check was made: no sequences."""
    given = {item.name: getattr(check, item.name) for item in fields(check)}
    return {name: value for name, value in given.items() if isinstance(value, int | float | str)}


def served_by_the_checks(policy: Policy) -> Policy:
    """The policy with the rules alone that judge a check of the matrix, under a name of its own."""
    measured = {check.card.name for check in CHECKS}
    document = policy.document
    said = document.model_copy(
        update={
            "name": f"{document.name}_selftest",
            "title": f"{document.title} (what the self-test's checks serve)",
        }
    )
    rules = {key: rule for key, rule in policy.rules.items() if rule.check in measured}
    return replace(policy, document=said, rules=rules)
