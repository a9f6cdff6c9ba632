"""Canonical JSON, digests and named random streams.

Canonical JSON follows RFC 8785 (JSON Canonicalization Scheme), so that any implementation of that
standard reproduces the digests. Digests are SHA-256 in lower-case hexadecimal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import rfc8785


def canonical_json(value: Any) -> bytes:
    """Serialise a JSON value to its one RFC 8785 form.

    Raises
    ------
    ValueError
        For NaN, infinities, integers beyond 2**53 and types JSON does not have.
    """
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise ValueError(f"not canonical JSON: {error}") from error


def parse_json(data: bytes | str) -> Any:
    """Parse JSON, refusing duplicate keys, NaN and infinities."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("duplicate key in JSON object")
        return found

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    def number(text: str) -> int | float:
        # RFC 8785 writes large floats without a fraction; beyond 2**53 they are floats again.
        value = int(text)
        return value if abs(value) < 2**53 else float(text)

    return json.loads(data, object_pairs_hook=unique, parse_constant=refuse, parse_int=number)


def sha256(data: bytes) -> str:
    """SHA-256 of bytes, lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of ``value``."""
    return sha256(canonical_json(value))


def array_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over named arrays: name, dtype, shape and little-endian bytes, sorted by name."""
    hasher = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        hasher.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        hasher.update(array.tobytes())
    return hasher.hexdigest()


def random_stream(seed: int, name: str) -> np.random.Generator:
    """A generator that depends on the recorded seed and the stream's name, and on nothing else.

    Two streams of one seed are independent, and adding a stream never changes another.

    Examples
    --------
    >>> bool(random_stream(7, "a").random() == random_stream(7, "a").random())
    True
    >>> bool(random_stream(7, "a").random() == random_stream(7, "b").random())
    False
    """
    words = np.frombuffer(hashlib.sha256(name.encode()).digest(), dtype="<u4")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words.tolist()])))


def stream_seed(seed: int, name: str) -> int:
    """A 63-bit integer seed drawn from a named stream, for libraries that want an integer."""
    return int(random_stream(seed, name).integers(0, 2**63 - 1))
