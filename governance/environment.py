"""What the numbers of a run depend on besides its inputs: code, packages, machine."""

from __future__ import annotations

import hashlib
import inspect
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import finchaos
from finchaos.core.provenance import sha256
from finchaos.core.subject import Subject
from governance.record import Environment

COMPUTING_PACKAGES = ("arch", "captum", "numpy", "pandas", "scikit-learn", "scipy", "torch")
OWN_PACKAGES = ("finchaos", "governance", "reports", "policies", "stress_scenarios")


def environment(seed: int, subject: Subject) -> Environment:
    """The record of where a validation runs."""
    packages = {}
    for name in COMPUTING_PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "absent"
    return Environment(
        finchaos=finchaos.__version__,
        python=platform.python_version(),
        commit=commit(),
        code=code_digest(),
        machine=machine(),
        packages=packages,
        backend=subject.card.backend,
        seed=seed,
    )


def code_digest() -> str:
    """SHA-256 over names and bytes of every code and data file of the toolkit.

    Evidence is remembered under it, so that no change of the code is ever answered with numbers
    that the code before it computed.
    """
    hasher = hashlib.sha256()
    for package in OWN_PACKAGES:
        spec = find_spec(package)
        for home in sorted(spec.submodule_search_locations or ()) if spec else ():
            for path in sorted(Path(home).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    name = path.relative_to(home).as_posix()
                    hasher.update(f"{package}/{name}\0{sha256(path.read_bytes())}\n".encode())
    return hasher.hexdigest()


def source_digest(subject: Subject) -> str:
    """SHA-256 of the file that defines the subject's class; empty if it has none."""
    try:
        path = inspect.getsourcefile(type(subject))
    except TypeError:
        return ""
    return sha256(Path(path).read_bytes()) if path and Path(path).is_file() else ""


def machine() -> str:
    """Processor architecture, and which kernels the linear-algebra library chose for it."""
    import numpy  # noqa: F401  (its library must be loaded to be asked)
    from threadpoolctl import threadpool_info

    kernels = {
        f"{info['internal_api']} {info.get('architecture') or ''}".strip()
        for info in threadpool_info()
        if info.get("user_api") == "blas"
    }
    return ", ".join([platform.machine(), *sorted(kernels)])


def commit() -> str:
    """Commit of the code if it runs from a git checkout of its own, with ``-dirty`` if changed."""
    home = Path(__file__).resolve().parent.parent
    if not (home / ".git").exists():
        return ""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(home), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
