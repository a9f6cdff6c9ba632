"""What the page of the state-space engine shows, runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "ssm" / "README.md"


def test_the_example_runs_and_keeps_its_promise() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    names: dict[str, object] = {}
    exec(example, names)  # noqa: S102  (our own page)
    first, y = names["first"], names["y"]
    np.testing.assert_array_equal(first, y[0, 0].detach().numpy())  # type: ignore[index]


def test_every_file_that_it_points_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text(encoding="utf-8")):
        assert (PAGE.parent / target).exists(), target
