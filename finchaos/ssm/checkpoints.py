"""Weights of whole models under the names of four packages, and their files.

Ours are those of a stack of blocks: ``embedding.weight``, ``layers.{i}.norm.weight``,
``layers.{i}.mixer.*``, ``norm_f.weight``, ``lm_head.weight``; the first and the last two where the
model has them. Within a mixer the packages agree name by name and shape by shape, so that only
the outer names differ.

=============== ============================================================================
``finchaos``    as above
``mamba_ssm``   ``backbone.`` before all but the head
``transformers`` the same with ``backbone.embeddings``; read also without ``backbone.``
``mambapy``     a bare stack: as ours
``mambapy_lm``  its language model: ``mamba.layers.{i}``, the rest as ours
=============== ============================================================================

A load is strict: every tensor of the model comes from the file, every tensor of the file goes into
the model, and nothing is changed unless all fit. What tensors do not tell, such as the epsilon of a
norm, is compared with a ``config.json`` beside the file; tensors alone have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch
from torch import Tensor, nn

from finchaos.core.errors import CheckpointError, InputError, UnknownNameError
from finchaos.core.files import write_atomic
from finchaos.ssm.checkpoint_config import check_config

OURS = "finchaos"

_PARTS = ("embedding.", "layers.", "norm_f.", "lm_head.")
_PREFIXES: dict[str, tuple[str, ...]] = {
    OURS: _PARTS,
    "mamba_ssm": ("backbone.embedding.", "backbone.layers.", "backbone.norm_f.", "lm_head."),
    "transformers": ("backbone.embeddings.", "backbone.layers.", "backbone.norm_f.", "lm_head."),
    "mambapy": _PARTS,
    "mambapy_lm": ("embedding.", "mamba.layers.", "norm_f.", "lm_head."),
}
LAYOUTS = tuple(_PREFIXES)

_UNLIKE = (
    "build the model with its blocks as layers, from StackConfig.read, which takes the "
    "checkpoint's configuration or says what no layer here does"
)


def rename_tensors(
    tensors: Mapping[str, Tensor], source: str = OURS, target: str = OURS
) -> dict[str, Tensor]:
    """The same tensors under the names of another layout.

    Parameters
    ----------
    tensors : mapping of str to torch.Tensor
        A state dict of a whole model.
    source, target : str
        Two of :data:`LAYOUTS`.

    Raises
    ------
    UnknownNameError
        If there is no such layout.
    CheckpointError
        If a name does not belong to the source layout.

    Examples
    --------
    >>> weights = {"layers.0.mixer.D": torch.ones(2)}
    >>> list(rename_tensors(weights, target="mamba_ssm"))
    ['backbone.layers.0.mixer.D']
    """
    theirs, wanted = _prefixes(source), _prefixes(target)
    renamed: dict[str, Tensor] = {}
    strangers = []
    for name, tensor in tensors.items():
        full = name
        if source == "transformers" and not name.startswith(("backbone.", "lm_head.")):
            full = f"backbone.{name}"
        part = next((i for i, prefix in enumerate(theirs) if full.startswith(prefix)), None)
        if part is None:
            strangers.append(name)
        else:
            renamed[wanted[part] + full.removeprefix(theirs[part])] = tensor
    if strangers:
        raise CheckpointError(
            f"tensors that do not belong to the layout {source!r}",
            expected="names that begin with " + ", ".join(theirs),
            got=_some(strangers),
            remedy=_other_layouts(tensors, source),
        )
    return renamed


@torch.no_grad()
def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor], layout: str = OURS) -> None:
    """Copy the tensors of a whole model into ``model``.

    Parameters
    ----------
    model : torch.nn.Module
        Its state dict has our names.
    tensors : mapping of str to torch.Tensor
        In the names of ``layout``. A head that ``model`` ties to its embedding may be left out.
    layout : str
        One of :data:`LAYOUTS`.

    Raises
    ------
    UnknownNameError
        If there is no such layout.
    CheckpointError
        If tensors are missing, unexpected, of another shape, of a type that would be rounded, or
        not finite. The model is as it was.
    InputError
        If ``model`` is no module.

    Examples
    --------
    A language model of Mamba blocks, as the packages have it; ``layout="transformers"`` would take
    the tensors of ``transformers.MambaForCausalLM``.

    >>> from finchaos.ssm import MambaBlock, MambaConfig, RMSNorm
    >>> class LanguageModel(nn.Module):
    ...     def __init__(self, vocabulary: int, config: MambaConfig, layers: int) -> None:
    ...         super().__init__()
    ...         self.embedding = nn.Embedding(vocabulary, config.d_model)
    ...         self.layers = nn.ModuleList(MambaBlock(config) for _ in range(layers))
    ...         self.norm_f = RMSNorm(config.d_model)
    ...         self.lm_head = nn.Linear(config.d_model, vocabulary, bias=False)
    ...         self.lm_head.weight = self.embedding.weight  # where the package ties them
    >>> model, other = (LanguageModel(11, MambaConfig(d_model=4), 2) for _ in range(2))
    >>> theirs = rename_tensors(other.state_dict(), target="transformers")
    >>> load_tensors(model, theirs, layout="transformers")
    >>> torch.equal(model.layers[1].mixer.D, other.layers[1].mixer.D)
    True
    """
    _check_model(model)
    found = dict(tensors) if layout == OURS else rename_tensors(tensors, layout)
    wanted = model.state_dict()
    tied = _tied(wanted)
    for name, original in tied.items():
        if name not in found and original in found:
            found[name] = found[original]
    _refuse(
        "tensors of the model are missing from the checkpoint",
        (name for name in wanted if name not in found),
        _other_layouts(tensors, layout) or _UNLIKE,
    )
    _refuse(
        "the checkpoint has tensors that the model has not",
        (name for name in found if name not in wanted),
        _UNLIKE,
    )
    pairs = {name: (found[name], wanted[name]) for name in wanted}
    _refuse(
        "the checkpoint has tensors of another shape than the model",
        (
            f"{name} {tuple(new.shape)} for {tuple(old.shape)}"
            for name, (new, old) in pairs.items()
            if new.shape != old.shape
        ),
        _UNLIKE,
    )
    _refuse(
        "the checkpoint has tensors of a type that the model would round",
        (
            f"{name} {new.dtype} for {old.dtype}"
            for name, (new, old) in pairs.items()
            if torch.promote_types(new.dtype, old.dtype) != old.dtype
        ),
        "convert the model first: model.double()",
    )
    _refuse(
        "the checkpoint has tensors with values that are not finite",
        (name for name, (new, _) in pairs.items() if not bool(torch.isfinite(new).all())),
    )
    _refuse(
        "the checkpoint has different tensors where the model ties them together",
        (
            f"{name} and {original}"
            for name, original in tied.items()
            if not torch.equal(found[name], found[original])
        ),
    )
    for new, old in pairs.values():
        old.copy_(new)


def save_checkpoint(path: Path, model: nn.Module, layout: str = OURS) -> None:
    """Write the tensors of a model as a safetensors file, complete or not at all.

    Parameters
    ----------
    path : pathlib.Path
        An existing file is replaced.
    model : torch.nn.Module
        Its state dict has our names. A head tied to the embedding is left out, as transformers
        does.
    layout : str
        One of :data:`LAYOUTS`; the names in the file.

    Raises
    ------
    UnknownNameError
        If there is no such layout.
    CheckpointError
        If the layout has no place for a tensor of the model.
    """
    _check_model(model)
    tensors = model.state_dict()
    tied = _tied(tensors)
    kept = {name: v.cpu().contiguous() for name, v in tensors.items() if name not in tied}
    if layout != OURS:
        kept = rename_tensors(kept, target=layout)
    # The entry that transformers asks for.
    write_atomic(path, safetensors_torch.save(kept, {"format": "pt"}))


def load_checkpoint(path: Path, model: nn.Module, layout: str = OURS) -> None:
    """Read a safetensors file into a model; strict as :func:`load_tensors`.

    A ``config.json`` beside the file is compared with the layers of the model, see
    :func:`finchaos.ssm.checkpoint_config.check_config`.

    Raises
    ------
    UnknownNameError
        If there is no such layout.
    CheckpointError
        If the file cannot be read, its configuration is another, or as :func:`load_tensors`.
    """
    path = Path(path)
    _check_model(model)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder", remedy="name the file model.safetensors in it")
    try:
        tensors = safetensors_torch.load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a safetensors file",
            got=str(error),
            remedy="pass what torch.load(path, weights_only=True) gives to load_tensors"
            if path.suffix in (".bin", ".pt", ".pth")
            else "",
        ) from error
    if layout != OURS:
        check_config(path.parent, model, layout.removesuffix("_lm"))
    load_tensors(model, tensors, layout)


def _prefixes(layout: str) -> tuple[str, ...]:
    if layout not in _PREFIXES:
        raise UnknownNameError(f"no layout {layout!r}", expected=f"one of {', '.join(LAYOUTS)}")
    return _PREFIXES[layout]


def _tied(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Names whose tensor is the very one of an earlier name."""
    seen: dict[tuple[int, torch.Size], str] = {}
    tied = {}
    for name, tensor in tensors.items():
        first = seen.setdefault((tensor.data_ptr(), tensor.shape), name)
        if first != name and tensor.numel():
            tied[name] = first
    return tied


def _refuse(what: str, names: Iterable[str], remedy: str = "") -> None:
    found = list(names)
    if found:
        raise CheckpointError(what, got=_some(found), remedy=remedy)


def _other_layouts(tensors: Iterable[str], layout: str) -> str:
    """Which layouts these names would be of."""
    names = set(tensors)
    others = [
        other
        for other, prefixes in _PREFIXES.items()
        if prefixes != _PREFIXES[layout] and all(name.startswith(prefixes) for name in names)
    ]
    return f"these are names of the layout {' or '.join(map(repr, others))}" if others else ""


def _check_model(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise InputError(
            "tensors are loaded into a module",
            expected="a torch.nn.Module with embedding, layers, norm_f and lm_head, or some of "
            "them",
            got=type(model).__name__,
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
