"""Make the repository root importable, and judge no example by the clock.

Tests share modules such as `tests.planted`. An example may be the one that compiles a kernel.
What collection leaves in memory is never garbage: libraries that collect garbage at every call, as
statsmodels does, need not walk through it. Modules with slow tests begin first, so that no worker
ends alone with the longest of them.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest
from hypothesis import settings

_ROOT = str(Path(__file__).resolve().parents[1])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

settings.register_profile("finchaos", deadline=None)
settings.load_profile("finchaos")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, len(item.path.parts)))


def pytest_collection_finish() -> None:
    gc.freeze()
