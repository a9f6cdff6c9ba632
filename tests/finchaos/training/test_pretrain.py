"""Pre-training tracks the hidden variance; fine-tuning keeps within its window."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from finchaos.core.errors import DataError
from finchaos.features.scaling import RobustScaler
from finchaos.features.schema import load_schema
from finchaos.models.mamba_regime import Config, new_network
from finchaos.training.finetune import finetune
from finchaos.training.loop import Schedule
from finchaos.training.pretrain import Laboratory, pretrain
from tests.planted.markets import regime_switching_bars

SCHEMA = load_schema("regime_v1")
CONFIG = Config(len(SCHEMA.names), d_model=8, d_state=4, n_layers=1, horizons=(5,))
LABORATORY = Laboratory(paths=16, held_out_paths=6, bars=500)


def test_the_hidden_variance_is_tracked_on_paths_never_seen() -> None:
    schedule = Schedule(60, 8, 128, 32, 1e-2, 0.3)
    _, report = pretrain(CONFIG, SCHEMA, LABORATORY, schedule, seed=1)
    assert report.tracking_correlation > 0.8
    assert report.last_loss < 0.5 * report.first_loss
    _, untrained = pretrain(CONFIG, SCHEMA, LABORATORY, Schedule(0, 8, 128, 32, 1e-2), seed=1)
    assert untrained.tracking_correlation < report.tracking_correlation - 0.1
    assert untrained.feature_correlation == report.feature_correlation


@pytest.mark.slow
def test_at_full_size_tracking_beats_the_best_feature() -> None:
    config = Config(len(SCHEMA.names), horizons=(5, 20))
    schedule = Schedule(250, 32, 256, 64, 4e-3, 0.3)
    _, report = pretrain(config, SCHEMA, Laboratory(), schedule, seed=7)
    assert report.tracking_correlation > report.feature_correlation + 0.01


def test_fine_tuning_changes_a_copy_and_reads_no_label_beyond_the_window() -> None:
    bars = regime_switching_bars(1, 400)
    values = SCHEMA.open().replay(bars)
    features = RobustScaler.fit(values[:300]).transform(values)
    network = new_network(CONFIG, 1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    schedule = Schedule(5, 4, 64, 16, 1e-3)
    tuned = finetune(network, bars.rows(0, 300), features[:300], schedule, seed=1)
    assert all(torch.equal(before[name], v) for name, v in network.state_dict().items())
    assert not torch.equal(tuned.embed.weight, network.embed.weight)
    # The last bar matters, as the label of the bars before it; what follows it cannot.
    shorter = bars.rows(0, 299)
    other = finetune(network, shorter, features[:299], schedule, seed=1)
    assert not torch.equal(tuned.embed.weight, other.embed.weight)
    with pytest.raises(DataError, match="too few bars"):
        finetune(network, bars.rows(0, 60), features[:60], schedule, seed=1)


def test_horizons_without_labels_are_masked_and_not_zero() -> None:
    bars = regime_switching_bars(1, 200)
    features = np.zeros((200, len(SCHEMA.names)))
    schedule = Schedule(3, 4, 64, 16, 1e-3)
    tuned = finetune(new_network(CONFIG, 1), bars, features, schedule, seed=1)
    # No label exists for the present variance of real bars: that head must stay as it was.
    assert torch.equal(tuned.variance_head.bias, new_network(CONFIG, 1).variance_head.bias)
