"""A search for settings by optuna, of which no trial is ever forgotten.

The study lies in a journal file of optuna's. Every trial that ends, with a score or without one, is
recorded in the register of trials (:mod:`finchaos.training.register`), from which checks of
overfitting learn how many there were: the best score of many is too good to be true, and says so
only if the others are known.

A process may be killed at any moment. The next call on the same folder calls the trial that was
cut off stopped, records what the register does not know yet, and goes on; the trials that end are
those that would have come without the kill.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np

from finchaos.core.errors import (
    FinchaosError,
    InputError,
    IntegrityError,
    MissingDependencyError,
)
from finchaos.core.extras import installing
from finchaos.core.files import lock_exclusively
from finchaos.core.provenance import canonical_json, stream_seed
from finchaos.training.register import read_register, record_trial
from finchaos.training.sweep_space import Parameter, described, distributions
from finchaos.training.trainer import Progress

JOURNAL, REGISTER, _LOCK = "study.journal", "trials.jsonl", ".lock"
TRIAL = "trial"
"""Under this name the register keeps the number of a trial, beside its parameters."""
COMPLETE = "complete"
STOPPED = "stopped: the process ended before the trial did"
_PLAN, _OUTCOME = "plan", "outcome"
Objective = Callable[[Mapping[str, Any], int], float]


@dataclass(frozen=True)
class SweepPlan:
    """What is searched, and how.

    Attributes
    ----------
    study : str
        Its name in journal and register.
    space : mapping of str to Parameter
    trials : int
        With a score or failed; those that were cut off are not counted.
    seed : int
        Of sampler and objective.
    code : str
        Version of the code, such as a commit.
    sampler : {"tpe", "evolutionary"}
        Tree-structured Parzen estimators (Bergstra et al. 2011), or NSGA-II (Deb et al. 2002),
        which knows choices as well as numbers.
    first_random : int
        Trials drawn at random before the first uses what was seen; a generation of "evolutionary".
    direction : {"maximize", "minimize"}

    Raises
    ------
    InputError
        If a value is impossible.
    """

    study: str
    space: Mapping[str, Parameter]
    trials: int
    seed: int
    code: str
    sampler: Literal["tpe", "evolutionary"] = "tpe"
    first_random: int = 10
    direction: Literal["maximize", "minimize"] = "maximize"

    def __post_init__(self) -> None:
        sound = (
            bool(self.study and self.code and self.space)
            and TRIAL not in self.space
            and self.trials >= 1
            and self.first_random >= 2
            and self.sampler in ("tpe", "evolutionary")
            and self.direction in ("maximize", "minimize")
        )
        if not sound:
            raise InputError(
                "impossible sweep",
                expected=f"a study, a code version, parameters of which none is called {TRIAL!r}, "
                "trials >= 1, first_random >= 2, sampler tpe or evolutionary, direction maximize "
                "or minimize",
                got=repr(self),
            )

    def identity(self) -> str:
        """What must stay the same for a study to be gone on with, as canonical JSON."""
        content = {
            "space": {name: described(one) for name, one in sorted(self.space.items())},
            "seed": str(self.seed),
            "sampler": self.sampler,
            "first_random": self.first_random,
            "direction": self.direction,
        }
        return canonical_json(content).decode()


@dataclass(frozen=True)
class SweepResult:
    """How a search ended.

    Attributes
    ----------
    best : dict
        Parameters of the best trial.
    score : float
        Its score, on what it was chosen by: expect less elsewhere.
    scores : tuple of float
        Of all trials that have one, in order.
    failed, stopped : int
        Trials without a score, and those that were cut off.
    head : str
        Hash of the register's last trial; whoever keeps it sees any change.
    """

    best: dict[str, Any]
    score: float
    scores: tuple[float, ...]
    failed: int
    stopped: int
    head: str


def sweep(
    objective: Objective,
    plan: SweepPlan,
    *,
    folder: Path,
    register: Path | None = None,
    progress: Progress | None = None,
) -> SweepResult:
    """Search until as many trials have ended as the plan says; one call at a time in a folder.

    Parameters
    ----------
    objective : callable
        From parameters and a seed, which is the same for all trials, to a score. A trial fails if
        it raises a :class:`~finchaos.core.errors.FinchaosError` or returns what is not finite; any
        other exception is recorded and raised.
    plan : SweepPlan
    folder : pathlib.Path
        Of the journal.
    register : pathlib.Path, optional
        Of trials; in ``folder`` by default.
    progress : callable, optional

    Returns
    -------
    SweepResult

    Raises
    ------
    InputError
        If another process searches there, the study was begun with another plan, or no trial has a
        score.
    IntegrityError
        If journal or register were changed or damaged.
    MissingDependencyError
        If optuna is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_exclusively(
        folder / _LOCK,
        busy=f"another process searches in {folder}",
        remedy="wait for it or name another folder",
    )
    try:
        search = _Search(plan, folder, register or folder / REGISTER)
        search.catch_up()
        while (done := search.ended()) < plan.trials:
            if progress is not None:
                progress(f"trial of {plan.study}", done, plan.trials)
            search.one(objective, done)
        return search.result()
    finally:
        os.close(lock)


class _Search:
    """A study, and the register beside it."""

    def __init__(self, plan: SweepPlan, folder: Path, register: Path) -> None:
        self._optuna = _imported()
        self._plan, self._register = plan, register
        self._space = distributions(plan.space, self._optuna)
        self._study = _opened(self._optuna, plan, folder / JOURNAL)
        known = self._study.user_attrs.get(_PLAN)
        if known is None and not self._study.trials:
            self._study.set_user_attr(_PLAN, plan.identity())
        elif known != plan.identity():
            raise InputError(
                f"the study {plan.study!r} was begun with another plan",
                expected=str(known),
                got=plan.identity(),
                remedy="go on with that one, or name another study",
            )

    def catch_up(self) -> None:
        """End what was cut off, and record what the register does not know."""
        states = self._optuna.trial.TrialState
        for trial in self._study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            self._study.tell(trial.number, state=states.FAIL)
        of_study = [t for t in read_register(self._register).trials if t.study == self._plan.study]
        known = {int(trial.params[TRIAL]) for trial in of_study}
        ended = [t for t in self._study.trials if t.state.is_finished()]
        if known - {trial.number for trial in ended}:
            raise IntegrityError(
                f"the register knows trials of {self._plan.study!r} that the journal does not",
                got=f"{len(known)} and {len(ended)}",
                remedy="restore the journal, or name another study",
            )
        for trial in ended:
            if trial.number not in known:
                self._record(trial)

    def ended(self) -> int:
        """Trials with a score or failed."""
        return sum(not _was_stopped(trial) for trial in self._study.trials)

    def one(self, objective: Objective, number: int) -> None:
        """Ask, score, tell, record.

        The sampler's seed comes from how many trials have ended: it is the same after a kill.
        """
        self._study.sampler = self._sampler(stream_seed(self._plan.seed, f"sweep/{number}"))
        trial = self._study.ask(self._space)
        raised: Exception | None = None
        score, outcome = None, COMPLETE
        try:
            value = float(objective(dict(trial.params), stream_seed(self._plan.seed, "objective")))
            if np.isfinite(value):
                score = value
            else:
                outcome = f"failed: a score of {value}"
        except Exception as error:
            outcome = f"failed: {type(error).__name__}: {error}"[:300]
            raised = None if isinstance(error, FinchaosError) else error
        trial.set_user_attr(_OUTCOME, outcome)
        state = self._optuna.trial.TrialState
        told = state.FAIL if score is None else state.COMPLETE
        self._record(self._study.tell(trial.number, score, told))
        if raised is not None:
            raise raised

    def result(self) -> SweepResult:
        """The best of all, by the register."""
        register = read_register(self._register)
        trials = [trial for trial in register.trials if trial.study == self._plan.study]
        scored = [(trial.score, trial) for trial in trials if trial.score is not None]
        if not scored:
            raise InputError(
                "no trial has a score",
                got=trials[-1].outcome,
                remedy="see the register, and try a narrower space",
            )
        choose = max if self._plan.direction == "maximize" else min
        score, best = choose(scored, key=lambda one: one[0])
        stopped = sum(trial.outcome == STOPPED for trial in trials)
        return SweepResult(
            {name: value for name, value in best.params.items() if name != TRIAL},
            score,
            tuple(one for one, _ in scored),
            len(trials) - len(scored) - stopped,
            stopped,
            register.head,
        )

    def _record(self, trial: Any) -> None:
        record_trial(
            self._register,
            self._plan.study,
            {TRIAL: trial.number, **trial.params},
            seed=self._plan.seed,
            score=trial.value,
            code=self._plan.code,
            outcome=STOPPED if _was_stopped(trial) else trial.user_attrs[_OUTCOME],
        )

    def _sampler(self, seed: int) -> Any:
        samplers, plan = self._optuna.samplers, self._plan
        short = seed % 2**32
        if plan.sampler == "evolutionary":
            return samplers.NSGAIISampler(population_size=plan.first_random, seed=short)
        return samplers.TPESampler(n_startup_trials=plan.first_random, seed=short)


def _was_stopped(trial: Any) -> bool:
    """Whether the process ended before the trial did, so that it was not told what it came to."""
    outcome = trial.user_attrs.get(_OUTCOME)
    return outcome is None or (outcome == COMPLETE and trial.value is None)


def _opened(optuna: ModuleType, plan: SweepPlan, journal: Path) -> Any:
    """The study in a journal whose torn end, if a process was killed while writing, is cut off."""
    if journal.exists():
        content = journal.read_bytes()
        with journal.open("r+b") as file:
            file.truncate(len(content) - len(content.rpartition(b"\n")[2]))
    storages = optuna.storages
    try:
        backend = storages.journal.JournalFileBackend(str(journal), lock_obj=_Held())
        return optuna.create_study(
            storage=storages.JournalStorage(backend),
            study_name=plan.study,
            direction=plan.direction,
            load_if_exists=True,
        )
    except (ValueError, KeyError) as error:
        raise IntegrityError(f"{journal} is no journal of optuna", got=str(error)[:200]) from error


class _Held:
    """Optuna's lock of the journal: the folder's own lock is held as long as a study is open."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


def _imported() -> ModuleType:
    try:
        import optuna
    except ImportError as error:
        raise MissingDependencyError("a sweep needs optuna", remedy=installing("sweep")) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
