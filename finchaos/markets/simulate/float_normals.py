"""Standard normals in single precision from random bits, by inversion, for compiled loops.

Numpy's ziggurat branches, so that a processor draws one number at a time. The inverse of the
normal distribution function as polynomials without branches lets the compiler treat eight or
sixteen paths at once. Only additions, multiplications, divisions, roots and bit operations occur,
which IEEE 754 rounds alike everywhere: the same bits on any processor.
"""

from __future__ import annotations

import numba
import numpy as np

_LN2 = np.float32(np.log(2.0))
_HALF_ROOT = np.int32(0x3F3504F3)
"""The bits of sqrt(1/2): mantissas lie in [sqrt(1/2), sqrt(2))."""
_ONE = np.float32(1.0)
_LOG = tuple(
    np.float32(c)
    for c in (
        0.0851221355, -0.142584262, 0.149802365, -0.165797275, 0.199558289, -0.250012718,
        0.333341943, -0.499999973, 0.999999974,
    )
)  # fmt: skip
"""log(1 + f) / f by falling powers of f, fitted at Chebyshev nodes; relative error 3e-8."""
_CENTRE = tuple(
    np.float32(c)
    for c in (
        3.95832036e-08, 4.85179106e-07, -4.98119454e-06, -6.20788038e-06, 0.000309115093,
        -0.00177304174, -0.00590812991, 0.348802685, 2.12331356,
    )
)  # fmt: skip
"""|z| / |1 - 2p| by falling powers of w - 2.5, w = -log(4 p (1 - p)) below 5; error 1e-7."""
_TAIL = tuple(
    np.float32(c)
    for c in (
        -0.000252266778, 0.0016687543, -0.00475162967, 0.00816134133, -0.0109282344, 0.0133488166,
        1.41659418, 4.00643436,
    )
)  # fmt: skip
"""The same by falling powers of sqrt(w) - 3, w from 5 to 21.8; error 5e-7."""
_SPLIT = np.float32(5.0)
_CENTRE_AT = np.float32(2.5)
_TAIL_AT = np.float32(3.0)
_HALF, _TWO, _FOUR = np.float32(0.5), np.float32(2.0), np.float32(4.0)
_UNIT = np.float32(2.0**-32)
_MAGNITUDE = np.uint32(0x7FFFFFFF)
_SIGN = np.uint32(31)
_MANTISSA_BITS = np.int32(23)


@numba.njit(cache=True, inline="always", error_model="numpy")
def log32(x: np.float32) -> np.float32:
    """Natural logarithm of a normal positive float32; error below 2e-7 of max(1, its size)."""
    bits = np.float32(x).view(np.int32)
    power = np.int32(np.int32(bits - _HALF_ROOT) >> _MANTISSA_BITS)
    f = np.int32(bits - np.int32(power << _MANTISSA_BITS)).view(np.float32) - _ONE
    c = _LOG
    series = c[0]
    series = series * f + c[1]
    series = series * f + c[2]
    series = series * f + c[3]
    series = series * f + c[4]
    series = series * f + c[5]
    series = series * f + c[6]
    series = series * f + c[7]
    series = series * f + c[8]
    return series * f + np.float32(power) * _LN2


@numba.njit(cache=True, inline="always", error_model="numpy")
def lower_half(bits: np.uint32) -> np.float32:
    """The probability p in (0, 1/2] that 31 of 32 random bits stand for."""
    return (np.float32(np.int32(bits & _MAGNITUDE)) + _HALF) * _UNIT


@numba.njit(cache=True, inline="always", error_model="numpy")
def normal_size(p: np.float32) -> np.float32:
    """Distance from zero of the normal quantile of p in (0, 1/2]."""
    w = -log32(_FOUR * p * (_ONE - p))
    c = _CENTRE
    s = w - _CENTRE_AT
    centre = c[0]
    centre = centre * s + c[1]
    centre = centre * s + c[2]
    centre = centre * s + c[3]
    centre = centre * s + c[4]
    centre = centre * s + c[5]
    centre = centre * s + c[6]
    centre = centre * s + c[7]
    centre = centre * s + c[8]
    d = _TAIL
    r = np.sqrt(np.float32(max(w, _SPLIT))) - _TAIL_AT
    tail = d[0]
    tail = tail * r + d[1]
    tail = tail * r + d[2]
    tail = tail * r + d[3]
    tail = tail * r + d[4]
    tail = tail * r + d[5]
    tail = tail * r + d[6]
    tail = tail * r + d[7]
    return (_ONE - _TWO * p) * (centre if w < _SPLIT else tail)


@numba.njit(cache=True, inline="always", error_model="numpy")
def normal32(bits: np.uint32) -> np.float32:
    """A standard normal from 32 random bits: one is the sign, 31 the probability; at most 6.3."""
    size = normal_size(lower_half(bits))
    return -size if bits >> _SIGN else size


@numba.njit(cache=True)
def normals32(bits: np.ndarray) -> np.ndarray:
    """Standard normals, float32, one from each of an array of random uint32; shape (n,)."""
    out = np.empty(bits.shape[0], dtype=np.float32)
    for i in range(bits.shape[0]):
        out[i] = normal32(bits[i])
    return out
