"""Forward and backward passes of whole stacks, ours and the peers', on the same work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.baselines import parameters_of
from benchmarks.peers import PEERS, Shape, common_weights, ours
from benchmarks.report import Options, Table
from benchmarks.timing import Samples, interleaved

OURS = "ours"
LARGEST_BATCH = 32
OUTPUT_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 2e-4
"""Largest deviation relative to the largest value, in float32 over long sequences."""


@dataclass(frozen=True)
class Case:
    """One piece of work, and who does it.

    Attributes
    ----------
    shape : Shape
    batch, steps : int
    peers : tuple of str
        Keys of :data:`benchmarks.peers.PEERS`.
    """

    shape: Shape
    batch: int
    steps: int
    peers: tuple[str, ...]

    @property
    def label(self) -> str:
        """In words."""
        return f"{self.shape.label}, B{self.batch}, L{self.steps}"


@dataclass(frozen=True)
class Group:
    """Peers that can do the same amount of work in a bearable time and space.

    Attributes
    ----------
    peers : tuple of str
    tokens : int
        At most so many in a batch at d_model 64, half of that at 128.
    longest : int
        Longest sequence they are given.
    """

    peers: tuple[str, ...]
    tokens: int
    longest: int


def cases(
    shapes: Iterable[Shape], lengths: Iterable[int], groups: Mapping[str, tuple[Group, ...]]
) -> tuple[Case, ...]:
    """Every shape at every length, the batch as large as the group of peers allows.

    Parameters
    ----------
    shapes : iterable of Shape
    lengths : iterable of int
    groups : mapping of str to tuple of Group
        By family.
    """
    found = []
    for shape in shapes:
        for steps in lengths:
            for group in groups[shape.family]:
                batch = min(LARGEST_BATCH, max(1, group.tokens * 64 // shape.d_model // steps))
                if steps <= group.longest:
                    found.append(Case(shape, batch, steps, group.peers))
    return tuple(found)


@dataclass(frozen=True)
class Outcome:
    """What one pass computed.

    Attributes
    ----------
    y : torch.Tensor, shape (b, t, m)
    gradients : mapping of str to torch.Tensor
        By parameter; empty for a forward pass.
    """

    y: Tensor
    gradients: Mapping[str, Tensor]


@dataclass(frozen=True)
class Measured:
    """Times of one case.

    Attributes
    ----------
    case : Case
    times : mapping of str to Samples
        By peer; ours under :data:`OURS`.
    deviations : mapping of str to (float, float or None)
        Of the same models: outputs and worst gradient from ours, relative to the largest value.
    parameters : mapping of str to int
    """

    case: Case
    times: Mapping[str, Samples]
    deviations: Mapping[str, tuple[float, float | None]]
    parameters: Mapping[str, int]

    def ratio(self, peer: str) -> float:
        """How many times the peer's median ours is faster."""
        return self.times[peer].median / self.times[OURS].median


def measure(case: Case, options: Options, *, backward: bool) -> Measured:
    """Time a case after its results were compared.

    Raises
    ------
    RuntimeError
        If a peer with our model and weights computes something else.
    """
    torch.manual_seed(0)
    weights = common_weights(case.shape)
    networks: dict[str, nn.Module] = {OURS: ours(case.shape, weights, options.backend)}
    networks.update({key: PEERS[key].build(case.shape, weights) for key in case.peers})
    x = torch.randn(case.batch, case.steps, case.shape.d_model)
    make = partial(training_pass, grad=torch.randn_like(x)) if backward else inference_pass
    deviations: dict[str, tuple[float, float | None]] = {}

    def check(first: dict[str, Outcome]) -> None:
        for key in case.peers:
            if PEERS[key].same_model:
                deviations[key] = _agreement(key, first[key], first[OURS])

    jobs = {key: make(network, x) for key, network in networks.items()}
    times = interleaved(jobs, options.protocol, check)
    parameters = {key: parameters_of(network) for key, network in networks.items()}
    return Measured(case, times, deviations, parameters)


def training_pass(network: nn.Module, x: Tensor, grad: Tensor) -> Callable[[], Outcome]:
    """Forward and backward; the gradient of the input is wanted too, as below an embedding."""
    network.train()
    x = x.clone().requires_grad_()

    def run() -> Outcome:
        network.zero_grad(set_to_none=True)
        x.grad = None
        y = network(x)
        y.backward(grad)
        found = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        return Outcome(y.detach(), {"input": x.grad, **found} if x.grad is not None else found)

    return run


def inference_pass(network: nn.Module, x: Tensor) -> Callable[[], Outcome]:
    """Forward without a record for gradients."""
    network.eval()

    def run() -> Outcome:
        with torch.no_grad():
            return Outcome(network(x), {})

    return run


def table(title: str, found: Iterable[Measured], notes: tuple[str, ...]) -> Table:
    """One row for every case and peer."""
    columns = (
        "work",
        "peer",
        "parameters ours / peer",
        "ours median ms",
        "ours min ms",
        "ours n",
        "peer median ms",
        "peer min ms",
        "peer n",
        "peer / ours",
        "output deviation",
        "gradient deviation",
    )
    rows = [_row(measured, key) for measured in found for key in measured.case.peers]
    return Table(title, columns, tuple(rows), notes)


def _row(measured: Measured, key: str) -> tuple[str | int | float | None, ...]:
    mine, theirs = measured.times[OURS], measured.times[key]
    output, gradient = measured.deviations.get(key, (None, None))
    return (
        measured.case.label,
        PEERS[key].name,
        f"{measured.parameters[OURS]} / {measured.parameters[key]}",
        *(1e3 * mine.median, 1e3 * mine.minimum, mine.n),
        *(1e3 * theirs.median, 1e3 * theirs.minimum, theirs.n),
        measured.ratio(key),
        output,
        gradient,
    )


def _agreement(peer: str, theirs: Outcome, mine: Outcome) -> tuple[float, float | None]:
    """Deviations of outputs and of the worst gradient, within the tolerances."""
    output = deviation(theirs.y, mine.y)
    if theirs.gradients.keys() != mine.gradients.keys():
        raise RuntimeError(f"{peer} has gradients of other parameters than ours")
    gradients = {
        name: deviation(theirs.gradients[name], own) for name, own in mine.gradients.items()
    }
    worst = max(gradients, key=lambda name: gradients[name], default=None)
    gradient = 0.0 if worst is None else gradients[worst]
    if not (output <= OUTPUT_TOLERANCE and gradient <= GRADIENT_TOLERANCE):
        raise RuntimeError(
            f"{peer} and ours disagree: outputs by {output:.2g}, the gradient of {worst} by "
            f"{gradient:.2g}, relative to the largest value; nothing was timed"
        )
    return output, None if worst is None else gradient


def deviation(found: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest expected value.

    Examples
    --------
    >>> deviation(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 4.0]))
    0.25
    """
    difference = (found.double() - expected.double()).abs().max()
    return float(difference / expected.double().abs().max())
