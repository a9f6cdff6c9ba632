"""A trained model, a market to warm up on and one to trade, small enough for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finchaos.core.bars import Bars
from finchaos.live.broker import BrokerRules
from finchaos.live.engine import GuardRules
from finchaos.live.journal import read_journal
from finchaos.live.session import JOURNAL, Rules
from finchaos.subjects.mamba_regime import MambaRegime
from governance.selftest.volatility_regime import VolatilityRegime
from tests.finchaos.subjects.small import market, trained
from tests.planted.markets import regime_switching_bars

START = 300
HISTORY = 440
RULES = Rules(
    BrokerRules(capital=1e6, commission_bps=5.0, half_spread_bps=2.0, participation=0.05),
    GuardRules(),
)


def planted() -> VolatilityRegime:
    """A subject that cannot take its state out: its sessions go on by replay."""
    return VolatilityRegime().fit(planted_market().rows(0, START), seed=1)


def planted_market() -> Bars:
    return regime_switching_bars(1, 600)


def mamba() -> tuple[MambaRegime, Bars, Bars]:
    """Model, history, and bars to trade."""
    bars = market()
    return trained(), bars.rows(0, HISTORY), bars.rows(HISTORY, HISTORY + 120)


def journal(folder: Path, event: str = "") -> list[dict[str, Any]]:
    entries, torn = read_journal(folder / JOURNAL)
    assert torn == 0
    return [entry for entry in entries if event in ("", entry["event"])]
