"""Sizes of a whole stack, read from and written to the configurations of other packages.

What a configuration says about numbers must be something our layers do, or it is refused by name.
What concerns only how weights were drawn, or how the other package runs, is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from finchaos.core.errors import CheckpointError, UnknownNameError
from finchaos.ssm.mamba import NORM_EPSILON, MambaConfig
from finchaos.ssm.mamba2_config import Mamba2Config

Layer = MambaConfig | Mamba2Config
Entries = Mapping[str, Any]


@dataclass(frozen=True)
class _Form:
    """How one package writes one kind of layer.

    Attributes
    ----------
    layer : type
        Our configuration.
    sizes : mapping of str to str
        Its entries and our fields.
    derived : mapping of str to str
        Entries that follow from our fields, and the property that says so.
    fixed : mapping of str to object
        Entries that admit one value here.
    ours : mapping of str to object
        Fields of ours that admit one value there.
    implied : mapping of str to object
        Fields of ours that differ from our default and have no entry there.
    """

    layer: type[Layer]
    sizes: Mapping[str, str]
    derived: Mapping[str, str] = field(default_factory=dict)
    fixed: Entries = field(default_factory=dict)
    ours: Entries = field(default_factory=dict)
    implied: Entries = field(default_factory=dict)

    def read(self, config: Entries) -> Layer:
        values = {ours: config[theirs] for theirs, ours in self.sizes.items() if theirs in config}
        values = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        width = next(theirs for theirs, ours in self.sizes.items() if ours == "d_model")
        values["d_model"] = _entry(config, width)
        layer = self.layer(**values, **self.implied)
        derived = {theirs: getattr(layer, ours) for theirs, ours in self.derived.items()}
        _require(config, derived | dict(self.fixed))
        return layer

    def write(self, layer: Layer) -> dict[str, Any]:
        for name, value in self.ours.items():
            if getattr(layer, name) != value:
                raise CheckpointError(
                    f"{name} of the layer cannot be written for the other package",
                    expected=repr(value),
                    got=repr(getattr(layer, name)),
                )
        entries = {**self.sizes, **self.derived}
        return {theirs: getattr(layer, ours) for theirs, ours in entries.items()} | dict(self.fixed)


_SHARED = {"d_state": "d_state", "d_conv": "d_conv", "expand": "expand"}
_FORMS: dict[tuple[str, str], _Form] = {
    ("transformers", "mamba"): _Form(
        MambaConfig,
        {
            "hidden_size": "d_model",
            "state_size": "d_state",
            "conv_kernel": "d_conv",
            "expand": "expand",
        },
        derived={"time_step_rank": "dt_rank", "intermediate_size": "d_inner"},
        fixed={
            "use_bias": False,
            "use_conv_bias": True,
            "hidden_act": "silu",
            "layer_norm_epsilon": NORM_EPSILON,
        },
    ),
    ("transformers", "mamba2"): _Form(
        Mamba2Config,
        {
            "hidden_size": "d_model",
            "state_size": "d_state",
            "conv_kernel": "d_conv",
            "expand": "expand",
            "head_dim": "headdim",
            "n_groups": "ngroups",
            "use_bias": "bias",
            "use_conv_bias": "conv_bias",
            "time_step_min": "dt_min",
            "time_step_max": "dt_max",
            "time_step_floor": "dt_init_floor",
            "time_step_limit": "dt_limit",
            "chunk_size": "chunk_size",
        },
        derived={"num_heads": "nheads"},
        fixed={"hidden_act": "silu", "layer_norm_epsilon": NORM_EPSILON},
        ours={
            "D_has_hdim": False,
            "rmsnorm": True,
            "norm_before_gate": False,
            "norm_per_group": True,
        },
    ),
    ("mamba_ssm", "Mamba1"): _Form(
        MambaConfig,
        {"d_model": "d_model", **_SHARED},
        derived={"dt_rank": "dt_rank"},
        fixed={"bias": False, "conv_bias": True},
    ),
    ("mamba_ssm", "Mamba2"): _Form(
        Mamba2Config,
        {
            name: name
            for name in Mamba2Config.__dataclass_fields__
            if name not in ("norm_per_group", "backend")
        },
        derived={"d_ssm": "d_inner"},
        ours={"norm_per_group": True},
    ),
    ("mambapy", "Mamba"): _Form(
        MambaConfig,
        {
            "d_model": "d_model",
            "d_state": "d_state",
            "d_conv": "d_conv",
            "expand_factor": "expand",
        },
        derived={"dt_rank": "dt_rank"},
        fixed={
            "bias": False,
            "conv_bias": True,
            "inner_layernorms": False,
            "mup": False,
            "rms_norm_eps": NORM_EPSILON,
        },
    ),
    ("mambapy", "Mamba2"): _Form(
        Mamba2Config,
        {
            "d_model": "d_model",
            "d_state": "d_state",
            "d_conv": "d_conv",
            "expand_factor": "expand",
            "d_head": "headdim",
            "n_groups": "ngroups",
            "A_init_range": "A_init_range",
            "dt_min": "dt_min",
            "dt_max": "dt_max",
            "dt_init_floor": "dt_init_floor",
            "dt_limit": "dt_limit",
            "bias": "bias",
            "conv_bias": "conv_bias",
            "chunk_size": "chunk_size",
        },
        fixed={"learnable_init_states": False, "mup": False, "rms_norm_eps": NORM_EPSILON},
        ours={
            "D_has_hdim": False,
            "rmsnorm": True,
            "norm_before_gate": False,
            "norm_per_group": False,
        },
        implied={"norm_per_group": False},
    ),
}

_MAMBA_SSM_STACK = {"d_intermediate": 0, "attn_layer_idx": [], "rms_norm": True}


@dataclass(frozen=True)
class StackConfig:
    """Sizes of a whole model: a stack of equal blocks, with or without vocabulary.

    Attributes
    ----------
    layer : MambaConfig or Mamba2Config
    n_layers : int
    vocab_size : int, optional
        Rows of the embedding; None where the model has none.
    tied : bool
        Whether the head has the weights of the embedding.

    Examples
    --------
    >>> stack = StackConfig.read("transformers", {
    ...     "model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 8})
    >>> stack.layer.d_model, stack.n_layers
    (32, 2)
    >>> stack.write("mamba_ssm")["ssm_cfg"]["layer"]
    'Mamba1'
    """

    layer: Layer
    n_layers: int
    vocab_size: int | None = None
    tied: bool = False

    @classmethod
    def read(cls, package: str, config: Entries) -> StackConfig:
        """From the configuration of ``transformers``, ``mamba_ssm`` or ``mambapy``.

        Parameters
        ----------
        package : str
        config : mapping of str to object
            What ``config.to_dict()``, ``config.json`` or ``vars(config)`` hold.

        Raises
        ------
        UnknownNameError
            If the package or the kind of model is none of those above.
        CheckpointError
            If the configuration says something that no layer here does.
        InputError
            If its sizes are impossible.
        """
        return _named(_READERS, package)(config)

    def write(self, package: str) -> dict[str, Any]:
        """The configuration that ``package`` understands.

        Raises
        ------
        UnknownNameError
            If there is no such package.
        CheckpointError
            If the package has no layer like ours.
        """
        return _named(_WRITERS, package)(self)


def _read_transformers(config: Entries) -> StackConfig:
    form = _form("transformers", config.get("model_type"))
    return StackConfig(
        form.read(config),
        _entry(config, "num_hidden_layers"),
        config.get("vocab_size"),
        config.get("tie_word_embeddings", form.layer is MambaConfig),
    )


def _write_transformers(stack: StackConfig) -> dict[str, Any]:
    kind = "mamba" if isinstance(stack.layer, MambaConfig) else "mamba2"
    vocabulary = {} if stack.vocab_size is None else {"vocab_size": stack.vocab_size}
    return {
        "model_type": kind,
        **_form("transformers", kind).write(stack.layer),
        "num_hidden_layers": stack.n_layers,
        "tie_word_embeddings": stack.tied,
        **vocabulary,
    }


def _read_mamba_ssm(config: Entries) -> StackConfig:
    _require(config, _MAMBA_SSM_STACK)
    layer = {"d_model": _entry(config, "d_model"), **config.get("ssm_cfg", {})}
    form = _form("mamba_ssm", layer.get("layer", "Mamba1"))
    vocab, multiple = _entry(config, "vocab_size"), config.get("pad_vocab_size_multiple", 8)
    return StackConfig(
        form.read(layer),
        _entry(config, "n_layer"),
        vocab + -vocab % multiple,
        config.get("tie_embeddings", True),
    )


def _write_mamba_ssm(stack: StackConfig) -> dict[str, Any]:
    kind = "Mamba1" if isinstance(stack.layer, MambaConfig) else "Mamba2"
    if stack.vocab_size is None:
        raise CheckpointError("mamba_ssm has no configuration of a stack without vocabulary")
    layer = _form("mamba_ssm", kind).write(stack.layer)
    return {
        "d_model": layer.pop("d_model"),
        "n_layer": stack.n_layers,
        "vocab_size": stack.vocab_size,
        "pad_vocab_size_multiple": 1,
        "ssm_cfg": {"layer": kind, **layer},
        "tie_embeddings": stack.tied,
        **_MAMBA_SSM_STACK,
    }


def _read_mambapy(config: Entries) -> StackConfig:
    form = _form("mambapy", "Mamba2" if "d_head" in config else "Mamba")
    return StackConfig(form.read(config), _entry(config, "n_layers"))


def _write_mambapy(stack: StackConfig) -> dict[str, Any]:
    kind = "Mamba" if isinstance(stack.layer, MambaConfig) else "Mamba2"
    return {**_form("mambapy", kind).write(stack.layer), "n_layers": stack.n_layers}


_READERS: dict[str, Callable[[Entries], StackConfig]] = {
    "transformers": _read_transformers,
    "mamba_ssm": _read_mamba_ssm,
    "mambapy": _read_mambapy,
}
_WRITERS: dict[str, Callable[[StackConfig], dict[str, Any]]] = {
    "transformers": _write_transformers,
    "mamba_ssm": _write_mamba_ssm,
    "mambapy": _write_mambapy,
}

_Found = TypeVar("_Found")


def _named(table: Mapping[str, _Found], package: str) -> _Found:
    if package not in table:
        raise UnknownNameError(
            f"no configurations of {package!r} here", expected=f"one of {', '.join(table)}"
        )
    return table[package]


def _form(package: str, kind: Any) -> _Form:
    kinds = {k: form for (name, k), form in _FORMS.items() if name == package}
    if kind not in kinds:
        raise UnknownNameError(
            f"{package} configures a model {kind!r} that has no counterpart here",
            expected=f"one of {', '.join(kinds)}",
        )
    return kinds[kind]


def _entry(config: Entries, name: str) -> Any:
    if name not in config:
        raise CheckpointError(f"the configuration has no entry {name}", got=", ".join(config))
    return config[name]


def _require(config: Entries, values: Entries) -> None:
    """Refuse entries that are there and say something else; ``auto`` and None say nothing."""
    for name, value in values.items():
        if config.get(name, value) not in (value, "auto", None):
            raise CheckpointError(
                f"{name} of the configuration is something that no layer here does",
                expected=repr(value),
                got=repr(config[name]),
            )
