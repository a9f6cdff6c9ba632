"""Text that any XML or HTML reader accepts."""

from __future__ import annotations

import re

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def without_controls(text: str) -> str:
    """``text`` without the control characters that XML 1.0 forbids or discourages.

    Examples
    --------
    >>> without_controls("bell\\x07 and\\x00 tab\\t")
    'bell and tab\\t'
    """
    return _FORBIDDEN.sub("", text)
