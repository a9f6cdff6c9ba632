import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.errors import InputError
from governance.splits import anchored_folds


@given(st.integers(20, 400), st.integers(1, 8), st.integers(0, 9))
def test_folds_are_anchored_purged_and_leave_no_hole(n_bars, count, gap):
    first = gap + 10
    if n_bars - first < count:
        with pytest.raises(InputError):
            anchored_folds(n_bars, first_test=first, count=count, gap=gap)
        return
    folds = anchored_folds(n_bars, first_test=first, count=count, gap=gap)
    tests = np.concatenate([np.arange(f.test_start, f.test_end) for f in folds])
    assert np.array_equal(tests, np.arange(first, n_bars))
    assert all(f.test_start - f.train_end == gap for f in folds)
    sizes = [f.test_end - f.test_start for f in folds]
    assert max(sizes) - min(sizes) <= 1


def test_agrees_with_an_independent_splitter():
    from skfolio.model_selection import WalkForward

    # Equal tests of 100 bars, training from the first bar, five purged bars before each test.
    ours = anchored_folds(700, first_test=300, count=4, gap=5)
    theirs = WalkForward(test_size=100, train_size=295, purged_size=5, expand_train=True)
    for fold, (train, test) in zip(ours, theirs.split(np.zeros((700, 1))), strict=True):
        assert (train[0], train[-1] + 1) == (0, fold.train_end)
        assert (test[0], test[-1] + 1) == (fold.test_start, fold.test_end)
