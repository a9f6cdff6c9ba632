"""Types, protocols, errors, registry and provenance: what everything else builds on."""

from finchaos.core.bars import Bar, Bars, Provenance
from finchaos.core.errors import FinchaosError
from finchaos.core.features import Features
from finchaos.core.signals import Signal, Signals
from finchaos.core.subject import Capability, ModelCard, Subject

__all__ = [
    "Bar",
    "Bars",
    "Capability",
    "Features",
    "FinchaosError",
    "ModelCard",
    "Provenance",
    "Signal",
    "Signals",
    "Subject",
]
