from __future__ import annotations

import pytest
import torch

from benchmarks.baselines import CausalTransformer, LSTMStack, parameters_of
from benchmarks.peers import MAMBA2_64, MAMBA2_128, MAMBA_64, MAMBA_128, Shape, common_weights


@pytest.mark.parametrize("shape", [MAMBA_64, MAMBA_128, MAMBA2_64, MAMBA2_128])
@pytest.mark.parametrize("kind", [LSTMStack, CausalTransformer])
def test_baselines_have_as_many_parameters(shape: Shape, kind: type) -> None:
    wanted = sum(weight.numel() for weight in common_weights(shape).values())
    found = parameters_of(kind(shape.d_model, shape.layers, wanted))
    assert found == pytest.approx(wanted, rel=0.02)


def test_the_lstm_steps_as_it_runs() -> None:
    network, x = LSTMStack(8, 2, 2000), torch.randn(1, 5, 8)
    state, rows = None, []
    for row in x.unbind(1):
        y, state = network.step(row.unsqueeze(1), state)
        rows.append(y)
    torch.testing.assert_close(torch.cat(rows, 1), network(x))


def test_the_transformer_steps_on_cached_keys_as_it_runs() -> None:
    network, x = CausalTransformer(64, 1, 40_000), torch.randn(1, 6, 64)
    block = network.layers[0]
    parts = block.query_key_value(block.norm_attention(x)).view(1, 6, 3, 2, 32)
    _, keys, values = (part.transpose(1, 2).detach().clone() for part in parts.unbind(2))
    keys[:, :, -1] = values[:, :, -1] = 0.0
    with torch.no_grad():
        last = network.step(x[:, -1:], [(keys, values)])
    torch.testing.assert_close(last, network(x)[:, -1:])


def test_the_transformer_is_causal() -> None:
    network, x = CausalTransformer(64, 2, 40_000), torch.randn(1, 6, 64)
    changed = x.clone()
    changed[:, 4:] += 1.0
    assert torch.equal(network(x)[:, :4], network(changed)[:, :4])
