"""How optional packages are installed."""

from __future__ import annotations


def installing(*extras: str, options: str = "") -> str:
    """The command that installs extras of finchaos, which is installed from a clone.

    Examples
    --------
    >>> installing("data")
    "in a clone of finchaos run pip install '.[data]'"
    """
    return f"in a clone of finchaos run pip install {options}'.[{','.join(extras)}]'"
