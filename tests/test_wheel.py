"""The built wheel: in a clean environment without torch or repository, and with its kernels."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename

from finchaos.ssm.native import build

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("finchaos", "governance", "reports", "stress_scenarios", "policies")
NATIVE = "finchaos/ssm/native"
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
def made(tmp_path_factory):
    """The folder of the wheel and the source distribution, both built from the repository."""
    place = tmp_path_factory.mktemp("made")
    command = [sys.executable, "-m", "build", "--sdist", "--wheel", "--no-isolation"]
    subprocess.run([*command, "-o", str(place), str(ROOT)], check=True, capture_output=True)
    return place


@pytest.fixture(scope="module")
def wheel(made):
    (found,) = made.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """An interpreter that has the wheel and its base dependencies and nothing else."""
    place = tmp_path_factory.mktemp("wheel")
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
    expected = sorted(
        str(path.relative_to(ROOT))
        for package in PACKAGES
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
    assert out.split() == ["7", "12", "5031"]


# The kernels in it


@pytest.fixture(scope="module")
def tree(made, tmp_path_factory):
    """The source distribution, unpacked."""
    place = tmp_path_factory.mktemp("tree")
    (packed,) = made.glob("*.tar.gz")
    shutil.unpack_archive(packed, place, filter="data")
    (root,) = place.iterdir()
    return root


ALONE = """
import sys
from hatchling import build
for absent in ("finchaos", "numpy", "torch"):
    sys.modules[absent] = None
getattr(build, sys.argv[1])(sys.argv[2])
"""


def build_alone(tree: Path, place: Path, what: str = "build_wheel", **environment: str):
    """A wheel from an unpacked tree as in an isolated environment, and what was said meanwhile."""
    before = files_of(tree)
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, what, str(place)],
        env={name: text for name, text in os.environ.items() if name != "CXX"} | environment,
        cwd=tree,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # hatchling imports the hook, so its bytecode may stay; nothing else may.
    assert {Path(name).name.split(".")[0] for name in files_of(tree) - before} <= {"wheel_hook"}
    (wheel,) = place.glob("*.whl")
    return wheel, done.stdout + done.stderr


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def unpacked(wheel: Path, place: Path) -> Path:
    shutil.unpack_archive(wheel, place, "zip")
    return place


def run_from(folder: Path, code: str, cache: Path) -> str:
    """What the code prints with the wheel's own modules, no compiler and this cache."""
    environment = os.environ | {
        "CXX": "no-such-compiler",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(folder),
        "XDG_CACHE_HOME": str(cache),
    }
    code = f"import finchaos\nassert finchaos.__file__.startswith({str(folder)!r})\n" + code
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=folder,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def text_in(wheel: Path, ending: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(ending))
        return archive.read(name).decode()


def test_the_wheel_is_for_this_platform_and_any_python_3(wheel):
    (tag,) = parse_wheel_filename(wheel.name)[3]
    assert (tag.interpreter, tag.abi) == ("py3", "none")
    assert tag in set(sys_tags())
    assert not tag.platform.startswith(("any", "manylinux", "musllinux"))
    assert f"Root-Is-Purelib: false\nTag: {tag}\n" in text_in(wheel, ".dist-info/WHEEL")


def test_the_wheel_has_the_library_its_sources_and_every_module_but_the_hook(wheel):
    expected = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".py", ".h", ".cpp"}
    }
    names = names_in(wheel)
    assert f"{NATIVE}/csrc/lanes.cpp" in expected
    assert {name for name in names if Path(name).suffix in {".py", ".h", ".cpp"}} == (
        expected - {f"{NATIVE}/wheel_hook.py"}
    )
    assert not [name for name in names if "__pycache__" in name]
    with zipfile.ZipFile(wheel) as archive:
        library = archive.read(f"{NATIVE}/{build.SHIPPED.name}")
    assert build.source_digest().encode() in library


def test_the_library_of_the_wheel_computes_where_there_is_no_compiler(wheel, tmp_path):
    cache = tmp_path / "cache"
    out = run_from(
        unpacked(wheel, tmp_path / "site"),
        "import torch\n"
        "from finchaos.ssm import choose_backend, selective_scan\n"
        "u, delta = torch.rand(2, 1, 40, 3)\n"
        "A, B, C = -torch.rand(3, 5), torch.rand(1, 40, 5), torch.rand(1, 40, 5)\n"
        "for name in ('cpu', 'reference'):\n"
        "    y = selective_scan(u, delta, A, B, C, backend=name).y\n"
        "    first = y if name == 'cpu' else first\n"
        "torch.testing.assert_close(first, y)\n"
        "print(choose_backend('auto').name)",
        cache,
    )
    assert out == "cpu\n"
    assert not cache.exists()


def test_the_source_distribution_has_what_builds_tests_and_sets_up(tree):
    names = files_of(tree)
    assert {f"{NATIVE}/csrc/{path.name}" for path in build.SOURCES.iterdir()} <= names
    assert {f"{NATIVE}/build.py", f"{NATIVE}/wheel_hook.py", "pyproject.toml"} <= names
    assert {"dev", "requirements.lock", "tests/test_wheel.py", "benchmarks/__init__.py"} <= names
    assert os.access(tree / "dev", os.X_OK)
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".so"))]


def test_the_wheel_of_the_source_distribution_is_the_same(wheel, tree, tmp_path):
    again, said = build_alone(tree, tmp_path)
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()
    assert "without its compiled kernels" not in said


def test_without_a_compiler_the_wheel_is_for_any_machine_and_says_why(wheel, tree, tmp_path):
    (tmp_path / "made").mkdir()
    pure, said = build_alone(tree, tmp_path / "made", CXX="no-such-compiler")
    assert pure.name.endswith("-py3-none-any.whl")
    assert "Root-Is-Purelib: true\nTag: py3-none-any\n" in text_in(pure, ".dist-info/WHEEL")
    assert names_in(wheel) - names_in(pure) == {f"{NATIVE}/{build.SHIPPED.name}"}
    (notice,) = (line for line in said.splitlines() if "kernels" in line)
    assert notice == (
        "The wheel of finchaos is built without its compiled kernels, which will be built on first "
        "use: no C++ compiler was found (CXX is no-such-compiler)"
    )
    # All that a build on first use needs is in it: the digest is over every source.
    digest = "from finchaos.ssm.native import absence, build\n"
    digest += "print(build.source_digest())\nprint(absence())"
    out = run_from(unpacked(pure, tmp_path / "site"), digest, tmp_path / "cache")
    assert out.splitlines() == [
        build.source_digest(),
        "no C++ compiler was found (CXX is no-such-compiler)",
    ]


def test_a_compiler_that_fails_is_quoted(tree, tmp_path):
    broken = tmp_path / "cxx"
    broken.write_text("#!/bin/sh\necho 'lanes.cpp: out of patience' >&2; exit 1\n")
    broken.chmod(0o755)
    pure, said = build_alone(tree, tmp_path, CXX=str(broken))
    assert pure.name.endswith("-py3-none-any.whl")
    why = "the C++ compiler cxx failed with exit status 1: lanes.cpp: out of patience"
    assert said.count(why) == 1


def test_an_editable_install_needs_no_compiler_and_leaves_no_library(tree, tmp_path):
    editable, said = build_alone(tree, tmp_path, "build_editable", CXX="no-such-compiler")
    assert editable.name.endswith("-py3-none-any.whl")
    assert not [name for name in names_in(editable) if name.endswith((".so", ".py"))]
    assert "kernels" not in said


def test_a_library_that_was_left_in_the_tree_is_not_shipped(tree, tmp_path):
    spoilt = Path(shutil.copytree(tree, tmp_path / "tree"))
    (spoilt / NATIVE / build.SHIPPED.name).write_bytes(b"of other sources")
    (tmp_path / "made").mkdir()
    pure, _ = build_alone(spoilt, tmp_path / "made", CXX="no-such-compiler")
    assert not [name for name in names_in(pure) if name.endswith(".so")]
