"""``mamba_regime``: a Mamba network that tells market regimes apart and how much to hold."""

from finchaos.subjects.mamba_regime.session import MambaRegimeStream
from finchaos.subjects.mamba_regime.settings import Settings
from finchaos.subjects.mamba_regime.subject import MambaRegime, build, load

__all__ = ["MambaRegime", "MambaRegimeStream", "Settings", "build", "load"]
