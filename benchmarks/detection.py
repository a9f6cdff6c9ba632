"""How soon and how surely changes of regime are seen, where the true regimes are known.

Markets are drawn by seed, two paths each of sixteen years to fit on and sixteen to be scored on.
Everything filters: no score of a bar reads a later bar. Alarms are raised from the score at which
the first halves have one false alarm in a calm year.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch

from benchmarks import detection_peers as peers
from benchmarks.exact_filter import heston_stress
from benchmarks.report import Options, Report, Table
from finchaos.core.provenance import random_stream, stream_seed
from finchaos.features.schema import load_schema
from finchaos.markets.simulate.heston import (
    HestonConfig,
    HestonPaths,
    HestonRegime,
    simulate,
)
from finchaos.markets.simulate.regime_switching import hardy
from finchaos.models.mamba_regime import Config, new_network
from finchaos.regimes.kpis import Detection, auc, delay_quantile, pooled, score_detection
from finchaos.training.curriculum import SWITCHING_MARKET, Stage, calm_then_switching, teach
from finchaos.training.simulated import Drawing, Units

SEEDS, PATHS, TRAIN, TEST = 20, 2, 4032, 4032
YEAR = 252.0
FALSE_ONSETS = 1.0
FLAGGED, OFF_AFTER = 0.07, (1, 2, 3, 5)
"""Share of calm days that a debounced alarm may flag, and how long it may linger."""
HARDLY_OFF = 0.5
"""Share of calm days that a plain alarm may flag: one that is never off has no onsets."""
KNOWN, UNSEEN = slice(250, TRAIN), slice(TRAIN, None)
DRAWS, LEVEL = 2000, 0.95
OURS = "**mamba_regime after the curriculum**"
COLUMNS = (
    "method", "AUC", "95 %", "ours minus it", "95 % paired",
    "plain alarm: found", "median days", "95 %, days", "false alarms a calm year",
    "calm days flagged",
    "debounced alarm: off after bars", "found, debounced", "median days, debounced",
    "95 %, days debounced", "false alarms, debounced", "calm days flagged, debounced", "minutes",
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """One table.

    Attributes
    ----------
    title : str
    market : HestonConfig
    with_range : bool
    steps, width : int
        Lessons of the network, and its width.
    goal : str
    """

    title: str
    market: HestonConfig
    with_range: bool
    steps: int
    width: int
    goal: str


OHLC = Setting(
    "Switching Heston, bars with a range",
    SWITCHING_MARKET,
    True,
    4000,
    32,
    "an AUC of 0.88, and 15 days",
)
CLOSES = Setting(
    "Switching Heston, closes alone", SWITCHING_MARKET, False, 8000, 32, "an AUC of 0.78"
)


def _gaussian_chain() -> HestonConfig:
    """Hardy's chain; a variance without noise is drawn to its level in a single step of a bar."""
    law, steps = hardy(), 8
    regimes = tuple(
        HestonRegime(
            kappa=law.bars_per_year * steps,
            theta=regime.volatility**2,
            vol_of_vol=0.0,
            rho=0.0,
            drift=regime.log_drift + 0.5 * regime.volatility**2,
            mean_stay_bars=1.0 / (1.0 - law.transition[k][k]),
        )
        for k, regime in enumerate(law.regimes)
    )
    return HestonConfig(regimes=regimes, substeps=steps, bars_per_year=law.bars_per_year)


CHAIN = Setting(
    "Gaussian chain of Hardy (2001), closes alone",
    _gaussian_chain(),
    False,
    1500,
    24,
    "an AUC within 0.01 of the exact filter's",
)


@dataclass(frozen=True, eq=False)
class Alarmed:
    """An alarm on the second halves of all markets.

    Attributes
    ----------
    off_after : int
        Bars in a row below the threshold that end it.
    detections : tuple of Detection
        One a seed.
    """

    off_after: int
    detections: tuple[Detection, ...]


@dataclass(frozen=True, eq=False)
class Scored:
    """A method on the second halves of all markets.

    Attributes
    ----------
    areas : numpy.ndarray, shape (seeds,)
        Under the ROC curve, the two paths of a seed pooled.
    plain, debounced : Alarmed
    minutes : float
        Fitting and scoring.
    """

    areas: np.ndarray
    plain: Alarmed
    debounced: Alarmed
    minutes: float


def ohlc(options: Options) -> Report:
    """Bars with open, high, low and close."""
    return _report("detection", OHLC, options)


def closes(options: Options) -> Report:
    """Closes alone."""
    return _report("detection_closes", CLOSES, options)


def chain(options: Options) -> Report:
    """Two Gaussian regimes, where a hidden Markov model is the true model."""
    return _report("detection_chain", CHAIN, options)


def _report(name: str, setting: Setting, options: Options) -> Report:
    markets = draw(setting.market, SEEDS)
    told = peers.Setting(setting.market, TRAIN, setting.with_range, seed=1)
    methods: dict[str, Callable[[], peers.Scorer]] = {
        "volatility of 21 days": lambda: peers.volatility(told),
        "GARCH(1,1)": lambda: peers.garch(told),
    }
    notes = [
        f"{SEEDS} seeds, {PATHS} paths each, {TRAIN} bars to fit on and {TEST} to be scored on; "
        "intervals resample seeds.",
        "Days count from the first bar of a spell of stress to the alarm, missed spells as never.",
        "The threshold is the lowest at which the first halves have one false alarm in a calm "
        "year and half of the calm days are flagged at most. The debounced alarm lingers, for as "
        f"many bars of {', '.join(map(str, OFF_AFTER))} as find soonest there with at most "
        f"{FLAGGED:.0%} of calm days flagged.",
        "Unsupervised methods are fitted on the first half of each path; boosting and ours are "
        "taught on other paths of the same law, whose regimes they are told; the filter is told "
        "the law itself.",
    ]
    for package, label, make in (
        ("hmmlearn", "hidden Markov model (hmmlearn, filtered)", peers.hidden_markov),
        ("jumpmodels", "statistical jump model (jumpmodels, online)", peers.jump_model),
    ):
        if find_spec(package) is None:
            notes.append(f"{package} is not installed: pip install {package} measures it.")
        else:
            methods[label] = lambda make=make: make(told)  # type: ignore[misc]
    methods["gradient boosting on our features"] = lambda: peers.boosting(told)
    methods[OURS] = lambda: _taught(setting, options.backend)
    methods["exact filter that knows the parameters"] = lambda: _ceiling(setting)
    scored = {label: _score(make, markets) for label, make in methods.items()}
    rows = tuple(_row(label, found, scored[OURS]) for label, found in scored.items())
    notes.append(f"Goal: {setting.goal}.")
    return Report(name, (Table(setting.title, COLUMNS, rows, tuple(notes)),))


def draw(market: HestonConfig, seeds: int) -> list[HestonPaths]:
    """The markets everything is scored on."""
    streams = [random_stream(seed, "benchmark/detection") for seed in range(seeds)]
    return [simulate(market, PATHS, TRAIN + TEST, stream) for stream in streams]


def _taught(setting: Setting, backend: str) -> peers.Scorer:
    """Our network, taught by the simulated stages of the curriculum and nothing else."""
    schema = load_schema(peers.SCHEMAS[setting.with_range])
    config = Config(
        len(schema.names), d_model=setting.width, n_layers=2, d_state=16, d_latent=8,
        horizons=(5, 20), backend=backend,
    )  # fmt: skip
    seed = stream_seed(1, "benchmark/detection/taught")
    network = new_network(config, stream_seed(seed, "weights"))
    units = Units.of_market(setting.market, schema, config.horizons, seed=seed)
    stages: Sequence[Stage] = calm_then_switching(setting.steps, 4e-3)
    if setting.market is not SWITCHING_MARKET:
        stages = [Stage("switching", setting.steps, 4e-3, setting.market)]
    teach(network, stages, units, Drawing(), seed=seed)

    def score(paths: HestonPaths) -> np.ndarray:
        with torch.no_grad():
            said = network(torch.from_numpy(units.features(paths)))
        return said.stress[..., 0].double().numpy()

    return score


def _ceiling(setting: Setting) -> peers.Scorer:
    return lambda paths: heston_stress(
        paths, setting.market, with_range=setting.with_range, seed=1, workers=2
    )


def _score(make: Callable[[], peers.Scorer], markets: Sequence[HestonPaths]) -> Scored:
    start = time.perf_counter()
    scorer = make()
    scores = np.array([scorer(paths) for paths in markets])
    minutes = (time.perf_counter() - start) / 60.0
    truth = np.array([paths.regime > 0 for paths in markets])
    areas = [
        auc(one.ravel(), label.ravel())
        for one, label in zip(scores[:, :, TRAIN:], truth[:, :, TRAIN:], strict=True)
    ]
    plain = _alarmed(scores, truth, _threshold(scores, truth, 1, HARDLY_OFF), 1, UNSEEN)
    tried = {after: _threshold(scores, truth, after, FLAGGED) for after in OFF_AFTER}
    delays = {
        after: pooled(_alarmed(scores, truth, value, after, KNOWN).detections).median_delay
        for after, value in tried.items()
    }
    best = min(OFF_AFTER, key=lambda after: (delays[after], after))
    return Scored(
        np.array(areas), plain, _alarmed(scores, truth, tried[best], best, UNSEEN), minutes
    )


def _threshold(scores: np.ndarray, truth: np.ndarray, after: int, flagged: float) -> float:
    """The lowest that the first halves allow, by bisection of their quantiles."""
    low, high = 0.0, 1.0
    for _ in range(18):
        middle = (low + high) / 2.0
        value = float(np.quantile(scores[:, :, KNOWN], middle))
        found = pooled(_alarmed(scores, truth, value, after, KNOWN).detections)
        within = found.false_onsets_per_year <= FALSE_ONSETS
        if within and found.calm_share_flagged <= flagged:
            high = middle
        else:
            low = middle
    return float(np.quantile(scores[:, :, KNOWN], high))


def _alarmed(
    scores: np.ndarray, truth: np.ndarray, threshold: float, after: int, rows: slice
) -> Alarmed:
    """An alarm that goes on at once and off after bars in a row below the threshold."""
    on = scores >= threshold
    place = np.arange(scores.shape[-1])
    last = np.maximum.accumulate(np.where(on, place, -after), axis=-1)
    alarm = (place - last < after)[:, :, rows]
    detections = [
        pooled([score_detection(a, b, bars_per_year=YEAR) for a, b in zip(one, two, strict=True)])
        for one, two in zip(alarm, truth[:, :, rows], strict=True)
    ]
    return Alarmed(after, tuple(detections))


def _row(label: str, found: Scored, ours: Scored) -> tuple[str | float | None, ...]:
    rng = random_stream(1, "benchmark/detection/bootstrap")
    drawn = rng.integers(0, len(found.areas), (DRAWS, len(found.areas)))
    difference = ours.areas - found.areas
    same = found is ours
    return (
        label,
        round(float(found.areas.mean()), 3),
        _interval(found.areas[drawn].mean(axis=1), 3),
        None if same else round(float(difference.mean()), 3) + 0.0,
        None if same else _interval(difference[drawn].mean(axis=1), 3),
        *_alarm_cells(found.plain, drawn),
        found.debounced.off_after,
        *_alarm_cells(found.debounced, drawn),
        round(found.minutes, 1),
    )


def _alarm_cells(found: Alarmed, drawn: np.ndarray) -> tuple[str | float, ...]:
    whole = pooled(found.detections)
    parts = [one.delays for one in found.detections]
    days = [delay_quantile(np.concatenate([parts[n] for n in row]), 0.5) for row in drawn]
    low, high = (np.quantile(days, q, method="nearest") for q in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return (
        f"{whole.detected_share:.0%}",
        _days(whole.median_delay),
        f"{_days(float(low))} to {_days(float(high))}",
        round(whole.false_onsets_per_year, 2),
        round(whole.calm_share_flagged, 3),
    )


def _interval(values: np.ndarray, digits: int) -> str:
    low, high = np.quantile(values, ((1.0 - LEVEL) / 2, (1.0 + LEVEL) / 2))
    return f"{low:.{digits}f} to {high:.{digits}f}"


def _days(value: float) -> str:
    """Of a median; it is not finite where fewer than half were found."""
    return f"{value:g}" if np.isfinite(value) else "never"
