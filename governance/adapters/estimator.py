"""Adapter: a scikit-learn classifier or regressor on the features of a schema."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

from finchaos.core.bars import Bars
from finchaos.core.documents import validate_document
from finchaos.core.errors import DataError, InputError, SubjectFault
from finchaos.core.hyper_parameters import Number, differing, is_number
from finchaos.core.provenance import array_digest, digest, stream_seed
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard, Subject
from finchaos.features.schema import FeatureSchema, load_schema
from governance.adapters import Declared

Label = Literal["high_volatility", "fall", "volatility", "return"]
CLASSES: tuple[Label, ...] = ("high_volatility", "fall")
MIN_TRAINING_ROWS = 50
_OWN_NUMBERS = ("stress_quantile", "horizon_bars")
_NOT_OF_THE_MODEL = ("random_state", "n_jobs", "verbose")
# Rows predicted at a time, always padded to this many: linear algebra libraries round a row
# differently in products of different sizes, and a signal must not depend on later rows.
_BLOCK_ROWS = 256


class EstimatorParams(Declared):
    """The estimator, what it learns and how its prediction becomes a position."""

    estimator: str = Field(pattern=r"^[\w.]+:\w+$")
    """``module:class``, for example ``sklearn.linear_model:LogisticRegression``."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Constructor arguments; a random state is set from the seed of each fit."""
    features: str = "regime_v1"
    """Name of a feature schema."""
    label: Label = "high_volatility"
    """What the next ``horizon_bars`` will be. For classifiers ``high_volatility`` or ``fall``
    (a negative return), for regressors ``volatility`` or ``return``."""
    horizon_bars: int = Field(default=5, ge=1)
    stress_quantile: float = Field(default=2 / 3, gt=0, lt=1)
    """Training quantile of realised volatility: above it volatility counts as high."""
    sizing: Literal["linear", "threshold"] = "linear"
    """Of classifiers: exposure falls with the probability, or at a probability of one half."""


def build(params: Mapping[str, Any], *, seed: int) -> Subject:
    """The untrained subject that ``params`` describe.

    Parameters
    ----------
    params : mapping
        See :class:`EstimatorParams`.
    seed : int
        Unused: every fit is given its own.

    Raises
    ------
    DocumentError
        If a parameter is unknown, missing or of the wrong type.
    InputError
        If the estimator cannot be made or does not suit the label.
    UnknownNameError
        If no feature schema has that name.
    """
    said = validate_document(dict(params), EstimatorParams, "the estimator adapter")
    schema = load_schema(said.features)
    model = _make(said)
    wanted, suits = _KINDS[said.label in CLASSES]
    if not suits(model):
        raise InputError(f"{said.estimator} does not suit the label {said.label}", expected=wanted)
    card = said.model_card(
        said.estimator.split(":")[1],
        warmup_bars=max(said.warmup_bars, schema.lookback),
        feature_names=schema.names,
        backend=said.estimator.split(":")[0],
    )
    capabilities = {Capability.REFIT, Capability.HYPER_PARAMETERS}
    if said.label == "high_volatility":
        capabilities.add(Capability.REGIMES)
    return Estimator(said, schema, card, frozenset(capabilities))


@dataclass(frozen=True)
class Fitted:
    """What training determined: scaler and estimator, and the volatility that counts as high."""

    pipeline: Any
    high_volatility: float
    digest: str


@dataclass(frozen=True)
class Estimator:
    """Features, a scaler and an estimator trained on what followed, inside the training bars.

    Training uses the rows after the look-back whose label, the ``horizon_bars`` that follow, is
    complete; the last ``horizon_bars`` rows are dropped. Signals read features alone.
    """

    settings: EstimatorParams
    schema: FeatureSchema
    card: ModelCard
    capabilities: frozenset[Capability]
    fitted: Fitted | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of settings, schema, scikit-learn's version and what training determined."""
        import sklearn

        return digest(
            {
                "adapter": "estimator",
                "settings": self.settings.model_dump(mode="json"),
                "schema": self.schema.digest,
                "sklearn": sklearn.__version__,
                "fitted": None if self.fitted is None else self.fitted.digest,
            }
        )

    @property
    def hyper_parameters(self) -> dict[str, Number]:
        """Numeric arguments given, then the adapter's own numbers, then the estimator's defaults.

        What says how it is computed and not what (``random_state``, ``n_jobs``, ``verbose``) is
        left out.
        """
        own = {name: getattr(self.settings, name) for name in _OWN_NUMBERS}
        defaults = _make(self.settings).get_params(deep=False)
        known = {**self.settings.arguments, **own, **defaults, **self.settings.arguments}
        return {
            name: value
            for name, value in known.items()
            if is_number(value) and name not in _NOT_OF_THE_MODEL
        }

    def with_hyper_parameters(self, changed: Mapping[str, Number]) -> Estimator:
        """The untrained subject with these values.

        Raises
        ------
        InputError
            If there is no such hyper-parameter, or adapter or estimator refuse a value. Most
            estimators of scikit-learn refuse only when they are trained.
        """
        changed = differing(self.card.name, changed, self.hyper_parameters)
        own = {name: value for name, value in changed.items() if name in _OWN_NUMBERS}
        arguments = {name: value for name, value in changed.items() if name not in own}
        settings = self.settings.model_dump()
        settings.update(own, arguments={**self.settings.arguments, **arguments})
        said = validate_document(settings, EstimatorParams, "the estimator adapter")
        _make(said)
        return replace(self, settings=said, fitted=None)

    def fit(self, bars: Bars, *, seed: int) -> Estimator:
        """A new subject trained on ``bars`` alone.

        Raises
        ------
        DataError
            If too few labelled rows remain or their labels are all the same.
        InputError
            If the estimator refuses an argument or the rows.
        """
        first, last = self.schema.lookback, len(bars) - self.settings.horizon_bars
        if last - first < MIN_TRAINING_ROWS:
            raise DataError(
                f"too few bars to train {self.card.name}",
                expected=f"at least {first + self.settings.horizon_bars + MIN_TRAINING_ROWS}",
                got=str(len(bars)),
            )
        rows = self._features(bars)[first:last]
        volatility, moved = forward_outcomes(bars.close, self.settings.horizon_bars)
        volatility, moved = volatility[first:last], moved[first:last]
        high = float(np.quantile(volatility, self.settings.stress_quantile))
        labels = {
            "high_volatility": volatility > high,
            "fall": moved < 0.0,
            "volatility": volatility,
            "return": moved,
        }[self.settings.label]
        if np.ptp(labels.astype(float)) == 0.0:
            raise DataError(f"all labels of {self.card.name} are the same in training")
        pipeline = _pipeline(_make(self.settings), seed)
        try:
            pipeline.fit(rows, labels)
        except (TypeError, ValueError) as error:  # what scikit-learn raises for bad arguments
            raise InputError(
                f"{self.settings.estimator} refuses to be trained",
                got=f"{type(error).__name__}: {error}",
                remedy="check its arguments",
            ) from error
        fitted = Fitted(pipeline, high, "")
        answers = {
            "answers": _predict(fitted, rows, classes=self.settings.label in CLASSES),
            "high": np.array([high]),
        }
        # Behaviour rather than pickled bytes: those differ between equal estimators.
        known = digest({"bars": bars.digest, "seed": seed, "answers": array_digest(answers)})
        return replace(self, fitted=replace(fitted, digest=known))

    def signals(self, bars: Bars) -> Signals:
        """One row for every bar.

        Raises
        ------
        SubjectFault
            If the subject has not been trained.
        """
        if self.fitted is None:
            raise SubjectFault(f"{self.card.name} has not been trained", remedy="fit it first")
        classes = self.settings.label in CLASSES
        answer = _predict(self.fitted, self._features(bars), classes=classes)
        position = self._position(answer)
        position[: self.card.warmup_bars] = 0.0
        if self.settings.label != "high_volatility":
            return Signals(bars.index, position)
        return Signals(
            bars.index, position, stress_probability=answer, regime=(answer > 0.5).astype(int)
        )

    def _features(self, bars: Bars) -> np.ndarray:
        if not len(bars):
            return np.empty((0, len(self.schema.names)))
        return self.schema.open().replay(bars)

    def _position(self, answer: np.ndarray) -> np.ndarray:
        full = self.card.max_position
        flat = float(np.clip(0.0, self.card.min_position, full))
        if self.settings.label in CLASSES:
            share = 1.0 - answer if self.settings.sizing == "linear" else answer <= 0.5
        elif self.settings.label == "return":
            share = answer > 0.0
        else:
            high = self.fitted.high_volatility if self.fitted else 0.0
            share = np.minimum(high / np.maximum(answer, 1e-9), 1.0)
        return flat + (full - flat) * np.asarray(share, dtype=np.float64)


def forward_outcomes(close: np.ndarray, horizon_bars: int) -> tuple[np.ndarray, np.ndarray]:
    """What follows each bar: for labels in training, never for signals.

    Parameters
    ----------
    close : numpy.ndarray, shape (t,)
    horizon_bars : int

    Returns
    -------
    volatility, moved : numpy.ndarray, shape (t - horizon_bars,)
        Root mean square of the next ``horizon_bars`` log returns, and the simple return over
        them; row i reads closes i to i + horizon_bars.

    Examples
    --------
    >>> forward_outcomes(np.array([100.0, 110.0, 121.0]), 2)[1].round(6).tolist()
    [0.21]
    """
    squares = np.diff(np.log(close)) ** 2
    windows = np.lib.stride_tricks.sliding_window_view(squares, horizon_bars)
    return np.sqrt(windows.mean(axis=-1)), close[horizon_bars:] / close[:-horizon_bars] - 1.0


def _make(said: EstimatorParams) -> Any:
    module, name = said.estimator.split(":")
    try:
        return getattr(importlib.import_module(module), name)(**said.arguments)
    except Exception as error:  # whatever importing or constructing it raises
        raise InputError(
            f"cannot make the estimator {said.estimator}",
            got=f"{type(error).__name__}: {error}",
            remedy="check module, class and arguments, and that the package is installed",
        ) from error


def _is_classifier(model: Any) -> bool:
    from sklearn.base import is_classifier

    return bool(is_classifier(model)) and hasattr(model, "predict_proba")


def _is_regressor(model: Any) -> bool:
    from sklearn.base import is_regressor

    return bool(is_regressor(model))


_KINDS = {
    True: ("a classifier with predict_proba", _is_classifier),
    False: ("a regressor", _is_regressor),
}


def _pipeline(model: Any, seed: int) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), model)
    state = stream_seed(seed, "adapters.estimator") % 2**32
    random = [name for name in pipeline.get_params() if name.endswith("__random_state")]
    return pipeline.set_params(**dict.fromkeys(random, state))


def _predict(fitted: Fitted, rows: np.ndarray, *, classes: bool) -> np.ndarray:
    """Probability of the label, or the predicted value, for each row; shape (t,)."""
    answers = [np.empty(0)]
    for first in range(0, len(rows), _BLOCK_ROWS):
        part = rows[first : first + _BLOCK_ROWS]
        block = np.zeros((_BLOCK_ROWS, rows.shape[1]))
        block[: len(part)] = part
        if classes:
            predicted = fitted.pipeline.predict_proba(block)[:, 1]
        else:
            predicted = fitted.pipeline.predict(block)
        answers.append(np.asarray(predicted, dtype=np.float64)[: len(part)])
    return np.concatenate(answers)
