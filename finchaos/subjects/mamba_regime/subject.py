"""The Subject: pre-trained once, trained on bars as often as asked, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

import finchaos
from finchaos.core.bars import Bars
from finchaos.core.documents import validate_document
from finchaos.core.errors import CheckpointError, DataError, FinchaosError, InputError
from finchaos.core.provenance import array_digest, digest, stream_seed
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, Memory, ModelCard
from finchaos.models.mamba_regime import MambaRegimeNetwork, new_network
from finchaos.subjects.mamba_regime.decision import Decision
from finchaos.subjects.mamba_regime.fitted import (
    Fitted,
    fit,
    network_with,
    part_of,
    prefixed,
    weights_of,
)
from finchaos.subjects.mamba_regime.memory import memory_of, states_of
from finchaos.subjects.mamba_regime.session import MambaRegimeStream, Session
from finchaos.subjects.mamba_regime.settings import Settings
from finchaos.subjects.mamba_regime.tuning import Tuning
from finchaos.training.checkpoint import load_checkpoint, save_checkpoint
from finchaos.training.detection import teach_detection
from finchaos.training.pretrain import PretrainingReport, pretrain
from finchaos.training.simulated import Units
from finchaos.training.trainer import Progress

NAME = "mamba_regime"


@dataclass(frozen=True, eq=False)
class MambaRegime(Tuning):
    """A Mamba network, regimes among its latents, debounced sizing and a kill switch.

    Made by :func:`build` or :func:`load`; ``fit`` returns a trained copy.

    Attributes
    ----------
    settings : Settings
    pretrained : MambaRegimeNetwork
        Where every training starts.
    pretraining : PretrainingReport
        What it learnt on simulated paths.
    fitted : Fitted or None
        None before ``fit``.
    units : Units or None
        Of simulated bars, where a curriculum taught it.
    """

    settings: Settings
    pretrained: MambaRegimeNetwork
    pretraining: PretrainingReport
    fitted: Fitted | None = None
    units: Units | None = None

    @property
    def capabilities(self) -> frozenset[Capability]:
        """All but two-person re-arm, which :mod:`finchaos.trading.two_person` adds."""
        return frozenset(Capability) - {Capability.TWO_PERSON_REARM}

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features of a window."""
        return self.settings.schema_of_features.names

    @cached_property
    def card(self) -> ModelCard:
        """Who answers for the model and what it promises."""
        settings, report = self.settings, self.pretraining
        return ModelCard(
            name=NAME,
            version=finchaos.__version__,
            purpose="Say from daily bars which volatility regime a market is in, and hold less "
            "of it under stress.",
            intended_use="Demonstration of validation; exposure to one liquid equity index, "
            "decided once a day at the close.",
            prohibited_use="Trading with capital; leverage; instruments other than those it was "
            "trained on.",
            owner=settings.owner,
            developer=settings.developer,
            limitations=(
                "Its settings were chosen on S&P 500 bars of 1973 to 2005, and the years 2006 to "
                "2018 were looked at four times meanwhile, not without effect: results there, and "
                "stress scenarios before 2019, are kinder than a first look would be.",
                "It detects volatility, not direction: it leaves after a crash has begun and "
                "returns late.",
                "Regimes come from the training window alone; a level of volatility that the "
                "window did not hold counts as out of distribution and trips the kill switch.",
                _about_the_limit(settings),
                f"In a replay of history the operator is imagined: {settings.review_bars} bars "
                "after a trip the switch is re-armed at the first bar that is inside the limit. "
                "A live stream is re-armed by a named person only.",
                "Attribution explains the undebounced probability of stress for a window that "
                "starts from nothing; signals replay the whole history.",
                "On held-out simulated paths its reading correlates with the true log variance "
                f"at {report.tracking_correlation:.2f}; the best single feature reaches "
                f"{report.feature_correlation:.2f}.",
                *_detection_known(report),
            ),
            materiality="high",
            min_position=settings.min_position,
            max_position=settings.max_position,
            warmup_bars=settings.warmup_bars,
            feature_names=self.feature_names,
            backend=f"training and attribution: torch {torch.__version__}, scan "
            f"{settings.backend}, cpu; signals: numpy {np.__version__}, float64",
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of settings, feature schema, version, both sets of weights and fitted parts."""
        return digest(
            {
                "subject": NAME,
                "version": finchaos.__version__,
                "settings": self.settings.model_dump(mode="json"),
                "schema": self.settings.schema_of_features.digest,
                "pretraining": asdict(self.pretraining),
                "arrays": array_digest(self._arrays()),
            }
        )

    def fit(
        self,
        bars: Bars,
        *,
        seed: int,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> MambaRegime:
        """A new subject trained on ``bars`` alone, starting from the pre-trained weights.

        Parameters
        ----------
        bars : Bars
        seed : int
        folder : Path, optional
            Where training states are saved. With one of this very training there, it is gone on
            with.
        progress : callable, optional

        Raises
        ------
        DataError
            If the bars are too few, have no range where one is needed, or hold one regime only.
        """
        fitted = fit(
            self.pretrained,
            bars,
            self.settings,
            seed=stream_seed(seed, NAME),
            units=self.units,
            folder=folder,
            progress=progress,
        )
        return replace(self, fitted=fitted)

    def signals(self, bars: Bars) -> Signals:
        """One row for every bar, by replay of the whole history from nothing.

        Raises
        ------
        InputError
            Before ``fit``.
        """
        return self._session().replay(bars)

    def open(self, warmup: Bars | None = None) -> MambaRegimeStream:
        """A live session that has replayed ``warmup``."""
        session = self._session()
        if warmup is None or not len(warmup):
            return MambaRegimeStream(session)
        session.replay(warmup)
        return MambaRegimeStream(session, warmup.index[-1])

    def feature_windows(self, bars: Bars, ends: np.ndarray, length: int) -> np.ndarray:
        """Scaled features of the ``length`` rows up to and including each of ``ends``.

        Returns
        -------
        numpy.ndarray, shape (n, length, f)

        Raises
        ------
        InputError
            If a window begins before the first bar or ends after the last one.
        """
        ends = np.asarray(ends, dtype=np.int64)
        if length < 1 or (len(ends) and not (length - 1 <= ends.min() <= ends.max() < len(bars))):
            raise InputError(
                "a window of features lies outside the bars",
                expected=f"ends from {length - 1} to {len(bars) - 1}",
                got=f"{ends.min()} to {ends.max()}" if len(ends) else f"length {length}",
            )
        values = self.settings.schema_of_features.open().replay(bars)
        scaled = self._trained().scaler.transform(values)
        return scaled[ends[:, None] + np.arange(1 - length, 1)]

    def decision_module(self) -> Decision:
        """Windows of scaled features (n, length, f) to the probability of stress (n,)."""
        fitted = self._trained()
        from_head = self.settings.stress_from == "head"
        return Decision(fitted.network, fitted.clusters, from_head=from_head)

    def memory(self, bars: Bars, ends: np.ndarray, length: int) -> Memory:
        """How many bars back the latents look, on windows as :meth:`feature_windows` gives them.

        Raises
        ------
        InputError
            Before ``fit``, or if a window lies outside the bars.
        """
        windows = self.feature_windows(bars, ends, length)
        lookback = self.settings.schema_of_features.lookback
        return memory_of(self._trained().network, windows, lookback)

    def layer_states(self, bars: Bars) -> dict[str, np.ndarray]:
        """Hidden states of each Mamba layer after each bar, shape (t, d_inner, d_state).

        Raises
        ------
        InputError
            Before ``fit``.
        """
        values = self.settings.schema_of_features.open().replay(bars)
        fitted = self._trained()
        return states_of(fitted.network, fitted.scaler.transform(values))

    def randomised(self, seed: int) -> MambaRegime:
        """The same subject with its network's weights drawn anew; all else stays."""
        weights = new_network(self.settings.network, stream_seed(seed, "randomised")).eval()
        return replace(self, fitted=replace(self._trained(), network=weights))

    def save(self, folder: Path) -> None:
        """Write the subject into ``folder``, which must not exist or be empty."""
        save_checkpoint(
            folder,
            NAME,
            self._arrays(),
            {
                "version": finchaos.__version__,
                "settings": self.settings.model_dump(mode="json"),
                "schema_digest": self.settings.schema_of_features.digest,
                "pretraining": asdict(self.pretraining),
                "fitted": self.fitted is not None,
                "subject_digest": self.digest,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> MambaRegime:
        """Read a subject back.

        Raises
        ------
        CheckpointError
            If the folder is damaged or incomplete, or its features or version are not today's.
        """
        arrays, facts = load_checkpoint(folder, NAME)
        try:
            settings = validate_document(facts["settings"], Settings, "settings").checked()
            schema = settings.schema_of_features.digest
            report = PretrainingReport(**facts["pretraining"])
            recorded, saved_schema = facts["subject_digest"], facts["schema_digest"]
            trained = bool(facts["fitted"])
        except (FinchaosError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{folder} is of another configuration", got=str(error)
            ) from error
        if schema != saved_schema:
            raise CheckpointError(
                f"{folder} was trained on other features",
                expected=f"schema {settings.features} with digest {schema[:12]}",
                got=str(saved_schema)[:12],
                remedy="train again, or use the version of finchaos that saved it",
            )
        subject = cls(
            settings,
            network_with(settings.network, part_of("pretrained", arrays)),
            report,
            Fitted.from_arrays(part_of("fitted", arrays), settings.network) if trained else None,
            _units_of(arrays, settings),
        )
        if subject.digest != recorded:
            raise CheckpointError(
                f"{folder} does not give the subject that was saved",
                expected=f"digest {str(recorded)[:12]}, version {facts.get('version')}",
                got=f"{subject.digest[:12]}, version {finchaos.__version__}",
            )
        return subject

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = prefixed("pretrained", weights_of(self.pretrained))
        if self.fitted is not None:
            arrays |= prefixed("fitted", self.fitted.to_arrays())
        if self.units is not None:
            arrays |= prefixed("units", self.units.to_arrays())
        return arrays

    def _trained(self) -> Fitted:
        if self.fitted is None:
            raise InputError(
                f"{NAME} has not been trained on bars",
                remedy="call fit(bars, seed=...) first, or load a trained checkpoint",
            )
        return self.fitted

    def _session(self) -> Session:
        return Session(self._trained(), self.settings)


def _about_the_limit(settings: Settings) -> str:
    rule = settings.novelty_rule
    if rule is None:
        return (
            "The limit of distance is the 99.9th percentile of training distances: one bar "
            "in a thousand trips it on markets like those of training, more on others."
        )
    return (
        f"The limit of distance ({rule.kind}) leaves a share of {1.0 - rule.quantile:.4g} of the "
        f"last {rule.calibration_share:.0%} of the training rows beyond it; these were held out "
        "of the monitor, not of network and regimes."
    )


def build(
    params: Mapping[str, Any],
    *,
    seed: int,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> MambaRegime:
    """Pre-train the model on simulated paths; it still has to be fitted to bars.

    Parameters
    ----------
    params : mapping
        Fields of :class:`Settings`.
    seed : int
    folder : Path, optional
        Where training states are saved. With one of this very training there, it is gone on with.
    progress : callable, optional
        Called as ``progress(stage, done, total)``.

    Raises
    ------
    InputError
        If a setting is unknown or impossible.
    """
    settings = validate_document(dict(params), Settings, f"params of {NAME}").checked()
    network, schema = settings.network, settings.schema_of_features
    how: dict[str, Any] = {"seed": stream_seed(seed, NAME), "folder": folder, "progress": progress}
    if settings.teaching == "curriculum":
        taught = teach_detection(network, schema, settings.lessons, **how)
        return MambaRegime(settings, taught.network, taught.report, units=taught.units)
    pretrained, report = pretrain(network, schema, settings.laboratory, settings.pretraining, **how)
    return MambaRegime(settings, pretrained, report)


def _detection_known(report: PretrainingReport) -> tuple[str, ...]:
    if report.detection_auc is None:
        return ()
    return (
        "On held-out simulated paths, whose markets are those it was taught in, it tells stressed "
        f"from calm bars with an area under the curve of {report.detection_auc:.3f}.",
    )


def _units_of(arrays: Mapping[str, np.ndarray], settings: Settings) -> Units | None:
    """Those of a saved subject, if a curriculum taught it."""
    if settings.teaching != "curriculum":
        return None
    try:
        return Units.from_arrays(
            part_of("units", arrays), settings.schema_of_features, settings.horizons
        )
    except DataError as error:
        raise CheckpointError("the units of the curriculum are damaged", got=str(error)) from error


def load(folder: Path) -> MambaRegime:
    """Read a saved model; see :meth:`MambaRegime.load`."""
    return MambaRegime.load(folder)
