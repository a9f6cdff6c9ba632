from __future__ import annotations

from pathlib import Path

from benchmarks.page import write_page


def test_a_page_gathers_what_there_is_in_the_given_order(tmp_path: Path) -> None:
    (tmp_path / "memory.md").write_text("### Peak\n")
    (tmp_path / "targets.md").write_text("### Targets\n")
    page = write_page(tmp_path, ("targets", "latency", "memory"))
    assert page is not None
    assert page.read_text() == (
        "# Benchmarks\n\n[targets](#targets), [memory](#memory)\n\n"
        "## targets\n\n### Targets\n\n## memory\n\n### Peak\n"
    )


def test_no_page_without_tables(tmp_path: Path) -> None:
    assert write_page(tmp_path, ("targets",)) is None
    assert list(tmp_path.iterdir()) == []


def test_a_page_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "memory.md").write_text("### Peak\n")
    kept = tmp_path / "kept" / "RESULTS.md"
    assert write_page(tmp_path, ("memory",), kept) == kept
    assert "### Peak" in kept.read_text()
    assert not (tmp_path / "README.md").exists()
