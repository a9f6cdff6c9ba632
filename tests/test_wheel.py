"""The built wheel in a clean environment: base dependencies only, no torch, no repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


def dependencies(names: list[str]) -> set[str]:
    """All distributions that these need without extras, themselves included."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for text in distribution(name).requires or []:
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                waiting.append(need.name.lower())
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """An interpreter that has the wheel and its base dependencies and nothing else."""
    place = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(place), str(ROOT)],
        check=True,
        capture_output=True,
    )
    wheel = next(place.glob("*.whl"))
    venv.create(place / "env", with_pip=False)
    site = next((place / "env" / "lib").glob("python*")) / "site-packages"
    base = [
        Requirement(text).name
        for text in distribution("finchaos").requires or []
        if "extra ==" not in text
    ]
    for name in dependencies([name.lower() for name in base]):
        dist = distribution(name)
        for top in {path.parts[0] for path in dist.files or [] if path.parts[0] != ".."}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(dist.locate_file(top))))
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--target",
            str(site),
            str(wheel),
        ],
        check=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    return place / "env" / "bin" / "python"


def run(python: Path, code: str) -> str:
    done = subprocess.run([str(python), "-I", "-c", code], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_environment_really_has_no_torch(python):
    assert "False" in run(python, "import importlib.util as u; print(bool(u.find_spec('torch')))")


def test_governance_and_the_command_need_no_torch(python):
    run(python, "import governance, governance.harness, governance.policy, reports")
    out = run(
        python,
        "import sys; sys.argv = ['finchaos', '--help']\n"
        "from finchaos.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "assert not {'torch', 'scipy', 'sklearn', 'matplotlib'} & set(sys.modules)\n",
    )
    for command in ("validate", "report", "sign", "verify", "gate", "checks", "scenarios", "init"):
        assert command in out


def test_every_data_file_of_the_repository_is_in_the_wheel(python):
    suffixes = {".yaml", ".csv", ".j2", ".css", ".js", ".json"}
    packages = ("finchaos", "governance", "reports", "stress_scenarios", "policies")
    expected = sorted(
        str(path.relative_to(ROOT))
        for package in packages
        for path in (ROOT / package).rglob("*")
        if path.suffix in suffixes and path.is_file()
    )
    assert expected
    out = run(
        python,
        "import json\nfrom importlib.resources import files\n"
        f"names = {expected!r}\n"
        "def size(name):\n"
        "    package, *rest = name.split('/')\n"
        "    return len(files(package).joinpath(*rest).read_bytes())\n"
        "print(json.dumps([size(name) for name in names]))",
    )
    assert json.loads(out) == [(ROOT / name).stat().st_size for name in expected]


def test_packs_scenarios_checks_and_bars_load_from_the_wheel(python):
    out = run(
        python,
        "from governance.policy import load_policy, policy_names\n"
        "from governance.scenario import load_scenario, scenario_names\n"
        "from finchaos.markets import load_builtin\n"
        "print(len([load_policy(n) for n in policy_names()]),"
        " len([load_scenario(n) for n in scenario_names()]), len(load_builtin('spx')))",
    )
    assert out.split() == ["3", "12", "5031"]
