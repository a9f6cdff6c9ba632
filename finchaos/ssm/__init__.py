"""State-space models: the selective scan, the Mamba block and its bar-by-bar form."""

from finchaos.ssm.mamba import Mamba, MambaBlock, MambaConfig, MambaState, RMSNorm
from finchaos.ssm.replay import MambaReplay
from finchaos.ssm.scan import available_backends, selective_scan, selective_step

__all__ = [
    "Mamba",
    "MambaBlock",
    "MambaConfig",
    "MambaReplay",
    "MambaState",
    "RMSNorm",
    "available_backends",
    "selective_scan",
    "selective_step",
]
