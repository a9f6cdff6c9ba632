"""Plain tables: what a page, a terminal or a spreadsheet could print. No markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from governance.record import Verdict

_ABBREVIATIONS = frozenset({"auc", "cvar", "es", "js", "kl", "ks", "mae", "psi", "rmse", "var"})

NARROW_CHARACTERS = 62
"""That fit half a page's width in print."""

Tone = Verdict | Literal["", "quiet"]


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes
    ----------
    text : str
        What it says.
    under : str
        A second, smaller line, such as an interval.
    exact : str
        The number in full precision, for those who point at it.
    flag : str
        A letter set beside a number, explained under the table.
    tone : str
        The verdict the cell carries, ``quiet`` for what is secondary, or empty.
    """

    text: str
    under: str = ""
    exact: str = ""
    flag: str = ""
    tone: Tone = ""


@dataclass(frozen=True)
class Head:
    """The head of one column; numbers stand flush right."""

    text: str
    unit: str = ""
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """A rectangular table with the notes that belong under it."""

    title: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def narrow(self) -> bool:
        """Whether it fits half a page's width."""
        columns = zip(self.heads, *self.rows, strict=True)
        return sum(_width(head, cells) for head, *cells in columns) <= NARROW_CHARACTERS


def _width(head: Head, cells: Sequence[Cell]) -> int:
    """Characters that a column needs: its longest cell, and the longest word of its head."""
    longest = max((max(len(c.text) + len(c.flag), len(c.under)) for c in cells), default=0)
    words_of_head = max(map(len, f"{head.text} {head.unit}".split()), default=0)
    return max(longest, words_of_head) + 2


class Notes:
    """Numbered notes under a table; the same text gets the same number."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def mark(self, text: str) -> str:
        """The mark that stands for ``text``, such as ``[1]``."""
        if text not in self._texts:
            self._texts.append(text)
        return f"[{self._texts.index(text) + 1}]"

    def lines(self) -> tuple[str, ...]:
        """All notes with their marks."""
        return tuple(f"[{k}] {text}" for k, text in enumerate(self._texts, start=1))


def words(name: str) -> str:
    """A name in words: ``max_drawdown`` reads *Max drawdown*; known abbreviations in capitals.

    Examples
    --------
    >>> words("max_drawdown"), words("psi_limit"), words("2008_crisis")
    ('Max drawdown', 'PSI limit', '2008 crisis')
    """
    parts = name.replace("_", " ").split()
    text = " ".join(part.upper() if part in _ABBREVIATIONS else part for part in parts)
    return text[:1].upper() + text[1:]


def lower_words(name: str) -> str:
    """A name in words for the middle of a sentence.

    Examples
    --------
    >>> lower_words("max_drawdown"), lower_words("psi_limit")
    ('max drawdown', 'PSI limit')
    """
    text = words(name)
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


def short_digest(text: str) -> str:
    """A SHA-256 cut to what a reader can compare; any other text as it is."""
    is_digest = len(text) == 64 and all(character in "0123456789abcdef" for character in text)
    return f"{text[:12]}…" if is_digest else text
