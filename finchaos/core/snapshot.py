"""What an object at work remembers, as plain values: taken out of it, and put back into another.

Only values are taken: numbers, text, arrays and containers of these, wherever they lie below the
object. What is code or configuration is not: functions, types and frozen dataclasses stay as they
are in the object that receives the values, which must therefore have been made the same way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

import numpy as np

from finchaos.core.errors import CheckpointError

_PLAIN = (type(None), bool, int, float, str, np.ndarray, np.generic)
_CONTAINERS = (list, tuple, deque)
_COMMON = frozenset((bool, int, float, str, np.ndarray))


def take(root: object) -> dict[str, Any]:
    """Copies of every value below an object, by its path.

    Parameters
    ----------
    root : object
        Its parts must form a tree: a part reached twice is taken twice.

    Returns
    -------
    dict of str to value
        Numbers, text, None, arrays, and lists and tuples of these.

    Examples
    --------
    >>> class Counter:
    ...     def __init__(self):
    ...         self.seen, self.sums = 0, np.zeros(2)
    >>> take(Counter())["seen"]
    0
    """
    return {path: _copied(value) for path, _, _, value in _values(root, "")}


def put(root: object, values: Mapping[str, Any]) -> None:
    """Set what :func:`take` took from an object made the same way.

    Arrays that keep their shape are written in place, so that whoever shares one sees it change.

    Raises
    ------
    CheckpointError
        If the paths are not those of the object; it is then as it was.
    """
    places = {path: (owner, name, now) for path, owner, name, now in _values(root, "")}
    if set(places) != set(values):
        odd = sorted(set(places) ^ set(values))
        raise CheckpointError(
            "a saved state is of another object",
            expected=f"{len(places)} values",
            got=f"{len(values)}, differing in {', '.join(odd[:3])}",
            remedy="resume with the code and the configuration that saved it",
        )
    for path, (owner, name, now) in places.items():
        restored = _restored(now, values[path])
        if isinstance(owner, dict):
            owner[name] = restored
        elif isinstance(owner, list):
            owner[int(name)] = restored
        elif restored is not now:
            setattr(owner, name, restored)


def _values(part: object, path: str) -> Iterator[tuple[str, Any, str, Any]]:
    """Path, owner, name and value of everything remembered below a part."""
    for name, value in _members(part):
        below = f"{path}.{name}" if path else name
        if _is_value(value):
            yield below, part, name, value
        elif isinstance(value, (*_CONTAINERS, dict)) or _is_object(value):
            yield from _values(value, below)


def _members(part: object) -> list[tuple[str, Any]]:
    if isinstance(part, dict):
        return [(str(name), value) for name, value in part.items()]
    if isinstance(part, _CONTAINERS):
        return [(str(place), value) for place, value in enumerate(part)]
    return list(vars(part).items())


def _is_value(value: Any) -> bool:
    if type(value) in _COMMON:
        return True
    if isinstance(value, _CONTAINERS):
        return all(map(_is_value, value))
    return isinstance(value, _PLAIN)


def _is_object(value: Any) -> bool:
    if callable(value) or isinstance(value, type) or not hasattr(value, "__dict__"):
        return False
    return not (is_dataclass(value) and value.__dataclass_params__.frozen)  # type: ignore[union-attr]


def _copied(value: Any) -> Any:
    if isinstance(value, _CONTAINERS):
        kind = tuple if isinstance(value, tuple) else list
        return kind(_copied(entry) for entry in value)
    return np.array(value) if isinstance(value, np.ndarray | np.generic) else value


def _restored(now: Any, saved: Any) -> Any:
    """The saved value in the container or array that is there now."""
    if isinstance(now, _CONTAINERS) and isinstance(saved, list | tuple):
        if len(now) != len(saved):
            entries = [_copied(entry) for entry in saved]
        else:
            entries = [_restored(a, b) for a, b in zip(now, saved, strict=True)]
        return deque(entries, now.maxlen) if isinstance(now, deque) else type(now)(entries)
    if not isinstance(saved, np.ndarray):
        return saved
    if saved.ndim == 0:
        return saved[()]
    same = isinstance(now, np.ndarray) and (now.shape, now.dtype) == (saved.shape, saved.dtype)
    if same and now.flags.writeable:
        now[...] = saved
        return now
    return saved.copy()
