"""Importance is what its definition says, item by item; removal is removal; and a planted structure is found."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from trimodal.catalog import Catalog
from trimodal.ctr.batches import Tables
from trimodal.ctr.controls import popularity
from trimodal.ctr.features import ItemFeatures
from trimodal.ctr.importance import NO_CATEGORY
from trimodal.ctr.interpretation import event_effects, explain, removed
from trimodal.ctr.metrics import pooled_auc
from trimodal.ctr.models import build
from trimodal.ctr.prediction import encode_all, predict
from trimodal.ctr.recipes import temporal
from trimodal.ctr.source import VisitorEvents
from trimodal.ctr.training import Trainer, TrainingSettings
from trimodal.datasets.taste import simulate_taste
from trimodal.errors import ParameterError

PARTS = ("id", "image", "text")


@pytest.fixture(scope="module")
def model(small):
    return small.model("gmmf", dimension=6)


@pytest.fixture(scope="module")
def explanation(small, model):
    return explain(model, small.tables, small.data, draws=100)


def softmax(values, axis=0):
    powers = np.exp(values - values.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def test_gate_and_share_are_those_of_the_equations(small, model):
    """(10) and (11), event by event and part by part."""
    tables, data = small.tables, small.data
    effects = event_effects(model, tables, data)
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}
    parts = encode_all(model, tables)["parts"].double().numpy()
    events = data.parts["test"]
    for i in range(0, len(events), 7):
        user, item, seen = events.user[i], events.item[i], events.seen[i]
        gate = state["gates.weight"] @ state["user.weight"][tables.user_row[user]] + state["gates.bias"]
        gate = softmax(gate.reshape(3, 6), 0)
        start = data.starts[user]
        history = data.history[start : start + seen][-tables.max_history :]
        sizes = []
        for p, part in enumerate(PARTS):
            kept = [j for j in history if part == "id" or small.features.present[part][j]]
            past = parts[kept, p]
            pooled = softmax(past @ parts[item, p] / np.sqrt(6)) @ past if kept else np.zeros(6)
            sizes.append(np.abs(gate[p] * pooled).sum())
        np.testing.assert_allclose(effects.inside["gate"][i], gate.mean(1), atol=1e-6)
        expected = np.array(sizes) / sum(sizes) if sum(sizes) else np.full(3, np.nan)
        np.testing.assert_allclose(effects.inside["share"][i], expected, atol=1e-5)


def test_a_removed_modality_is_one_masked_whole(small, model):
    placed = small.tables.place(small.data.parts["test"])
    effects = event_effects(model, small.tables, small.data)
    for p, part in enumerate(PARTS[1:], 1):
        masked = small.tables.with_features(small.features.masked(part, 1.0, 0))
        np.testing.assert_array_equal(effects.without[:, p], predict(model, masked, placed))
    np.testing.assert_array_equal(effects.logit, predict(model, small.tables, placed))


def test_a_removed_id_is_an_embedding_of_zeros(small):
    model = small.model("gmmf", dimension=6)
    without = event_effects(model, small.tables, small.data).without[:, 0]
    with torch.no_grad():
        model.id.weight.zero_()
    placed = small.tables.place(small.data.parts["test"])
    np.testing.assert_allclose(without, predict(model, small.tables, placed), atol=1e-6)


def test_removal_leaves_the_tables_as_they_are(small):
    before = small.tables.vectors["image"].clone(), small.tables.item_row.clone()
    for part in PARTS:
        removed(small.tables, part)
    assert torch.equal(small.tables.vectors["image"], before[0])
    assert torch.equal(small.tables.item_row, before[1])
    with pytest.raises(ParameterError, match="must be one of id, image, text"):
        removed(small.tables, "sound")


def test_rows_are_means_over_the_events_of_a_category_or_an_item(small, model, explanation):
    effects, events = event_effects(model, small.tables, small.data), small.data.parts["test"]
    names = np.array(["", *small.data.categories])[small.data.category[events.item]]
    ids = small.data.items.array[events.item]
    for rows, owner in ((explanation.categories, names), (explanation.items, ids)):
        assert rows.events.sum() == len(events)
        assert set(rows.names) == set(owner)
        for r in range(0, len(rows), 3):
            here = owner == rows.names[r]
            assert rows.events[r] == here.sum()
            np.testing.assert_allclose(rows.of("gate")[r], effects.inside["gate"][here].mean(0), rtol=1e-5)
            np.testing.assert_allclose(rows.of("share")[r], np.nanmean(effects.inside["share"][here], 0), rtol=1e-5)
            size = np.abs(effects.logit[here, None] - effects.without[here]).mean(0)
            np.testing.assert_allclose(rows.of("removal")[r], size / size.sum(), rtol=1e-5)
            loss = effects.loss[here].mean(0)
            np.testing.assert_allclose(rows.of("loss")[r], loss, atol=1e-9)
    for r, name in enumerate(explanation.categories.names):
        here = names == name
        whole = pooled_auc(events.label[here], effects.logit[here])
        for p in range(3):
            drop = whole - pooled_auc(events.label[here], effects.without[here, p])
            assert explanation.categories.of("auc")[r, p] == pytest.approx(drop)


def test_loss_is_the_rise_of_the_mean_log_loss(small, model):
    effects = event_effects(model, small.tables, small.data)

    def entropy(logit):
        chance = 1 / (1 + np.exp(-logit.astype(float)))
        return -np.where(effects.label > 0, np.log(chance), np.log(1 - chance))

    for p in range(3):
        expected = entropy(effects.without[:, p]) - entropy(effects.logit)
        np.testing.assert_allclose(effects.loss[:, p], expected, atol=1e-6)


def test_gate_of_a_visitor_is_the_same_whatever_the_item(small, model):
    effects = event_effects(model, small.tables, small.data)
    for user in np.unique(effects.user):
        assert np.ptp(effects.inside["gate"][effects.user == user], axis=0).max() < 1e-6
    assert np.ptp(effects.inside["gate"], axis=0).max() > 0.01


def test_share_is_blind_to_what_the_tower_does_with_it(small):
    """A tower that reads no text: its share stays what it was, its removal changes nothing."""
    model = small.model("gmmf", dimension=6, hidden=(), candidate=False, difference=False)
    before = explain(model, small.tables, small.data, draws=100)
    with torch.no_grad():
        model.tower.layers[0].weight[:, 12:18] = 0
    after = explain(model, small.tables, small.data, draws=100)
    np.testing.assert_array_equal(after.categories.of("share"), before.categories.of("share"))
    assert (after.categories.of("share")[:, 2] > 0.2).all()
    assert (before.categories.of("removal")[:, 2] > 0.02).all()
    assert (after.categories.of("removal")[:, 2] == 0).all()
    assert (after.categories.of("loss")[:, 2] == 0).all()
    assert (after.categories.of("auc")[:, 2] == 0).all()
    row = next(r for r in after.faithfulness if (r.measure, r.over, r.part) == ("share", "events", "text"))
    assert np.isnan(row.rho)


def test_a_model_without_a_gate_has_what_removal_tells(small):
    for name, options in (("gmmf", {"interest": False}), ("din", {}), ("lr", {})):
        found = explain(small.model(name, **options), small.tables, small.data, draws=100)
        assert list(found.categories.values) == ["removal", "loss", "auc"]
        with pytest.raises(ParameterError, match="by == 'gate', must be one of removal, loss, auc"):
            found.categories.of("gate")
        assert {row.measure for row in found.faithfulness} == {"removal", "loss"}
    assert (found.categories.of("removal")[:, 0] == 1).all()  # LR knows of ids and categories only
    assert found.without["image"] == found.auc != found.without["id"]


def test_events_without_a_history_have_a_gate_and_no_share(small, model):
    events = small.data.parts["train"]
    effects = event_effects(model, small.tables, small.data, part="train")
    empty = events.seen == 0
    assert empty.any()
    assert np.isnan(effects.inside["share"][empty]).all()
    assert np.isfinite(effects.inside["share"][~empty]).all()
    assert np.isfinite(effects.inside["gate"]).all()
    found = explain(model, small.tables, small.data, part="train", draws=100)
    np.testing.assert_allclose(found.categories.of("share").sum(1), 1, rtol=1e-5)
    assert found.faithfulness[3].n == (~empty).sum()


def test_items_without_a_category_stand_in_a_row_of_their_own(small, model):
    data = replace(small.data, category=np.where(np.arange(len(small.data.items)) % 3 == 0, 0, small.data.category))
    found = explain(model, Tables(data, small.features, max_history=6), data, draws=100)
    assert found.categories.names[0] == NO_CATEGORY
    own = np.array(found.items.category)
    assert (own == NO_CATEGORY).any()
    assert found.categories.events[0] == found.items.events[own == NO_CATEGORY].sum()


def test_prints_tables_and_writes_json_and_parquet(explanation, tmp_path):
    text = str(explanation)
    assert text.startswith("gmmf on test: pooled AUC")
    assert "simulated-image-1" in text
    assert "faithfulness of" in text
    explanation.write(tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    assert found == json.loads(json.dumps(explanation.to_dict(), allow_nan=False))
    first = found["categories"][0]
    assert set(first) == {"name", "category", "events", "gate", "share", "removal", "loss", "auc"}
    assert set(first["gate"]) == set(PARTS)
    explanation.write(tmp_path / "out.parquet")
    frame = pl.read_parquet(tmp_path / "out.parquet")
    assert frame.columns == [
        "level", "name", "category", "events", "part", "gate", "share", "removal", "loss", "auc",
    ]  # fmt: skip
    assert frame.height == 3 * (len(explanation.categories) + len(explanation.items))
    row = frame.filter(level="item", name=explanation.items.names[5], part="text").row(0, named=True)
    assert row["removal"] == pytest.approx(explanation.items.of("removal")[5, 2])
    assert row["auc"] is None
    with pytest.raises(ParameterError, match="must end in one of"):
        explanation.write(tmp_path / "out.csv")
    assert {path.name for path in tmp_path.iterdir()} == {"out.json", "out.parquet"}


def test_same_seed_same_explanation(small, model, explanation):
    assert explain(model, small.tables, small.data, draws=100).to_dict() == explanation.to_dict()


@pytest.mark.parametrize(("changes", "message"), [({"part": "all"}, "part == 'all'"), ({"draws": 3}, "draws == 3")])
def test_what_cannot_be_asked(small, model, changes, message):
    with pytest.raises(ParameterError, match=message):
        explain(model, small.tables, small.data, **changes)


@pytest.mark.slow
def test_the_planted_structure_is_found_by_removal_and_not_by_the_gate():
    """Pictures count in the categories where pictures decide, texts where texts do; the gate sees neither."""
    torch.set_num_threads(1)
    market = simulate_taste(1000, 800, events_per_user=80, seed=0)
    data = temporal(VisitorEvents.from_frames(Catalog.from_records(market.products), market.clicks))
    features = ItemFeatures.join(data.items, market.vectors)
    tables = Tables(data, features)
    torch.manual_seed(0)
    # Few dimensions and much decay: with 50,000 events the defaults learn the visitors by heart.
    sizes = {"dimension": 8, "user_dimension": 4, "category_dimension": 8, "autoencoder_hidden": 16, "hidden": (32, 16)}
    model = build("gmmf", tables.inputs, match=True, **sizes)
    settings = TrainingSettings(epochs=10, batch_size=512, learning_rate=7e-3, weight_decay=0.3, patience=6)
    Trainer(model, data, tables=tables, settings=settings).run()
    found = explain(model, tables, data, draws=200)
    assert found.auc > pooled_auc(data.parts["test"].label, popularity(data, "test", 0)) + 0.06

    kind = np.array([name.split("-")[1] for name in found.categories.names])

    def contrast(by: str, part: str) -> float:
        """Importance of a part where it decides, less that where the other modality does."""
        column = found.categories.of(by)[:, PARTS.index(part)]
        other = "text" if part == "image" else "image"
        return column[kind == part].mean() - column[kind == other].mean()

    for part in ("image", "text"):
        assert contrast("removal", part) > 0.05
        assert contrast("loss", part) > 0.01
        assert contrast("auc", part) > 0.02
        assert abs(contrast("gate", part)) < 0.005
        row = next(r for r in found.faithfulness if (r.measure, r.effect, r.part) == ("loss", "auc", part))
        assert row.rho > row.shuffled_high
        assert row.low > 0
    assert (found.categories.of("removal")[kind == "id"].argmax(1) == 0).all()
    # What the network lets through says little of what an event's prediction rests on.
    assert all(row.high < 0.5 for row in found.faithfulness if row.over == "events")
