"""What to type next, in the words the program was called with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finchaos.cli.console import program
from finchaos.cli.options import DEFAULT_STORE

_DECISIONS = {
    "open": "",
    "conditional": ' --decision approve_with_conditions --conditions "..."',
    "closed": " --decision reject",
}


def next_step(run: Any, folder: Path, store: Path) -> str:
    """The command that brings a run one step nearer to its gate.

    Parameters
    ----------
    run : Run
    folder : Path
        Where it is stored.
    store : Path
        Named in the command if it is not the default.
    """
    from governance.record import ROLES
    from governance.signoff.manifest import REPORTS, envelope_path

    where = "" if store == DEFAULT_STORE else f" --store {store}"
    name = f"{run.digest[:12]}{where}"
    if not any((folder / path).exists() for path in REPORTS):
        return f"{program()} report {name}"
    for role in ROLES:
        if not (folder / envelope_path(role)).exists():
            decision = _DECISIONS[run.gate] if role == "approver" else ""
            return f"{program()} sign {name} --role {role} --person NAME{decision}"
    return f"{program()} gate {name}"
