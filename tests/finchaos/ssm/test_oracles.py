"""Our blocks against transformers and mambapy: same weights, same outputs, same gradients.

The other packages are independent implementations, run here with weights drawn at random.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import mambapy.mamba
import pytest
import torch
import transformers

from finchaos.ssm.backends import available_backends
from finchaos.ssm.checkpoints import load_tensors, rename_tensors
from finchaos.ssm.stack_config import StackConfig
from tests.finchaos.ssm.oracles import InDouble, Stack

BACKENDS = [name for name in available_backends() if name != "cuda"]
# Largest deviation of outputs, absolute, and of gradients, relative to the largest of a tensor.
# Of outputs and gradients. The gradient of D is the most cancelled: in float32 either side is up to
# 9e-6 from the oracle in float64.
TOLERANCES = {torch.float64: (1e-10, 1e-10), torch.float32: (5e-6, 2e-5)}
VOCABULARY, BATCH, TIME = 17, 2, 45
SHARED = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "state_size": 16,
    "num_hidden_layers": 2,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}


def mamba(**options: Any) -> transformers.PreTrainedModel:
    torch.manual_seed(1)
    config = transformers.MambaConfig(**{**SHARED, **options})
    return transformers.MambaForCausalLM(config)


def mamba2(*, whole: bool = False, **options: Any) -> transformers.PreTrainedModel:
    """``whole``: normalised over the whole width, as before version 5."""
    torch.manual_seed(1)
    sizes = {"num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 16}
    model = transformers.Mamba2ForCausalLM(
        transformers.Mamba2Config(**{**SHARED, **sizes, **options})
    )
    if whole:
        for layer in model.backbone.layers:
            layer.mixer.norm.group_size = 64
    return model


ORACLES: dict[str, Callable[[], transformers.PreTrainedModel]] = {
    "Mamba": mamba,
    "Mamba, a head of its own": lambda: mamba(tie_word_embeddings=False, conv_kernel=3, expand=1),
    "Mamba-2": mamba2,
    "Mamba-2, two groups": lambda: mamba2(n_groups=2),
    "Mamba-2, two groups, norm of the whole": lambda: mamba2(n_groups=2, whole=True),
    "Mamba-2, four groups, biases": lambda: mamba2(n_groups=4, use_bias=True, use_conv_bias=False),
    "Mamba-2, limited steps": lambda: mamba2(time_step_limit=(0.01, 0.02), state_size=64),
    "Mamba-2, tied": lambda: mamba2(tie_word_embeddings=True, head_dim=8, num_heads=8),
}


def ours_like(oracle: transformers.PreTrainedModel, backend: str, dtype: torch.dtype) -> Stack:
    config = StackConfig.read("transformers", oracle.config.to_dict())
    changes: dict[str, Any] = {"backend": backend}
    if oracle.config.model_type == "mamba2":
        size = oracle.backbone.layers[0].mixer.norm.group_size
        changes["norm_per_group"] = size * oracle.config.n_groups == 64
    layer = dataclasses.replace(config.layer, **changes)
    model = Stack(dataclasses.replace(config, layer=layer)).to(dtype)
    load_tensors(model, oracle.state_dict(), "transformers")
    return model


def tokens() -> torch.Tensor:
    return torch.randint(VOCABULARY, (BATCH, TIME), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_transformers(backend: str, name: str, dtype: torch.dtype) -> None:
    outputs_within, gradients_within = TOLERANCES[dtype]
    oracle = ORACLES[name]().to(dtype)
    ours = ours_like(oracle, backend, dtype)
    if dtype == torch.float64:
        with InDouble():
            expected = oracle(input_ids=tokens(), use_cache=False).logits
    else:
        expected = oracle(input_ids=tokens(), use_cache=False).logits
    found = ours(tokens())
    assert found.dtype == expected.dtype == dtype
    assert float((found - expected).detach().abs().max()) <= outputs_within
    with torch.no_grad():
        assert float((ours.stream(tokens()) - expected).abs().max()) <= outputs_within
    for logits in (found, expected):
        # Squares, because a sum of both signs would cancel and show the rounding of both sides.
        logits.square().sum().backward()
    gradients = {n: p.grad for n, p in ours.named_parameters() if p.grad is not None}
    gradients = rename_tensors(gradients, target="transformers")
    for parameter_name, parameter in oracle.named_parameters():
        difference = (gradients[parameter_name] - parameter.grad).abs().max()
        assert float(difference / parameter.grad.abs().max()) <= gradients_within, parameter_name


@pytest.mark.parametrize("name", ORACLES)
def test_transformers_loads_our_weights_strictly(name: str) -> None:
    oracle = ORACLES[name]()
    ours = ours_like(oracle, "torch", torch.float32)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.mul_(1.01)
    oracle.load_state_dict(rename_tensors(ours.state_dict(), target="transformers"), strict=True)
    with torch.no_grad():
        expected = oracle(input_ids=tokens(), use_cache=False).logits
        assert float((ours(tokens()) - expected).abs().max()) <= 5e-6


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_mambapy(backend: str, parallel: bool, dtype: torch.dtype) -> None:
    outputs_within, gradients_within = TOLERANCES[dtype]
    torch.manual_seed(3)
    config = mambapy.mamba.MambaConfig(d_model=32, n_layers=2, d_state=16, pscan=parallel)
    oracle = mambapy.mamba.Mamba(config).to(dtype)
    read = StackConfig.read("mambapy", vars(config))
    ours = Stack(dataclasses.replace(read, layer=dataclasses.replace(read.layer, backend=backend)))
    ours = ours.to(dtype)
    load_tensors(ours, oracle.state_dict(), "mambapy")
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(BATCH, TIME, 32, generator=generator).to(dtype).requires_grad_()
    if dtype == torch.float64:
        with InDouble():
            expected = oracle(x)
    else:
        expected = oracle(x)
    found = ours(x)
    assert float((found - expected).detach().abs().max()) <= outputs_within
    with torch.no_grad():
        assert float((ours.stream(x) - expected).abs().max()) <= outputs_within
    weight = torch.randn(expected.shape, generator=generator).to(dtype)
    names = dict(oracle.named_parameters())
    of_oracle = torch.autograd.grad((expected * weight).sum(), [x, *names.values()])
    of_ours = torch.autograd.grad(
        (found * weight).sum(), [x, *(dict(ours.named_parameters())[n] for n in names)]
    )
    for a, b in zip(of_ours, of_oracle, strict=True):
        assert float((a - b).abs().max() / b.abs().max()) <= gradients_within
    oracle.load_state_dict(rename_tensors(ours.state_dict(), target="mambapy"), strict=True)
