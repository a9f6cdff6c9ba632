"""Compiled kernels of the scans, the backend ``cpu``: C++ without a header of torch or Python."""

from finchaos.ssm.native.conv import causal_conv
from finchaos.ssm.native.layer import mamba_layer
from finchaos.ssm.native.library import absence, lanes, use_lanes, widest
from finchaos.ssm.native.selective import selective_scan
from finchaos.ssm.native.stream import PackedStack, PackedStream

__all__ = [
    "PackedStack",
    "PackedStream",
    "absence",
    "causal_conv",
    "lanes",
    "mamba_layer",
    "selective_scan",
    "use_lanes",
    "widest",
]
