"""Exposure by knots instead of one line: long in calm, cash between, short in stress."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from finchaos.core.errors import InputError
from finchaos.subjects.mamba_regime import MambaRegime, build
from tests.finchaos.subjects.small import PARAMS, market, trained


def with_settings(**changed: object) -> MambaRegime:
    model = trained()
    content = {**model.settings.model_dump(), **changed}
    settings = type(model.settings).model_validate(content).checked()
    return replace(model, settings=settings)


def test_knots_of_the_line_give_the_line_itself() -> None:
    rule = trained().settings
    line = ((rule.calm_below, rule.max_position), (rule.stressed_above, rule.min_position))
    before, after = trained().signals(market()), with_settings(knots=line).signals(market())
    assert np.array_equal(before.position, after.position)
    assert len(np.unique(before.position)) > 2


def test_a_map_may_sell_short_in_stress() -> None:
    knots = ((0.2, 1.0), (0.5, 0.0), (0.6, 0.0), (0.9, -0.5))
    model = with_settings(knots=knots, min_position=-0.5)
    signals = model.signals(market())
    assert model.card.min_position == -0.5
    assert signals.position.min() == -0.5
    assert signals.position.max() > 0.5
    before = trained().signals(market())
    assert np.array_equal(signals.stress_probability, before.stress_probability)


@pytest.mark.parametrize(
    "knots",
    [[[0.2, 1.0]], [[0.2, 0.0], [0.5, 1.0]], [[0.2, 2.0], [0.5, 0.0]], [[0.5, 1], [0.2, 0]]],
)
def test_impossible_knots_are_refused(knots: list[list[float]]) -> None:
    with pytest.raises(InputError, match="impossible leverage map"):
        build({**PARAMS, "knots": knots}, seed=1)
