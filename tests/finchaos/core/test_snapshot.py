"""What an object remembers goes into another and back out, and nothing else does."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from finchaos.core.errors import CheckpointError
from finchaos.core.snapshot import put, take
from finchaos.features.schema import load_schema, schema_names
from tests.planted.markets import regime_switching_bars

BARS = regime_switching_bars(1, 600)


@dataclass(frozen=True)
class Rule:
    limit: float = 1.0


class Part:
    def __init__(self) -> None:
        self.rule, self.count, self.mean = Rule(), 0, np.float64(0.5)
        self.recent: deque[float] = deque([1.0], maxlen=3)
        self.sums, self.kept = np.zeros(3), None
        self.shared = (self.sums, 2)
        self.loop = np.add
        self.below: dict[str, Any] = {"a": Rule(2.0), "b": [np.ones(2), 1.5]}


def test_values_are_taken_and_configuration_is_not() -> None:
    assert set(take(Part())) == {
        "count", "mean", "recent", "sums", "kept", "shared", "below.b",
    }  # fmt: skip


def test_what_was_taken_is_a_copy_and_goes_into_another_object() -> None:
    one, other = Part(), Part()
    one.count, one.mean, one.kept = 3, np.float64(0.25), np.arange(4)  # type: ignore[assignment]
    one.recent.extend([2.0, 3.0, 4.0])
    one.sums += 7.0
    values = take(one)
    one.sums += 1.0
    put(other, values)
    assert (other.count, other.mean, other.recent) == (3, 0.25, deque([2.0, 3.0, 4.0]))
    assert other.recent.maxlen == 3
    assert other.sums.tolist() == [7.0] * 3
    assert other.shared[0] is other.sums
    assert np.array_equal(other.kept, np.arange(4))  # type: ignore[arg-type]
    assert other.rule is not one.rule


def test_a_state_of_another_object_is_refused_and_changes_nothing() -> None:
    part = Part()
    with pytest.raises(CheckpointError, match="another object"):
        put(part, {**take(part), "count": 9, "more": 1})
    assert part.count == 0


@pytest.mark.parametrize("name", schema_names())
@pytest.mark.parametrize("cut", [0, 1, 7, 300])
def test_every_schema_goes_on_bit_for_bit_in_another_stream(name: str, cut: int) -> None:
    schema = load_schema(name)
    whole, first, second = schema.open(), schema.open(), schema.open()
    expected = whole.replay(BARS)
    head = first.replay(BARS.rows(0, cut)) if cut else expected[:0]
    put(second, take(first))
    tail = [second.step(BARS[row]) for row in range(cut, len(BARS))]
    assert np.array_equal(np.concatenate([head, tail]), expected, equal_nan=True)
