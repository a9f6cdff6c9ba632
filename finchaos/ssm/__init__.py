"""State-space models: the scans behind one door each, the layers, and their bar-by-bar forms."""

from finchaos.core.errors import MissingDependencyError
from finchaos.core.extras import installing

try:
    import safetensors  # noqa: F401
    import torch  # noqa: F401
except ModuleNotFoundError as missing:
    raise MissingDependencyError(
        "the state-space engine cannot be used here",
        got=f"{missing.name} is not installed",
        remedy=installing("models"),
    ) from missing

from finchaos.ssm.backends import BackendChoice, available_backends, choose_backend
from finchaos.ssm.conv import causal_conv, causal_conv_step
from finchaos.ssm.export import export_onnx, export_step
from finchaos.ssm.inputs import ScanOutput
from finchaos.ssm.introspection import (
    LagProfile,
    decay,
    influence_by_lag,
    memory_length,
    typical_step_size,
)
from finchaos.ssm.mamba import Mamba, MambaBlock, MambaConfig, MambaState, RMSNorm
from finchaos.ssm.mamba2 import Mamba2, Mamba2Block, Mamba2State
from finchaos.ssm.mamba2_config import Mamba2Config
from finchaos.ssm.s4d import S4D, S4DConfig, S4DState
from finchaos.ssm.s4d_export import S4DRealStep
from finchaos.ssm.s4d_kernel import s4d_kernel
from finchaos.ssm.s4d_scan import choose_s4d_backend, s4d_scan, s4d_step
from finchaos.ssm.scan import selective_scan, selective_step
from finchaos.ssm.ssd import ssd_scan, ssd_step
from finchaos.ssm.states import load_state, save_state
from finchaos.ssm.streaming import Stream, compile_stream
from finchaos.ssm.tracing import Trace

__all__ = [
    "S4D",
    "BackendChoice",
    "LagProfile",
    "Mamba",
    "Mamba2",
    "Mamba2Block",
    "Mamba2Config",
    "Mamba2State",
    "MambaBlock",
    "MambaConfig",
    "MambaState",
    "RMSNorm",
    "S4DConfig",
    "S4DRealStep",
    "S4DState",
    "ScanOutput",
    "Stream",
    "Trace",
    "available_backends",
    "causal_conv",
    "causal_conv_step",
    "choose_backend",
    "choose_s4d_backend",
    "compile_stream",
    "decay",
    "export_onnx",
    "export_step",
    "influence_by_lag",
    "load_state",
    "memory_length",
    "s4d_kernel",
    "s4d_scan",
    "s4d_step",
    "save_state",
    "selective_scan",
    "selective_step",
    "ssd_scan",
    "ssd_step",
    "typical_step_size",
]
