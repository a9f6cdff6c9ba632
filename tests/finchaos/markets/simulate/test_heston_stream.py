"""The endless path against the simulator of many paths."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.bar_file import read_bars, stream_rows
from finchaos.markets.simulate.heston import CALM, SCHEMES, STRESSED, HestonConfig, simulate
from finchaos.markets.simulate.heston_stream import HestonStream, generate, stream_bars
from finchaos.markets.simulate.labelled import FIELDS

NAMES = tuple(name for name in FIELDS if name != "switch")
THREE = (CALM, STRESSED, replace(CALM, theta=0.06, vol_of_vol=1.5, mean_stay_bars=20.0))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("regimes", [(CALM, STRESSED), (CALM,), THREE])
@pytest.mark.parametrize("substeps", [1, 8])
def test_the_path_is_the_simulators_only_path(scheme: str, regimes: tuple, substeps: int) -> None:
    config = HestonConfig(regimes, scheme=scheme, substeps=substeps)
    paths = simulate(config, 1, 1500, random_stream(5, "test.stream"))
    rows = HestonStream(config, random_stream(5, "test.stream")).next_bars(1500)
    for name in NAMES:
        expected, found = getattr(paths, name)[0], getattr(rows, name)
        if scheme == "full_truncation":
            assert (found == expected).all(), name
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-15)
    assert (rows.switch[1:] == (np.diff(rows.regime) != 0)).all()


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_how_bars_are_divided_changes_no_bit(scheme: str, sizes: list[int]) -> None:
    config = HestonConfig(
        (replace(CALM, mean_stay_bars=9.0), replace(STRESSED, mean_stay_bars=4.0)), scheme=scheme
    )
    whole = HestonStream(config, random_stream(5, "test.cut")).next_bars(sum(sizes))
    stream = HestonStream(config, random_stream(5, "test.cut"))
    parts = [stream.next_bars(size) for size in sizes]
    assert [part.first_row for part in parts] == [0, *np.cumsum(sizes)[:-1].tolist()]
    for name in FIELDS:
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert (joined == getattr(whole, name)).all(), name


@pytest.mark.parametrize(("n_bars", "chunk"), [(0, 5), (5, 0), (-1, 5)])
def test_nothing_to_draw_is_refused(n_bars: int, chunk: int, tmp_path: Path) -> None:
    rng = random_stream(5, "test.stream")
    with pytest.raises(InputError, match="nothing to simulate"):
        next(stream_bars(HestonConfig(), n_bars, rng, chunk_bars=chunk))
    with pytest.raises(InputError, match="no bars"):
        HestonStream(HestonConfig(), rng).next_bars(0)
    with pytest.raises(InputError, match="nothing to simulate"):
        generate(tmp_path / "a.parquet", HestonConfig(), n_bars, seed=1, chunk_bars=chunk)
    assert list(tmp_path.iterdir()) == []


def test_a_generated_file_holds_the_path_and_says_how_it_came_to_be(tmp_path: Path) -> None:
    config = HestonConfig(scheme="quadratic_exponential")
    said = generate(tmp_path / "a.parquet", config, 700, seed=9, chunk_bars=256)
    assert (said.seed, said.scheme) == (9, "quadratic-exponential")
    assert said.parameters["regimes"][1]["theta"] == STRESSED.theta
    assert said.package.startswith("finchaos ")
    rows = HestonStream(config, random_stream(9, said.stream)).next_bars(700)
    found = read_bars(tmp_path / "a.parquet")
    for name in ("open", "high", "low", "close", "volume"):
        assert (getattr(found.bars, name) == getattr(rows, name)).all()
    assert (found.regime == rows.regime).all()
    assert (found.variance == rows.variance).all()
    assert (found.switch_points == np.flatnonzero(rows.switch)).all()
    assert [len(part) for part in stream_rows(tmp_path / "a.parquet")] == [256, 256, 188]


PEAK = """
import resource, sys
from pathlib import Path
from finchaos.markets.simulate.heston import HestonConfig
from finchaos.markets.simulate.heston_stream import generate
generate(Path(sys.argv[1]), HestonConfig(), int(sys.argv[2]), seed=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_million_days_take_no_more_memory_than_a_hundred_thousand(tmp_path: Path) -> None:
    """Their arrays alone would be 58 MB, what is drawn for them 300 MB."""
    peak = {
        days: int(
            subprocess.run(
                [sys.executable, "-c", PEAK, str(tmp_path / "a.parquet"), str(days)],
                check=True,
                capture_output=True,
            ).stdout
        )
        for days in (100_000, 1_000_000)
    }
    kibibytes = 1024 if sys.platform == "darwin" else 1
    assert (peak[1_000_000] - peak[100_000]) / kibibytes < 30_000
