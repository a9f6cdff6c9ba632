"""States of layers as ``torch.export`` takes them."""

from __future__ import annotations

from typing import TypeVar

from torch.export import register_dataclass
from torch.serialization import add_safe_globals

T = TypeVar("T")


def exportable(kind: type[T]) -> type[T]:
    """Make a dataclass of tensors an input and an output of exported programs, and of their files.

    Parameters
    ----------
    kind : type
        A dataclass of which every field is a tensor.

    Returns
    -------
    type
        The same class.
    """
    register_dataclass(kind, serialized_type_name=f"finchaos.{kind.__name__}")
    add_safe_globals([kind])
    return kind
