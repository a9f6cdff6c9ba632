"""Infidelity and max-sensitivity against captum.metrics and closed forms."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from captum.attr import IntegratedGradients
from captum.metrics import infidelity, infidelity_perturb_func_decorator, sensitivity_max
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from finchaos.core.errors import InputError
from governance.statistics import attribution_trust as trust
from governance.statistics.attribution import Attributions
from governance.statistics.attribution_summary import recent_bars, sentence, summary_exhibit
from governance.statistics.attribution_windows import rows_between

RNG = np.random.default_rng(1)
WEIGHTS = RNG.normal(size=(5, 4))


def linear(windows: np.ndarray) -> np.ndarray:
    return np.asarray((windows * WEIGHTS).sum(axis=(1, 2)))


class Bent(nn.Module):
    """A decision that is no line."""

    def forward(self, windows: Tensor) -> Tensor:
        return torch.sigmoid((windows * torch.from_numpy(WEIGHTS)).sum(dim=(1, 2))) * (
            1.0 + windows[:, -1, 0] * windows[:, -1, 1]
        )


def bent(windows: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return Bent()(torch.from_numpy(windows)).numpy()


def integrated(windows: np.ndarray, baselines: np.ndarray) -> np.ndarray:
    found = IntegratedGradients(Bent()).attribute(
        torch.from_numpy(windows), baselines=torch.from_numpy(baselines), n_steps=30,
        method="gausslegendre",
    )  # fmt: skip
    return found.detach().numpy()


def test_a_linear_model_is_explained_without_infidelity() -> None:
    windows, baselines = RNG.normal(size=(2, 12, 5, 4))
    masks = trust.feature_masks(np.random.default_rng(2), 4, 9)
    found = trust.removal(WEIGHTS * (windows - baselines), windows, baselines, masks, linear)
    assert np.abs(found.infidelity).max() < 1e-20
    # Saying nothing is as bad as the change itself; saying it twice is as bad again.
    nothing = trust.removal(np.zeros_like(windows), windows, baselines, masks, linear)
    np.testing.assert_allclose(nothing.infidelity, nothing.moved, rtol=1e-12)
    twice = trust.removal(2.0 * WEIGHTS * (windows - baselines), windows, baselines, masks, linear)
    np.testing.assert_allclose(twice.infidelity, twice.moved, rtol=1e-12)


def test_infidelity_is_captums() -> None:
    windows, baselines = RNG.normal(size=(2, 6, 5, 4))
    masks = trust.feature_masks(np.random.default_rng(3), 4, 7)
    values = integrated(windows, baselines)
    ours = trust.removal(values, windows, baselines, masks, bent).infidelity
    for row in range(6):
        turn = iter(masks)

        @infidelity_perturb_func_decorator(True)
        def remove(inputs: Tensor, bases: Tensor, turn: Any = turn) -> Tensor:
            kept = [torch.from_numpy(~next(turn)) for _ in range(len(inputs))]
            return torch.stack(
                [torch.where(k, x, bases[0]) for k, x in zip(kept, inputs, strict=True)]
            )

        peer = infidelity(
            Bent(),
            remove,
            torch.from_numpy(windows[row : row + 1]),
            torch.from_numpy(values[row : row + 1]),
            baselines=torch.from_numpy(baselines[row : row + 1]),
            n_perturb_samples=len(masks),
        )
        assert ours[row] == pytest.approx(float(peer), rel=1e-8)


def test_sensitivity_is_captums() -> None:
    windows, baselines = RNG.normal(size=(2, 5, 5, 4))
    noise = 0.05 * np.random.default_rng(4).uniform(-1.0, 1.0, size=(3, *windows.shape))
    ours = trust.sensitivity_max(windows, baselines, noise, integrated)
    for row in range(5):
        at = torch.from_numpy(baselines[row : row + 1])

        def explain(inputs: Any, base: Tensor = at) -> tuple[Tensor, ...]:
            (inputs,) = inputs if isinstance(inputs, tuple) else (inputs,)
            bases = np.broadcast_to(base.numpy(), inputs.shape).copy()
            return (torch.from_numpy(integrated(inputs.numpy(), bases)),)

        def nudge(inputs: Any, radius: float, row: int = row) -> Tensor:
            (inputs,) = inputs if isinstance(inputs, tuple) else (inputs,)
            return inputs + torch.from_numpy(noise[:, row][: len(inputs)])

        peer = sensitivity_max(
            explain, torch.from_numpy(windows[row : row + 1]), nudge, n_perturb_samples=3
        )
        assert ours[row] == pytest.approx(float(peer), rel=1e-8)


def test_sensitivity_of_a_linear_model_is_that_of_its_inputs() -> None:
    windows, baselines = RNG.normal(size=(2, 4, 5, 4))
    noise = 0.01 * RNG.normal(size=(1, *windows.shape))

    def exact(at: np.ndarray, base: np.ndarray) -> np.ndarray:
        return WEIGHTS * (at - base)

    found = trust.sensitivity_max(windows, baselines, noise, exact)
    expected = np.linalg.norm((WEIGHTS * noise[0]).reshape(4, -1), axis=1)
    expected = expected / np.linalg.norm((WEIGHTS * (windows - baselines)).reshape(4, -1), axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    still = trust.sensitivity_max(windows, windows, noise, lambda at, base: np.zeros_like(at))
    assert np.isnan(still).all()


@given(st.integers(2, 9), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_masks_remove_something_and_never_all(features: int, count: int, seed: int) -> None:
    masks = trust.feature_masks(np.random.default_rng(seed), features, count)
    sizes = masks.sum(axis=1)
    assert masks.shape == (count, features)
    assert ((sizes >= 1) & (sizes < features)).all()


def test_one_feature_has_no_proper_subset() -> None:
    with pytest.raises(InputError, match="two features"):
        trust.feature_masks(RNG, 1, 4)


def test_drawn_ratios_are_ratios_of_sums() -> None:
    tables = RNG.random((6, 8, 2))
    expected = tables[:, :, 0].sum(axis=1) / tables[:, :, 1].sum(axis=1)
    np.testing.assert_allclose(trust.drawn_ratios(tables)[:, 0], expected)
    assert np.isnan(trust.drawn_ratios(np.zeros((1, 3, 2)))).all()


def _attributions() -> Attributions:
    values = np.zeros((2, 6, 3))
    values[:, -1, 1], values[:, -3, 1], values[:, 0, 0] = 0.3, -0.1, 0.2
    change = values.sum(axis=(1, 2))
    return Attributions(values, change, np.zeros(2))


def test_the_summary_says_in_one_sentence_what_the_table_holds() -> None:
    main = _attributions()
    assert (recent_bars(main), recent_bars(main, 0.6), recent_bars(main, 0.9)) == (1, 3, 6)
    found = np.array([1 / 3, 2 / 3, 0.0])
    others = {"fold 1": np.array([0.2, 0.7, 0.1]), "seed +1": np.array([0.6, 0.3, 0.1])}
    said = sentence(("a", "b", "c"), found, 1, others)
    assert said == (
        "What moves the decision most: b 67 %, a 33 %, c 0 %. Half of it comes from the newest "
        "bar. b is first in 1 of 2 other explanations."
    )
    moved = np.array([[0.1, 0.3, 0.0], [0.1, 0.1, 0.0]])
    table = summary_exhibit("attribution", ("a", "b", "c"), main, [None] * 3, moved, others)
    columns = {one.name: one.values for one in table.columns}  # noqa: PD011
    assert columns["feature"] == ("b", "a", "c")
    assert columns["share"] == pytest.approx((2 / 3, 1 / 3, 0.0))
    assert columns["rank by ablation"] == (1.0, 2.0, 3.0)
    assert columns["least share elsewhere"] == pytest.approx((0.3, 0.2, 0.0))
    assert columns["largest share elsewhere"] == pytest.approx((0.7, 0.6, 0.1))
    assert table.note.startswith(said)


def test_rows_of_a_crisis_need_it_to_be_out_of_sample() -> None:
    index = pd.bdate_range("2008-01-01", periods=300, tz="UTC")
    peak, trough = date(2008, 5, 19), date(2008, 10, 10)
    rows = rows_between(index, peak, trough, 0, 300, 12)
    assert len(rows) == 12
    assert index[rows[0]].date() < peak < trough < index[rows[-1]].date()
    assert len(rows_between(index, peak, trough, 150, 300, 12)) == 0
    assert len(rows_between(index, peak, date(2010, 1, 1), 0, 300, 12)) == 0
