"""Examples are the extremes that they say they are, against plain definitions."""

from __future__ import annotations

import numpy as np
import pytest

from trimodal import Embedding, Provenance
from trimodal.errors import DataError
from trimodal.evaluation.examples import answered_examples, disagreements
from trimodal.evaluation.retrieval import NextClicks
from trimodal.fusion import fusion_strategy
from trimodal.ids import ProductIds

N = 40
IDS = ProductIds([f"p{i}" for i in range(N)])


def embedding(name, vectors, missing=()):
    kept = [i for i in range(N) if i not in missing]
    return Embedding.join(name, IDS, [IDS[i] for i in kept], vectors[kept].astype(np.float32), Provenance("random"))


@pytest.fixture
def embeddings():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(2, N, 6))
    return {"text": embedding("text", vectors[0]), "click": embedding("click", vectors[1], missing=(5, 6))}


def neighbors(fusion, product, k):
    return list(fusion.neighbors([product], k).ids[0])


def test_best_and_worst(embeddings, make_log):
    fusion = fusion_strategy("intermediate").fit(embeddings, IDS)
    first = {i: IDS.positions([neighbors(fusion, IDS[i], 1)[0]])[0] for i in range(N)}
    far = {i: next(j for j in range(N) if j != i and IDS[j] not in neighbors(fusion, IDS[i], 30)) for i in range(N)}
    # Product 3 is answered first four times, product 8 twice; 20 is missed five times, 21 three times, and 22, which
    # nobody clicked before, nine times.
    sessions = [[3, first[3]]] * 4 + [[8, first[8]]] * 2 + [[20, far[20]]] * 5 + [[21, far[21]]] * 3
    questions = NextClicks.of(make_log(sessions + [[22, far[22]]] * 9, IDS))
    counts = np.full(N, 10)
    counts[22] = 0
    labels = [f"c{i % 4}" for i in range(N)]
    found = answered_examples(fusion, questions, counts, labels, k=5, count=2, shown=4)
    assert [one.product_id for one in found.best] == ["p3", "p8"]
    assert [one.product_id for one in found.worst] == ["p20", "p21"]
    best, worst = found.best[0], found.worst[0]
    assert (best.questions, best.first, best.hits) == (4, 4, 4)
    assert [item.product_id for item in best.neighbors] == neighbors(fusion, "p3", 4)
    assert [item.rank for item in best.neighbors] == [1, 2, 3, 4]
    assert best.neighbors[0].clicked_next == 4
    assert (worst.questions, worst.hits) == (5, 0)
    missed = worst.clicked[0]
    assert (missed.product_id, missed.clicked_next) == (IDS[far[20]], 5)
    assert missed.rank == neighbors(fusion, "p20", N).index(missed.product_id) + 1 > 30
    for item in best.neighbors:
        assert sum(item.shares.values()) == pytest.approx(1 - item.distance, abs=1e-5)


def test_one_example_of_each_category_first(embeddings, make_log):
    fusion = fusion_strategy("intermediate").fit(embeddings, IDS)
    sessions = [[i, int(IDS.positions(neighbors(fusion, IDS[i], 1))[0])] for i in (1, 1, 1, 2, 2, 3)]
    questions = NextClicks.of(make_log(sessions, IDS))
    labels = ["same", "same", "same", "other"] + ["rest"] * (N - 4)
    found = answered_examples(fusion, questions, np.ones(N, int), labels, k=5, count=3)
    assert [one.product_id for one in found.best] == ["p1", "p3", "p2"]
    assert found.worst == ()


def test_disagreements_share_least(embeddings):
    fusion = fusion_strategy("intermediate").fit(embeddings, IDS)
    other = fusion_strategy("click-text").fit(embeddings, IDS)
    found = disagreements(embeddings, fusion, [None] * N, k=6, count=5)
    overlap = {
        i: len(set(neighbors(fusion, IDS[i], 6)) & set(neighbors(other, IDS[i], 6))) / 6
        for i in range(N)
        if i not in (5, 6)
    }
    assert (found.right, found.products, found.k) == ("click-text", 38, 6)
    assert found.overlap == pytest.approx(np.mean(list(overlap.values())))
    assert [one.overlap for one in found.most] == sorted(overlap.values())[:5]
    for one in found.most:
        assert one.overlap == overlap[int(one.product_id[1:])]
        assert [item.product_id for item in one.left] == neighbors(fusion, one.product_id, 6)
        assert [item.product_id for item in one.right] == neighbors(other, one.product_id, 6)


def test_without_clicks_the_first_modality_is_the_other(embeddings):
    pair = {"text": embeddings["text"], "image": embedding("image", np.random.default_rng(9).normal(size=(N, 3)))}
    found = disagreements(pair, fusion_strategy("intermediate").fit(pair, IDS), [None] * N, k=3)
    assert (found.right, found.right_modalities) == ("intermediate", ("text",))
    alone = {"text": embeddings["text"]}
    with pytest.raises(DataError, match="only one modality, text"):
        disagreements(alone, fusion_strategy("intermediate").fit(alone, IDS), [None] * N)
