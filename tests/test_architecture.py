"""What keeps the code readable, as tests."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("finchaos", "governance", "reports", "benchmarks")
SOURCES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = ast.get_docstring(node, clean=False)
            lines = node.end_lineno - node.lineno + 1
            lines -= len(documented.splitlines()) if documented else 0
            assert lines <= LONGEST_FUNCTION, f"{node.name} has {lines} lines"


def test_no_module_changes_anything_when_imported():
    """Top-level statements are definitions, constants and guards, never bare calls."""
    allowed = (
        ast.Import,
        ast.ImportFrom,
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.Assign,
        ast.AnnAssign,
        ast.If,
    )
    for path in SOURCES:
        if path.name == "__main__.py":
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            registers = path.name == "main.py" and isinstance(node, ast.For)
            registers |= gives_a_gradient(node) or guards_imports(node)
            assert is_text or registers or isinstance(node, allowed), f"{path}:{node.lineno}"


def gives_a_gradient(node):
    """Whether a statement completes an operator of torch that the module itself defines."""
    call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    return call and getattr(node.value.func, "attr", None) == "register_autograd"


def guards_imports(node):
    """Whether a statement only imports, and raises if that cannot be done."""
    return isinstance(node, ast.Try) and (
        all(isinstance(inner, ast.Import | ast.ImportFrom) for inner in node.body)
        and all(isinstance(handler.body[-1], ast.Raise) for handler in node.handlers)
        and not (node.orelse or node.finalbody)
    )


def test_no_error_is_swallowed():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                only = node.body[0]
                silent = len(node.body) == 1 and isinstance(only, ast.Pass)
                assert not silent, f"{path}:{node.lineno}"
