"""``finchaos generate`` and ``train``: a simulated market, and a model to keep."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from finchaos.cli import console
from finchaos.cli.options import JsonOption, PlanArgument
from finchaos.core.errors import InputError
from finchaos.core.files import write_atomic

RECORD = "training.json"
"""Beside a model: what it was trained on."""


def generate(
    plan: PlanArgument = "demo",
    days: Annotated[int, typer.Option(help="Bars to simulate.")] = 1_000_000,
    out: Annotated[Path, typer.Option(help="Parquet file to write.")] = Path(
        "laboratory/heston.parquet"
    ),
    scheme: Annotated[
        str, typer.Option(help="full_truncation or quadratic_exponential.")
    ] = "full_truncation",
    json: JsonOption = False,
) -> None:
    """Simulate a market of calm and stress, with its true regimes and variances."""
    start = time.perf_counter()
    with console.reported():
        from finchaos.cli.assemble import find_plan
        from finchaos.markets.simulate.bar_file import stream_rows
        from finchaos.markets.simulate.heston import HestonConfig
        from finchaos.markets.simulate.heston_stream import generate as simulate

        wanted, _ = find_plan(plan)
        refuse_existing(out)
        simulate(out, HestonConfig(scheme=scheme), days, seed=wanted.seed)
        counted = [
            (len(rows), int((rows.regime > 0).sum()), int(rows.switch.sum()))
            for rows in stream_rows(out)
        ]
    bars, stressed, switched = (sum(column) for column in zip(*counted, strict=True))
    _finish(
        {
            "file": str(out),
            "bars": bars,
            "stressed_share": stressed / bars,
            "switches": switched,
            "megabytes": out.stat().st_size / 1e6,
            "seed": wanted.seed,
            "scheme": scheme,
        },
        start,
        json,
    )


def train(
    plan: PlanArgument = "demo",
    out: Annotated[Path, typer.Option(help="Folder of the model to write.")] = Path(
        "laboratory/model"
    ),
    until: Annotated[
        str | None,
        typer.Option(help="Last date of training; by default the end of the last fold's training."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Teach the plan's model on simulated bars, train it on the plan's, and keep it in a folder.

    A killed training goes on where it was when the same command is given again.
    """
    start = time.perf_counter()
    with console.reported():
        from finchaos.cli.assemble import find_plan, load_data
        from finchaos.core import registry

        wanted, beside = find_plan(plan)
        chosen = wanted.subject
        if chosen.model is None or chosen.checkpoint is not None:
            raise InputError(
                "only a model of the stack can be trained",
                expected="subject.model in the plan, without a checkpoint",
                got=chosen.adapter or f"checkpoint {chosen.checkpoint}",
            )
        refuse_existing(out)
        home = registry.module("finchaos.subjects", chosen.model)
        bars = load_data(wanted.data, beside)
        folds = wanted.make_folds(bars)
        bars = _until(bars, until) if until else bars.rows(0, folds[-1].train_end)
        states = out.with_name(f"{out.name}.training")
        with console.progress() as say:
            built = home.build(
                chosen.params, seed=wanted.seed, folder=states / "simulated", progress=say
            )
            trained = built.fit(bars, seed=wanted.seed, folder=states / "real", progress=say)
        facts = {
            "model": chosen.model,
            "digest": trained.digest,
            "bars": len(bars),
            "bars_digest": bars.digest,
            "first": bars.index[0].isoformat(),
            "trained_until": bars.index[-1].isoformat(),
            "seed": wanted.seed,
            "pretraining": asdict(trained.pretraining),
        }
        keep(trained, out, facts)
        shutil.rmtree(states, ignore_errors=True)
    _finish({"folder": str(out), **facts}, start, json)


def _until(bars: Any, last: str) -> Any:
    chosen = bars.between(None, last)
    if not len(chosen):
        raise InputError(
            "no bar to train on lies up to --until",
            expected=f"a date from {bars.index[0].date()} on",
            got=last,
        )
    return chosen


def keep(subject: Any, folder: Path, facts: dict[str, Any]) -> None:
    """Save a model with the facts of its training, whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place:
        made = Path(place) / "model"
        subject.save(made)
        write_atomic(made / RECORD, (json.dumps(facts, indent=1) + "\n").encode())
        made.rename(folder)


def kept_facts(folder: Path) -> dict[str, Any]:
    """What was written beside a kept model.

    Raises
    ------
    InputError
        If there is no such model, or it does not say what it is.
    """
    try:
        facts = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return {"model": str(facts["model"]), "trained_until": str(facts["trained_until"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder} does not say what model it holds and what it was trained on",
            expected=f"a file {RECORD}, as 'finchaos train' writes it",
            got=str(error),
        ) from error


def refuse_existing(place: Path) -> None:
    """Nothing is written over.

    Raises
    ------
    InputError
        If there is anything at the place.
    """
    if place.exists():
        raise InputError(
            f"{place} exists already", remedy="name another with --out, or remove it first"
        )


def _finish(facts: dict[str, Any], start: float, as_json: bool) -> None:
    seconds = time.perf_counter() - start
    if as_json:
        console.print_json({**facts, "seconds": seconds})
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            for part, known in value.items():
                _line(part, known)
        else:
            _line(name, value)
    console.out.print(f"{seconds:.0f} s")


def _line(name: str, value: Any) -> None:
    if value is not None:
        said = f"{value:.4g}" if isinstance(value, float) else str(value)
        console.out.print(f"{name.replace('_', ' '):<22} {said}", markup=False)
