"""The discrete modes of S4D and the convolution kernel they sum to.

Each channel h has n complex modes, each standing for itself and its conjugate. The rates A and the
step size dt of a channel give the decay and the drive of one step,

    zero-order hold   decay = exp(dt A)                       drive = (exp(dt A) - 1) / A
    bilinear          decay = (1 + dt A / 2) / (1 - dt A / 2)   drive = dt / (1 - dt A / 2)

and these the kernel K[l] = 2 Re(sum over n of C drive decay^l).

Powers of the decays are where accuracy is lost and where the time goes. An exponential for each
mode and lag needs l dt A, which may be hundreds of turns, in the working precision. Here a lag is
written as digits, l = q c + r, and a power is the product of the powers for its digits: only short
tables are formed in float64, by repeated multiplication, and the sum over the modes is one matrix
product. With X[r] = decay^r and Y[c] = 2 C drive decay^(q c),

    K[q c + r] = [Re Y[c] | -Im Y[c]] . [Re X[r] | Im X[r]]

Nothing is ever divided by a power, so that nothing overflows.

References
----------
Gu, Gupta, Goel and Ré (2022), "On the Parameterization and Initialization of Diagonal State Space
Models", arXiv:2206.11893, section 3.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from finchaos.core.errors import InputError, UnknownNameError
from finchaos.ssm.inputs import check_finite, check_shapes, parameter_dtype, values_are_known

DISCRETISATIONS = ("zoh", "bilinear")
_SMALL = 0.01
# Coefficients 1 / (k + 1)! of (exp(z) - 1) / z; the first that is left out is below 2e-16.
_SERIES = (1.0, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720)


class Modes(NamedTuple):
    """One step of every mode.

    Attributes
    ----------
    decay, drive : torch.Tensor, complex of shape (h, n)
        state[t] = decay state[t - 1] + drive u[t]
    readout : torch.Tensor, complex of shape (h, n)
        y[t] = Re(sum of readout state[t]) + skip u[t]; twice C, for the conjugate modes.
    skip : torch.Tensor, shape (h,), or None
    """

    decay: Tensor
    drive: Tensor
    readout: Tensor
    skip: Tensor | None


def discretise(
    dt: Tensor, A: Tensor, C: Tensor, D: Tensor | None = None, discretisation: str = "zoh"
) -> Modes:
    """Modes of one step from the continuous-time parameters, in float64 whatever their type.

    Parameters
    ----------
    dt : torch.Tensor, shape (h,)
        Step sizes, not negative.
    A, C : torch.Tensor, shape (h, n, 2)
        Real and imaginary part of the rates, the real part not positive, and of the readout.
    D : torch.Tensor, shape (h,), optional
        Weight of the input in the output.
    discretisation : str
        One of :data:`DISCRETISATIONS`.

    Raises
    ------
    UnknownNameError
        If there is no such discretisation.
    InputError
        If shapes do not fit, or a value is not finite or of the wrong sign; it names the tensor.
    """
    check_discretisation(discretisation)
    pairs = {"A": (A, "h n pair"), "C": (C, "h n pair")}
    sizes = check_shapes({"dt": (dt, "h"), **pairs, "D": (D, "h")})
    if sizes["pair"] != 2:
        raise InputError(
            "A holds complex numbers as pairs of real and imaginary part",
            expected="(h, n, 2)",
            got=str(tuple(A.shape)),
            remedy="pass torch.view_as_real of a complex tensor, for C too",
        )
    check_finite({"dt": dt, "A": A, "C": C, "D": D})
    if values_are_known():
        if bool((dt < 0).any()):
            raise InputError(
                "dt holds negative step sizes: the state would grow instead of decaying",
                expected="dt >= 0",
                got=f"a minimum of {float(dt.detach().min())}",
            )
        if bool((A[..., 0] > 0).any()):
            raise InputError(
                "A holds rates with a positive real part: the state would grow without bound",
                expected="A[..., 0] <= 0",
                got=f"a maximum of {float(A.detach()[..., 0].max())}",
            )
    return modes_of(dt, torch.complex(*_parts(A)), torch.complex(*_parts(C)), D, discretisation)


def modes_of(
    step: Tensor, rates: Tensor, readout: Tensor, skip: Tensor | None, discretisation: str
) -> Modes:
    """As :func:`discretise`, of complex128 ``rates`` and ``readout`` whose signs are right."""
    step = step.double().unsqueeze(-1)
    z = step * rates
    check_finite({"the product of dt and A": torch.view_as_real(z)})
    if discretisation == "zoh":
        return Modes(torch.exp(z), step * _mean_exponential(z), 2 * readout, skip)
    half = 0.5 * z
    return Modes((1 + half) / (1 - half), step / (1 - half), 2 * readout, skip)


def s4d_kernel(
    dt: Tensor, A: Tensor, C: Tensor, steps: int, *, discretisation: str = "zoh"
) -> Tensor:
    """The kernel that S4D convolves its input with.

    Parameters
    ----------
    dt, A, C, discretisation
        As :func:`discretise`.
    steps : int
        Number of lags t.

    Returns
    -------
    torch.Tensor, shape (h, t)
        In the type of ``C``, or float32 where that has less; in float32 about 2e-7 of its largest
        value from the same in float64.

    Raises
    ------
    UnknownNameError, InputError
        As :func:`discretise`, or if ``steps`` is not positive.

    Notes
    -----
    Its gradient may be taken any number of times. Rounded to float32, a step size is off by 6e-8 of
    itself, and its angle after l steps by 6e-8 l dt A: pass ``dt`` and ``A`` in float64 where they
    come from a computation.

    Examples
    --------
    >>> A = torch.tensor([[[-1.0, 0.0]]], dtype=torch.float64)
    >>> K = s4d_kernel(torch.ones(1), A, -A / 2, 3)
    >>> [round(float(v), 4) for v in K[0]]
    [0.6321, 0.2325, 0.0855]
    """
    if steps < 1:
        raise InputError("a kernel needs at least one lag", expected="steps >= 1", got=str(steps))
    return kernel_of(discretise(dt, A, C, None, discretisation), steps, parameter_dtype(C.dtype))


def kernel_of(modes: Modes, steps: int, dtype: torch.dtype) -> Tensor:
    """The kernel (h t) of discrete modes, without their skip, in a real type."""
    apply: Any = _Kernel.apply
    with torch.autocast(modes.decay.device.type, enabled=False):
        kernel: Tensor = apply(modes.decay, modes.readout * modes.drive, steps, dtype)
    return kernel


class _Kernel(torch.autograd.Function):
    """Re(sum over n of weight decay^l), (h t).

    The gradient of a mode is a sum over lags of decay^l and of l decay^(l - 1), taken by the same
    digits as matrix products. Against a gradient step by step through the tables this saves a
    quarter of the time and all of the memory. It is written in operations with gradients of their
    own, on the inputs, so that it can be differentiated again.
    """

    @staticmethod
    def forward(ctx: Any, decay: Tensor, weight: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(decay, weight)
        X, Y = _digits(decay, steps, dtype)
        Y = Y * weight.to(Y.dtype).unsqueeze(1)
        product = as_real(Y.conj().resolve_conj()) @ as_real(X).transpose(1, 2)
        return product.flatten(1)[:, :steps]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        decay, weight = ctx.saved_tensors
        with torch.autocast(grad.device.type, enabled=False):
            return (*_kernel_gradients(decay, weight, grad), None, None)


def _kernel_gradients(decay: Tensor, weight: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    X, Y = _digits(decay, grad.shape[1], grad.dtype)
    q, rows = X.shape[1], Y.shape[1]
    grad = pad(grad, (0, rows * q - grad.shape[1])).view(-1, rows, q)
    units = torch.arange(q, dtype=grad.dtype, device=grad.device)
    rounds = q * torch.arange(1, rows, dtype=grad.dtype, device=grad.device).unsqueeze(-1)
    summed = as_complex(grad @ as_real(X))
    slope = as_complex((grad * units)[..., 1:] @ as_real(X)[:, :-1])
    # d decay^(q c + r) = r decay^(r - 1) Y[c] + q c decay^(q - 1) Y[c - 1] decay^r
    grad_decay = (slope * Y).sum(1)
    grad_decay = grad_decay + (summed[:, 1:] * (rounds * Y[:, :-1])).sum(1) * X[:, -1]
    grad_weight = (summed * Y).sum(1).to(weight.dtype)
    return (weight * grad_decay).conj(), grad_weight.conj()


def _digits(decay: Tensor, steps: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """decay^r for r < q and decay^(q c) for q c < steps; q near the root of ``steps``."""
    doublings = steps.bit_length() // 2
    rows = -(-steps // 2**doublings)
    X = powers(decay, 2**doublings, dtype)
    return X, powers(repeated_square(decay, doublings), rows, dtype)


def powers(base: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """``base^k`` for k < count, (h count n), in the complex type of ``dtype``.

    The product of two short tables; ``base`` (h n) is complex128.
    """
    doublings = (count.bit_length() + 1) // 2
    low = _chain(base, min(2**doublings, count)).to(dtype.to_complex())
    high = _chain(repeated_square(base, doublings), -(-count // low.shape[1])).to(low.dtype)
    table = (high.unsqueeze(2) * low.unsqueeze(1)).flatten(1, 2)
    return table[:, :count]


def repeated_square(base: Tensor, doublings: int) -> Tensor:
    """``base`` to the power of two to the ``doublings``."""
    for _ in range(doublings):
        base = base * base
    return base


def as_real(values: Tensor) -> Tensor:
    """Complex (.. n) as real (.. 2n): real and imaginary parts in turn."""
    return torch.view_as_real(values).flatten(-2)


def as_complex(values: Tensor) -> Tensor:
    """The inverse of :func:`as_real`."""
    return torch.view_as_complex(values.view(*values.shape[:-1], -1, 2))


def check_discretisation(name: str) -> None:
    """Refuse a name that is not one of :data:`DISCRETISATIONS`.

    Raises
    ------
    UnknownNameError
    """
    if name not in DISCRETISATIONS:
        raise UnknownNameError(
            f"no discretisation named {name!r}", expected=" or ".join(DISCRETISATIONS)
        )


def _chain(base: Tensor, count: int) -> Tensor:
    """base^k for k < count, (h count n), one multiplication after another."""
    found = [torch.ones_like(base)]
    while len(found) < count:
        found.append(found[-1] * base)
    return torch.stack(found, 1)


def _mean_exponential(z: Tensor) -> Tensor:
    """The mean of exp(s z) over s in [0, 1], (exp(z) - 1) / z, exact near zero with its gradient.

    There the quotient cancels: expm1 would save the value, but not the derivative.
    """
    small = z.abs() < _SMALL
    near, far = z.masked_fill(~small, 0.0), z.masked_fill(small, 1.0)
    series = near * _SERIES[-1]
    for coefficient in reversed(_SERIES[1:-1]):
        series = (series + coefficient) * near
    return torch.where(small, series + _SERIES[0], torch.expm1(far) / far)


def _parts(pairs: Tensor) -> tuple[Tensor, Tensor]:
    return pairs[..., 0].double(), pairs[..., 1].double()
