"""Names resolve to files: the file name is the registered name.

A family is a package (``governance.checks``); each public module in it registers one thing.
Other distributions add to a family through the entry-point group ``finchaos.<family>``.
Nothing is imported until it is asked for.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from difflib import get_close_matches
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from finchaos.core.errors import InputError, UnknownNameError


def _group(package: str) -> str:
    return f"finchaos.{package.rsplit('.', 1)[-1]}"


def names(package: str) -> tuple[str, ...]:
    """All names registered in a family, sorted; imports the package but none of its members."""
    home = importlib.import_module(package)
    own = {m.name for m in pkgutil.iter_modules(home.__path__) if not m.name.startswith("_")}
    foreign = {point.name for point in entry_points(group=_group(package))}
    clash = own & foreign
    if clash:
        raise InputError(
            f"{package} has its own {', '.join(sorted(clash))}",
            remedy="rename the outside package's entry point",
        )
    return tuple(sorted(own | foreign))


def module(package: str, name: str) -> ModuleType:
    """The module registered as ``name``.

    Raises
    ------
    UnknownNameError
        With the nearest existing names.
    """
    known = names(package)
    if name not in known:
        near = get_close_matches(name, known, n=1)
        raise UnknownNameError(
            f"no {package.rsplit('.', 1)[-1]} named {name!r}",
            expected=f"one of {', '.join(known)}",
            remedy=f"did you mean {near[0]!r}?" if near else "",
        )
    for point in entry_points(group=_group(package)):
        if point.name == name:
            return importlib.import_module(point.module)
    return importlib.import_module(f"{package}.{name}")


def public_class(package: str, name: str) -> Any:
    """The one class of the module ``name`` whose name is the file's in capitals."""
    home = module(package, name)
    wanted = name.replace("_", "").lower()
    for label, member in inspect.getmembers(home, inspect.isclass):
        if label.lower() == wanted:
            return member
    raise InputError(
        f"{home.__name__} has no class named for its file",
        expected=f"a class like {''.join(p.capitalize() for p in name.split('_'))}",
    )
