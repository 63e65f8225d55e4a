"""The protocol gives 1 where the answer is plain, about 0 on shuffled labels, and its sample is fair."""

from __future__ import annotations

import numpy as np
import pytest

from trimodal.embeddings import Embedding, Provenance
from trimodal.errors import DataError
from trimodal.evaluation.clustering import clustering_table, protocol_ari, stratified, tsne_layout
from trimodal.fusion import EarlyFusion, IntermediateFusion, LateFusion
from trimodal.ids import ProductIds


def blobs(n=240, groups=4, modalities=("text", "click"), spread=0.4):
    rng = np.random.default_rng(0)
    ids = ProductIds([f"p{i}" for i in range(n)])
    label = np.arange(n) % groups
    embeddings = {}
    for name in modalities:
        vectors = 5 * np.eye(groups, 12)[label] + spread * rng.normal(size=(n, 12))
        embeddings[name] = Embedding(name, ids, np.ones(n, np.uint8), vectors.astype(np.float32), Provenance("blobs"))
    return embeddings, label


@pytest.mark.parametrize("strategy", [EarlyFusion, IntermediateFusion, LateFusion])
def test_plain_categories_give_one_and_shuffled_ones_nothing(strategy):
    embeddings, label = blobs()
    fusion = (LateFusion(clusters=4) if strategy is LateFusion else strategy()).fit(embeddings)
    assert protocol_ari(fusion, embeddings, label) == pytest.approx(1.0)
    assert abs(protocol_ari(fusion, embeddings, np.random.default_rng(0).permutation(label))) < 0.05


def test_layout_is_deterministic_and_two_dimensional():
    embeddings, _ = blobs(60)
    fusion = IntermediateFusion().fit(embeddings)
    first, second = (tsne_layout(fusion, embeddings, seed=3) for _ in range(2))
    assert first.shape == (60, 2)
    np.testing.assert_array_equal(first, second)


def test_table_has_every_cell_and_takes_complete_products_only():
    embeddings, label = blobs(200, modalities=("text", "image", "click"))
    gone = embeddings["image"]
    state = gone.state.copy()
    state[:20] = 0
    embeddings["image"] = Embedding("image", gone.ids, state, gone.vectors[20:], gone.provenance)
    labels = [None if i == 100 else f"c{c}" for i, c in enumerate(label)]
    table = clustering_table(embeddings, labels, sample=120)
    assert len(table.rows) == 4 * 4 + 3 * 2
    assert {row.products for row in table.rows} == {120}
    assert table.skipped == 21
    assert all(row.ari_low <= row.ari <= row.ari_high for row in table.rows)
    assert min(row.ari for row in table.rows if row.strategy != "late") > 0.95
    assert min(row.ari_without_tsne for row in table.rows if row.strategy != "late") > 0.95
    assert abs(table.chance) < 0.02
    assert "text+image+click" in str(table)
    assert table.to_dict()["rows"][0]["strategy"] == "early"


def test_too_little_data_is_an_error():
    embeddings, _ = blobs(40)
    with pytest.raises(DataError, match="at least two categories"):
        clustering_table(embeddings, ["one"] * 40)


def test_a_sample_keeps_the_shares_of_the_labels():
    labels = np.array(["a"] * 700 + ["b"] * 200 + ["c"] * 100, dtype=object)
    chosen = stratified(labels, np.arange(1000), 100, seed=1)
    assert len(set(chosen.tolist())) == 100
    counts = {name: int((labels[chosen] == name).sum()) for name in "abc"}
    assert counts == {"a": 70, "b": 20, "c": 10}
