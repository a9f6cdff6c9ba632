"""Running a fitted model over bars: one engine for a whole history and for a live stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from finchaos.core.bars import BAR_FIELDS, PRICE_FIELDS, Bar, Bars
from finchaos.core.errors import CheckpointError, DataError, InputError
from finchaos.core.signals import Signal, Signals
from finchaos.core.snapshot import put, take
from finchaos.regimes.filter import RegimeFilter
from finchaos.subjects.mamba_regime.fitted import Fitted
from finchaos.subjects.mamba_regime.settings import Settings
from finchaos.trading.feed_guard import Fault, FeedGuard
from finchaos.trading.kill_switch import KillSwitch
from finchaos.trading.sizing import Sizing


@dataclass(frozen=True, eq=False)
class _Row:
    """What the network made of a usable bar."""

    latents: np.ndarray
    stress_probability: float
    label: int
    distance: float


class Session:
    """Guard, features, network, regimes, filter, sizing and kill switch, with all their memory.

    Parameters
    ----------
    fitted : Fitted
    settings : Settings
    """

    def __init__(self, fitted: Fitted, settings: Settings) -> None:
        self.fitted, self.settings = fitted, settings
        self.guard = FeedGuard(fitted.feed)
        self.switch = KillSwitch(fitted.distance_limit)
        self._features = settings.schema_of_features.open()
        self._network = fitted.replay.fresh()
        # Stressed until enough bars have said otherwise.
        highest = settings.regimes - 1
        self._stress = RegimeFilter(settings.filter_rule, 1.0)
        self._regime = RegimeFilter(settings.filter_rule, float(highest))
        self._sizing = Sizing(settings.sizing_rule)
        self._seen = 0
        self._last = _Row(np.zeros(settings.d_latent), 1.0, highest, np.inf)

    def replay(self, bars: Bars) -> Signals:
        """Run over history, where the operator is imagined: see ``review_bars``.

        Raises
        ------
        DataError
            If features need a range that the bars do not have.
        """
        if self._features.needs_range and not bars.has_range:
            raise DataError(
                f"{bars.symbol} has closes only, and features of the range are asked for",
                remedy="build the model with features: regime_close_v1",
            )
        self.switch.review_bars = self.settings.review_bars
        try:
            values = np.column_stack([getattr(bars, name) for name in BAR_FIELDS])
            rows = self.advance(bars.index, bars.index.as_unit("ns").asi8, values)
        finally:
            self.switch.review_bars = None
        if not rows:
            rows_of_none = np.empty(0)
            return Signals(bars.index, rows_of_none)
        return Signals(
            bars.index,
            position=np.array([row.position for row in rows]),
            stress_probability=np.array([row.stress_probability for row in rows]),
            regime=np.array([row.regime for row in rows]),
            tripped=np.array([row.tripped for row in rows]),
            latents=np.array([row.latents for row in rows]),
        )

    def advance(self, index: Any, times_ns: np.ndarray, values: np.ndarray) -> list[Signal]:
        """Signals after each of the next bars, the same however bars are cut into calls.

        Parameters
        ----------
        index : sequence of pandas.Timestamp, length t
        times_ns : numpy.ndarray, shape (t,), int64
        values : numpy.ndarray, shape (t, 5)
            Open, high, low, close, volume.
        """
        faults = [
            self.guard.inspect(time, tuple(row))
            for time, row in zip(times_ns.tolist(), values.tolist(), strict=True)
        ]
        usable = np.array([fault is None or fault.usable for fault in faults], dtype=bool)
        known = iter(self._understand(values[usable]))
        return [
            self._decide(ts, next(known) if good else None, fault)
            for ts, good, fault in zip(index, usable.tolist(), faults, strict=True)
        ]

    def current(self, ts: pd.Timestamp) -> Signal:
        """A flat signal with what was known last."""
        return self._signal(ts, 0.0)

    def state(self) -> dict[str, Any]:
        """What it remembers."""
        return {
            **{name: take(part) for name, part in self._parts().items()},
            "network": self._network.state(),
            "seen": self._seen,
            "last": {**vars(self._last), "latents": self._last.latents.copy()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Remember this and nothing else; the session must have come from the same model.

        Raises
        ------
        CheckpointError
            If it is not a state of such a session.
        """
        try:
            for name, part in self._parts().items():
                put(part, state[name])
            self._network.restore(state["network"])
            self._seen, self._last = int(state["seen"]), _Row(**state["last"])
        except (InputError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                "a saved state is not of this model",
                got=f"{type(error).__name__}: {error}"[:300],
                remedy="resume with the model and the version of finchaos that saved it",
            ) from error

    def _parts(self) -> dict[str, object]:
        """Everything that remembers, but the network."""
        return {
            "guard": self.guard,
            "switch": self.switch,
            "features": self._features,
            "stress": self._stress,
            "regime": self._regime,
            "sizing": self._sizing,
        }

    def _understand(self, values: np.ndarray) -> list[_Row]:
        """Features, latents and regimes of usable bars."""
        if not len(values):
            return []
        prices = {name: values[:, column] for column, name in enumerate(PRICE_FIELDS)}
        features = self.fitted.scaler.transform(self._features.advance(prices))
        if not np.isfinite(features).all():
            raise ArithmeticError("the features are not finite")
        latents = self._network.advance(features)
        if not np.isfinite(latents).all():
            raise ArithmeticError("the network's latents are not finite")
        probabilities = self.fitted.probabilities(latents, self.settings)
        return [
            _Row(*row)
            for row in zip(
                latents,
                probabilities[:, -1].tolist(),
                probabilities.argmax(axis=1).tolist(),
                self.fitted.distance(latents).tolist(),
                strict=True,
            )
        ]

    def _decide(self, ts: pd.Timestamp, row: _Row | None, fault: Fault | None) -> Signal:
        """Regime, exposure and latch after one bar."""
        warm = self._seen >= self.settings.warmup_bars
        self._seen += 1
        if row is not None:
            self._last = row
            self._regime.step(row.label)
            self._sizing.step(self._stress.step(row.stress_probability))
        distance = row.distance if warm and row is not None else None
        tripped = self.switch.observe(distance, "" if fault is None else fault.reason)
        return self._signal(ts, self._sizing.held if warm and not tripped else 0.0)

    def _signal(self, ts: pd.Timestamp, position: float) -> Signal:
        return Signal(
            ts=ts,
            position=position,
            stress_probability=self._last.stress_probability,
            regime=int(self._regime.value),
            tripped=self.switch.tripped,
            latents=self._last.latents,
        )


class MambaRegimeStream:
    """A live session with a kill switch. It fails closed: no call but ``rearm`` raises.

    Opened by :meth:`finchaos.subjects.mamba_regime.MambaRegime.open`.

    Parameters
    ----------
    session : Session
        It may have replayed history.
    last : pandas.Timestamp or None
        Close time of the last bar replayed.
    """

    def __init__(self, session: Session, last: pd.Timestamp | None = None) -> None:
        self._session = session
        self._last: Any = pd.NaT if last is None else last
        self._broken = ""

    @property
    def tripped(self) -> bool:
        """Whether the latch is set."""
        return self._session.switch.tripped

    @property
    def trip_reason(self) -> str:
        """Why the switch tripped; empty while armed."""
        return self._session.switch.reason

    def step(self, bar: Bar) -> Signal:
        """Take the next bar and say what to hold after it.

        Whatever goes wrong trips the switch: a bar that cannot be read, a monitor that fails.
        """
        try:
            self._last = ts = bar.ts
            times = np.array([_nanoseconds(ts)])
            values = np.array([[float(getattr(bar, name)) for name in BAR_FIELDS]])
        except Exception as error:  # a bar that cannot even be read must not leave a position
            return self._flat(f"the bar cannot be read: {type(error).__name__}")
        if self._broken:
            return self._flat(self._broken)
        try:
            return self._session.advance([ts], times, values)[0]
        except Exception as error:  # half of the session may have moved: it can never be trusted
            self._broken = f"the monitor failed: {type(error).__name__}: {error}"[:200]
            return self._flat(self._broken)

    def heartbeat(self, now: pd.Timestamp) -> Signal | None:
        """Tell the switch the time when no bar came; a flat signal if the feed is stale."""
        try:
            stale = self._session.guard.stale(_nanoseconds(now))
        except Exception as error:  # a clock that cannot be read is a fault of its own
            return self._flat(f"the clock cannot be read: {type(error).__name__}")
        return self._flat(stale) if stale else None

    def rearm(self, person: str) -> None:
        """Clear the latch in the name of a person, who answers for level and time of the next bar.

        After a true break of level, such as a split, open a new stream on adjusted history: the
        features would take the break for a return.

        Raises
        ------
        InputError
            If the name is blank, or the session failed inside and cannot be trusted any more.
        """
        if self._broken:
            raise InputError(
                "this stream cannot be re-armed", got=self._broken, remedy="open a new stream"
            )
        self._session.switch.rearm(person)
        self._session.guard.vouch()

    def state(self) -> dict[str, Any]:
        """What it remembers."""
        known = isinstance(self._last, pd.Timestamp) and self._last.tz is not None
        last = _nanoseconds(self._last) if known else None
        return {"session": self._session.state(), "last": last, "broken": self._broken}

    def restore(self, state: dict[str, Any]) -> None:
        """Remember this and nothing else.

        Raises
        ------
        CheckpointError
            If it is not a state of a stream of this model.
        """
        if sorted(state) != ["broken", "last", "session"]:
            raise CheckpointError("a saved state is not of this model", got=str(sorted(state)))
        self._session.restore(state["session"])
        last = state["last"]
        self._last = pd.NaT if last is None else pd.Timestamp(last, unit="ns", tz="UTC")
        self._broken = str(state["broken"])

    def _flat(self, reason: str) -> Signal:
        self._session.switch.trip(reason)
        return self._session.current(self._last)


def _nanoseconds(ts: Any) -> int:
    """UTC nanoseconds of a zoned time stamp."""
    if not isinstance(ts, pd.Timestamp) or ts.tz is None:
        raise InputError("a time stamp needs a zone", got=repr(ts))
    return int(ts.as_unit("ns").value)
