from __future__ import annotations

import numpy as np

from finchaos.markets.simulate.labelled import switches, volumes


def test_switches_follow_on_from_the_row_before() -> None:
    regime = np.array([1, 1, 0, 2, 2])
    assert switches(regime).tolist() == [False, False, True, True, False]
    assert switches(regime, before=0).tolist() == [True, False, True, True, False]
    assert switches(regime, before=1)[0] == np.False_
    assert switches(np.stack([regime, regime])).shape == (2, 5)


def test_volumes_are_whole_and_rise_with_the_variance() -> None:
    found = volumes(1e6, np.array([0.0, 0.9, 8.0]), np.zeros(3))
    assert (found == np.round(found)).all()
    assert (np.diff(found) > 0).all()
    assert found[1] == 1e6
