"""What the training of this package is searched for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from finchaos.core.errors import InputError
from finchaos.features.schema import FeatureSchema
from finchaos.models.mamba_regime import Config
from finchaos.training.curriculum import Weights
from finchaos.training.detection import Lessons, teach_detection
from finchaos.training.simulated import Drawing

_NETWORK = ("d_model", "d_state", "d_conv", "n_layers", "d_latent")
_LESSONS = ("steps", "learning_rate", "burn_in_bars")


@dataclass(frozen=True)
class DetectionArea:
    """Area under the ROC curve of a network taught by the curriculum, on held-out simulated paths.

    Those paths come from a stream of their own, which no test of the network may use. All trials
    are taught and scored on the same draws, as far as their sizes allow.

    Attributes
    ----------
    config : Config
    schema : FeatureSchema
    lessons : Lessons
        What is not searched.
    """

    config: Config
    schema: FeatureSchema
    lessons: Lessons

    def __call__(self, params: Mapping[str, Any], seed: int) -> float:
        """Teach and score.

        Parameters
        ----------
        params : mapping
            Fields of the network (``d_model``, ``d_state``, ``d_conv``, ``n_layers``,
            ``d_latent``), of the lessons (``steps``, ``learning_rate``, ``burn_in_bars``), of
            their :class:`~finchaos.training.simulated.Drawing` and of their
            :class:`~finchaos.training.curriculum.Weights`, by name.
        seed : int

        Raises
        ------
        InputError
            If a name is unknown or a value impossible.
        DivergenceError
            If training diverges.
        """
        drawing, weights = ([one.name for one in fields(kind)] for kind in (Drawing, Weights))
        unknown = set(params) - {*_NETWORK, *_LESSONS, *drawing, *weights}
        if unknown:
            raise InputError(
                "unknown parameters of a sweep",
                expected=", ".join((*_NETWORK, *_LESSONS, *drawing, *weights)),
                got=", ".join(sorted(unknown)),
            )

        def among(names: tuple[str, ...] | list[str]) -> dict[str, Any]:
            return {name: params[name] for name in names if name in params}

        lessons = replace(
            self.lessons,
            drawing=replace(self.lessons.drawing, **among(drawing)),
            weights=replace(self.lessons.weights, **among(weights)),
            **among(_LESSONS),
        )
        config = replace(self.config, **among(_NETWORK))
        area = teach_detection(config, self.schema, lessons, seed=seed).report.detection_auc
        if area is None:
            raise InputError("the held-out paths hold one regime only")
        return area
