"""Operations and bytes of one layer, a token: the counts behind the roofline.

Model width m, inner width d = 2 m, n states a channel, convolution width w = 4. Mamba-1: rank
r = m / 16 of the step-size map, rounded up. Mamba-2: h heads, one group, c = d + 2 n channels of
the convolution.

An addition, a multiplication, a division, a maximum, and an exponential, logarithm or root each
count as one operation, although the last three take a dozen instructions. Values are float32
numbers that a part must read and write once if it stands alone; weights are read once for all
tokens and left out, as are states, which stay in registers.

============== ======================= ===================== =====================================
part           forward operations      backward              values read and written
============== ======================= ===================== =====================================
norm           4 m                     8 m                   fwd 2 m; bwd 3 m
residual       m                       m                     fwd 3 m; bwd 3 m
projection     2 i o                   4 i o                 fwd i + o; bwd 2 (i + o)
convolution    (2 w + 4) c             (4 w + 6) c           fwd 2 c; bwd 3 c
scan, Mamba-1  (7 n + 12) d            (21 n + 20) d         fwd 4 d + 2 n; bwd 7 d + 4 n
scan, Mamba-2  (4 n + 3) d + 7 h       (12 n + 5) d + 10 h   fwd 2 d + h + 2 n; bwd 3 d + 2 h + 4 n
gated norm     8 d                     16 d                  fwd 3 d; bwd 5 d
============== ======================= ===================== =====================================

Projections map i to o values: Mamba-1 m to 2 d, d to r + 2 n, r to d, d to m, and its convolution
has c = d; Mamba-2 m to d + c + h, d to m. The gated norm is Mamba-2's.

Scan of Mamba-1, a state: delta A, its exponential, decay h, drive B, their sum, h C, the sum over
states: 7. A channel: bias and softplus (5), delta u, skip (2), silu and gate (4). Backward: the
states again (6), then the adjoint, its carry and the gradients of A, B, C, u and delta (15).

Scan of Mamba-2 in the form of the recurrence, a state: one multiply-add for the state and one for
the output, 4; the product with the decay, one number a head, can be taken out of a chunk and is not
counted. Backward: the state again (2), then a multiply-add each for its adjoint and the gradients
of B, C, x and the decay (10). Forms by chunks of matrix products do more operations; they are
measured by the same count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.peers import Shape

FLOAT_BYTES = 4
CONV_WIDTH = 4
FORMULAS = {
    "mamba": (
        "Scan: (7 n + 12) d operations forward, (21 n + 20) d backward, the states computed again "
        "included; projections of i to o values: 2 i o and 4 i o."
    ),
    "mamba2": (
        "Scan, counted as a recurrence whatever form computes it: (4 n + 3) d + 7 h operations "
        "forward, (12 n + 5) d + 10 h backward, the states computed again included; projections "
        "of i to o values: 2 i o and 4 i o."
    ),
}


@dataclass(frozen=True)
class Part:
    """Work of one part of a layer, per token.

    Attributes
    ----------
    name : str
    forward, backward : int
        Operations.
    values_forward, values_backward : int
        Numbers read and written.
    """

    name: str
    forward: int
    backward: int
    values_forward: int
    values_backward: int

    def operations(self, backward: bool) -> int:
        """Of the forward pass, or of both passes."""
        return self.forward + (self.backward if backward else 0)

    def bytes(self, backward: bool) -> int:
        """Of the forward pass, or of both passes."""
        return FLOAT_BYTES * (self.values_forward + (self.values_backward if backward else 0))


def parts(shape: Shape) -> tuple[Part, ...]:
    """The table above, in numbers.

    Examples
    --------
    >>> from benchmarks.peers import MAMBA2_64, MAMBA_64
    >>> [sum(p.operations(True) for p in parts(shape)) for shape in (MAMBA_64, MAMBA2_64)]
    [244864, 342980]
    """
    m, d, n = shape.d_model, 2 * shape.d_model, shape.d_state
    inner = _mamba(d, n) if shape.family == "mamba" else _mamba2(d, n, d // shape.headdim)
    return (
        Part("norm", 4 * m, 8 * m, 2 * m, 3 * m),
        *(_projection(*projection) for projection in projections(shape)),
        *inner,
        Part("residual", m, m, 3 * m, 3 * m),
    )


def whole(shape: Shape) -> Part:
    """The layer as one part: its operations, and what must cross the memory at the least.

    That is x and y forward; x again, and the gradients of y and x backward.
    """
    found, m = parts(shape), shape.d_model
    forward, backward = (sum(getattr(p, key) for p in found) for key in ("forward", "backward"))
    return Part("whole layer", forward, backward, 2 * m, 3 * m)


def projections(shape: Shape) -> list[tuple[str, int, int]]:
    """Name, width in and width out."""
    m, d, n = shape.d_model, 2 * shape.d_model, shape.d_state
    if shape.family == "mamba2":
        heads = d // shape.headdim
        return [("in_proj", m, 2 * d + 2 * n + heads), ("out_proj", d, m)]
    r = math.ceil(m / 16)
    sizes = [("in_proj", m, 2 * d), ("x_proj", d, r + 2 * n), ("dt_proj", r, d)]
    return [*sizes, ("out_proj", d, m)]


def _mamba(d: int, n: int) -> tuple[Part, ...]:
    scan = Part("scan", (7 * n + 12) * d, (21 * n + 20) * d, 4 * d + 2 * n, 7 * d + 4 * n)
    return _convolution(d), scan


def _mamba2(d: int, n: int, h: int) -> tuple[Part, ...]:
    forward, backward = (4 * n + 3) * d + 7 * h, (12 * n + 5) * d + 10 * h
    scan = Part("scan", forward, backward, 2 * d + h + 2 * n, 3 * d + 2 * h + 4 * n)
    return _convolution(d + 2 * n), scan, Part("gated norm", 8 * d, 16 * d, 3 * d, 5 * d)


def _convolution(c: int) -> Part:
    return Part("convolution", (2 * CONV_WIDTH + 4) * c, (4 * CONV_WIDTH + 6) * c, 2 * c, 3 * c)


def _projection(name: str, inner: int, outer: int) -> Part:
    operations, values = 2 * inner * outer, inner + outer
    return Part(name, operations, 2 * operations, values, 2 * values)
