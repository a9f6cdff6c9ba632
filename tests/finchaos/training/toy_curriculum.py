"""A small curriculum, run here or in a process of its own that dies in the middle."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from finchaos.features.schema import load_schema
from finchaos.models.mamba_regime import Config, MambaRegimeNetwork, new_network
from finchaos.training.curriculum import SWITCHING_MARKET, calm_then_switching, teach
from finchaos.training.simulated import Drawing, Units

SCHEMA = load_schema("regime_v1")
HORIZONS = (5, 20)
CONFIG = Config(len(SCHEMA.names), d_model=8, d_state=4, n_layers=1, horizons=HORIZONS)
DRAWING = Drawing(paths=6, bars=150, uses=3, batch=4, window_bars=90)
STAGES = calm_then_switching(10, 1e-2, calm=0.4)


def units() -> Units:
    return Units.of_market(SWITCHING_MARKET, SCHEMA, HORIZONS, seed=1)


def run(
    folder: Path | None, die_at: tuple[str, int] | None = None
) -> tuple[MambaRegimeNetwork, dict[str, tuple[float, ...]]]:
    def progress(stage: str, done: int, _: int) -> None:
        if (stage, done) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    network = new_network(CONFIG, 1)
    losses = teach(
        network,
        STAGES,
        units(),
        DRAWING,
        seed=1,
        burn_in_bars=20,
        folder=folder,
        checkpoint_every=2,
        progress=progress,
    )
    return network, losses


if __name__ == "__main__":
    run(Path(sys.argv[1]), (sys.argv[2], int(sys.argv[3])))
