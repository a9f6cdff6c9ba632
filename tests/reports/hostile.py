"""A Run in which every free text tries to break out of the page it is printed on."""

from __future__ import annotations

from typing import Any

from governance.record import Exhibit, ExhibitRef, Run
from tests.reports.sample import Sample, sample

PAYLOAD = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{7*7}} $x^$ ]]> | `c` \x1b[1m"
_KEPT = frozenset(
    {"better", "coverage_status", "digest", "end", "evidence", "gate", "kind", "on", "operator"}
    | {"pillar", "role", "schema_version", "severity", "start", "status", "trained_until"}
    | {"verdict", "worst", "first", "last"}
)


def hostile() -> Sample:
    """The tiny sample with the payload at the end of every name, text, key and label."""
    calm = sample("tiny")
    exhibits = [Exhibit.model_validate(_spoilt(e.model_dump())) for e in calm.exhibits.values()]
    raw = _spoilt(calm.run.model_dump())
    raw["exhibits"] = [
        ExhibitRef(check=e.check, name=e.name, digest=e.digest).model_dump() for e in exhibits
    ]
    return Sample(Run.model_validate(raw), {e.digest: e for e in exhibits})


def _spoilt(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        free = key in ("slice", "detail", "packages", "params")
        return {
            f"{name}{PAYLOAD}" if free and name not in _KEPT else name: _spoilt(item, name)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_spoilt(item, key) for item in value]
    if isinstance(value, str) and key not in _KEPT:
        return f"{value}{PAYLOAD}"
    return value
