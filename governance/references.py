"""How a Run names the policy it was judged under."""

from __future__ import annotations

from typing import Literal

from finchaos.core.documents import Document

PolicyStatus = Literal["active", "upcoming", "superseded", "draft", "voluntary"]
"""``upcoming``: final, and not yet in effect."""


class PolicyRef(Document):
    """The policy a Run was judged under."""

    name: str
    version: str
    title: str
    status: PolicyStatus
    source: str
    digest: str
    """SHA-256 over its rules, clauses, tiers and gate."""
