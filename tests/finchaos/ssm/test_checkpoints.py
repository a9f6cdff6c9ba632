"""Names, files and configurations of whole models; what does not fit is refused by name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import mambapy.mamba
import pytest
import torch
import transformers

from finchaos.core.errors import CheckpointError, InputError, UnknownNameError
from finchaos.ssm.checkpoints import (
    LAYOUTS,
    load_checkpoint,
    load_tensors,
    rename_tensors,
    save_checkpoint,
)
from finchaos.ssm.mamba import MambaConfig
from finchaos.ssm.mamba2_config import Mamba2Config
from finchaos.ssm.stack_config import StackConfig
from tests.finchaos.ssm.oracles import Stack

MAMBA = MambaConfig(8, 4, backend="torch")
MAMBA2 = Mamba2Config(8, 4, headdim=4, ngroups=2, bias=True, dt_limit=(0.0, 1.0), backend="torch")


def stack(layer: MambaConfig | Mamba2Config = MAMBA2, seed: int = 1, **options: Any) -> Stack:
    torch.manual_seed(seed)
    return Stack(StackConfig(layer, **{"n_layers": 2, "vocab_size": 11, **options}))


def same(first: Stack, second: Stack) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a == b and torch.equal(v, w) for (a, v), (b, w) in pairs)


@pytest.mark.parametrize("layer", [MAMBA, MAMBA2])
@pytest.mark.parametrize("options", [{}, {"tied": True}, {"vocab_size": None}])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_in_any_layout_restores_the_model(
    layout: str, options: dict[str, Any], layer: MambaConfig | Mamba2Config, tmp_path: Path
) -> None:
    model, other = stack(layer, **options), stack(layer, seed=2, **options)
    assert not same(model, other)
    path = tmp_path / "folder" / "model.safetensors"
    save_checkpoint(path, model, layout)
    load_checkpoint(path, other, layout)
    assert same(model, other)
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


def test_names_of_the_layouts() -> None:
    names = stack().state_dict()
    assert set(rename_tensors(names, target="mamba_ssm")) >= {
        "backbone.embedding.weight",
        "backbone.layers.1.norm.weight",
        "backbone.layers.0.mixer.A_log",
        "backbone.layers.0.mixer.conv1d.bias",
        "backbone.norm_f.weight",
        "lm_head.weight",
    }
    assert "backbone.embeddings.weight" in rename_tensors(names, target="transformers")
    assert "mamba.layers.1.mixer.D" in rename_tensors(names, target="mambapy_lm")
    for source in LAYOUTS:
        there = rename_tensors(names, target=source)
        assert list(rename_tensors(there, source)) == list(names)
    bare = {
        n.removeprefix("backbone."): v
        for n, v in rename_tensors(names, target="transformers").items()
    }
    assert list(rename_tensors(bare, "transformers")) == list(names)


def test_transformers_opens_our_files(tmp_path: Path) -> None:
    model = stack(n_layers=1)
    config = StackConfig(MAMBA2, n_layers=1, vocab_size=11)
    save_checkpoint(tmp_path / "model.safetensors", model, "transformers")
    transformers.Mamba2Config(**config.write("transformers")).save_pretrained(tmp_path)
    oracle, report = transformers.Mamba2ForCausalLM.from_pretrained(
        tmp_path, output_loading_info=True, local_files_only=True
    )
    assert not any(report.values())
    tokens = torch.arange(9)[None]
    with torch.no_grad():
        expected = oracle(input_ids=tokens, use_cache=False).logits
        torch.testing.assert_close(model(tokens), expected, rtol=0, atol=5e-6)
    again = StackConfig.read("transformers", oracle.config.to_dict())
    assert dataclasses.replace(again.layer, backend="torch") == MAMBA2


def test_we_open_files_of_transformers(tmp_path: Path) -> None:
    torch.manual_seed(5)
    config = transformers.MambaConfig(
        vocab_size=11, hidden_size=8, state_size=4, num_hidden_layers=2
    )
    oracle = transformers.MambaForCausalLM(config)
    oracle.save_pretrained(tmp_path)
    read = StackConfig.read("transformers", config.to_dict())
    assert read.tied
    assert read.layer == dataclasses.replace(MAMBA, backend=read.layer.backend)
    model = Stack(dataclasses.replace(read, layer=MAMBA))
    load_checkpoint(tmp_path / "model.safetensors", model, "transformers")
    assert torch.equal(model.lm_head.weight, oracle.lm_head.weight)
    assert torch.equal(model.layers[1].mixer.A_log, oracle.backbone.layers[1].mixer.A_log)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.pop("layers.0.mixer.D"),
            r"missing from the checkpoint; got layers\.0\.mixer\.D;",
        ),
        (lambda t: t.update(extra=torch.ones(1)), r"the model has not; got extra"),
        (
            lambda t: t.update({"layers.2.mixer.D": torch.ones(4)}),
            r"has not; got layers\.2\.mixer\.D",
        ),
        (lambda t: t.update({"norm_f.weight": torch.ones(9)}), r"norm_f\.weight \(9,\) for \(8,\)"),
        (
            lambda t: t.update({"norm_f.weight": torch.ones(8).double()}),
            r"round; got norm_f\.weight",
        ),
        (
            lambda t: t.update({"norm_f.weight": torch.ones(8) / 0}),
            r"not finite; got norm_f\.weight",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_change_nothing(change: Any, message: str) -> None:
    model, other = stack(), stack(seed=2)
    tensors = dict(other.state_dict())
    change(tensors)
    with pytest.raises(CheckpointError, match=message):
        load_tensors(model, tensors)
    assert same(model, stack())


def test_a_checkpoint_of_another_configuration_is_refused() -> None:
    with pytest.raises(CheckpointError, match="missing"):
        load_tensors(stack(n_layers=3), stack().state_dict())
    with pytest.raises(CheckpointError, match="the model has not"):
        load_tensors(stack(), stack(n_layers=3).state_dict())
    with pytest.raises(CheckpointError, match=r"of another shape .* \(and|more"):
        load_tensors(stack(), stack(dataclasses.replace(MAMBA2, d_state=5)).state_dict())
    with pytest.raises(CheckpointError, match="missing"):
        load_tensors(stack(MAMBA), stack(MAMBA2).state_dict())


def test_lower_precision_is_taken_up_exactly() -> None:
    model, other = stack(), stack(seed=2).bfloat16()
    load_tensors(model, other.state_dict())
    assert same(model, other.float())


def test_a_tied_head_may_be_absent_but_not_differ() -> None:
    tensors = dict(stack(tied=True).state_dict())
    del tensors["lm_head.weight"]
    load_tensors(stack(tied=True, seed=2), tensors)
    tensors["lm_head.weight"] = tensors["embedding.weight"] + 1
    with pytest.raises(CheckpointError, match=r"different tensors .* got lm_head\.weight"):
        load_tensors(stack(tied=True, seed=2), tensors)
    with pytest.raises(CheckpointError, match=r"missing .* got lm_head\.weight"):
        load_tensors(stack(), {k: v for k, v in tensors.items() if k != "lm_head.weight"})


def test_names_and_layouts_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"layout 'mamba_ssm'.* got norm_f"):
        rename_tensors({"norm_f.weight": torch.ones(1)}, "mamba_ssm")
    with pytest.raises(CheckpointError, match=r"layout 'finchaos'.* got head"):
        save_checkpoint(
            tmp_path / "x", torch.nn.ModuleDict({"head": torch.nn.Linear(1, 1)}), "mamba_ssm"
        )
    with pytest.raises(UnknownNameError, match="no layout 'jamba'"):
        rename_tensors({}, "jamba")
    with pytest.raises(UnknownNameError, match="no layout 'jamba'"):
        save_checkpoint(tmp_path / "x", stack(), "jamba")
    assert not list(tmp_path.iterdir())


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(path, stack())
    save_checkpoint(path, stack())
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(path, stack())


@pytest.mark.parametrize("package", ["transformers", "mamba_ssm"])
@pytest.mark.parametrize("layer", [MAMBA, MAMBA2])
@pytest.mark.parametrize("tied", [True, False])
def test_configurations_survive_the_way_there_and_back(
    package: str, layer: MambaConfig | Mamba2Config, tied: bool
) -> None:
    config = StackConfig(layer, n_layers=3, vocab_size=11, tied=tied)
    again = StackConfig.read(package, config.write(package))
    assert (
        dataclasses.replace(again, layer=dataclasses.replace(again.layer, backend="torch"))
        == config
    )


def test_configurations_of_mambapy() -> None:
    written = StackConfig(MAMBA, n_layers=3).write("mambapy")
    names = {field.name for field in dataclasses.fields(mambapy.mamba.MambaConfig)}
    config = mambapy.mamba.MambaConfig(**{k: v for k, v in written.items() if k in names})
    again = StackConfig.read("mambapy", vars(config))
    assert dataclasses.replace(again.layer, backend="torch") == MAMBA
    assert again.n_layers == 3
    layer = dataclasses.replace(MAMBA2, norm_per_group=False)
    again = StackConfig.read("mambapy", StackConfig(layer, n_layers=1).write("mambapy"))
    assert dataclasses.replace(again.layer, backend="torch") == layer


def test_a_published_configuration_of_mamba_ssm() -> None:
    config = {
        "d_model": 2560,
        "d_intermediate": 0,
        "n_layer": 64,
        "vocab_size": 50277,
        "ssm_cfg": {"layer": "Mamba2"},
        "attn_layer_idx": [],
        "attn_cfg": {},
        "rms_norm": True,
        "residual_in_fp32": True,
        "fused_add_norm": True,
        "pad_vocab_size_multiple": 16,
        "tie_embeddings": True,
    }
    read = StackConfig.read("mamba_ssm", config)
    assert isinstance(read.layer, Mamba2Config)
    assert (read.layer.d_state, read.layer.headdim, read.layer.nheads) == (128, 64, 80)
    assert (read.n_layers, read.vocab_size, read.tied) == (64, 50288, True)


TRANSFORMERS = {"model_type": "mamba", "hidden_size": 8, "num_hidden_layers": 1}


@pytest.mark.parametrize(
    ("package", "config", "message"),
    [
        (
            "transformers",
            {**TRANSFORMERS, "hidden_act": "gelu"},
            "hidden_act .* 'silu'; got 'gelu'",
        ),
        ("transformers", {**TRANSFORMERS, "layer_norm_epsilon": 1e-6}, "layer_norm_epsilon"),
        ("transformers", {**TRANSFORMERS, "intermediate_size": 24}, "intermediate_size"),
        ("transformers", {"model_type": "mamba", "num_hidden_layers": 1}, "no entry hidden_size"),
        ("transformers", {"model_type": "mamba", "hidden_size": 8}, "no entry num_hidden_layers"),
        ("mamba_ssm", {"d_model": 8, "n_layer": 1, "vocab_size": 8, "rms_norm": False}, "rms_norm"),
        (
            "mamba_ssm",
            {"d_model": 8, "n_layer": 1, "vocab_size": 8, "d_intermediate": 9},
            "d_interm",
        ),
        ("mambapy", {"d_model": 8, "n_layers": 1, "inner_layernorms": True}, "inner_layernorms"),
        ("mambapy", {"d_model": 8, "n_layers": 1, "mup": True}, "mup"),
    ],
)
def test_what_no_layer_here_does_is_refused_by_name(
    package: str, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        StackConfig.read(package, config)


def test_what_the_other_package_lacks_is_refused_by_name() -> None:
    odd = dataclasses.replace(MAMBA2, norm_before_gate=True)
    with pytest.raises(CheckpointError, match="norm_before_gate of the layer"):
        StackConfig(odd, n_layers=1).write("transformers")
    with pytest.raises(CheckpointError, match="without vocabulary"):
        StackConfig(MAMBA, n_layers=1).write("mamba_ssm")
    with pytest.raises(UnknownNameError, match="'bert'"):
        StackConfig.read("transformers", {"model_type": "bert"})
    with pytest.raises(UnknownNameError, match="'jax'"):
        StackConfig.read("jax", {})


def saved_by_transformers(folder: Path, **changed: Any) -> transformers.MambaForCausalLM:
    sizes = {"vocab_size": 11, "hidden_size": 8, "state_size": 4, "num_hidden_layers": 2}
    torch.manual_seed(5)
    model = transformers.MambaForCausalLM(transformers.MambaConfig(**{**sizes, **changed}))
    model.save_pretrained(folder)
    return model


def test_a_folder_of_transformers_is_loaded(tmp_path: Path) -> None:
    theirs, ours = saved_by_transformers(tmp_path), stack(MAMBA, tied=True)
    load_checkpoint(tmp_path / "model.safetensors", ours, "transformers")
    load_checkpoint(str(tmp_path / "model.safetensors"), ours, "transformers")  # type: ignore[arg-type]
    names = rename_tensors(theirs.state_dict(), "transformers")
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in names.items())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layer_norm_epsilon": 1e-3}, "layer_norm_epsilon .* no layer here does; expected 1e-05"),
        ({"use_bias": True}, "use_bias .* no layer here does"),
        ({"use_conv_bias": False}, "use_conv_bias .* no layer here does"),
        ({"time_step_rank": 4}, "time_step_rank .* no layer here does; expected 1; got 4"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"expand": 3}, r"another expand than the layer layers\.0\.mixer .*; expected 2; got 3"),
        ({"state_size": 5}, "another d_state .* StackConfig"),
    ],
)
def test_settings_that_no_tensor_shows_are_read_beside_the_file(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    saved_by_transformers(tmp_path, **changed)
    model, before = stack(MAMBA, tied=True), stack(MAMBA, tied=True)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "model.safetensors", model, "transformers")
    assert same(model, before)


def test_groups_and_limits_of_mamba_2_are_read_beside_the_file(tmp_path: Path) -> None:
    """Two groups of two states have the shapes of one group of four."""
    model = stack(dataclasses.replace(MAMBA2, d_state=2, bias=False))
    save_checkpoint(tmp_path / "model.safetensors", model, "transformers")
    config = StackConfig(model.layers[0].mixer.config, 2, 11).write("transformers")
    for changed in ({}, {"n_groups": 1, "state_size": 4}, {"time_step_limit": [0.0, 0.5]}):
        (tmp_path / "config.json").write_text(json.dumps({**config, **changed}))
        if not changed:
            load_checkpoint(tmp_path / "model.safetensors", model, "transformers")
            continue
        with pytest.raises(CheckpointError, match=r"another (d_state|dt_limit|ngroups)"):
            load_checkpoint(tmp_path / "model.safetensors", model, "transformers")


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_broken_configuration_is_refused(content: str, tmp_path: Path) -> None:
    saved_by_transformers(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json (cannot be read|holds no settings)"):
        load_checkpoint(tmp_path / "model.safetensors", stack(MAMBA, tied=True), "transformers")


def test_errors_say_what_to_do_instead(tmp_path: Path) -> None:
    model = stack(MAMBA)
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, model, "transformers")
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="names of the layout 'transformers'"):
        load_checkpoint(path, model, "mamba_ssm")
    with pytest.raises(CheckpointError, match="names of the layout 'transformers'"):
        load_checkpoint(path, model)
    with pytest.raises(CheckpointError, match=r"is a folder; name the file model\.safetensors"):
        load_checkpoint(tmp_path, model, "transformers")
    with pytest.raises(CheckpointError, match="to load_tensors"):
        load_checkpoint(tmp_path / "pytorch_model.bin", model)
    for no_model in (list(model.layers), None):
        with pytest.raises(InputError, match=r"a torch\.nn\.Module with embedding, layers"):
            load_checkpoint(path, no_model, "transformers")  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="with its blocks as layers"):
        load_tensors(model.layers, model.state_dict())
