"""The scan of S4D: one recurrence behind one door, computed by a named backend.

For every channel h and mode n, with the decay, drive and readout of :mod:`finchaos.ssm.s4d_kernel`,

    s[t] = decay s[t-1] + drive u[t]
    y[t] = Re(sum over n of readout s[t]) + D u[t]

Nothing here depends on the input, unlike in the selective scan: the recurrence is a fixed filter.
Tensors are channels-last, ``b t h``: batch, time, channel. Upstream's modules take ``b h t``.

There are no compiled kernels for it, since matrix products and FFTs of PyTorch are what it comes
down to. Backends are named as in :mod:`finchaos.ssm.backends`, and mean:

============================ ======================================================================
``reference``                the recurrence as it is written, in complex128; the definition
``torch``, ``auto``          PyTorch on the device of the tensors, in one of two forms
``cpu``, ``cuda``            the same, and the tensors must be on that device
============================ ======================================================================

========================= ============================ ===========================================
form                      ``chunked``                  ``fft``
========================= ============================ ===========================================
outputs before step t     bit for bit the same         the same up to rounding, relative to the
when inputs from t change                              largest output of the sequence
gradient                  any number of times          once
accuracy in float32       1e-6, gradients 5e-6         1e-6, gradients 5e-6
accuracy in float64       1e-12, gradients 1e-10       1e-12, gradients 1e-10
========================= ============================ ===========================================

Accuracy is the largest deviation from the backend ``reference`` at the same parameters, relative to
its largest value; with inputs in bfloat16 or float16 it is that of rounding inputs and outputs.

On a CPU the forms take similar time: with 64 states ``fft`` trains up to a third faster, evaluated
or with 16 states ``chunked`` is as fast or faster. Time is linear in t, but for the logarithm of
the FFT; so is memory, of which the backward pass needs 1 + 2 n / q numbers for each input in chunks
of q steps (q = 64 from t = 1025 on), and about 3 + 2 n / q by FFT.

References
----------
Gu, Gupta, Goel and Ré (2022), arXiv:2206.11893, sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from finchaos.core.errors import InputError, UnknownNameError
from finchaos.ssm.backends import AUTO, BACKENDS, BackendChoice
from finchaos.ssm.inputs import (
    ScanOutput,
    check_finite,
    check_keep,
    check_lengths,
    check_shapes,
    check_tensors,
    check_types,
    parameter_dtype,
)
from finchaos.ssm.s4d_forms import FORMS, Tables, run, tables
from finchaos.ssm.s4d_kernel import Modes, discretise

DEFAULT_FORM = "chunked"


def s4d_scan(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    *,
    discretisation: str = "zoh",
    initial_state: Tensor | None = None,
    lengths: Tensor | None = None,
    keep: Sequence[int] | Tensor | None = None,
    form: str = DEFAULT_FORM,
    backend: str = AUTO,
) -> ScanOutput:
    """Run the recurrence over time.

    Parameters
    ----------
    u : torch.Tensor, shape (b, t, h)
        Input, t >= 1.
    dt : torch.Tensor, shape (h,)
        Step size of each channel, not negative.
    A : torch.Tensor, shape (h, n, 2)
        Real and imaginary part of the continuous-time rates; the real part is not positive. ``dt``
        and ``A`` may be float64 beside any input: their rounding grows with the length.
    C : torch.Tensor, shape (h, n, 2)
        Real and imaginary part of the readout.
    D : torch.Tensor, shape (h,), optional
        Weight of the input in the output.
    discretisation : str
        ``zoh`` or ``bilinear``.
    initial_state : torch.Tensor, complex of shape (b, h, n), optional
        State before the first step, zero by default.
    lengths : torch.Tensor, shape (b,), optional
        Integers from 0 to t. Steps from there on are padding: their outputs are zero and the state
        stays as it was.
    keep : sequence of int or torch.Tensor, shape (k,), optional
        Increasing indices of the steps whose states are returned.
    form : str
        ``chunked`` or ``fft``, see above; of no account for the backend ``reference``.
    backend : str
        See above.

    Returns
    -------
    y : torch.Tensor, shape (b, t, h)
        In the type of ``u``.
    last_state : torch.Tensor, complex of shape (b, h, n)
        Differentiable, so that a sequence may be cut and continued.
    states : torch.Tensor, complex of shape (b, k, h, n), or None
        States after the steps of ``keep``, differentiable too.

    Raises
    ------
    UnknownNameError
        If there is no such backend, form or discretisation.
    InputError
        If types, shapes or values are not as above; it names the tensor.

    Examples
    --------
    >>> A = torch.tensor([[[-1.0, 0.0]]], dtype=torch.float64)
    >>> u = torch.ones(1, 3, 1, dtype=torch.float64)
    >>> out = s4d_scan(u, torch.ones(1, dtype=torch.float64), A, -A / 2)
    >>> [round(float(v), 4) for v in out.y.flatten()]
    [0.6321, 0.8647, 0.9502]
    """
    name = choose_s4d_backend(backend, u.device).name
    check_form(form)
    _check(u, "b t h", dt, A, C, D)
    modes = discretise(dt, A, C, D, discretisation)
    prepared = prepare(modes, name, form, u.shape[1], parameter_dtype(u.dtype))
    return scan_prepared(u, prepared, initial_state, lengths, keep)


def s4d_step(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    *,
    state: Tensor,
    discretisation: str = "zoh",
) -> tuple[Tensor, Tensor]:
    """One step of :func:`s4d_scan`; time is absent from the shapes.

    Parameters
    ----------
    u : torch.Tensor, shape (b, h)
    dt, A, C, D, discretisation
        As in :func:`s4d_scan`.
    state : torch.Tensor, complex of shape (b, h, n)
        Left unchanged.

    Returns
    -------
    y : torch.Tensor, shape (b, h)
    state : torch.Tensor, complex of shape (b, h, n)

    Raises
    ------
    UnknownNameError, InputError
        As :func:`s4d_scan`.
    """
    _check(u, "b h", dt, A, C, D)
    modes = discretise(dt, A, C, D, discretisation)
    return step_prepared(u, rounded(modes, parameter_dtype(u.dtype)), state)


def choose_s4d_backend(name: str, device: torch.device | str = "cpu") -> BackendChoice:
    """What computes for tensors on ``device`` when ``name`` is asked for, and why.

    Raises
    ------
    UnknownNameError
        If there is no such backend.
    InputError
        If a device is asked for on which the tensors are not.

    Examples
    --------
    >>> choose_s4d_backend("auto").name
    'torch'
    """
    check_backend_name(name)
    kind = torch.device(device).type
    if name in ("cpu", "cuda") and name != kind:
        raise InputError(
            f"the backend {name!r} was asked for by name",
            expected=f"u on the device {name}",
            got=f"u on the device {kind}",
            remedy="move the tensors, or leave the choice to 'auto'",
        )
    if name == "reference":
        return BackendChoice(name, "asked for by name")
    return BackendChoice(
        "torch", f"S4D is matrix products and FFTs of PyTorch on the device {kind}"
    )


def check_backend_name(name: str) -> None:
    """Refuse a name that is not a backend.

    Raises
    ------
    UnknownNameError
    """
    if name not in (AUTO, *BACKENDS):
        raise UnknownNameError(
            f"no scan backend named {name!r}", expected=f"one of {', '.join((AUTO, *BACKENDS))}"
        )


def check_form(name: str) -> None:
    """Refuse a name that is not a form.

    Raises
    ------
    UnknownNameError
    """
    if name not in FORMS:
        raise UnknownNameError(f"no form of S4D named {name!r}", expected=" or ".join(FORMS))


def prepare(
    modes: Modes, backend: str, form: str, steps: int, dtype: torch.dtype
) -> Modes | Tables:
    """What :func:`scan_prepared` needs of the parameters, for sequences of ``steps``."""
    return modes if backend == "reference" else tables(modes, form, steps, dtype)


def scan_prepared(
    u: Tensor,
    prepared: Modes | Tables,
    initial_state: Tensor | None = None,
    lengths: Tensor | None = None,
    keep: Sequence[int] | Tensor | None = None,
) -> ScanOutput:
    """The scan with what :func:`prepare` made of the parameters; ``u`` (b t h) checked."""
    b, t, h = u.shape
    _check_state("initial_state", initial_state, (b, h, prepared[0].shape[-1]), u.dtype)
    check_lengths(lengths, b, t)
    kept = check_keep(keep, t)
    with torch.autocast(u.device.type, enabled=False):
        exact = parameter_dtype(u.dtype)
        x = u.to(exact)
        padding = None if lengths is None else _padding(lengths, t)
        if padding is not None:
            x = x.masked_fill(padding, 0.0)
        counts = _counts(lengths, kept, u)
        if isinstance(prepared, Modes):
            y, states = sequential(x, prepared, initial_state, counts)
        else:
            y, states = run(x, prepared, initial_state, counts)
        if padding is not None:
            y = y.masked_fill(padding, 0.0)
        kept_states = None if kept is None else states[:, :-1]
        return ScanOutput(y.to(u.dtype), states[:, -1], kept_states)


def step_prepared(u: Tensor, modes: Modes, state: Tensor) -> tuple[Tensor, Tensor]:
    """The step with modes already in the type of the state; ``u`` (b h) checked."""
    _check_state("state", state, (len(u), *modes.decay.shape), u.dtype)
    with torch.autocast(u.device.type, enabled=False):
        x = u.to(parameter_dtype(u.dtype))
        state = modes.decay * state + modes.drive * x.unsqueeze(-1)
        y = (modes.readout * state).real.sum(-1)
        return _skipped(y, x, modes).to(u.dtype), state


def sequential(
    u: Tensor, modes: Modes, start: Tensor | None, counts: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The recurrence as it is written: the definition of truth. Shapes as in :func:`run`."""
    x = u.double()
    state = modes.decay.new_zeros(len(u), *modes.decay.shape)
    if start is not None:
        state = start.to(state.dtype)
    states, outputs = [state], list[Tensor]()
    for x_t in x.unbind(1):
        state = modes.decay * state + modes.drive * x_t.unsqueeze(-1)
        outputs.append(_skipped((modes.readout * state).real.sum(-1), x_t, modes))
        if counts is not None:
            states.append(state)
    wanted = state.unsqueeze(1)
    if counts is not None:
        sequence = torch.arange(len(u), device=u.device).unsqueeze(-1)
        wanted = torch.stack(states, 1)[sequence, counts]
    return torch.stack(outputs, 1).to(u.dtype), wanted.to(u.dtype.to_complex())


def rounded(modes: Modes, dtype: torch.dtype) -> Modes:
    """Modes in the complex type of a real one: rounded once, when everything is computed."""
    decay, drive, readout = (mode.to(dtype.to_complex()) for mode in modes[:3])
    return Modes(decay, drive, readout, None if modes.skip is None else modes.skip.to(dtype))


def _skipped(y: Tensor, u: Tensor, modes: Modes) -> Tensor:
    return y if modes.skip is None else y + modes.skip * u


def _counts(lengths: Tensor | None, kept: list[int] | None, u: Tensor) -> Tensor | None:
    """Steps after which states are wanted, (b k): those of ``keep``, then the last; None: it."""
    if lengths is None and kept is None:
        return None
    b, t, _ = u.shape
    last = u.new_full((b,), t, dtype=torch.int64) if lengths is None else lengths.long()
    wanted = torch.tensor(kept or [], dtype=torch.int64, device=u.device) + 1
    return torch.cat([torch.minimum(wanted, last.unsqueeze(-1)), last.unsqueeze(-1)], 1)


def _padding(lengths: Tensor, steps: int) -> Tensor:
    """True where a step is padding, (b t 1)."""
    rows = torch.arange(steps, device=lengths.device)
    return (rows >= lengths.unsqueeze(-1)).unsqueeze(-1)


def _check(u: Tensor, legend: str, dt: Tensor, A: Tensor, C: Tensor, D: Tensor | None) -> None:
    check_tensors({"u": u, "dt": dt, "A": A})
    exact = parameter_dtype(u.dtype)
    # Step sizes and rates may be of float64 beside any input.
    free = {name: v for name, v in {"dt": dt, "A": A}.items() if v.dtype != torch.float64}
    check_types({"u": u}, {**free, "C": C, "D": D})
    for name, v in {"dt": dt, "A": A}.items():
        check_types({"u": u}, {name: v.to(exact)})
    check_shapes({"u": (u, legend), "dt": (dt, "h")})
    check_finite({"u": u})


def _check_state(
    name: str, state: Tensor | None, shape: tuple[int, ...], activation: torch.dtype
) -> None:
    if state is None:
        return
    check_tensors({name: state})
    wanted = parameter_dtype(activation).to_complex()
    if state.dtype != wanted or tuple(state.shape) != shape:
        raise InputError(
            f"{name} does not fit",
            expected=f"{wanted} of shape (b, h, n) = {shape}",
            got=f"{state.dtype} of shape {tuple(state.shape)}",
        )
    check_finite({name: torch.view_as_real(state.detach().resolve_conj())})
