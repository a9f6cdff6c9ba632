"""What a model's ``config.json`` says and its tensors do not.

Some settings change what a model computes and leave no trace in the shapes of its weights: the
epsilon of its norms, the range of step sizes, how states are shared out in groups.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from torch import nn

from finchaos.core.errors import CheckpointError
from finchaos.ssm.mamba import Mamba
from finchaos.ssm.mamba2 import Mamba2
from finchaos.ssm.stack_config import StackConfig

CONFIG = "config.json"
_DRAWN = {"A_init_range", "dt_min", "dt_max", "dt_init_floor"}
_RUN = {"backend", "chunk_size"}
"""Fields that say how weights were drawn, or how a layer runs, and nothing of its numbers."""


def check_config(folder: Path, model: nn.Module, package: str) -> None:
    """Compare the ``config.json`` in a folder, if there is one, with the layers of a model.

    Parameters
    ----------
    folder : Path
    model : torch.nn.Module
    package : str
        Whose file it is, see :meth:`finchaos.ssm.stack_config.StackConfig.read`.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or names a setting that no layer here has, or not these.
    """
    path = folder / CONFIG
    if not path.is_file():
        return
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read", got=str(error)) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no settings", got=type(content).__name__)
    theirs = StackConfig.read(package, content).layer
    layers = (v for v in model.named_modules() if isinstance(v[1], Mamba | Mamba2))
    for where, layer in layers:
        ours = layer.config
        if type(theirs) is not type(ours):
            raise _other(path, "kind", where, type(ours).__name__, type(theirs).__name__)
        said = asdict(theirs)
        for name, value in asdict(ours).items():
            if name not in _DRAWN | _RUN and said[name] != value:
                raise _other(path, name, where, repr(value), repr(said[name]))


def _other(path: Path, name: str, where: str, ours: str, theirs: str) -> CheckpointError:
    return CheckpointError(
        f"{path} names another {name} than the layer {where} of the model has",
        expected=ours,
        got=theirs,
        remedy=f"build the layers from StackConfig.read, which reads {CONFIG}",
    )
