"""Compiled kernels of the scans, the backend ``cpu``: C++ without a header of torch or Python."""

from finchaos.ssm.native.conv import causal_conv
from finchaos.ssm.native.layer import Layer, run_layer
from finchaos.ssm.native.library import absence, lanes, use_lanes, widest
from finchaos.ssm.native.mamba import mamba_layer
from finchaos.ssm.native.mamba2 import Mamba2Numbers, mamba2_layer
from finchaos.ssm.native.selective import selective_scan
from finchaos.ssm.native.ssd import ssd_scan
from finchaos.ssm.native.stream import PackedStack, PackedStream

__all__ = [
    "Layer",
    "Mamba2Numbers",
    "PackedStack",
    "PackedStream",
    "absence",
    "causal_conv",
    "lanes",
    "mamba2_layer",
    "mamba_layer",
    "run_layer",
    "selective_scan",
    "ssd_scan",
    "use_lanes",
    "widest",
]
