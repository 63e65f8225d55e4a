"""A search that survives being killed: trials in a journal file, drawn so that it goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from ..clicks import ClickLog
from ..errors import DataError, MissingExtraError
from .click_space import space, starts

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

RANDOM_TRIALS = 6
"""Trials, the two given ones among them, before the sampler makes something of them."""
ENOUGH_TO_RANK = 10
"""Trials from which the importance of parameters is worth a look."""
_JOURNAL = b'{"op_code":'


@contextmanager
def open_study(path: Path, name: str) -> Iterator[Study]:
    """The study of this name in a journal file, made if it is not there; one process at a time.

    Raises
    ------
    MissingExtraError
        Optuna is not installed.
    DataError
        The file is something else, is damaged, or another search is using it.
    """
    try:
        import optuna
    except ImportError:
        raise MissingExtraError("the search for parameters", "tune") from None
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        busy = FileLock(path.with_name(f"{path.name}.busy")).acquire(timeout=0)
    except Timeout:
        raise DataError(f"{path} is in use by another search; wait for it, or give another --study.") from None
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with busy:
            _mend(path)
            lock = JournalFileOpenLock(str(path))
            try:
                storage = JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
                study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{path} is damaged ({error}); delete it to begin anew, or give another --study."
                ) from error
            yield study
    finally:
        optuna.logging.set_verbosity(verbosity)


def _mend(path: Path) -> None:
    """Undo what a killed search leaves: half a line at the end, and the journal's own lock.

    Only while nobody else writes, which the caller sees to.
    """
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if not path.exists():
        return
    content = path.read_bytes()
    if content[: len(_JOURNAL)] != _JOURNAL[: len(content)]:
        raise DataError(f"{path} is not the journal of a search; give another --study.")
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)


def study_name(train: ClickLog, validation: ClickLog, settings: Mapping[str, Any]) -> str:
    """A name that is another one for other products, sessions, objective or space: trials never mix."""
    digest = hashlib.sha256()
    for part in ("\n".join(train.ids).encode(), *(a.tobytes() for log in (train, validation) for a in log.arrays())):
        digest.update(hashlib.sha256(part).digest())
    ranges = {name: repr(drawn) for name, drawn in space().items()}
    digest.update(json.dumps([settings, ranges, starts()], sort_keys=True).encode())
    return f"prod2vec-{digest.hexdigest()[:24]}"


def finished(study: Study) -> list[FrozenTrial]:
    """Trials with a result, in the order in which they ran."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def go_on(
    study: Study,
    run: Callable[[dict[str, Any]], tuple[float, dict[str, Any]]],
    *,
    more: Callable[[int], bool],
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Run trials while `more(finished so far)` says so; yields the notes of each once it is kept in the study.

    What a trial draws depends on the seed and on the finished trials alone, so a search that was killed and goes on
    takes the way that it would have taken; a trial that was cut short is drawn again and run from its start.

    Parameters
    ----------
    run
        What was drawn to the trial's value, to be maximised, and notes to keep with it (JSON values).
    """
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    for cut in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(cut.number, state=TrialState.FAIL)
    first, ranges = starts(), space()
    while more(done := len(finished(study))):
        if done < len(first) and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            study.enqueue_trial(first[done])
        draw = int(np.random.SeedSequence([seed, done]).generate_state(1)[0])
        study.sampler = TPESampler(seed=draw, n_startup_trials=RANDOM_TRIALS, multivariate=True, constant_liar=False)
        trial = study.ask(ranges)
        value, notes = run(dict(trial.params))
        for key, note in notes.items():
            trial.set_user_attr(key, note)
        study.tell(trial, value)
        yield notes


def importance(study: Study) -> dict[str, float] | None:
    """Share of each parameter in what makes trials good (PED-ANOVA); None where trials are too few to say."""
    from optuna.importance import get_param_importances

    values = [trial.value for trial in finished(study)]
    if len(values) < ENOUGH_TO_RANK or len(set(values)) < ENOUGH_TO_RANK // 2:
        return None
    return {name: float(share) for name, share in get_param_importances(study).items()}
