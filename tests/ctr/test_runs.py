"""Runs on disk: each is made once, by any number of processes, and a killed one goes on to the same result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from trimodal.ctr.metrics import measure
from trimodal.ctr.prepared import write_prepared
from trimodal.ctr.ranker import Ranker
from trimodal.ctr.runs import Plan, make_runs, read_run, shuffled, train_ranker, with_seeds
from trimodal.ctr.systems import System
from trimodal.ctr.training import TrainingSettings
from trimodal.errors import DataError, ParameterError

SETTINGS = TrainingSettings(epochs=2, batch_size=256, max_history=6)
YOUTUBENET = System("youtubenet", "youtubenet", {"dimension": 8, "hidden": [8]})


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def plan_of(small, system=YOUTUBENET, **settings):
    return Plan(system, replace(SETTINGS, **settings), small.data.fingerprint, small.features.fingerprint())


def make(small, out, *plans):
    make_runs(plans, out, small.data, features=small.features)
    return [read_run(plan.folder(out)) for plan in plans]


def when(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != ".lock"}


def test_the_key_names_everything_but_the_seed_and_what_only_the_table_needs(small):
    plan = plan_of(small)
    changed = {
        "epochs": 3, "batch_size": 128, "learning_rate": 0.01, "adversarial_rate": 0.01, "weight_decay": 0.1,
        "patience": 1, "adversarial_after": 2, "max_history": 5, "monitor": "auc_user", "precision": "bfloat16",
        "compile": True,
    }  # fmt: skip
    assert set(changed) == {field.name for field in fields(TrainingSettings)} - {"seed"}
    others = [plan_of(small, **{name: value}) for name, value in changed.items()]
    others += [
        plan_of(small, System("youtubenet", "youtubenet", {"dimension": 9, "hidden": [8]})),
        plan_of(small, System("youtubenet", "din", YOUTUBENET.options)),
        plan_of(small, replace(YOUTUBENET, shuffled="history")),
        replace(plan, data="0" * 64),
        replace(plan, features="0" * 64),
    ]
    keys = {other.key for other in (plan, *others)}
    assert len(keys) == 1 + len(others)
    assert plan_of(small, seed=7).key == plan.key
    assert plan_of(small, replace(YOUTUBENET, name="other", tuned_as="gmmf")).key == plan.key
    folders = {str(p.folder(Path("out"))) for p in with_seeds(plan, 3)}
    assert folders == {f"out/runs/youtubenet-{plan.key}/{seed}" for seed in range(3)}


def test_a_run_says_what_it_is_and_what_its_scores_are_worth(small, tmp_path):
    (run,) = make(small, tmp_path, plan_of(small, seed=1))
    assert run.record["model"] == "youtubenet"
    assert run.record["options"] == YOUTUBENET.options
    assert run.record["settings"]["seed"] == 1
    assert (run.record["data"], run.record["features"]) == (small.data.fingerprint, small.features.fingerprint())
    assert run.record["epochs"] == 2
    for part in ("valid", "test"):
        events, logits = small.data.parts[part], run.scores[part]
        assert logits.shape == (len(events),)
        chance = 1 / (1 + np.exp(-logits.astype(np.float64)))
        expected = measure(events.user, events.label, score=logits, probability=chance).to_dict()
        assert run.record[part] == pytest.approx(expected)
    assert not (tmp_path / "checkpoint.safetensors").exists()
    assert not list(tmp_path.rglob("checkpoint*"))


def test_a_control_needs_no_training_and_predicts_no_probability(small, tmp_path):
    (run,) = make(small, tmp_path, plan_of(small, System("popularity", "", control=True)))
    assert (run.record["parameters"], run.record["epochs"], run.record["seconds"]) == (0, 0, 0.0)
    assert run.record["test"]["logloss"] is None
    assert 0 < run.record["test"]["auc_user"] < 1


def test_a_finished_run_is_not_made_again(small, tmp_path):
    plans = with_seeds(plan_of(small), 2)
    make(small, tmp_path, *plans)
    before = when(tmp_path)
    make(small, tmp_path, *plans)
    assert when(tmp_path) == before
    make(small, tmp_path, *with_seeds(plan_of(small), 3))
    after = when(tmp_path)
    assert {path: after[path] for path in before} == before
    assert sorted(path.name for path in (tmp_path / "runs" / plans[0].folder(tmp_path).parent.name).iterdir()) == [
        "0", "1", "2",
    ]  # fmt: skip


def test_another_setting_is_another_run(small, tmp_path):
    one, other = make(small, tmp_path, plan_of(small), plan_of(small, learning_rate=0.05))
    assert len(list((tmp_path / "runs").iterdir())) == 2
    assert (one.scores["test"] != other.scores["test"]).any()


def test_seeds_differ_and_one_seed_repeats(small, tmp_path):
    a, b = make(small, tmp_path / "a", *with_seeds(plan_of(small), 2))
    (again,) = make(small, tmp_path / "b", plan_of(small))
    np.testing.assert_array_equal(a.scores["test"], again.scores["test"])
    assert (a.scores["test"] != b.scores["test"]).any()


def test_a_run_without_its_record_is_made_again_and_a_damaged_one_is_refused(small, tmp_path):
    plan = plan_of(small)
    (run,) = make(small, tmp_path, plan)
    folder = plan.folder(tmp_path)
    (folder / "run.json").unlink()
    assert read_run(folder) is None
    (again,) = make(small, tmp_path, plan)
    np.testing.assert_array_equal(again.scores["test"], run.scores["test"])
    whole = (folder / "scores.safetensors").read_bytes()
    for damage in (
        lambda: (folder / "scores.safetensors").write_bytes(whole[:-9]),
        lambda: (folder / "scores.safetensors").unlink(),
        lambda: (folder / "run.json").write_text("{"),
    ):
        damage()
        with pytest.raises(DataError, match=r"holds a damaged run .* remove it to make it again"):
            make(small, tmp_path, plan)


def test_the_first_seeds_model_is_kept_and_scores_as_the_run_did(small, tmp_path):
    plans = with_seeds(plan_of(small), 2)
    mixed = plan_of(small, replace(YOUTUBENET, name="mixed", control=True, shuffled="history"))
    run, *_ = make(small, tmp_path, *plans, mixed)
    kept = [path.parent for path in tmp_path.rglob("ranker")]
    assert kept == [plans[0].folder(tmp_path)]
    ranker = Ranker.load(kept[0] / "ranker")
    data, events = small.data, small.data.parts["test"]
    for event in range(0, len(events), 17):
        user = events.user[event]
        history = data.history[data.starts[user] :][: events.seen[event]]
        chance = ranker.score(
            [data.items[int(events.item[event])]],
            [data.items[int(item)] for item in history],
            visitor=data.users[user],
        )
        np.testing.assert_allclose(chance, 1 / (1 + np.exp(-run.scores["test"][event])), rtol=1e-4)


def test_a_shuffled_system_sees_other_histories_or_other_modalities_by_its_seed(small, tmp_path):
    data, features = small.data, small.features
    history = shuffled(replace(YOUTUBENET, shuffled="history"), data, features, 0)
    modality = shuffled(replace(YOUTUBENET, shuffled="modality"), data, features, 0)
    assert history[1] is features
    assert modality[0] is data
    assert (history[0].history != data.history).any()
    assert modality[1].fingerprint() == features.shuffled(0).fingerprint() != features.fingerprint()
    assert shuffled(YOUTUBENET, data, features, 0) == (data, features)
    plans = [plan_of(small, replace(YOUTUBENET, shuffled=kind)) for kind in ("", "history", "modality")]
    scores = [run.scores["test"] for run in make(small, tmp_path, *plans)]
    assert all((scores[0] != other).any() for other in scores[1:])


SHARING = """
import os, sys
from pathlib import Path
import torch
from trimodal.ctr import runs
from trimodal.ctr.prepared import read_prepared
from trimodal.ctr.systems import System
from trimodal.ctr.training import TrainingSettings

torch.set_num_threads(1)
prepared, out, told = map(Path, sys.argv[1:4])
systems = [System(name, name, {"dimension": 8}) for name in sys.argv[4].split(",")]
settings = TrainingSettings(epochs=int(sys.argv[5]), patience=int(sys.argv[5]), batch_size=256, max_history=6)
data, features = read_prepared(prepared)
plans = [runs.Plan(system, settings, data.fingerprint, features.fingerprint()) for system in systems]
make = runs.make_run

def telling(plan, folder, *arguments, **options):
    with open(told, "a") as stream:
        stream.write(f"{os.getpid()} {folder}\\n")
    return make(plan, folder, *arguments, **options)

runs.make_run = telling
print("ready", flush=True)
sys.stdin.readline()
runs.make_runs([p for plan in plans for p in runs.with_seeds(plan, 3)], out, data, features=features)
"""


def start(small, tmp_path, models, epochs):
    prepared = tmp_path / "prepared"
    if not prepared.exists():
        write_prepared(prepared, small.data, small.market.vectors)
    command = [sys.executable, "-c", SHARING, prepared, tmp_path / "out", tmp_path / "told", models, epochs]
    return subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def plans_of(small, models, epochs):
    plans = [plan_of(small, System(m, m, {"dimension": 8}), epochs=epochs, patience=epochs) for m in models.split(",")]
    return [p for plan in plans for p in with_seeds(plan, 3)]


def test_two_processes_share_the_work_and_make_no_run_twice(small, tmp_path):
    models = "fm,din"
    with start(small, tmp_path, models, 3) as one, start(small, tmp_path, models, 3) as other:
        for process in (one, other):
            assert process.stdout.readline() == "ready\n"
        for process in (one, other):
            process.stdin.write("go\n")
            process.stdin.flush()
        assert one.wait(60) == other.wait(60) == 0
    told = [line.split(" ", 1) for line in (tmp_path / "told").read_text().splitlines()]
    plans = plans_of(small, models, 3)
    assert sorted(folder for _, folder in told) == sorted(str(plan.folder(tmp_path / "out")) for plan in plans)
    assert {int(process) for process, _ in told} == {one.pid, other.pid}
    alone = make(small, tmp_path / "alone", *plans)
    for run, plan in zip(alone, plans, strict=True):
        np.testing.assert_array_equal(read_run(plan.folder(tmp_path / "out")).scores["test"], run.scores["test"])


def test_a_run_killed_in_the_middle_goes_on_to_the_same_result(small, tmp_path):
    epochs = 10
    plan, *_ = plans_of(small, "gmmf", epochs)
    folder = plan.folder(tmp_path / "out")
    with start(small, tmp_path, "gmmf", epochs) as process:
        process.stdin.write("go\n")
        process.stdin.flush()
        limit = time.monotonic() + 60
        while not (log := folder / "log.jsonl").is_file() or len(log.read_text().splitlines()) < 3:
            assert time.monotonic() < limit, "no epoch was logged"
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    assert read_run(folder) is None
    assert (folder / "checkpoint.safetensors").is_file()
    assert len(log.read_text().splitlines()) < epochs
    (run,) = make(small, tmp_path / "out", plan)
    assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()] == list(range(1, epochs + 1))
    (unbroken,) = make(small, tmp_path / "alone", plan)
    for part in ("valid", "test"):
        np.testing.assert_array_equal(run.scores[part], unbroken.scores[part])
    assert {**run.record, "seconds": 0} == {**unbroken.record, "seconds": 0}
    assert not (folder / "checkpoint.safetensors").exists()


# ---------------------------------------------------------------- train_ranker


class Stopped(BaseException):
    """Raised where a training is stopped."""


def stopping(after):
    """Progress that stops the work after so many epochs."""

    @contextmanager
    def progress(title, total):
        done = 0

        def advance(steps=1):
            nonlocal done
            done += steps
            if done >= after:
                raise Stopped

        yield advance

    return progress


def train(small, out, system=YOUTUBENET, features=None, **options):
    settings = replace(SETTINGS, epochs=4, patience=4, **options.pop("settings", {}))
    features = features or small.features
    return train_ranker(system, out, small.data, features=features, settings=settings, **options)


def steady(done):
    return {**done, "seconds": 0}


def test_a_ranker_is_trained_and_says_what_it_reached(small, tmp_path):
    done = train(small, tmp_path / "model")
    assert done["model"] == "youtubenet"
    assert done["epochs"] == 4
    ranker = Ranker.load(tmp_path / "model")
    assert ranker.manifest["metrics"] == {part: done[part] for part in ("valid", "test")}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.training"]
    assert not (tmp_path / "model.training" / "checkpoint.safetensors").exists()


def test_a_stopped_training_goes_on_to_the_same_result(small, tmp_path):
    unbroken = train(small, tmp_path / "unbroken")
    with pytest.raises(Stopped):
        train(small, tmp_path / "model", progress=stopping(2))
    assert (tmp_path / "model.training" / "checkpoint.safetensors").is_file()
    assert steady(train(small, tmp_path / "model")) == steady(unbroken)


@pytest.mark.parametrize("what", ["options", "settings", "features", "seed"])
def test_where_anything_differs_another_training_begins(small, tmp_path, what):
    with pytest.raises(Stopped):
        train(small, tmp_path / "model", progress=stopping(2))
    other = {
        "options": {"system": replace(YOUTUBENET, options={**YOUTUBENET.options, "dropout": 0.5})},
        "settings": {"settings": {"learning_rate": 0.01}},
        "features": {"features": small.features.shuffled(1)},
        "seed": {"settings": {"seed": 5}},
    }[what]
    fresh = train(small, tmp_path / "fresh", **other)
    assert steady(train(small, tmp_path / "model", **other)) == steady(fresh)
    # A finished training leaves nothing that a later one could take for its own.
    assert steady(train(small, tmp_path / "fresh")) == steady(train(small, tmp_path / "model"))


def test_a_place_that_is_taken_is_refused_before_anything_is_trained(small, tmp_path, monkeypatch):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "products.csv").write_text("product_id\n")
    monkeypatch.chdir(tmp_path / "shop")
    for out in (tmp_path / "shop", Path()):
        with pytest.raises(DataError, match="is there and is not a ranker"):
            train(small, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop"]


def test_an_unknown_option_is_refused(small, tmp_path):
    with pytest.raises(ParameterError, match="has no option 'depth'"):
        train(small, tmp_path / "model", system=System("lr", "lr", {"depth": 3}))
