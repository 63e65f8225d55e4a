"""AUC falls with the masked share as it must where the right answer is known, and only for what the model reads."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from trimodal.ctr.batches import Tables
from trimodal.ctr.data import CtrData, Events
from trimodal.ctr.features import ItemFeatures
from trimodal.ctr.interpretation import removed
from trimodal.ctr.metrics import pooled_auc
from trimodal.ctr.models.base import CtrModel
from trimodal.ctr.prediction import predict
from trimodal.ctr.robustness import robustness
from trimodal.ctr.training import MONITORS
from trimodal.errors import ParameterError
from trimodal.ids import ProductIds

N = 2000


class Reader(CtrModel):
    """Scores an item by the first number of one modality."""

    name = "reader"

    def __init__(self, inputs, *, modality: str = "image") -> None:
        super().__init__(inputs)
        self.modality = modality

    def encode(self, items):
        return {"value": items.features[self.modality][:, 0]}

    def score(self, encoded, user, candidate, history, mask):
        return encoded["value"][candidate]


@pytest.fixture(scope="module")
def market() -> tuple[CtrData, ItemFeatures, Tables]:
    """Clicks follow the sign of the picture's number; every user is shown 40 items once. Texts say nothing."""
    rng = np.random.default_rng(0)
    ids = ProductIds(f"p{i}" for i in range(N))
    vectors = {m: rng.normal(size=(N, 2)).astype(np.float32) for m in ("image", "text")}
    item = rng.permutation(N).astype(np.int32)
    label = (vectors["image"][item, 0] > 0).astype(np.uint8)
    none = np.zeros(N, np.int32)
    events = Events(np.repeat(np.arange(N // 40), 40).astype(np.int32), item, label, none)
    users = tuple(f"u{i}" for i in range(N // 40))
    starts = np.zeros(len(users) + 1, np.int64)
    parts = dict.fromkeys(("train", "valid", "test"), events)
    data = CtrData(ids, users, none, (), np.zeros(0, np.int32), starts, parts, {"recipe": "temporal"})
    features = ItemFeatures(ids, vectors, {m: np.ones(N, bool) for m in vectors})
    return data, features, Tables(data, features)


def test_auc_falls_as_it_must_and_only_for_what_is_read(market):
    data, features, tables = market
    found = robustness(Reader(tables.inputs), data, tables=tables, features=features)
    assert [(r.model, r.modality, r.share) for r in found.rows] == [
        ("reader", modality, share) for modality in ("image", "text") for share in (0, 0.1, 0.3, 0.5, 0.7)
    ]
    for row in found.rows:
        for auc in MONITORS:
            # A masked item scores 0: below every click, above every other, and level with a masked one.
            expected = 1 - row.share**2 / 2 if row.modality == "image" else 1.0
            assert row.auc[auc].mean == pytest.approx(expected, abs=0.02)
            assert row.auc[auc].low <= row.auc[auc].mean <= row.auc[auc].high
    assert all(r.auc["auc_user"].low < r.auc["auc_user"].high for r in found.rows if r.modality == "image" and r.share)


def test_all_models_meet_the_same_items(market):
    data, features, tables = market
    models = {name: Reader(tables.inputs) for name in ("one", "two")} | {"text": Reader(tables.inputs, modality="text")}
    found = robustness(models, data, tables=tables, features=features, modalities=["image"], shares=[0.5], seeds=2)
    one, two, text = found.rows
    assert (one.model, two.model, text.model) == ("one", "two", "text")
    assert one.auc == two.auc != text.auc
    assert text.auc["auc_pooled"].low == text.auc["auc_pooled"].high


def test_histories_are_masked_as_well(small):
    """With everything masked, no picture of a history is left either: the logits are those of `removed`."""
    model = small.model("gmmf", candidate=False)
    events = small.data.parts["test"]
    without = predict(model, removed(small.tables, "image"), small.tables.place(events))
    found = robustness(model, small.data, tables=small.tables, features=small.features, shares=[1.0], seeds=1)
    assert found.rows[0].auc["auc_pooled"].mean == pytest.approx(pooled_auc(events.label, without))
    assert found.rows[0].auc != found.rows[1].auc


def test_the_model_and_its_tables_stay_as_they_are(small):
    model = small.model("gmmf")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pictures = small.tables.vectors["image"].clone()
    first = robustness(model, small.data, tables=small.tables, features=small.features, seeds=1)
    assert first == robustness(model, small.data, tables=small.tables, features=small.features, seeds=1)
    assert torch.equal(small.tables.vectors["image"], pictures)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_prints_a_table_per_definition_and_writes_json(market):
    data, features, tables = market
    found = robustness(Reader(tables.inputs), data, tables=tables, features=features, shares=[0, 0.5], seeds=2)
    text = str(found)
    assert all(name in text for name in ("AUC user", "AUC impression weighted", "AUC positive weighted", "AUC pooled"))
    assert text.splitlines()[0].split()[-2:] == ["0%", "50%"]
    assert text.splitlines()[1].split()[:3] == ["reader,", "image", "1.0000"]
    assert "lowest of 2 seeds" in text
    whole = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert whole["rows"][1]["share"] == 0.5
    assert set(whole["rows"][1]["auc"]) == set(MONITORS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": ["sound"]}, "must be one of image, text"),
        ({"modalities": []}, "modalities is empty"),
        ({"shares": []}, "shares is empty"),
        ({"shares": [1.5]}, "share == 1.5"),
        ({"seeds": 0}, "seeds == 0"),
        ({"part": "all"}, "part == 'all'"),
    ],
)
def test_what_cannot_be_asked(market, changes, message):
    data, features, tables = market
    with pytest.raises(ParameterError, match=message):
        robustness(Reader(tables.inputs), data, tables=tables, features=features, **changes)
    with pytest.raises(ParameterError, match="models is empty"):
        robustness({}, data, tables=tables, features=features)
