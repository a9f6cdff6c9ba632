"""Whether two names mean the same person.

Separation of duties must not be escaped by capital letters, spaces, accents, word order or letters
of another alphabet that look the same. Two names that could be the same person count as the same.
"""

from __future__ import annotations

import re
import unicodedata

from finchaos.core.errors import InputError

_LOOKALIKES = str.maketrans(
    # Cyrillic, then Greek, both cases: letters drawn as a Latin one in common typefaces (a subset
    # of the Unicode confusables, UTS 39).
    "АВЕЅІЈКМНОРСТУХаеѕіјорсухԁһӏҮү" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαικνορυχ",
    "ABESIJKMHOPCTYXaesijopcyxdhlYy" + "ABEZHIKMNOPTYXaikvopux",
)
LONGEST = 64
"""Upper bound of a common name in a certificate (X.520 ub-common-name), characters."""


def checked_name(person: str) -> str:
    """``person`` with single spaces.

    Raises
    ------
    InputError
        If it is empty, too long for a certificate or holds characters that cannot be printed.
    """
    name = " ".join(unicodedata.normalize("NFC", person).split())
    if not (0 < len(name) <= LONGEST and name.isprintable() and any(map(str.isalpha, name))):
        raise InputError(
            "this cannot be the name of a signer",
            expected=f"a printable name with letters, at most {LONGEST} characters",
            got=repr(person[:80]),
        )
    return name


def same_person(one: str, other: str) -> bool:
    """Whether two names may mean one person.

    Examples
    --------
    >>> same_person("Ada Lovelace", "  LOVELACE, ada ")
    True
    >>> same_person("Ada Lovelace", "Аda Lovеlace")  # two Cyrillic letters
    True
    >>> same_person("Ada Lovelace", "Ada Byron")
    False
    """
    return not _keys(one).isdisjoint(_keys(other))


def _keys(name: str) -> frozenset[str]:
    plain = "".join(
        letter
        for letter in unicodedata.normalize("NFKD", name)
        if unicodedata.category(letter) not in ("Mn", "Cf")
    )
    # A lower-case Cyrillic letter may look Latin where its capital does not, so the letters are
    # compared as they are, with lookalikes replaced, and replaced again after case is removed.
    readings = (
        plain.casefold(),
        plain.translate(_LOOKALIKES).casefold(),
        plain.casefold().translate(_LOOKALIKES),
    )
    keys = set()
    for reading in readings:
        words = re.findall(r"\w+", reading)
        keys |= {"".join(words), " ".join(sorted(words))}
    return frozenset(keys)
