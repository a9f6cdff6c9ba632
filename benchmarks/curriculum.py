"""What a curriculum is worth: networks of one size and as many steps, taught in four ways.

All are read on the same simulated paths, which none was taught on: how well they follow the hidden
variance, and how well they tell the regimes. A network that saw real bars alone was never told
either: it is read by its forecasts of variance, the best of them, in units of the simulated market.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import t as student

from benchmarks.report import Options, Report, Table
from finchaos.core.provenance import random_stream, stream_seed
from finchaos.features.scaling import RobustScaler
from finchaos.features.schema import load_schema
from finchaos.markets.builtin import load_builtin
from finchaos.markets.simulate.heston import HestonPaths, simulate
from finchaos.models.mamba_regime import Config, MambaRegimeNetwork, new_network
from finchaos.regimes.kpis import auc
from finchaos.regimes.threshold import tune_threshold
from finchaos.training.curriculum import SWITCHING_MARKET, Stage, Weights, teach
from finchaos.training.detection import Lessons, teach_detection, teach_real
from finchaos.training.finetune import finetune
from finchaos.training.loop import Schedule
from finchaos.training.simulated import Drawing, Units

SEEDS, STEPS, REAL_STEPS = (1, 2, 3, 4, 5), 1500, 60
FEWER_STEPS = (60, 200, 600)
PATHS, BARS = 24, 2000
RATE, BURN_IN = 4e-3, 60
REAL, SWITCHING = "real bars alone", "switching markets alone"
SIMULATED, WHOLE = "calm, then switching", "calm, switching, then real bars among them"
COLUMNS = (
    "taught on", "tracking of v", "95 %", "AUC of the regime", "95 %, AUC", "balanced accuracy",
    "95 %, accuracy", "minutes",
)  # fmt: skip


@dataclass(frozen=True)
class Read:
    """What a network could tell.

    Attributes
    ----------
    tracking : float
        Correlation with the logarithm of the hidden variance.
    area, accuracy : float
        Of the regime; the threshold of the accuracy comes from other paths.
    """

    tracking: float
    area: float
    accuracy: float


def run(options: Options) -> Report:
    """Four ways of teaching over five seeds."""
    config = _config(options.backend)
    reads: dict[str, list[Read]] = {}
    minutes: dict[str, float] = {}
    for seed in SEEDS:
        school = _School(config, seed)
        for name, lesson in school.lessons().items():
            start = time.perf_counter()
            reads.setdefault(name, []).append(school.examine(lesson(), told=name != REAL))
            spent = (time.perf_counter() - start) / 60.0
            minutes[name] = minutes.get(name, 0.0) + spent / len(SEEDS)
    values = {
        name: np.array([(one.tracking, one.area, one.accuracy) for one in found])
        for name, found in reads.items()
    }
    rows: list[tuple[str | float | None, ...]] = [
        (name, *_cells(found), round(minutes[name], 1)) for name, found in values.items()
    ]
    for name, other in ((SIMULATED, REAL), (WHOLE, REAL), (SIMULATED, SWITCHING)):
        label = f"difference: {name}, minus {other}"
        rows.append((label, *_cells(values[name] - values[other]), None))
    notes = (
        f"{len(SEEDS)} seeds, {STEPS} steps each, {PATHS} held-out paths of {BARS} bars; intervals "
        "are Student's over seeds, those of differences paired.",
        "Real bars: S&P 500, 1999 to 2018, of the package arch.",
    )
    return Report("curriculum", (Table("Worth of the curriculum", COLUMNS, tuple(rows), notes),))


def real_alone(options: Options) -> Report:
    """Fewer steps on real bars, of which there is one history: the baseline at its best."""
    config = _config(options.backend)
    rows: list[tuple[str | float | None, ...]] = []
    for steps in FEWER_STEPS:
        start, found = time.perf_counter(), []
        for seed in SEEDS:
            school = _School(config, seed)
            one = school.examine(school.on_real_bars(steps), told=False)
            found.append((one.tracking, one.area, one.accuracy))
        minutes = (time.perf_counter() - start) / 60.0 / len(SEEDS)
        rows.append((f"{REAL}, {steps} steps", *_cells(np.array(found)), round(minutes, 1)))
    notes = (
        f"{len(SEEDS)} seeds, the held-out paths of the table 'curriculum', beside whose rows "
        "these stand: the steps that read simulated paths best are the fair baseline.",
    )
    title = "Real bars alone, stopped early"
    return Report("curriculum_real", (Table(title, COLUMNS, tuple(rows), notes),))


def _config(backend: str) -> Config:
    return Config(
        len(load_schema("regime_v1").names), d_model=24, n_layers=2, d_state=16, d_latent=8,
        horizons=(5, 20), backend=backend,
    )  # fmt: skip


class _School:
    """Lessons and examination of one seed."""

    def __init__(self, config: Config, seed: int) -> None:
        self._config, self._seed = config, stream_seed(seed, "benchmark/curriculum")
        self._schema = load_schema("regime_v1")
        self._units = Units.of_market(
            SWITCHING_MARKET, self._schema, config.horizons, seed=self._seed
        )
        self._bars = load_builtin("spx")
        features = self._schema.build(self._bars).values
        scaler = RobustScaler.fit(features, fixed=self._schema.bounded)
        self._real = scaler.transform(features).astype(np.float32)

    def lessons(self) -> dict[str, Callable[[], MambaRegimeNetwork]]:
        """Ways of teaching a new network."""
        return {
            REAL: lambda: self.on_real_bars(STEPS),
            SWITCHING: lambda: self._taught([Stage("switching", STEPS, RATE, SWITCHING_MARKET)]),
            SIMULATED: lambda: self._simulated(STEPS),
            WHOLE: self._whole,
        }

    def examine(self, network: MambaRegimeNetwork, *, told: bool) -> Read:
        """Read a network on paths of its own stream."""
        tuning, held_out = (self._paths(name) for name in ("tuning", "held_out"))
        known = slice(self._schema.lookback, None)
        truth = np.log(np.maximum(held_out.variance[:, known], 1e-6)).ravel()
        stressed = held_out.regime[:, known].ravel() > 0
        before, after = (
            self._said(network, paths, told)[:, :, known] for paths in (tuning, held_out)
        )
        best = int(np.argmax([np.corrcoef(one.ravel(), truth)[0, 1] for one in after[:-1]]))
        score = -1 if told else best
        chosen = tune_threshold(
            before[score], tuning.regime[:, known] > 0, aim="balanced_accuracy", bars_per_year=252.0
        )
        alarm = chosen.alarm(after[score]).ravel()
        return Read(
            float(np.corrcoef(after[best].ravel(), truth)[0, 1]),
            auc(after[score].ravel(), stressed),
            float((alarm[stressed].mean() + 1.0 - alarm[~stressed].mean()) / 2.0),
        )

    def _said(self, network: MambaRegimeNetwork, paths: HestonPaths, told: bool) -> np.ndarray:
        """Readings of the variance, then of the regime, shape (n, p, t)."""
        with torch.no_grad():
            said = network(torch.from_numpy(self._units.features(paths)))
        forecasts = said.forecast.movedim(-1, 0).double().numpy()
        first = said.variance[..., 0].double().numpy()[None] if told else forecasts[:0]
        return np.concatenate([first, forecasts, said.stress[..., 0].double().numpy()[None]])

    def _paths(self, name: str) -> HestonPaths:
        return simulate(SWITCHING_MARKET, PATHS, BARS, random_stream(self._seed, name))

    def _new(self) -> MambaRegimeNetwork:
        return new_network(self._config, stream_seed(self._seed, "weights"))

    def on_real_bars(self, steps: int) -> MambaRegimeNetwork:
        """A new network after so many steps on the real history."""
        schedule = Schedule(steps, Drawing().batch, Drawing().window_bars, BURN_IN, RATE)
        return finetune(self._new(), self._bars, self._real, schedule, seed=self._seed)

    def _taught(self, stages: list[Stage]) -> MambaRegimeNetwork:
        network = self._new()
        teach(network, stages, self._units, Drawing(), seed=self._seed, burn_in_bars=BURN_IN)
        return network

    def _lessons(self, steps: int) -> Lessons:
        return Lessons(steps, RATE, Drawing(), BURN_IN, Weights())

    def _simulated(self, steps: int) -> MambaRegimeNetwork:
        taught = teach_detection(self._config, self._schema, self._lessons(steps), seed=self._seed)
        return taught.network

    def _whole(self) -> MambaRegimeNetwork:
        network = self._simulated(STEPS - REAL_STEPS)
        lessons = self._lessons(REAL_STEPS)
        return teach_real(network, self._units, self._bars, self._real, lessons, seed=self._seed)


def _cells(found: np.ndarray) -> tuple[str | float, ...]:
    """Mean and interval of each column."""
    mean = found.mean(axis=0)
    half = student.ppf(0.975, len(found) - 1) * found.std(axis=0, ddof=1) / np.sqrt(len(found))
    cells: list[str | float] = []
    for middle, width in zip(mean, half, strict=True):
        cells += [round(float(middle), 3) + 0.0, f"{middle - width:.3f} to {middle + width:.3f}"]
    return tuple(cells)
