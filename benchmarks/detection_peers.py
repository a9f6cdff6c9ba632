"""Other packages and simple rules that score stress bar by bar, each from the bars up to it.

Every one is fitted on the first half of a path, or on labelled paths of its own, and then filters
on with what it found. Where bars have a range, each is given the range variance too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import multivariate_normal

from benchmarks.exact_filter import hamilton
from finchaos.core.provenance import random_stream, stream_seed
from finchaos.features.schema import load_schema
from finchaos.markets.simulate.heston import HestonConfig, HestonPaths, simulate

SCHEMAS = {True: "regime_v1", False: "regime_close_v1"}
"""Feature schemas by whether bars have a range."""
STARTS = 5
TEACHING_PATHS, TEACHING_BARS = 96, 4032
Scorer = Callable[[HestonPaths], np.ndarray]


@dataclass(frozen=True)
class Setting:
    """What a peer is told.

    Attributes
    ----------
    market : HestonConfig
        That labelled paths are drawn from; unsupervised peers never see it.
    train : int
        Bars of each path to fit on, its first ones.
    with_range : bool
    seed : int
    """

    market: HestonConfig
    train: int
    with_range: bool
    seed: int


def volatility(setting: Setting) -> Scorer:
    """Mean variance of the last 21 bars: the threshold on it is a rule's only parameter."""

    def score(paths: HestonPaths) -> np.ndarray:
        values = [
            pd.Series(row).rolling(21, min_periods=5).mean() for row in _variance(paths, setting)
        ]
        return np.nan_to_num(np.array(values))

    return score


def garch(setting: Setting) -> Scorer:
    """Variance of the next bar by GARCH(1,1) of the package ``arch``, fitted on the first half."""
    from arch import arch_model

    def one(returns: np.ndarray) -> np.ndarray:
        model = arch_model(100.0 * returns, mean="Constant", vol="GARCH", p=1, q=1)
        found = model.fit(last_obs=setting.train, disp="off", show_warning=False)
        mean, omega, alpha, beta = found.params
        fixed = model.fix(found.params)
        errors = 100.0 * returns - mean
        return np.asarray(omega + alpha * errors**2 + beta * fixed.conditional_volatility**2)

    return lambda paths: np.array([one(row) for row in _returns(paths)])


def hidden_markov(setting: Setting) -> Scorer:
    """Two Gaussian states fitted by ``hmmlearn``, the best of five starts; our forward filter.

    ``hmmlearn`` itself smooths: its probabilities of a bar use the bars after it.
    """
    from hmmlearn.hmm import GaussianHMM

    def one(rows: np.ndarray) -> np.ndarray:
        known = rows[: setting.train]
        fits = []
        for start in range(STARTS):
            model = GaussianHMM(
                2,
                "full",
                n_iter=200,
                random_state=stream_seed(setting.seed, f"hmm/{start}") % 2**32,
            )
            fits.append((model.fit(known).score(known), start, model))
        best = max(fits)[2]
        stormy = int(np.argmax(best.covars_[:, 0, 0]))
        laws = [multivariate_normal(best.means_[k], best.covars_[k]) for k in (0, 1)]
        density = np.array([law.logpdf(rows) for law in laws]).T
        known = np.maximum(hamilton(density[None], best.transmat_, best.startprob_)[0], 1e-300)
        # As odds: near one, probabilities are all the same number.
        return np.asarray(np.log(known[:, stormy]) - np.log(known[:, 1 - stormy]))

    def score(paths: HestonPaths) -> np.ndarray:
        returns = 100.0 * _returns(paths)
        seen = [returns]
        if setting.with_range:
            seen.append(np.log(np.maximum(_variance(paths, setting), 1e-8)))
        return np.array([one(rows) for rows in np.stack(seen, axis=-1)])

    return score


def jump_model(setting: Setting, penalty: float = 50.0) -> Scorer:
    """The continuous statistical jump model of ``jumpmodels``, online, on logarithms of variance.

    Variances are exponentially weighted with half-lives of 5, 20 and 60 bars.
    """
    from jumpmodels.jump import JumpModel

    def one(path: np.ndarray, returns: np.ndarray) -> np.ndarray:
        columns = [pd.Series(path).ewm(halflife=life).mean() for life in (5, 20, 60)]
        rows = np.log(np.maximum(np.array(columns).T, 1e-8))
        known = rows[: setting.train]
        rows = np.clip((rows - known.mean(axis=0)) / known.std(axis=0), -3.0, 3.0)
        model = JumpModel(2, penalty, cont=True, n_init=STARTS, random_state=setting.seed)
        index = pd.RangeIndex(len(rows))
        frame, moves = pd.DataFrame(rows, index), pd.Series(returns, index)
        model.fit(frame[: setting.train], moves[: setting.train], sort_by="vol")
        return np.asarray(model.predict_proba_online(frame))[:, 1]

    def score(paths: HestonPaths) -> np.ndarray:
        pairs = zip(_variance(paths, setting), _returns(paths), strict=True)
        return np.array([one(path, returns) for path, returns in pairs])

    return score


def boosting(setting: Setting) -> Scorer:
    """Gradient boosting of scikit-learn on the model's own features, taught on labelled paths."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    schema = load_schema(SCHEMAS[setting.with_range])

    def features(paths: HestonPaths) -> np.ndarray:
        return schema.compute(_prices(paths))

    taught = simulate(
        setting.market, TEACHING_PATHS, TEACHING_BARS, random_stream(setting.seed, "boosting/paths")
    )
    rows = features(taught)[:, schema.lookback :]
    labels = taught.regime[:, schema.lookback :] > 0
    model = HistGradientBoostingClassifier(
        max_iter=300, learning_rate=0.05, min_samples_leaf=200, l2_regularization=1.0,
        random_state=stream_seed(setting.seed, "boosting") % 2**32,
    )  # fmt: skip
    model.fit(rows.reshape(-1, rows.shape[-1]), labels.ravel())

    def score(paths: HestonPaths) -> np.ndarray:
        seen = features(paths)
        said = model.predict_proba(seen.reshape(-1, seen.shape[-1]))[:, 1]
        return said.reshape(seen.shape[:2])

    return score


def _prices(paths: HestonPaths) -> dict[str, np.ndarray]:
    return {name: getattr(paths, name) for name in ("open", "high", "low", "close")}


def _returns(paths: HestonPaths) -> np.ndarray:
    return np.log(paths.close / paths.open)


def _variance(paths: HestonPaths, setting: Setting) -> np.ndarray:
    """Of each bar: Garman and Klass (1980), or the squared return without a range."""
    squares = _returns(paths) ** 2
    if not setting.with_range:
        return squares
    return 0.5 * np.log(paths.high / paths.low) ** 2 - (2.0 * np.log(2.0) - 1.0) * squares
