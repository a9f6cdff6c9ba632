from __future__ import annotations

import pytest

from benchmarks import heston
from tests.benchmarks.small import ONCE

SMALL = heston.Sizes(ours=2000, arrays=2000, quantlib=500, days=500, plain_days=50)


def test_every_side_prices_the_call_and_is_timed() -> None:
    terminal, file = heston.run(ONCE, SMALL).tables
    assert len(terminal.rows) == 6
    ratios = terminal.column("side / ours, same scheme")
    assert ratios[:2] == [None, None]
    assert all(ratio > 0 for ratio in ratios[2:])
    assert file.column("days run") == [500, 50]


def test_the_closed_form_is_the_published_one() -> None:
    assert heston.closed_form() == pytest.approx(14.681733, abs=1e-6)


def test_a_side_that_misprices_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heston, "closed_form", lambda: 20.0)
    with pytest.raises(RuntimeError, match="closed form 20"):
        heston.run(ONCE, SMALL)
