"""The kernels in the wheel: compiled while it is built, where there is a compiler.

hatchling runs this file by its path. It is in the source distribution and not in the wheel. A wheel
built without a compiler fits every machine and has no library, and an editable install never has
one: the kernels are then built on first use (:mod:`finchaos.ssm.native.build`). The variable
``HATCH_BUILD_NO_HOOKS=true`` asks for such a wheel where there is a compiler.
"""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags


class KernelsHook(BuildHookInterface):
    """Builds the library outside the source tree and has it put where the wheel carries it."""

    _folder: TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the kernels before the wheel is written; say why if they cannot be."""
        if version == "editable":
            return
        # By its path: what finchaos depends on is not there while a wheel is built. And run, not
        # imported, for that would leave its bytecode in the source tree.
        kernels = SimpleNamespace(**run_path(str(Path(__file__).with_name("build.py"))))
        self._folder = TemporaryDirectory(prefix="finchaos-wheel-")
        library = Path(self._folder.name) / kernels.SHIPPED.name
        try:
            kernels.build(library)
        except kernels.BuildFailure as failure:
            self.app.display_warning(
                "The wheel of finchaos is built without its compiled kernels, "
                f"which will be built on first use: {failure}"
            )
            return
        build_data["force_include"][str(library)] = str(kernels.SHIPPED.relative_to(self.root))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the library after the wheel is written."""
        if self._folder is not None:
            self._folder.cleanup()


def _platform() -> str:
    """This machine's tag, and not one that promises to fit older C libraries than its own."""
    return next(t for t in platform_tags() if not t.startswith(("manylinux", "musllinux")))
