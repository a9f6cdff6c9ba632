"""``finchaos extract``: what a trained model holds inside, bar by bar, and pictures of it."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from finchaos.cli import console
from finchaos.cli.folder import Output
from finchaos.cli.laboratory import kept_facts
from finchaos.cli.options import JsonOption, PlanArgument
from finchaos.core.errors import InputError

PHASE_HALF_LIFE = 20.0
PHASE_AXES = ("log volatility", "momentum")


def extract(
    plan: PlanArgument = "demo",
    model: Annotated[Path, typer.Option(help="Folder of a model that 'train' wrote.")] = Path(
        "laboratory/model"
    ),
    simulated: Annotated[
        Path | None,
        typer.Option(help="A file that 'generate' wrote, instead of the plan's bars."),
    ] = None,
    rows: Annotated[int, typer.Option(help="Bars to read of a simulated file.")] = 10_000,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("laboratory/extract"),
    json: JsonOption = False,
) -> None:
    """Take latents, hidden states of every layer and regimes out of a model, over time.

    On simulated bars, whose regimes are known, detection is scored too.
    """
    start = time.perf_counter()
    with console.reported():
        import pandas as pd

        from finchaos.cli.assemble import find_plan, load_data
        from finchaos.core import registry
        from finchaos.core.subject import Capability

        wanted, beside = find_plan(plan)
        output = Output(out)
        facts = kept_facts(model)
        subject = registry.module("finchaos.subjects", facts["model"]).load(model)
        truth = None
        if simulated is None:
            bars, until = load_data(wanted.data, beside), pd.Timestamp(facts["trained_until"])
        else:
            bars, truth = _simulated(simulated, rows)
            until = bars.index[len(bars) // 2]
        with console.progress() as say:
            say("signals of every bar", 0, 3)
            signals = subject.signals(bars)
            say("states of every layer", 1, 3)
            layers = subject.layer_states(bars) if Capability.LAYERS in subject.capabilities else {}
            say("draw pictures", 2, 3)
            found = _together(subject, bars, signals, layers, until, wanted.seed)
            summary = {"model": subject.digest, "bars": bars.digest, **_counted(found)}
            if truth is not None:
                summary |= _detection(found, truth[subject.card.warmup_bars :], bars.bars_per_year)
            _write(output, subject, bars, found, summary, truth)
    shown = {k: v for k, v in summary.items() if not isinstance(v, list)}
    if json:
        console.print_json({"folder": str(out), "seconds": time.perf_counter() - start, **shown})
        return
    for name, value in shown.items():
        console.out.print(f"{name.replace('_', ' '):<28} {_said(value)}", markup=False)
    console.out.print(f"{output.page}\n{time.perf_counter() - start:.0f} s", markup=False)


def _simulated(path: Path, rows: int) -> tuple[Any, Any]:
    from finchaos.markets.simulate.bar_file import read_bars, read_description, stream_rows

    read_description(path)
    count = sum(len(stretch) for stretch in stream_rows(path))
    if rows < 1:
        raise InputError("rows must be positive", got=str(rows))
    labelled = read_bars(path, 0, min(rows, count), symbol="HESTON")
    return labelled.bars, labelled.regime > 0


def _together(
    subject: Any, bars: Any, signals: Any, layers: dict[str, Any], until: Any, seed: int
) -> Any:
    from finchaos.regimes.extraction import extract as put_together

    return put_together(
        signals,
        bars.close,
        warmup_bars=subject.card.warmup_bars,
        trained_until=until,
        seed=seed,
        layers=layers,
    )


def _counted(found: Any) -> dict[str, Any]:
    import numpy as np

    from finchaos.regimes.kpis import switching

    changes = switching(found.state, bars_per_year=252.0)
    shares = np.bincount(found.state) / len(found.state)
    return {
        "rows": len(found.signals),
        "from": str(found.signals.index[0].date()),
        "to": str(found.signals.index[-1].date()),
        **{f"share_of_regime_{k}": float(share) for k, share in enumerate(shares)},
        "regime_changes": changes.switches,
        "median_spell_bars": changes.median_spell_bars,
        "variance_on_first_axis": float(found.latents.explained[0]),
    }


def _detection(found: Any, stressed: Any, bars_per_year: float) -> dict[str, Any]:
    from finchaos.regimes.kpis import auc, score_detection

    score = score_detection(found.state > 0, stressed, bars_per_year=bars_per_year)
    said = {
        "true_stressed_share": float(stressed.mean()),
        "spells": score.spells,
        "detected": score.detected,
        "median_delay_bars": _or_none(score.median_delay),
        "false_onsets_per_year": _or_none(score.false_onsets_per_year),
        "balanced_accuracy": _or_none(score.balanced_accuracy),
        "delays": [_or_none(delay) for delay in score.delays.tolist()],
    }
    if found.signals.stress_probability is not None and 0 < stressed.sum() < len(stressed):
        said["auc"] = auc(found.signals.stress_probability, stressed)
    return said


def _said(value: Any) -> str:
    if value is None:
        return "not measured"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _or_none(value: float) -> float | None:
    """JSON has no infinity: more than half of the spells were missed, or there were none."""
    return value if math.isfinite(value) else None


def _write(
    output: Output, subject: Any, bars: Any, found: Any, summary: dict[str, Any], truth: Any
) -> None:
    about = [
        f"{subject.card.name} {subject.card.version}, model {subject.digest[:12]}, "
        f"on {bars.symbol}, {summary['from']} to {summary['to']}. Axes are those of the bars up to "
        f"{found.latents.index[found.latents.trained][-1].date()}.",
    ]
    if truth is not None:
        about.append("The bars are simulated; dates mean nothing, and the true regimes are known.")
    output.write(
        title=f"Inside {subject.card.name}",
        about=about,
        pictures=_pictures(subject, bars, found, summary),
        columns=("measure", "value"),
        rows=[
            (name.replace("_", " "), _said(value))
            for name, value in summary.items()
            if not isinstance(value, list) and name not in ("model", "bars")
        ],
        table=found.table(),
        table_name="states",
        summary=summary,
    )


def _pictures(subject: Any, bars: Any, found: Any, summary: dict[str, Any]) -> list[Any]:
    import numpy as np

    from reports.pictures import delays, leverage, manifold, orbit, ribbon

    signals, state = found.signals, found.state
    stress = signals.stress_probability
    made = [
        orbit(
            "phase_space_orbit",
            _phase_space(bars)[subject.card.warmup_bars :],
            state,
            PHASE_AXES,
            title="The market's orbit in phase space",
            caption="Volatility and momentum, each over a half-life of 20 bars and from its own "
            "past alone, in the colour of the regime that the model had confirmed.",
        ),
        manifold(
            "latent_manifold",
            _clouds(found),
            title="The manifold of the model's states",
            caption="Principal axes are those of the training rows. The map of neighbours (t-SNE) "
            "places all rows together: distances between far points in it mean nothing.",
        ),
        ribbon(
            "regime_ribbon",
            signals.index,
            found.close,
            state,
            title="Price and regime",
            caption="Each bar is in the colour of the regime that was confirmed at its close. Bars "
            "of training are in-sample.",
        ),
        leverage(
            "confidence_and_exposure",
            signals.index,
            None if stress is None else 1.0 - stress,
            signals.position,
            signals.tripped,
            title="Confidence and exposure",
            caption="Above, the probability that the market is calm, before debouncing; below, the "
            "fraction of capital wanted at each close.",
        ),
    ]
    if "delays" in summary:
        found_after = np.array([np.inf if d is None else d for d in summary["delays"]])
        made.append(
            delays(
                "detection_delay",
                found_after,
                unit="bars",
                title="Detection delay",
                caption="From the first bar of each true spell of stress to the first bar on which "
                "the confirmed regime is not the calmest; 0 where it was so already.",
            )
        )
    return made


def _clouds(found: Any) -> list[tuple[str, Any, Any]]:
    state, near = found.state, found.neighbours
    panels = [("latents, map of neighbours", near.points, state[near.rows])]
    paths = {"latents": found.latents, **found.layers}
    for name, path in paths.items():
        if path.points.shape[1] >= 2:
            share = 100.0 * float(path.explained[:2].sum())
            panels.append(
                (f"{name}, two axes with {share:.0f} % of the variance", path.points[:, :2], state)
            )
    return panels


def _phase_space(bars: Any) -> Any:
    """Log volatility and momentum after each bar, shape (t, 2)."""
    from finchaos.features.schema import FeatureSchema, FeatureSpec

    params = {"half_life": PHASE_HALF_LIFE}
    specs = (
        FeatureSpec(name="volatility", formula="log_volatility", params=params),
        FeatureSpec(name="momentum", formula="momentum", params=params),
    )
    return FeatureSchema("phase_space", specs).open().replay(bars)
