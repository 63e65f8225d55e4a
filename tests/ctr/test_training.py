"""Training: Algorithm 1 step by step, stopping, resuming to the same bits, and what its labels can teach."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from trimodal.ctr import training, training_log
from trimodal.ctr.batches import Tables
from trimodal.ctr.metrics import measure
from trimodal.ctr.models import build
from trimodal.ctr.prediction import encode_all, predict
from trimodal.ctr.training import Trainer, TrainingSettings
from trimodal.errors import DataError, ParameterError

_spec = importlib.util.spec_from_file_location("planted", Path(__file__).parent / "planted.py")
planted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(planted)

SETTINGS = TrainingSettings(epochs=4, batch_size=64, learning_rate=0.01, adversarial_rate=0.01, patience=4)
SMALL = {"dimension": 8, "user_dimension": 4, "category_dimension": 2, "hidden": [8]}


@pytest.fixture(autouse=True)
def one_thread():
    """The tests share a machine, and equal bits need an equal number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def world():
    return planted.planted()


def trainer(world, folder=None, *, model="gmmf", options=SMALL, settings=SETTINGS, **arguments):
    """A new training, as a new process would make it."""
    data, features = world
    torch.manual_seed(settings.seed)
    tables = Tables(data, features, max_history=settings.max_history)
    made = build(model, tables.inputs, **options)
    return Trainer(made, data, tables=tables, settings=settings, folder=folder, **arguments)


def weights(made):
    return {name: value.clone() for name, value in made.model.state_dict().items()}


def changed(before, after):
    """Names of the tensors that differ."""
    return {name for name in before if not torch.equal(before[name], after[name])}


def log_lines(folder):
    """The log without its times."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(line.pop("seconds") >= 0 for line in lines)
    return lines


# Algorithm 1.


def first_batch(made):
    return made.tables.batch(made.train, torch.arange(64))


def groups(made):
    model = made.model
    names = {id(p): name for name, p in model.named_parameters()}
    own = {
        "generator": {names[id(p)] for p in model.generators()},
        "discriminator": {names[id(p)] for p in model.discriminators()},
    }
    return {**own, "backbone": set(names.values()) - own["generator"] - own["discriminator"]}


def test_there_are_three_optimisers_that_share_no_parameter(world):
    made = trainer(world)
    names = {id(p): name for name, p in made.model.named_parameters()}
    held = {
        name: {names[id(p)] for group in optimiser.param_groups for p in group["params"]}
        for name, optimiser in made.optimisers.items()
    }
    assert held == groups(made)
    rates = {name: optimiser.param_groups[0]["lr"] for name, optimiser in made.optimisers.items()}
    assert rates == {"backbone": 0.01, "generator": 0.01, "discriminator": 0.01}
    slow = trainer(world, settings=replace(SETTINGS, learning_rate=1e-4, adversarial_rate=1e-5, weight_decay=0.5))
    for name, optimiser in slow.optimisers.items():
        group = optimiser.param_groups[0]
        assert (group["lr"], group["weight_decay"]) == (1e-4 if name == "backbone" else 1e-5, 0.5)


@pytest.mark.parametrize("options", [{"difference": False}, {"autoencoder": False, "difference": False}])
def test_without_a_generator_there_is_one_optimiser_of_everything(options, world):
    made = trainer(world, options={**SMALL, **options})
    assert list(made.optimisers) == ["backbone"]
    assert len(made.optimisers["backbone"].param_groups[0]["params"]) == len(list(made.model.parameters()))


def test_the_backbone_step_changes_neither_generator_nor_discriminator(world):
    made = trainer(world)
    before = weights(made)
    losses = made.backbone_step(first_batch(made))
    assert list(losses) == ["click", "reconstruction.image", "reconstruction.text"]
    assert changed(before, weights(made)) == groups(made)["backbone"]


def test_the_adversarial_step_changes_the_discriminator_and_then_the_generator_and_nothing_else(world):
    made = trainer(world)
    batch, own, order = first_batch(made), groups(made), []
    states = [weights(made)]
    for name, optimiser in made.optimisers.items():

        def after(optimiser, args, kwargs, name=name):
            order.append(name)
            states.append(weights(made))

        optimiser.register_step_post_hook(after)
    losses = made.adversarial_step(batch)
    assert list(losses) == order == ["discriminator", "generator"]
    assert changed(states[0], states[1]) == own["discriminator"]
    assert changed(states[1], states[2]) == own["generator"]
    # The generator is judged by the discriminator as it is after its step.
    after_one = states[1]
    made.model.load_state_dict(states[0])
    assert made.model.generator_loss(batch.items).item() != losses["generator"].item()
    made.model.load_state_dict(after_one)
    assert made.model.generator_loss(batch.items).item() == losses["generator"].item()


def test_a_step_leaves_no_gradient_to_the_next_one(world):
    first, second = trainer(world), trainer(world)
    batch = first_batch(first)
    second.model.generator_loss(batch.items).backward()
    torch.stack([p.sum() for p in second.model.parameters()]).sum().backward()
    first.backbone_step(batch)
    second.backbone_step(batch)
    assert not changed(weights(first), weights(second))


@pytest.mark.parametrize("after", [0, 1, 3])
def test_nothing_is_adversarial_before_the_epoch_after_the_kth(after, world, tmp_path):
    made = trainer(world, tmp_path, settings=replace(SETTINGS, adversarial_after=after))
    own, states, order = groups(made), [weights(made)], []
    for name, optimiser in made.optimisers.items():
        optimiser.register_step_post_hook(lambda *_, name=name: order.append(name))
    validate = made.validate

    def and_keep():
        states.append(weights(made))
        return validate()

    made.validate = and_keep
    made.run()
    for epoch in range(1, 5):  # counted from 1, as in Algorithm 1
        adversarial = own["generator"] | own["discriminator"]
        expected = own["backbone"] | (adversarial if epoch > after else set())
        assert changed(states[epoch - 1], states[epoch]) == expected
    steps = -(-planted.PARTS["train"] // 64)
    assert order == ["backbone"] * steps * after + ["discriminator", "generator", "backbone"] * steps * (4 - after)
    names = [set(line["losses"]) for line in log_lines(tmp_path)]
    assert [("generator" in n, "discriminator" in n) for n in names] == [(e > after,) * 2 for e in range(1, 5)]


def test_the_generator_learns_to_pass(world):
    """With the discriminator's steps left out, the generator alone lowers (16)."""
    made = trainer(world)
    batch = first_batch(made)
    before = made.model.generator_loss(batch.items).item()
    for _ in range(50):
        made._step("generator", made.model.generator_loss(batch.items))
    assert made.model.generator_loss(batch.items).item() < 0.8 * before


# Stopping and resuming.


class StoppedError(Exception):
    pass


def stopping_at(epoch):
    """A progress that raises when an epoch is reported as done."""

    @contextmanager
    def progress(title, total):
        done = 0

        def advance(steps=1):
            nonlocal done
            done += steps
            if steps and done == epoch:
                raise StoppedError

        yield advance

    return progress


def outcome(made, metrics):
    numbers = {key: value for key, value in made.state.numbers().items() if key != "seconds"}
    return weights(made), metrics, numbers, encode_all(made.model, made.tables)


def same(a, b):
    assert not changed(a[0], b[0])
    assert a[1:3] == b[1:3]
    assert not changed(a[3], b[3])


@pytest.fixture(scope="module")
def unbroken(world, tmp_path_factory):
    """For GMMF and DIN: what a training without a stop gives, and its log."""
    torch.set_num_threads(1)
    results = {}
    for model in ("gmmf", "din"):
        folder = tmp_path_factory.mktemp(model)
        made = trainer(world, folder, **MODELS[model])
        results[model] = outcome(made, made.run()), log_lines(folder)
        assert len(results[model][1]) == 4
    return results


MODELS = {
    "gmmf": {"model": "gmmf", "options": {**SMALL, "dropout": 0.2}},
    "din": {"model": "din", "options": {"dimension": 8, "dropout": 0.2}},  # it has running statistics
}


@pytest.mark.parametrize("model", list(MODELS))
@pytest.mark.parametrize("epochs", [[1], [3], [1, 2, 3], [4]])
def test_a_stopped_and_resumed_training_gives_the_same_bits(model, epochs, world, unbroken, tmp_path):
    for epoch in epochs:
        with pytest.raises(StoppedError):
            trainer(world, tmp_path, progress=stopping_at(epoch), **MODELS[model]).run()
    made = trainer(world, tmp_path, **MODELS[model])
    same(outcome(made, made.run()), unbroken[model][0])
    assert log_lines(tmp_path) == unbroken[model][1]


@pytest.mark.parametrize("place", ["_epoch", "validate", "log", "save_state", "replace"])
def test_a_stop_anywhere_gives_the_same_bits_and_the_same_log(place, world, unbroken, tmp_path, monkeypatch):
    made = trainer(world, tmp_path, **MODELS["gmmf"])
    calls = 0

    def stopping(function, when):
        def called(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls > 2 and when == "before":
                raise StoppedError
            result = function(*args, **kwargs)
            if calls > 2:
                raise StoppedError
            return result

        return called

    with monkeypatch.context() as patch:
        if place in ("_epoch", "validate"):
            patch.setattr(made, place, stopping(getattr(made, place), "after"))
        elif place == "log":
            patch.setattr(training_log.TrainingLog, "epoch", stopping(training_log.TrainingLog.epoch, "after"))
        else:
            when = "before" if place == "replace" else "after"
            patch.setattr(training, "save_state", stopping(training.save_state, when))
        with pytest.raises(StoppedError):
            made.run()
    resumed = trainer(world, tmp_path, **MODELS["gmmf"])
    same(outcome(resumed, resumed.run()), unbroken["gmmf"][0])
    assert log_lines(tmp_path) == unbroken["gmmf"][1]


KILLED = """
import importlib.util, os, signal, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("tests", sys.argv[1])
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
tests.torch.set_num_threads(1)
made = tests.trainer(tests.planted.planted(), Path(sys.argv[2]), **tests.MODELS["gmmf"])
steps, step = 0, made.backbone_step
def killing(batch):
    global steps
    steps += 1
    if steps == 25:  # in the third epoch, which has the steps 21 to 30
        os.kill(os.getpid(), signal.SIGKILL)
    return step(batch)
made.backbone_step = killing
made.run()
"""


def test_a_killed_training_is_resumed_to_the_same_bits(world, unbroken, tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, __file__, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(log_lines(tmp_path)) == 2
    made = trainer(world, tmp_path, **MODELS["gmmf"])
    same(outcome(made, made.run()), unbroken["gmmf"][0])
    assert log_lines(tmp_path) == unbroken["gmmf"][1]


def test_a_finished_training_is_not_trained_again(world, tmp_path):
    made = trainer(world, tmp_path)
    first = outcome(made, made.run())
    again = trainer(world, tmp_path)
    again._epoch = None  # calling it would raise
    same(outcome(again, again.run()), first)


@pytest.mark.parametrize("setting", [name for name in asdict(SETTINGS) if name not in ("precision", "compile")])
def test_a_checkpoint_of_other_settings_is_refused(setting, world, tmp_path):
    with pytest.raises(StoppedError):
        trainer(world, tmp_path, progress=stopping_at(1)).run()
    value = getattr(SETTINGS, setting)
    other = replace(SETTINGS, **{setting: "auc_user" if setting == "monitor" else 2 * value or 1})
    if isinstance(value, float):
        other = replace(SETTINGS, **{setting: value / 2})
    with pytest.raises(DataError, match="other data, model or settings; remove its folder"):
        trainer(world, tmp_path, settings=other).run()


def test_a_checkpoint_of_other_data_or_of_another_model_is_refused(world, tmp_path):
    with pytest.raises(StoppedError):
        trainer(world, tmp_path, progress=stopping_at(1)).run()
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    for arguments in (
        {"world": planted.planted(seed=1)},
        {"world": world, "model": "din", "options": {}},
        {"world": world, "options": {**SMALL, "dimension": 9}},
    ):
        with pytest.raises(DataError, match="other data, model or settings"):
            trainer(arguments.pop("world"), tmp_path, **arguments).run()
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


@pytest.mark.parametrize("damage", ["empty", "cut", "no safetensors"])
def test_a_damaged_checkpoint_is_an_error_that_says_what_to_do(damage, world, tmp_path):
    with pytest.raises(StoppedError):
        trainer(world, tmp_path, progress=stopping_at(1)).run()
    path = tmp_path / "checkpoint.safetensors"
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "no safetensors": b"x" * 200}[damage])
    with pytest.raises(DataError, match=r"checkpoint\.safetensors cannot be read.*remove it"):
        trainer(world, tmp_path).run()


# The best epoch.


def scripted(made, values, monitor="auc_pooled"):
    """Validation gives these values in turn; what the model then was is kept."""
    real, states = made.validate, []

    def validate():
        metrics = real()
        if len(states) < len(values):
            metrics = replace(metrics, **{monitor: values[len(states)]})
            states.append(weights(made))
        return metrics

    made.validate = validate
    return states  # the validation after the last epoch, of the best weights, is the real one


@pytest.mark.parametrize(
    ("values", "patience", "epochs", "best"),
    [
        ([0.5, 0.7, 0.6, 0.65, 0.9], 2, 4, 2),
        ([0.5, 0.7, 0.6, 0.8, 0.6], 2, 5, 4),
        ([0.5, 0.5, 0.5, 0.5, 0.5], 3, 4, 1),  # the first of equal ones
        ([0.1, 0.2, 0.3, 0.4, 0.5], 1, 5, 5),
        ([0.9, 0.8, 0.9, 0.9, 0.9], 1, 2, 1),
    ],
)
def test_training_stops_by_patience_and_keeps_the_weights_of_the_best_epoch(values, patience, epochs, best, world):
    made = trainer(world, settings=replace(SETTINGS, epochs=5, patience=patience))
    states = scripted(made, values[:epochs])
    metrics = made.run()
    assert (made.state.epoch, made.state.best_epoch) == (epochs, best)
    assert made.state.best_value == values[best - 1]
    assert not changed(weights(made), states[best - 1])
    if best < epochs:
        assert changed(weights(made), states[-1])
    logits = predict(made.model, made.tables, made.valid)
    events = made.data.parts["valid"]
    assert metrics == measure(events.user, events.label, score=logits)


def test_the_watched_metric_is_the_one_of_the_settings_or_of_the_recipe(world):
    assert trainer(world).monitor == "auc_pooled"
    made = trainer(world, settings=replace(SETTINGS, monitor="auc_user", patience=1))
    scripted(made, [0.2, 0.1], "auc_user")
    made.run()
    assert (made.state.epoch, made.state.best_value) == (2, 0.2)


def test_a_watched_metric_that_is_not_defined_is_an_error(world, tmp_path):
    data, features = world
    # One event a user: none has both a click and a non-click.
    _, first = np.unique(data.parts["valid"].user, return_index=True)
    data = replace(data, parts={**data.parts, "valid": data.parts["valid"].take(first)})
    with pytest.raises(DataError, match="auc_user of the validation part is not defined"):
        trainer((data, features), tmp_path, settings=replace(SETTINGS, monitor="auc_user")).run()
    trainer((data, features), settings=replace(SETTINGS, epochs=1)).run()


# Seeds, labels, precision.


@pytest.mark.parametrize("model", list(MODELS))
def test_one_seed_gives_one_result_and_another_seed_another(model, world):
    made = [trainer(world, settings=replace(SETTINGS, epochs=2, seed=seed), **MODELS[model]) for seed in (0, 0, 1)]
    results = []
    for one in made:
        torch.rand(7)  # what others draw meanwhile must not matter
        results.append(outcome(one, one.run()))
    same(results[0], results[1])
    assert changed(results[0][0], results[2][0])
    assert results[0][1] != results[2][1]


def test_the_order_of_the_events_is_another_one_in_every_epoch(world):
    made = trainer(world, settings=replace(SETTINGS, epochs=3))
    seen, batch = [], made.tables.batch
    made.tables.batch = lambda placed, rows: seen.append(rows) or batch(placed, rows)
    made.run()
    epochs = [torch.cat(seen[start : start + 10]).tolist() for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(600)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_test_part_is_not_touched(world):
    data, features = world
    without = replace(data, parts={part: data.parts[part] for part in ("train", "valid")})
    whole, less = trainer(world), trainer((without, features))
    same(outcome(whole, whole.run()), outcome(less, less.run()))


@pytest.mark.parametrize("model", ["gmmf", "din"])
def test_shuffled_labels_teach_nothing_and_true_ones_do(model):
    sizes = {"train": 2000, "valid": 2000, "test": 2000}
    data, features = planted.planted(sizes=sizes)
    rng = np.random.default_rng(0)
    shuffled = {name: replace(events, label=rng.permutation(events.label)) for name, events in data.parts.items()}
    auc = {}
    for labels, parts in (("true", data.parts), ("shuffled", shuffled)):
        made = trainer((replace(data, parts=parts), features), model=model, options={})
        made.run()
        # The epoch was chosen on validation, so that its value there is too good by chance; the test part tells.
        for part in ("valid", "test"):
            events = parts[part]
            scores = predict(made.model, made.tables, made.tables.place(events))
            auc[labels, part] = measure(events.user, events.label, score=scores).auc_pooled
    # The standard error of an AUC of scores that know nothing of the labels (Mann and Whitney).
    clicks = int(data.parts["test"].label.sum())
    error = np.sqrt((2000 + 1) / (12 * clicks * (2000 - clicks)))
    assert abs(auc["shuffled", "test"] - 0.5) < 3 * error
    assert abs(auc["shuffled", "valid"] - 0.5) < 4 * error  # the best of four epochs
    assert auc["true", "test"] > 0.5 + 20 * error


@pytest.mark.parametrize(
    ("model", "options"),
    [("gmmf", {}), ("gmmf", {"pooling": "paper"}), ("gmmf", {"autoencoder": False, "match": True}), ("din", {})],
)
def test_mixed_precision_reaches_what_full_precision_reaches(model, options):
    world = planted.planted(sizes={"train": 1200, "valid": 1000, "test": 10})
    results = {}
    for precision in ("float32", "bfloat16"):
        made = trainer(world, model=model, options=options, settings=replace(SETTINGS, epochs=3, precision=precision))
        results[precision] = made.run().auc_pooled, weights(made)
        assert all(value.dtype != torch.bfloat16 for value in results[precision][1].values())
    assert changed(results["float32"][1], results["bfloat16"][1])
    assert results["float32"][0] > 0.8
    assert abs(results["float32"][0] - results["bfloat16"][0]) < 0.02


# The log.


def test_the_log_has_one_line_an_epoch(world, tmp_path):
    made = trainer(world, tmp_path / "not" / "there", settings=replace(SETTINGS, epochs=2))
    metrics = made.run()
    lines = log_lines(tmp_path / "not" / "there")
    assert [line["epoch"] for line in lines] == [1, 2]
    assert set(lines[0]["losses"]) == {"click", "reconstruction.image", "reconstruction.text"}
    assert set(lines[1]["losses"]) == {*lines[0]["losses"], "generator", "discriminator"}
    assert all(0 < value < 10 for line in lines for value in line["losses"].values())
    assert lines[made.state.best_epoch - 1]["valid"] == metrics.to_dict()
    assert lines[0]["valid"]["logloss"] is None


def test_without_a_folder_nothing_is_written(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer(world, settings=replace(SETTINGS, epochs=1)).run()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="TensorBoard is not installed")
def test_tensorboard_reads_the_same_numbers(world, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(StoppedError):
        trainer(world, tmp_path, progress=stopping_at(2)).run()
    trainer(world, tmp_path).run()
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    lines = log_lines(tmp_path)
    points = board.Scalars("loss/click")
    assert [(p.step, p.value) for p in points] == [(n["epoch"], np.float32(n["losses"]["click"])) for n in lines]
    assert len(board.Scalars("valid/auc_pooled")) == 4
    assert "valid/logloss" not in board.Tags()["scalars"]


def test_without_tensorboard_the_log_is_written_all_the_same(world, tmp_path, monkeypatch):
    monkeypatch.setattr(training_log.importlib.util, "find_spec", lambda name: None)
    trainer(world, tmp_path, settings=replace(SETTINGS, epochs=1)).run()
    assert len(log_lines(tmp_path)) == 1
    assert not (tmp_path / "tensorboard").exists()


# Settings.


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *chain.from_iterable(
            ((name, 0), (name, 1.5), (name, True)) for name in ("epochs", "batch_size", "patience", "max_history")
        ),
        ("adversarial_after", -1),
        ("seed", -1),
        ("precision", "float16"),
        ("monitor", "logloss"),
        *(("learning_rate", value) for value in (0, 1, -0.1, float("nan"))),
        ("adversarial_rate", 0),
        ("weight_decay", -0.1),
        ("weight_decay", 1.1),
    ],
)
def test_settings_out_of_range_are_refused_by_name(setting, value):
    with pytest.raises(ParameterError, match=f"^{setting} == "):
        TrainingSettings(**{setting: value})
