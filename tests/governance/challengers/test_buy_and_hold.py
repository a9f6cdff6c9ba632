"""The market itself as a subject."""

from __future__ import annotations

import numpy as np

from finchaos.core import registry
from finchaos.core.subject import Subject
from governance.challengers.buy_and_hold import BuyAndHold
from governance.observe import observe
from tests.planted.markets import regime_switching_bars


def test_holds_everything_all_the_time_streaming_or_not() -> None:
    bars = regime_switching_bars(1, 50)
    subject = BuyAndHold()
    assert isinstance(subject, Subject)
    assert (observe(subject, bars).position == 1.0).all()
    stream = subject.open(bars.rows(0, 10))
    assert [stream.step(bars[row]).position for row in range(10, 50)] == [1.0] * 40
    assert subject.fit(bars, seed=1) is subject


def test_is_registered_under_its_file_name() -> None:
    assert registry.public_class("governance.challengers", "buy_and_hold") is BuyAndHold
    assert BuyAndHold().digest == BuyAndHold().digest
    assert np.isfinite(BuyAndHold().card.max_position)
