"""Sizes at which every benchmark runs through in seconds."""

from __future__ import annotations

from benchmarks.peers import Shape
from benchmarks.report import Options
from benchmarks.timing import Protocol

ONCE = Options("torch", Protocol(rounds=1, warmups=1, calls=4, block=2))
MAMBA = Shape("mamba", 16, 4, layers=2)
MAMBA2 = Shape("mamba2", 16, 4, layers=2, headdim=8)
