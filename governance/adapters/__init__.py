"""Other people's models as Subjects.

Each module has ``build(params, *, seed)``: strict parameters in, a Subject out. Nothing of the
user's is imported or run before ``build`` is called.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from finchaos.core.documents import Document
from finchaos.core.subject import Claim, Materiality, ModelCard


class Declared(Document):
    """What every adapter lets the owner of a model declare: the fields of its model card."""

    name: str = Field(default="", max_length=120)
    """Shown in the report; the adapter names the source where this is empty."""
    version: str = "undeclared"
    purpose: str = ""
    intended_use: str = ""
    prohibited_use: str = ""
    owner: str = "undeclared"
    developer: str = "undeclared"
    limitations: tuple[str, ...] = ()
    materiality: Materiality = "high"
    min_position: float = 0.0
    max_position: float = 1.0
    warmup_bars: int = Field(default=0, ge=0)
    claims: tuple[Claim, ...] = ()
    approved_digest: str = ""

    def model_card(self, name: str, **known: Any) -> ModelCard:
        """The card, named ``name`` unless declared otherwise; ``known`` wins over what is said."""
        said = {field: getattr(self, field) for field in Declared.model_fields}
        said["name"] = self.name.strip() or name
        return ModelCard(**{**said, **known})
