"""Compiled kernels of the scans (in work)."""

from typing import Any

from finchaos.core.errors import MissingDependencyError


def absence() -> str | None:
    """Why the compiled kernels cannot be used here; None if they can."""
    return "not built yet"


def _absent(*_: Any) -> Any:
    raise MissingDependencyError("this backend cannot be used here", got=absence() or "")


selective_scan = ssd_scan = causal_conv = _absent
