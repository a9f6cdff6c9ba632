"""The packages mamba-ssm and causal-conv1d behind the same door (in work)."""

from typing import Any

from finchaos.core.errors import MissingDependencyError


def absence() -> str | None:
    """Why the CUDA packages cannot be used here; None if they can."""
    return "mamba-ssm is not installed"


def _absent(*_: Any) -> Any:
    raise MissingDependencyError("this backend cannot be used here", got=absence() or "")


selective_scan = ssd_scan = causal_conv = _absent
