"""Everything about ``mamba_regime`` that a user may set."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Literal

from pydantic import Field

from finchaos.core.documents import Document
from finchaos.core.errors import InputError
from finchaos.features.schema import FeatureSchema, load_schema
from finchaos.models.mamba_regime import Config
from finchaos.regimes.clustering import ClusterRule
from finchaos.regimes.filter import FilterRule
from finchaos.trading.leverage import LeverageMap
from finchaos.trading.novelty import NoveltyRule
from finchaos.trading.sizing import SizingRule
from finchaos.training.curriculum import Weights
from finchaos.training.detection import Lessons
from finchaos.training.loop import Schedule
from finchaos.training.pretrain import Laboratory
from finchaos.training.simulated import Drawing


class Settings(Document):
    """Settings of the model, flat as a plan's ``params`` give them."""

    features: str = "regime_v1"
    """Feature schema; ``regime_close_v1`` for bars without a range."""
    warmup_bars: int = Field(default=250, ge=1)
    """Bars after a cold start before anything is held."""

    d_model: int = 16
    d_state: int = 8
    d_conv: int = 4
    n_layers: int = 2
    d_latent: int = 3
    horizons: tuple[int, ...] = (5, 20)
    """Bars ahead over which variance is forecast in training."""
    backend: str = "torch"
    """Scan backend of training and attribution."""

    teaching: Literal["variance", "curriculum"] = "variance"
    """What pre-training teaches: the variance; or variance and regime, in calm markets, then in
    switching ones, on paths drawn anew all the time, some of them also while fine-tuning."""
    variety: float = Field(default=0.0, ge=0, lt=2)
    """How different the markets of a curriculum are, see
    :class:`finchaos.training.simulated.Drawing`."""
    pretrain_paths: int = 96
    pretrain_bars: int = 1000
    pretrain_steps: int = 250
    pretrain_batch: int = 32
    pretrain_rate: float = 4e-3
    finetune_steps: int = 60
    finetune_batch: int = 16
    finetune_rate: float = 2e-3
    window_bars: int = 256
    burn_in_bars: int = 64
    slowness: float = 0.3
    """Weight of the latents' roughness in the loss."""

    clusters: Literal["gmm", "kmeans"] = "gmm"
    regimes: int = 2
    stress_from: Literal["clusters", "head"] = "clusters"
    """Where the probability of stress comes from: clusters of latents, or a taught head."""
    temperature: float = 3.0
    """Softens regime probabilities where above 1."""
    volatility_ratio: float = 1.1
    """Least ratio of neighbouring regimes' volatilities; less is refused as ambiguous."""

    entry_bars: int = 3
    exit_bars: int = 5
    min_position: float = 0.0
    max_position: float = 1.0
    calm_below: float = 0.2
    stressed_above: float = 0.8
    band: float = 0.25
    knots: tuple[tuple[float, float], ...] = ()
    """Instead of one falling line: probabilities of stress and the exposure at each, within
    min_position and max_position; see :class:`finchaos.trading.leverage.LeverageMap`."""

    novelty: Literal["clusters", "euclidean", "mahalanobis", "neighbours"] = "clusters"
    """Distance of latents from training that trips: to the regimes, limit from the training rows,
    or a monitor of :mod:`finchaos.trading.novelty`, limit from rows held out of it."""
    novelty_quantile: float = Field(default=0.999, gt=0, lt=1)
    """Of a monitor: share of the held-out rows within the limit."""
    novelty_share: float = Field(default=0.2, gt=0, lt=1)
    """Of a monitor: share of the training rows, the last ones, that are held out."""
    novelty_neighbours: int = Field(default=10, ge=1)
    """Of the monitor ``neighbours``: training rows averaged over."""

    move_multiple: float = Field(default=3.0, gt=0)
    """A price move is impossible beyond this many times the largest of training."""
    least_log_move: float = Field(default=0.25, gt=0)
    """No move smaller than this is called impossible."""
    shock_multiple: float = Field(default=1.5, gt=0)
    """A move beyond this many times the largest of training trips, but is believed."""
    gap_multiple: float = Field(default=1.5, gt=0)
    """Silence is a fault beyond this many times the longest gap of training."""
    review_bars: int = Field(default=5, ge=1)
    """In a replay of history: bars after a trip until the imagined operator may re-arm."""

    owner: str = "Demonstration desk"
    developer: str = "finchaos contributors"

    @property
    def schema_of_features(self) -> FeatureSchema:
        """The feature schema."""
        return _shipped_schema(self.features)

    @property
    def network(self) -> Config:
        """Sizes of the network."""
        return Config(
            n_features=len(self.schema_of_features.names),
            d_model=self.d_model,
            d_state=self.d_state,
            d_conv=self.d_conv,
            n_layers=self.n_layers,
            d_latent=self.d_latent,
            horizons=self.horizons,
            backend=self.backend,
        )

    @property
    def laboratory(self) -> Laboratory:
        """Simulated paths of pre-training; a quarter as many more are held out."""
        held_out = max(1, self.pretrain_paths // 4)
        return Laboratory(self.pretrain_paths, held_out, self.pretrain_bars)

    @property
    def pretraining(self) -> Schedule:
        """Schedule of pre-training."""
        return Schedule(
            self.pretrain_steps,
            self.pretrain_batch,
            self.window_bars,
            self.burn_in_bars,
            self.pretrain_rate,
            self.slowness,
        )

    @property
    def finetuning(self) -> Schedule:
        """Schedule of fine-tuning."""
        return Schedule(
            self.finetune_steps,
            self.finetune_batch,
            self.window_bars,
            self.burn_in_bars,
            self.finetune_rate,
            self.slowness,
        )

    @property
    def lessons(self) -> Lessons:
        """The simulated lessons of a curriculum."""
        drawing = Drawing(
            paths=self.pretrain_paths,
            bars=self.pretrain_bars,
            batch=self.pretrain_batch,
            window_bars=self.window_bars,
            variety=self.variety,
        )
        weights = Weights(slowness=self.slowness)
        return Lessons(self.pretrain_steps, self.pretrain_rate, drawing, self.burn_in_bars, weights)

    @property
    def last_lessons(self) -> Lessons:
        """Those among real bars."""
        lessons = self.lessons
        return replace(
            lessons,
            steps=self.finetune_steps,
            learning_rate=self.finetune_rate,
            drawing=replace(lessons.drawing, batch=self.finetune_batch),
        )

    @property
    def cluster_rule(self) -> ClusterRule:
        """How regimes are found."""
        return ClusterRule(self.clusters, self.regimes, self.temperature, self.volatility_ratio)

    @property
    def filter_rule(self) -> FilterRule:
        """How regimes are debounced."""
        return FilterRule(self.entry_bars, self.exit_bars)

    @property
    def sizing_rule(self) -> SizingRule | LeverageMap:
        """How stress becomes exposure."""
        if self.knots:
            return LeverageMap(
                self.knots, self.max_position, 0.0 - self.min_position, band=self.band
            )
        return SizingRule(
            self.min_position, self.max_position, self.calm_below, self.stressed_above, self.band
        )

    @property
    def novelty_rule(self) -> NoveltyRule | None:
        """The monitor of novelty; None where the regimes themselves are it."""
        if self.novelty == "clusters":
            return None
        return NoveltyRule(
            self.novelty,
            self.novelty_neighbours,
            self.novelty_quantile,
            self.novelty_share,
            gap=max(self.horizons),
        )

    @property
    def least_training_bars(self) -> int:
        """Bars that training needs at least: a year past the warm-up, a window and its labels."""
        return self.warmup_bars + max(250, self.window_bars + max(self.horizons))

    def checked(self) -> Settings:
        """These settings, every one of them found possible.

        Raises
        ------
        InputError
            If one is not.
        """
        made = (self.network, self.laboratory, self.pretraining, self.finetuning)
        _ = (*made, self.cluster_rule, self.filter_rule, self.sizing_rule)
        if self.teaching == "curriculum":
            _ = (self.lessons, self.last_lessons)
        elif self.stress_from == "head":
            raise InputError(
                "only a curriculum teaches a head to tell stress",
                expected="teaching: curriculum with stress_from: head",
                got=f"teaching: {self.teaching}",
            )
        if self.stress_from == "head" and self.regimes != 2:
            raise InputError(
                "the stress head knows two regimes", expected="regimes: 2", got=str(self.regimes)
            )
        return self


@cache
def _shipped_schema(name: str) -> FeatureSchema:
    """The schema of a name, parsed once: a check may ask for signals thousands of times."""
    return load_schema(name)
