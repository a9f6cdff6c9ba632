"""Its hyper-parameters: those settings that take effect after pre-training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from finchaos.core.documents import validate_document
from finchaos.core.hyper_parameters import Number, check_names
from finchaos.subjects.mamba_regime.settings import Settings

if TYPE_CHECKING:
    from finchaos.subjects.mamba_regime.subject import MambaRegime

NAMES = (
    "stressed_above", "calm_below", "temperature", "entry_bars", "exit_bars", "band",
    "volatility_ratio", "regimes", "finetune_steps", "finetune_rate", "finetune_batch",
    "window_bars", "burn_in_bars", "slowness", "warmup_bars", "min_position", "max_position",
    "novelty_quantile", "novelty_share", "novelty_neighbours", "review_bars", "shock_multiple",
    "move_multiple", "least_log_move", "gap_multiple",
)  # fmt: skip
"""What decides most first. Sizes of the network and pre-training are not among them: the network
that a subject starts from is given, and another one is another ``build``."""


class Tuning:
    """Hyper-parameters of a subject with ``settings``."""

    @property
    def hyper_parameters(self) -> dict[str, Number]:
        """Value by name, what decides most first."""
        settings = cast("MambaRegime", self).settings
        return {name: getattr(settings, name) for name in NAMES}

    def with_hyper_parameters(self, changed: Mapping[str, Number]) -> MambaRegime:
        """The subject that starts from the same pre-trained network with these settings.

        Raises
        ------
        InputError
            If there is no such setting, or it is impossible.
        """
        subject = cast("MambaRegime", self)
        check_names("mamba_regime", changed, NAMES)
        said = {**subject.settings.model_dump(), **changed}
        settings = validate_document(said, Settings, "settings of mamba_regime").checked()
        return replace(subject, settings=settings, fitted=None)
