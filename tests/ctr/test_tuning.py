"""Tuning is the same effort for every system, looks at validation alone, and goes on after a stop."""

from __future__ import annotations

import json
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from dataclasses import replace

import optuna
import pytest
import torch
from filelock import FileLock, Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from trimodal.ctr import tuning
from trimodal.ctr.runs import Plan
from trimodal.ctr.systems import System
from trimodal.ctr.training import Trainer, TrainingSettings
from trimodal.ctr.tuning import Tuned, tune, tune_all
from trimodal.errors import MissingExtraError

SETTINGS = TrainingSettings(epochs=1, batch_size=256, max_history=6)
LR = System("lr", "lr")
YOUTUBENET = System("youtubenet", "youtubenet", {"dimension": 8, "hidden": [8]})


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def plan_of(small, system, **settings):
    return Plan(system, replace(SETTINGS, **settings), small.data.fingerprint, small.features.fingerprint())


def search(small, out, system=YOUTUBENET, trials=4, *, data=None, settings=None, **options):
    plan = plan_of(small, system, **settings or {})
    return tune(plan, out, data or small.data, features=small.features, trials=trials, **options)


def asked(out, state="COMPLETE"):
    """What the one search below `out` asked, and the value of each trial."""
    (journal,) = (out / "tuning").glob("*/journal")
    study = optuna.load_study(study_name="tuning", storage=JournalStorage(JournalFileBackend(str(journal))))
    return [(trial.params, trial.value) for trial in study.trials if trial.state.name == state]


def test_every_system_gets_the_same_number_of_trials(small, tmp_path):
    systems = [LR, YOUTUBENET, System("item only", "item-only", control=True)]
    plans = [plan_of(small, system) for system in systems]
    tuned = tune_all(plans, tmp_path, small.data, features=small.features, trials=3)
    assert list(tuned) == ["lr", "youtubenet", "item only"]
    for plan in plans:
        (journal,) = (tmp_path / "tuning").glob(f"{plan.system.slug}-*/journal")
        study = optuna.load_study(study_name="tuning", storage=JournalStorage(JournalFileBackend(str(journal))))
        assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3
        assert tuned[plan.system.name].trials == 3
        names = {"learning_rate", "weight_decay"} | ({"dropout"} if plan.system.model != "lr" else set())
        assert {frozenset(trial.params) for trial in study.trials} == {frozenset(names)}


def test_the_first_trial_is_the_given_settings_and_the_others_are_within_the_space(small, tmp_path):
    search(small, tmp_path, replace(YOUTUBENET, options={**YOUTUBENET.options, "dropout": 0.25}), 6)
    (first, _), *others = asked(tmp_path)
    assert first == {"learning_rate": 1e-3, "weight_decay": 0.01, "dropout": 0.25}
    assert len({tuple(params.values()) for params, _ in others}) == 5
    for params, _ in others:
        assert 3e-4 <= params["learning_rate"] <= 1e-2
        assert 1e-3 <= params["weight_decay"] <= 1
        assert 0 <= params["dropout"] <= 0.5


def test_given_settings_outside_the_space_are_the_first_trial_all_the_same(small, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = search(small, tmp_path, LR, 4, settings={"learning_rate": 1e-4})
    assert asked(tmp_path)[0][0]["learning_rate"] == 1e-4
    assert found.value == max(value for _, value in asked(tmp_path))


def test_what_is_chosen_is_the_best_on_validation_and_can_be_trained_again(small, tmp_path):
    found = search(small, tmp_path, YOUTUBENET, 4)
    params, value = max(asked(tmp_path), key=lambda trial: trial[1])
    assert found.value == value
    assert found.settings.learning_rate == params["learning_rate"]
    assert found.settings.adversarial_rate == params["learning_rate"] / 10
    assert found.settings.weight_decay == params["weight_decay"]
    assert found.options == {**YOUTUBENET.options, "dropout": params["dropout"]}
    tables = small.tables
    torch.manual_seed(0)
    model = tuning.build("youtubenet", tables.inputs, **found.options)
    metrics = Trainer(model, small.data, tables=tables, settings=found.settings).run()
    assert metrics.auc_pooled == found.value  # what the recipe `temporal` watches
    (chosen,) = (tmp_path / "tuning").glob("*/chosen.json")
    told = json.loads(chosen.read_text())
    assert (told["value"], told["options"], told["trials"]) == (found.value, found.options, 4)


class Guarded(dict):
    """Parts whose test cannot be looked at."""

    def __getitem__(self, part):
        assert part != "test", "tuning looked at the test part"
        return super().__getitem__(part)

    def values(self):
        raise AssertionError("tuning looked at all parts")

    items = values


def test_the_test_part_is_not_in_what_tuning_sees(small, tmp_path):
    open_eyed = search(small, tmp_path / "open", YOUTUBENET, 3)
    guarded = replace(small.data, parts=Guarded(small.data.parts))
    assert search(small, tmp_path / "guarded", YOUTUBENET, 3, data=guarded) == open_eyed
    absent = replace(small.data, parts={part: small.data.parts[part] for part in ("train", "valid")})
    assert search(small, tmp_path / "absent", YOUTUBENET, 3, data=absent) == open_eyed
    assert asked(tmp_path / "guarded") == asked(tmp_path / "absent") == asked(tmp_path / "open")


class Killed(BaseException):
    """Stops a search as a signal would, wherever it is."""


@pytest.mark.parametrize("within", [0, 1, 3])
def test_a_search_stopped_within_a_trial_asks_what_an_unbroken_one_would(small, tmp_path, monkeypatch, within):
    unbroken = search(small, tmp_path / "unbroken", YOUTUBENET, 5)
    begun = []

    class Dying(Trainer):
        def run(self):
            begun.append(self)
            if len(begun) == within + 1:
                raise Killed
            return super().run()

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "Trainer", Dying)
        with pytest.raises(Killed):
            search(small, tmp_path / "broken", YOUTUBENET, 5)
    assert len(asked(tmp_path / "broken")) == within
    assert len(asked(tmp_path / "broken", "RUNNING")) == 1  # as a killed process leaves it
    assert search(small, tmp_path / "broken", YOUTUBENET, 5) == unbroken
    assert asked(tmp_path / "broken") == asked(tmp_path / "unbroken")


def test_a_search_stopped_before_its_first_trial_is_asked_has_one_first_trial(small, tmp_path, monkeypatch):
    unbroken = search(small, tmp_path / "unbroken", LR, 3)

    def die(*arguments, **options):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "ask", die)
        with pytest.raises(Killed):
            search(small, tmp_path / "broken", LR, 3)
    assert search(small, tmp_path / "broken", LR, 3) == unbroken
    assert asked(tmp_path / "broken") == asked(tmp_path / "unbroken")


def test_a_finished_search_asks_nothing_and_a_longer_one_goes_on(small, tmp_path):
    found = search(small, tmp_path, YOUTUBENET, 3)
    first = asked(tmp_path)
    assert search(small, tmp_path, YOUTUBENET, 3) == found
    assert asked(tmp_path) == first
    longer = search(small, tmp_path, YOUTUBENET, 5)
    assert asked(tmp_path)[:3] == first
    assert len(asked(tmp_path)) == 5
    assert longer.value >= found.value


def test_no_system_is_given_more_trials_than_the_others_by_an_earlier_search(small, tmp_path):
    alone = search(small, tmp_path / "alone", YOUTUBENET, 2)
    longer = search(small, tmp_path / "longer", YOUTUBENET, 9)
    assert longer.value > alone.value  # so that the later trials would be chosen
    assert search(small, tmp_path / "longer", YOUTUBENET, 2) == alone


def test_no_trials_take_the_settings_as_they_are_and_need_no_optuna(small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    found = search(small, tmp_path, YOUTUBENET, 0)
    assert (found.settings, found.options, found.trials) == (SETTINGS, YOUTUBENET.options, 0)
    assert not list(tmp_path.iterdir())
    with pytest.raises(MissingExtraError, match=r"tuning needs the extra 'ctr'"):
        search(small, tmp_path, YOUTUBENET, 1)


def test_a_system_that_another_process_tunes_is_left_to_it(small, tmp_path):
    plan = plan_of(small, LR)
    lock = tmp_path / "tuning" / f"lr-{plan.key}" / ".lock"
    lock.parent.mkdir(parents=True)
    titles = []

    @contextmanager
    def progress(title, total):
        titles.append((title, held.is_locked))
        yield lambda steps=1: None

    with FileLock(lock, thread_local=False) as held:
        with pytest.raises(Timeout):
            search(small, tmp_path, LR, 2, wait=False)
        threading.Thread(target=lambda: (time.sleep(1.5), held.release())).start()
        tuned = tune_all(
            [plan, plan_of(small, YOUTUBENET)], tmp_path, small.data, features=small.features, trials=2,
            progress=progress,
        )  # fmt: skip
    assert titles == [("tuning youtubenet", True), ("tuning lr", False)]
    assert {name: type(found) for name, found in tuned.items()} == {"youtubenet": Tuned, "lr": Tuned}
