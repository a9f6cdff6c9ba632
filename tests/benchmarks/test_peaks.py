"""The table of peaks: none among sound models, and every gross one found."""

from __future__ import annotations

from benchmarks.peaks import Size, run
from benchmarks.report import Options


def test_gross_peaks_are_found_and_no_sound_model_is_accused() -> None:
    small = Size(
        markets=1,
        planted=3,
        tests=(500,),
        skills=(0.0, 0.9),
        draws=100,
        kinds=("volatility_threshold",),
    )
    sound, planted = run(Options(), small).tables
    assert sound.column("sound model") == ["volatility_threshold"]
    assert sum(sound.column("accused by the rule")) == 0  # type: ignore[arg-type]
    assert sound.column("hyper-parameters") == [2]
    assert planted.column("found, %") == [0.0, 100.0]
    nothing, all_of_it = planted.column("mean peak, p.a.")
    assert nothing < 1.0 < all_of_it  # type: ignore[operator]
