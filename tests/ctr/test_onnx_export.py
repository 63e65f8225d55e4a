"""The exported graph gives the scores of the model, for every model and any number of events, items and clicks."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from trimodal.ctr.models import MODELS
from trimodal.ctr.onnx_export import export_onnx

SETTINGS = [
    *((name, {}) for name in (*MODELS, "item-only")),
    ("din", {"activation": "prelu", "normalise": "softmax"}),
    ("gmmf", {"pooling": "paper", "gate": "within", "difference_weights": "scalar"}),
    ("gmmf", {"autoencoder": False, "difference": False, "interest": False, "candidate": False}),
    ("marn", {"hidden": []}),
]
SIZES = [(1, 1, 60), (1, 5, 60), (4, 1, 60), (9, 12, 60), (3, 3, 5), (2, 4, 1)]
"""Events, clicks and items; the graph is traced with the fifth."""


@pytest.mark.parametrize(("name", "options"), SETTINGS)
def test_the_graph_scores_as_the_model(small, tmp_path, name, options):
    ranker = small.ranker(tmp_path / "ranker", name, **options)
    inputs = export_onnx(ranker, tmp_path / "ranker.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "ranker.onnx", providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    seen = []
    for b, length, items in SIZES:
        for share in (0.6, 1.0, 0.0):
            encoded = {key: tensor[:items] for key, tensor in ranker.encoded.items()}
            given = {
                "user": torch.randint(0, small.tables.inputs.users, (b,), generator=generator),
                "candidate": torch.randint(0, items, (b,), generator=generator),
                "history": torch.randint(0, items, (b, length), generator=generator),
                "mask": torch.rand(b, length, generator=generator) < share,
            }
            with torch.inference_mode():
                expected = ranker.model.score(encoded, *given.values()).sigmoid().numpy()
            feed = {key: tensor.numpy() for key, tensor in (encoded | given).items()}
            (found,) = session.run(["probability"], {key: feed[key] for key in inputs})
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
            seen += expected.tolist()
    assert np.std(seen) > 0.01


def test_the_graph_scores_as_the_ranker_with_whole_tables(small, tmp_path):
    ranker = small.ranker(tmp_path / "ranker", "gmmf")
    ids, visitor = list(ranker.ids), small.data.users[0]
    inputs = export_onnx(ranker, tmp_path / "ranker.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "ranker.onnx", providers=["CPUExecutionProvider"])
    feed = {key: tensor.numpy() for key, tensor in ranker.encoded.items()}
    feed["user"] = np.full(len(ids), int(small.tables.user_row[0]))
    feed["candidate"] = np.arange(len(ids))
    feed["history"] = np.tile([4, 9, 2], (len(ids), 1))
    feed["mask"] = np.ones((len(ids), 3), bool)
    (found,) = session.run(None, {key: feed[key] for key in inputs})
    np.testing.assert_allclose(found, ranker.score(ids, [ids[i] for i in (4, 9, 2)], visitor=visitor), atol=1e-5)


def test_the_graph_says_whose_it_is_and_which_inputs_it_has(small, tmp_path):
    ranker = small.ranker(tmp_path / "ranker", "fm")
    inputs = export_onnx(ranker, tmp_path / "ranker.onnx")
    assert set(inputs) == {"sum", "weight", "user", "candidate"}  # FM has no use for a history
    model = onnx.load(tmp_path / "ranker.onnx")
    assert [entry.name for entry in model.graph.input] == list(inputs)
    notes = json.loads({entry.key: entry.value for entry in model.metadata_props}["trimodal"])
    assert notes == {"model": "fm", "data": small.data.fingerprint}


def test_exporting_leaves_the_ranker_as_it_is_and_one_file(small, tmp_path):
    ranker = small.ranker(tmp_path / "ranker", "marn")
    ids = list(ranker.ids)
    before = ranker.score(ids, ids[:4])
    export_onnx(ranker, tmp_path / "ranker.onnx")
    export_onnx(ranker, tmp_path / "ranker.onnx")
    np.testing.assert_array_equal(ranker.score(ids, ids[:4]), before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ranker", "ranker.onnx"]
