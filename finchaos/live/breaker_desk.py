"""A trading desk that does what it is told: ``python -m finchaos.live.breaker_desk``.

It drives circuit breakers for whoever wants to see from outside what they do when processes die.
It reads one JSON object a line, with ``do`` and ``folder``, and answers each with one line that
has ``reason`` (why trading must stop, empty if it need not), ``pid`` (of the breaker, where one
was started) and ``error`` (why it refused).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finchaos.core.errors import FinchaosError
from finchaos.live.breaker import ProcessBreaker, arm_breaker
from finchaos.live.breaker_record import BreakerLimits, load_record
from finchaos.live.session import AccountReport

Answer = dict[str, Any]


def _arm(folder: Path, said: Answer) -> Answer:
    limits = BreakerLimits(
        max_drawdown=0.1,
        max_daily_loss=0.05,
        max_exposure=1.5,
        silence_seconds=float(said["silence_seconds"]),
        confirm_seconds=float(said["confirm_seconds"]),
    )
    arm_breaker(folder, said["person"], limits)
    return {}


def _start(folder: Path, said: Answer) -> Answer:
    return {"pid": ProcessBreaker.start(folder).pid()}


def _report(folder: Path, said: Answer) -> Answer:
    report = AccountReport(0, float(said["equity"]), 1.0, False)
    return {"reason": ProcessBreaker(folder).check(report)}


def _trip(folder: Path, said: Answer) -> Answer:
    return {"reason": ProcessBreaker(folder).trip(said["reason"])}


def _request_rearm(folder: Path, said: Answer) -> Answer:
    ProcessBreaker(folder).request_rearm(said["person"])
    return {}


def _rearm(folder: Path, said: Answer) -> Answer:
    ProcessBreaker(folder).rearm(said["person"])
    return {}


def _latch(folder: Path, said: Answer) -> Answer:
    return {"reason": load_record(folder).reason}


COMMANDS: dict[str, Callable[[Path, Answer], Answer]] = {
    "arm": _arm,
    "start": _start,
    "report": _report,
    "trip": _trip,
    "request_rearm": _request_rearm,
    "rearm": _rearm,
    "latch": _latch,
}


def answer(line: str) -> Answer:
    """What is said to one line."""
    nothing = {"reason": "", "pid": 0, "error": ""}
    try:
        said = json.loads(line)
        return {**nothing, **COMMANDS[said["do"]](Path(said["folder"]), said)}
    except (FinchaosError, OSError, KeyError, TypeError, ValueError) as error:
        return {**nothing, "error": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(line)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
