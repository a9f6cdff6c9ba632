"""State-space models: the scans behind one door each, the layers, and their bar-by-bar forms."""

from finchaos.ssm.backends import BackendChoice, available_backends, choose_backend
from finchaos.ssm.conv import causal_conv, causal_conv_step
from finchaos.ssm.inputs import ScanOutput
from finchaos.ssm.mamba import Mamba, MambaBlock, MambaConfig, MambaState, RMSNorm
from finchaos.ssm.mamba2 import Mamba2, Mamba2Block, Mamba2Config, Mamba2State
from finchaos.ssm.replay import MambaReplay
from finchaos.ssm.s4d import S4D, S4DConfig, S4DState
from finchaos.ssm.s4d_scan import s4d_scan
from finchaos.ssm.scan import selective_scan, selective_step
from finchaos.ssm.ssd import ssd_scan, ssd_step

__all__ = [
    "S4D",
    "BackendChoice",
    "Mamba",
    "Mamba2",
    "Mamba2Block",
    "Mamba2Config",
    "Mamba2State",
    "MambaBlock",
    "MambaConfig",
    "MambaReplay",
    "MambaState",
    "RMSNorm",
    "S4DConfig",
    "S4DState",
    "ScanOutput",
    "available_backends",
    "causal_conv",
    "causal_conv_step",
    "choose_backend",
    "s4d_scan",
    "selective_scan",
    "selective_step",
    "ssd_scan",
    "ssd_step",
]
