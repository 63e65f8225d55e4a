"""`trimodal ctr train`, `rank`, `recommend`, `export`, `explain` and `robustness` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import torch

from trimodal.cli import run
from trimodal.ctr.ranker import Ranker
from trimodal.datasets.taste import simulate_taste

QUICK = ["--epochs", 2, "--batch-size", 256, "--max-history", 6]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def call(*arguments) -> int:
    return run([str(a) for a in arguments])


def output(capsys, *arguments) -> str:
    code = call(*arguments)
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A data folder, prepared, with a trained model and a bundle of the same products."""
    folder = tmp_path_factory.mktemp("market")
    shop = folder / "shop"
    simulate_taste(60, 40, events_per_user=24, seed=1).write(shop)
    vectors = []
    for name in ("text", "image"):
        vectors += ["--vectors", f"{name}={shop / 'vectors' / name}.parquet"]
    assert call("ctr", "prepare", shop, "-o", folder / "prepared", "--recipe", "temporal", *vectors) == 0
    assert call("ctr", "train", folder / "prepared", "-o", folder / "model", *QUICK) == 0
    clicks = pl.read_csv(shop / "clicks.csv").filter(pl.col("label") == 1)
    clicks.with_columns(session_id=pl.col("user_id")).write_csv(shop / "clicks.csv")
    assert call("fit", shop, "-o", folder / "bundle", "--modalities", "text,image", *vectors) == 0
    return folder


def test_train_writes_a_ranker_and_says_what_it_reached(folder, tmp_path, capsys):
    command = ["ctr", "train", folder / "prepared", "-o", tmp_path / "model", "--model", "din", *QUICK]
    done = json.loads(output(capsys, *command, "--option", "dropout=.25", "--option", "hidden=[8]", "--json"))
    assert done["options"] == {"dropout": 0.25, "hidden": [8]}
    assert done["settings"]["learning_rate"] == 10 * done["settings"]["adversarial_rate"] == 1e-3
    assert (done["model"], done["epochs"]) == ("din", 2)
    ranker = Ranker.load(tmp_path / "model")
    assert ranker.manifest["options"] == done["options"]
    assert ranker.manifest["metrics"] == {part: done[part] for part in ("valid", "test")}
    log = [json.loads(line) for line in (tmp_path / "model.training" / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == [1, 2]

    # Another option is another training, not the first one's model under another name.
    other = json.loads(output(capsys, *command, "--option", "hidden=[8]", "--json"))
    assert other["test"] != done["test"]
    assert other["parameters"] == done["parameters"]
    told = output(capsys, *command)
    assert "din: best epoch" in told
    assert f"-> {tmp_path / 'model'}" in told
    assert "auc_user" in told


def test_rank_sorts_by_probability_and_counts_what_it_does_not_know(folder, capsys):
    command = ["ctr", "rank", folder / "model", "sim-p000001", "sim-p000002", "sim-p000003"]
    options = ["--history", "sim-p000004,nothing", "--visitor", "sim-u000001"]
    shape = json.loads(output(capsys, *command, *options, "--json"))
    chances = [entry["probability"] for entry in shape["ranked"]]
    assert sorted(entry["product_id"] for entry in shape["ranked"]) == ["sim-p000001", "sim-p000002", "sim-p000003"]
    assert chances == sorted(chances, reverse=True)
    assert all(0 < chance < 1 for chance in chances)
    assert (shape["visitor"], shape["known"]) == ("sim-u000001", True)
    assert shape["skipped"] == {"history": 1, "candidates": 0}
    expected = Ranker.load(folder / "model").score(
        [entry["product_id"] for entry in shape["ranked"]], ["sim-p000004"], visitor="sim-u000001"
    )
    assert chances == pytest.approx(expected.tolist())
    table = output(capsys, *command, *options)
    assert table.splitlines()[1].strip() == f"{chances[0]:.4f}  {shape['ranked'][0]['product_id']}"
    assert "1 unknown in the history, left out" in table
    skipped = json.loads(output(capsys, *command, "nothing", "--unknown", "skip", "--json"))
    assert len(skipped["ranked"]) == 3
    assert skipped["skipped"]["candidates"] == 1
    assert skipped["known"] is False


def test_recommend_ranks_neighbours_of_the_clicks(folder, capsys):
    command = ["ctr", "recommend", folder / "bundle", folder / "model", "-k", 4]
    shape = json.loads(output(capsys, *command, "--history", "sim-p000001,sim-p000007", "--json"))
    chances = [entry["probability"] for entry in shape["products"]]
    assert len(chances) == 4
    assert chances == sorted(chances, reverse=True)
    assert not {"sim-p000001", "sim-p000007"} & {entry["product_id"] for entry in shape["products"]}
    assert shape["popular"] is False
    nobody = json.loads(output(capsys, *command, "--history", "nothing", "--json"))
    assert nobody["popular"] is True
    assert len(nobody["products"]) == 4
    table = output(capsys, *command, "--history", "sim-p000001,sim-p000007")
    assert shape["products"][0]["product_id"] in table


def test_export_writes_a_graph_and_says_where_its_inputs_are(folder, tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    shape = json.loads(output(capsys, "ctr", "export", folder / "model", "-o", tmp_path / "m.onnx", "--json"))
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert shape == {"file": str(tmp_path / "m.onnx"), "inputs": [entry.name for entry in graph.input]}
    assert call("ctr", "export", folder / "model", "-o", tmp_path / "m.onnx") == 0
    captured = capsys.readouterr()
    assert "output probability" in captured.out
    assert str(folder / "model" / "items.safetensors") in captured.err


TRAIN = ["train", "{f}/prepared", "-o", "{out}"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train", "{f}/shop", "-o", "{out}"], "shop holds no prepared data"),
        ([*TRAIN, "--model", "svm"], "model == 'svm', must be one of lr, fm, deepfm"),
        ([*TRAIN, "--option", "depth=3"], "--option depth, must be of dimension, user_dimension"),
        ([*TRAIN, "--option", "depth"], "--option 'depth', must be NAME=VALUE"),
        ([*TRAIN, "--option", "dropout=much"], "dropout == 'much', must be a number >= 0"),
        ([*TRAIN, "--option", "dropout=7"], "dropout == 7.0, must be in [0, 1]"),
        ([*TRAIN, "--option", "reconstruction=inf"], "reconstruction == inf, must be a number >= 0"),
        ([*TRAIN, "--option", "hidden=80,40"], "must be a list of sizes, such as [80, 40]"),
        ([*TRAIN, "--option", "interest=maybe"], "interest == 'maybe', must be a bool"),
        ([*TRAIN, "--option", "pooling=sum"], "pooling == 'sum', must be one of softmax, paper, mean"),
        ([*TRAIN, "--model", "lr", "--option", "dropout=.1"], "must be of none: it has no options"),
        ([*TRAIN, "--epochs", "0"], "epochs == 0, must be >= 1"),
        (["train", "{f}/prepared", "-o", "{f}/shop"], "shop is there and is not a ranker"),
        (["train", "{f}/prepared", "-o", "{f}/shop/products.csv"], "products.csv, must be a folder"),
        (["rank", "{f}/model", "nothing"], "candidate 'nothing' is not among the 60 products"),
        (["rank", "{f}/model", "sim-p000001", "--unknown", "drop"], "unknown == 'drop', must be one of raise, skip"),
        (["rank", "{f}/nowhere", "sim-p000001"], "nowhere holds no ranker"),
        (["rank", "{f}/prepared", "sim-p000001"], "prepared holds no ranker, but something else"),
        (["rank", "{f}/model"], "Missing argument"),
        (["recommend", "{f}/model", "{f}/model", "--history", "sim-p000001"], "model is not a bundle"),
        (["recommend", "{f}/bundle", "{f}/bundle", "--history", "sim-p000001"], "bundle holds no ranker"),
        (["recommend", "{f}/bundle", "{f}/model", "--history", "sim-p000001", "-k", "0"], "k == 0, must be >= 1"),
        (["recommend", "{f}/bundle", "{f}/model"], "Missing option '--history'"),
        (["export", "{f}/model", "-o", "{f}"], "must be a file in a folder that is there"),
        (["export", "{f}/model", "-o", "{out}/m.onnx"], "must be a file in a folder that is there"),
        (["export", "{f}/bundle", "-o", "{out}.onnx"], "bundle holds no ranker"),
    ],
)
def test_wrong_input_is_exit_2_and_one_clear_line(folder, tmp_path, capsys, command, message):
    code = call("ctr", *(part.format(f=folder, out=tmp_path / "out") for part in command))
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert message in " ".join(captured.err.split())
    assert not (tmp_path / "out").exists()


def test_preparing_does_not_write_over_a_model(folder, capsys):
    before = (folder / "model" / "manifest.json").read_bytes()
    assert call("ctr", "prepare", folder / "shop", "-o", folder / "model", "--recipe", "temporal") == 2
    assert "holds something else with a manifest.json; choose another folder" in capsys.readouterr().err
    assert (folder / "model" / "manifest.json").read_bytes() == before


def test_every_command_has_help_with_an_example(capsys):
    for command in ("train", "rank", "recommend", "export"):
        assert f"Example: trimodal ctr {command}" in " ".join(output(capsys, "ctr", command, "--help").split())


def test_explain_draws_and_writes_what_counts(folder, tmp_path, capsys):
    heat, numbers = tmp_path / "heat.png", tmp_path / "numbers.json"
    command = ["ctr", "explain", folder / "prepared", folder / "model"]
    told = output(capsys, *command, "--figure", heat, "--by", "share", "--out", numbers)
    assert heat.read_bytes().startswith(b"\x89PNG")
    assert "faithfulness" in told
    assert json.loads(numbers.read_text()) == json.loads(output(capsys, *command, "--json"))


def test_robustness_names_its_models(folder, capsys):
    command = ["ctr", "robustness", folder / "prepared", f"whole={folder / 'model'}", "--shares", "0,0.5", "--seeds", 1]
    found = json.loads(output(capsys, *command, "--modalities", "text", "--json"))
    assert [(row["model"], row["modality"], row["share"]) for row in found["rows"]] == [
        ("whole", "text", 0.0), ("whole", "text", 0.5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain", "{f}/prepared", "{f}/model", "--figure", "{f}/heat.pdf"], "must be a .png or .svg file"),
        (["explain", "{f}/prepared", "{f}/model", "--out", "{f}/no/x.json"], "in a folder that is there"),
        (["explain", "{f}/prepared", "{f}/model", "--by", "auc", "--level", "items"], "single items have no AUC"),
        (["explain", "{f}/prepared", "{f}/model", "--by", "weight"], "must be one of gate, share"),
        (["explain", "{f}/shop", "{f}/model"], "holds no prepared data"),
        (["robustness", "{f}/prepared", "{f}/model", "--shares", "half"], "must be a number"),
        (["robustness", "{f}/prepared", "{f}/shop"], "ranker"),
    ],
)
def test_looking_into_a_model_refuses_what_it_cannot_do(arguments, message, folder, capsys):
    assert call("ctr", *(argument.format(f=folder) for argument in arguments)) == 2
    assert message in capsys.readouterr().err


def test_a_model_without_a_gate_cannot_be_explained_by_it(folder, tmp_path, capsys):
    assert call("ctr", "train", folder / "prepared", "-o", tmp_path / "din", "--model", "din", *QUICK) == 0
    assert call("ctr", "explain", folder / "prepared", tmp_path / "din", "--by", "gate") == 2
    assert "has no gate" in capsys.readouterr().err
