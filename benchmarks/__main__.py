"""``./dev bench``: print the table of ratios."""

from __future__ import annotations

from benchmarks import bootstrap


def main() -> None:
    """Run every benchmark and print one line each."""
    print("| work | peer | ours, s | peer, s | peer / ours |")
    print("|---|---|---|---|---|")
    for found in (bootstrap.sharpe_interval(),):
        print(
            f"| {found.work} | {found.peer} | {found.ours_s:.3f} | {found.peer_s:.3f} "
            f"| {found.ratio:.1f} |"
        )


if __name__ == "__main__":
    main()
