"""A paper run in a process of its own, to be killed: folder, model and seconds per bar."""

from __future__ import annotations

import sys
from pathlib import Path

from finchaos.live.feeds import FileReplay
from finchaos.live.runner import PaperSettings, run_paper
from finchaos.subjects.mamba_regime import load
from tests.finchaos.live.markets import HISTORY, RULES, START, planted, planted_market
from tests.finchaos.subjects.small import market

if __name__ == "__main__":
    folder, model, pace = sys.argv[1:]
    if model == "planted":
        bars, first, subject = planted_market(), START, planted()
    else:
        bars, first, subject = market().rows(0, HISTORY + 120), HISTORY, load(Path(model))
    feed = FileReplay(bars.rows(first), seconds_per_bar=float(pace))
    run_paper(PaperSettings(Path(folder), subject, feed, bars.rows(0, first), RULES, sync=False))
