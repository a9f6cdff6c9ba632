"""The targets of the state-space engine: a floor and a goal for each, and what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from benchmarks import accuracy, equality, fallback, latency, memory, s4d, stacks
from benchmarks.accuracy import SCANS, Grid
from benchmarks.peers import MAMBA2_64, MAMBA_64
from benchmarks.report import Cell, Options, Report, Table
from benchmarks.stacks import Case
from benchmarks.steps import OURS as STREAM
from finchaos.ssm.backends import choose_backend


@dataclass(frozen=True)
class Found:
    """A measured value, and what it was found from."""

    value: float
    detail: str


@dataclass(frozen=True)
class Bar:
    """What is asked of one measured value.

    Attributes
    ----------
    peer : str
    floor, goal : float
    at_least : bool
        Whether large values are good: ratios, not errors.
    """

    peer: str
    floor: float
    goal: float
    at_least: bool = True

    def verdicts(self, value: float) -> tuple[str, str]:
        """Whether floor and goal are met.

        Examples
        --------
        >>> Bar("mambapy", 7.0, 12.0).verdicts(9.0)
        ('met', 'MISSED')
        """
        floor, goal = (
            "met" if (value >= line if self.at_least else value <= line) else "MISSED"
            for line in (self.floor, self.goal)
        )
        return floor, goal


@dataclass(frozen=True)
class Target:
    """Work whose measurement yields one value a bar.

    Attributes
    ----------
    work : str
    bars : mapping of str to Bar
        By the key under which ``measure`` gives the value.
    measure : callable
        From options to values.
    """

    work: str
    bars: Mapping[str, Bar]
    measure: Callable[[Options], Mapping[str, Found]]


@dataclass(frozen=True)
class Sizes:
    """The work of every target.

    Attributes
    ----------
    mambapy, transformers, inference, mamba2 : Case
    token : latency.Case
    memory : Case
    fallback : fallback.Case
    grid : Grid
    stacks : tuple of Case
        Whose accuracy is judged.
    """

    mambapy: Case
    transformers: Case
    inference: Case
    mamba2: Case
    token: latency.Case
    memory: Case
    fallback: fallback.Case
    grid: Grid
    stacks: tuple[Case, ...]


AS_SET = Sizes(
    mambapy=Case(MAMBA_64, 32, 128, ("mambapy",)),
    transformers=Case(MAMBA_64, 4, 512, ("transformers",)),
    inference=Case(MAMBA_64, 32, 128, ("mambapy",)),
    mamba2=Case(MAMBA2_64, 32, 512, ("transformers", "transformers_64")),
    token=latency.Case(MAMBA_64, (STREAM, "mambapy", "onnx")),
    memory=Case(MAMBA_64, 32, 512, ("mambapy",)),
    fallback=fallback.CASES[0],
    grid=Grid(),
    stacks=(Case(MAMBA_64, 2, 512, ()), Case(MAMBA2_64, 2, 512, ())),
)
ERRORS = {
    "outputs": Bar("reference in float64, outputs", 1e-6, 4e-7, at_least=False),
    "gradients": Bar("reference in float64, gradients", 5e-6, 1e-6, at_least=False),
}


def targets(sizes: Sizes) -> tuple[Target, ...]:
    """Every target, with floors and goals as they were set."""
    return (*_times_and_memory(sizes), *_accuracies(sizes))


def _times_and_memory(sizes: Sizes) -> tuple[Target, ...]:
    train, one = partial(_stack, backward=True), sizes.token.shape.label
    return (
        Target(
            f"{sizes.mambapy.label}, forward+backward",
            {"mambapy": Bar("mambapy", 7.0, 12.0)},
            partial(train, sizes.mambapy),
        ),
        Target(
            f"{sizes.transformers.label}, forward+backward",
            {"transformers": Bar("transformers, default path", 80.0, 150.0)},
            partial(train, sizes.transformers),
        ),
        Target(
            f"{sizes.inference.label}, forward only, no grad",
            {"mambapy": Bar("mambapy", 8.0, 15.0)},
            partial(_stack, sizes.inference, backward=False),
        ),
        Target(
            f"{sizes.mamba2.label}, forward+backward",
            {
                "transformers": Bar("transformers, default path", 3.5, 6.0),
                "transformers_64": Bar("transformers, chunks of 64", 1.8, 3.0),
            },
            partial(train, sizes.mamba2),
        ),
        Target(
            f"{one}, one token, batch 1",
            {
                "mambapy": Bar("mambapy step", 60.0, 100.0),
                "onnx": Bar("ONNX Runtime run()", 8.0, 14.0),
            },
            partial(_token, sizes.token),
        ),
        Target(
            f"{sizes.memory.label}, peak extra memory",
            {"mambapy": Bar("mambapy", 6.0, 10.0)},
            partial(_memory, sizes.memory),
        ),
        Target(
            "S4D kernel, longest",
            {"s4d": Bar("direct Vandermonde in torch", 15.0, 30.0)},
            _s4d,
        ),
        Target(
            f"pure-torch {sizes.fallback.label}, forward+backward",
            {"mambapy": Bar("mambapy, parallel scan", 1.7, 2.2)},
            partial(_fallback, sizes.fallback),
        ),
    )


def _accuracies(sizes: Sizes) -> tuple[Target, ...]:
    return (
        *(
            Target(
                f"largest error of the {scan.name} scan",
                ERRORS,
                partial(_accuracy, scan, sizes.grid),
            )
            for scan in SCANS
        ),
        *(
            Target(f"error of {case.label}", ERRORS, partial(_stack_accuracy, case))
            for case in sizes.stacks
        ),
    )


def run(options: Options, sizes: Sizes = AS_SET) -> Report:
    """The table of targets."""
    rows: list[tuple[Cell, ...]] = []
    for target in targets(sizes):
        found = target.measure(options)
        for key, bar in target.bars.items():
            value = found[key].value
            floor, goal = bar.verdicts(value)
            rows.append(
                (target.work, bar.peer, bar.floor, bar.goal, value, floor, goal, found[key].detail)
            )
    columns = ("work", "peer", "floor", "goal", "measured", "floor is", "goal is", "from")
    missed = sum(row[columns.index("floor is")] != "met" for row in rows)
    short = sum(row[columns.index("goal is")] != "met" for row in rows)
    notes = (
        f"{missed} of {len(rows)} floors and {short} of {len(rows)} goals are missed.",
        "Ratios say how many times less time or memory ours takes: medians of process CPU time, "
        "for one token medians of wall time. Errors are relative to the largest value.",
        "Memory: the smaller of the ratios under the tuned allocator and the system's.",
        "The targets of accuracy were set for the scans; the layers that are timed are held to "
        "them too.",
    )
    return Report("targets", (Table("Targets", columns, tuple(rows), notes),))


def _stack(case: Case, options: Options, *, backward: bool) -> Mapping[str, Found]:
    found = stacks.measure(case, options, backward=backward)
    mine = found.times[stacks.OURS]
    return {
        key: Found(found.ratio(key), _times(1e3, "ms", mine.median, spent.median, spent.n))
        for key, spent in found.times.items()
    }


def _token(case: latency.Case, options: Options) -> Mapping[str, Found]:
    times = latency.measure(case, options)
    base = times[case.peers[0]].median
    return {
        key: Found(spent.median / base, _times(1e6, "us", base, spent.median, spent.n))
        for key, spent in times.items()
    }


def _memory(case: Case, options: Options) -> Mapping[str, Found]:
    """The smaller ratio of those under the tuned allocator and the system's."""
    found: dict[str, Found] = {}
    for allocator in memory.ALLOCATORS:
        peaks = memory.measure(case, options, allocator)
        mine = peaks[stacks.OURS]
        for key, peak in peaks.items():
            sizes = f"{mine / 1e6:.0f} MB against {peak / 1e6:.0f} MB, allocator {allocator}"
            now = Found(peak / mine, sizes)
            found[key] = min(now, found.get(key, now), key=lambda one: one.value)
    return found


def _s4d(options: Options) -> Mapping[str, Found]:
    found = s4d.s4d_kernel(options.protocol.rounds)[-1]
    detail = _times(1e3, "ms", found.ours_s, found.peer_s, found.rounds)
    return {"s4d": Found(found.ratio, f"{found.work}: {detail}")}


def _fallback(case: fallback.Case, options: Options) -> Mapping[str, Found]:
    found = fallback.measure(case, options)
    mine, theirs = found.times[fallback.OURS], found.times[fallback.PEER]
    detail = _times(1e3, "ms", mine.median, theirs.median, theirs.n)
    return {"mambapy": Found(found.ratio, detail)}


def _accuracy(scan: accuracy.Scan, grid: Grid, options: Options) -> Mapping[str, Found]:
    backend = choose_backend(options.backend).name
    sides = tuple(dict.fromkeys((backend, accuracy.REFERENCE)))
    found = accuracy.worst(scan, grid, sides)
    ours, own = found[backend], found[accuracy.REFERENCE]
    sizes = f"backend {backend}, {len(list(grid.sizes()))} sizes"
    return _errors(ours, own, sizes)


def _stack_accuracy(case: Case, options: Options) -> Mapping[str, Found]:
    found = equality.errors(case, options)
    (outputs, gradients, alone), own = found[stacks.OURS], found["loop"]
    return _errors((max(outputs, alone), gradients), own, "the layers that are timed")


def _errors(ours: tuple[float, ...], own: tuple[float, ...], detail: str) -> Mapping[str, Found]:
    return {
        key: Found(mine, f"{detail}; the definition itself in float32: {definition:.2g}")
        for key, mine, definition in zip(("outputs", "gradients"), ours, own, strict=False)
    }


def _times(scale: float, unit: str, ours: float, theirs: float, n: int) -> str:
    return f"{scale * ours:.3g} {unit} against {scale * theirs:.4g} {unit}, n {n}"
