"""What tests of breakers share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from finchaos.core.errors import FinchaosError
from finchaos.live.breaker import ProcessBreaker


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose breaker, if one is left running, is ended."""
    where = tmp_path / "breaker"
    yield where
    try:
        ProcessBreaker(where).stop()
    except FinchaosError:
        return
