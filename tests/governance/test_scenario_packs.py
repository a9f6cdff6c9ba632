"""Scenario packs from outside: really installed, and refused by the name of who brought them."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest

from finchaos.core.errors import DocumentError, InputError
from governance.scenario import ENTRY_POINT_GROUP, load_scenario, load_scenarios, scenario_names

HOME = Path(str(files("stress_scenarios")))
PACK = "pack_of_crises"


def install(tmp_path: Path, *, name: str = "outside_1987", old: str = "", new: str = "") -> Path:
    """Build a wheel with one scenario, install it with pip, and return the folder it went to."""
    place, wheel = tmp_path / "site", tmp_path / f"{PACK}-1.2-py3-none-any.whl"
    text = (HOME / "black_monday_1987.yaml").read_text(encoding="utf-8")
    window = (HOME / "windows" / "black_monday_1987.csv").read_text(encoding="utf-8")
    text = text.replace("name: black_monday_1987", f"name: {name}")
    assert not old or old in text + window
    info = f"{PACK}-1.2.dist-info"
    contents = {
        f"{PACK}/__init__.py": "",
        f"{PACK}/{name}.yaml": text.replace(old, new) if old else text,
        f"{PACK}/windows/black_monday_1987.csv": window.replace(old, new, 1) if old else window,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {PACK}\nVersion: 1.2\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[{ENTRY_POINT_GROUP}]\n{name} = {PACK}\n",
    }
    record = "".join(f"{path},,\n" for path in (*contents, f"{info}/RECORD"))
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in {**contents, f"{info}/RECORD": record}.items():
            archive.writestr(path, content)
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*command, "--target", str(place), str(wheel)], check=True, timeout=120)
    return place


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a pack and puts it on the path."""

    def do(**values: str) -> Path:
        place = install(tmp_path, **values)
        monkeypatch.syspath_prepend(str(place))
        monkeypatch.delitem(sys.modules, PACK, raising=False)
        importlib.invalidate_caches()
        return place

    yield do
    sys.modules.pop(PACK, None)


def test_a_pack_is_found_loaded_and_named_in_the_provenance(installed):
    installed()
    assert "outside_1987" in scenario_names()
    scenario = load_scenario("outside_1987")
    shipped = load_scenario("black_monday_1987")
    assert scenario.data == shipped.data
    assert scenario.provenance["origin"] == f"{PACK} 1.2"
    assert shipped.provenance["origin"] == "shipped"
    assert scenario.name in {one.name for one in load_scenarios()}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("1987-10-19,-0.2047", "1987-10-19,-1.2047", "above -1, so that the price stays positive"),
        ("1987-10-19,", "2987-10-19,", "lies in the future"),
        ("onset_drawdown: 0.07", "onset_drawdown: 7", "less than 1"),
    ],
)
def test_a_spoilt_pack_is_refused_by_its_name(installed, old, new, says):
    window = (HOME / "windows" / "black_monday_1987.csv").read_text(encoding="utf-8")
    if old.startswith("1987-10-19,-"):
        row = next(line for line in window.splitlines() if line.startswith("1987-10-19,"))
        old = ",".join(row.split(",")[:2])
    installed(old=old, new=new)
    with pytest.raises(DocumentError, match=says) as caught:
        load_scenario("outside_1987")
    assert f"{PACK} 1.2" in str(caught.value)


def test_a_pack_without_its_package_is_refused(installed):
    place = installed()
    shutil.rmtree(place / PACK)
    importlib.invalidate_caches()
    with pytest.raises(DocumentError, match="importable package"):
        load_scenario("outside_1987")


def test_a_pack_cannot_take_the_name_of_a_scenario_that_ships(installed):
    installed(name="gfc_2008")
    with pytest.raises(InputError, match="gfc_2008"):
        scenario_names()
