"""A Run as a real validation leaves it: every kind of evidence, exhibit, verdict and gap.

The numbers are drawn from a seed; they are plausible, and the model does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

from finchaos.core.provenance import digest
from governance.record import (
    CheckCard,
    Environment,
    Evidence,
    Exhibit,
    ExhibitRef,
    Finding,
    InputRef,
    PolicyRef,
    Run,
    SignOff,
    SubjectRef,
)
from tests.reports.sample_checks import (
    full_measurements,
    small_measurements,
    tiny_measurements,
)
from tests.reports.sample_findings import coverage, judged

CARD = {
    "name": "mamba_regime",
    "version": "0.4.2",
    "purpose": "Finds crash regimes of an equity index and scales exposure down in them.",
    "intended_use": "Daily allocation between a broad equity index and cash.",
    "prohibited_use": "Single stocks, leverage, intraday use.",
    "owner": "Systematic Strategies",
    "developer": "A. Łukasik",
    "limitations": ["Trained on one index.", "No crash in the training window before 1987."],
    "materiality": "high",
    "min_position": 0.0,
    "max_position": 1.0,
    "warmup_bars": 64,
    "feature_names": ["ret_1", "vol_21", "range_5", "drawdown_63"],
    "backend": "torch 2.13.0, scan cpu",
}
PLAN = {
    "name": "demo",
    "seed": 7,
    "policy": "sr_26_2",
    "subject": {"model": "mamba_regime", "checkpoint": None, "adapter": None, "params": {}},
    "data": {"source": "spx", "start": "1999-01-04", "end": "2018-12-31"},
    "folds": {"count": 6, "first_test": 0.35, "gap_bars": 10},
    "trading": {"cost_bps": 10.0, "delay_bars": 1},
    "challengers": ["buy_and_hold", "volatility_threshold"],
    "scenarios": "all",
    "checks": "all",
}


@dataclass(frozen=True)
class Sample:
    """A Run and its exhibits."""

    run: Run
    exhibits: dict[str, Exhibit]


def sample(size: str = "small") -> Sample:
    """A Run of two checks (``tiny``), three (``small``), or twelve with 300 values (``full``)."""
    measurements = {
        "tiny": tiny_measurements,
        "small": small_measurements,
        "full": full_measurements,
    }[size]()
    evidence = [item for _, items, _ in measurements for item in items]
    exhibits = [item for _, _, items in measurements for item in items]
    return assemble([card for card, _, _ in measurements], evidence, exhibits)


def assemble(cards: list[CheckCard], evidence: list[Evidence], exhibits: list[Exhibit]) -> Sample:
    """Judge and seal."""
    findings = judged(cards, evidence)
    run = Run(
        plan=PLAN,
        subject=SubjectRef(
            card=CARD, digest=digest("subject"), capabilities=("gradients", "refit", "streaming")
        ),
        inputs=_inputs(),
        policy=PolicyRef(
            name="sr_26_2",
            version="1.0.0",
            title="SR 26-2 / OCC Bulletin 2026-13: Revised Guidance on Model Risk Management",
            status="active",
            source="Joint guidance of 17 April 2026; clause texts are paraphrases.",
            digest=digest("policy"),
        ),
        environment=Environment(
            finchaos="0.1.0",
            python="3.11.2",
            commit="4f1d2c3b5a69788796a5b4c3d2e1f00112233445",
            packages={"arch": "8.0.0", "numpy": "2.4.6", "scipy": "1.17.1", "torch": "2.13.0"},
            backend="torch 2.13.0, scan cpu",
            seed=7,
        ),
        cards=tuple(cards),
        evidence=tuple(evidence),
        exhibits=tuple(ExhibitRef(check=e.check, name=e.name, digest=e.digest) for e in exhibits),
        findings=findings,
        coverage=coverage(findings),
        **gate(findings),
    )
    return Sample(run, {item.digest: item for item in exhibits})


def gate(findings: tuple[Finding, ...]) -> dict[str, object]:
    """Gate, reasons and whether it is inconclusive, as a policy would say."""
    blocking = [f for f in findings if f.blocks]
    weak = [f for f in findings if f.verdict != "pass"]
    reasons = tuple(f"{f.severity}: {f.statement}" for f in (blocking or weak))
    return {
        "gate": "closed" if blocking else "conditional" if weak else "open",
        "gate_reasons": reasons,
        "inconclusive": bool(blocking) and all(f.verdict == "not_assessed" for f in blocking),
    }


def signoffs(run: Run, *, trust: str = "demo") -> tuple[SignOff, ...]:
    """A developer's and a validator's decision; the approver's is pending."""
    developer = SignOff(
        run=run.digest,
        role="developer",
        person="A. Łukasik",
        decision="approve",
        manifest={"run.json": run.digest},
        certificate=digest("developer"),
        trust=trust,
        at="2026-11-20T09:30:00Z",
        previous=None,
    )
    validator = SignOff(
        run=run.digest,
        role="validator",
        person="B. Okafor",
        decision="approve_with_conditions",
        conditions="Exposure limited to half until the drift monitor has run for a quarter.",
        manifest={"run.json": run.digest},
        certificate=digest("validator"),
        trust=trust,
        at="2026-11-20T16:05:00Z",
        previous=developer.digest,
    )
    return developer, validator


def _inputs() -> tuple[InputRef, ...]:
    bars = InputRef(
        role="bars",
        name="^GSPC",
        digest=digest("bars"),
        detail={
            "source": "arch 8.0.0, arch.data.sp500",
            "kind": "real",
            "licence": "NCSA",
            "rows": 5031,
            "first": "1999-01-04T21:00:00+00:00",
            "last": "2018-12-31T21:00:00+00:00",
            "bars_per_year": 252.0,
            "has_range": True,
            "notes": "Closes adjusted for nothing; an index has no dividends here.",
        },
    )
    others = [
        InputRef(role="challenger", name=name, digest=digest(name))
        for name in ("buy_and_hold", "volatility_threshold")
    ]
    scenarios = [
        InputRef(role="scenario", name=name, digest=digest(name), detail={"kind": kind})
        for name, kind in (("crash_1987", "replay"), ("flash_crash_2010", "reconstructed"))
    ]
    return (bars, InputRef(role="plan", name="demo", digest=digest(PLAN)), *others, *scenarios)
