"""Recommendations: candidates near the last clicks, in the order of the ranker, products old and new."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import sparse

from trimodal.ctr.rerank import DECAY, recommend
from trimodal.embeddings import Embedding, Provenance
from trimodal.errors import NotFittedError, ParameterError
from trimodal.ids import ProductIds
from trimodal.recommender import Recommender


@pytest.fixture(scope="module")
def clicked_first():
    """Products with clicks in the log of the recommender: the more, the further ahead."""
    return [7, 3, 11]


@pytest.fixture
def recommender(small, make_log, clicked_first):
    sessions = [[place, 20] for n, place in enumerate(clicked_first) for _ in range(4 - n)]
    log = make_log(sessions, small.catalog.ids)
    return Recommender(modalities=("image", "text")).fit(small.catalog, log, vectors=small.market.vectors)


@pytest.fixture
def ranker(small, tmp_path):
    return small.ranker(tmp_path / "ranker", "gmmf")


def embedding(name, product, vector, encoder="simulated taste"):
    vectors = np.asarray(vector, np.float32)[None]
    return Embedding.join(name, ProductIds([product]), [product], vectors, Provenance(encoder))


def near(recommender, history, k):
    """Neighbours of a history and their distances, the latest click first in weight."""
    places = recommender.catalog_.ids.positions(history)
    weights = sparse.lil_matrix((1, len(recommender.catalog_)))
    for back, place in enumerate(places[::-1]):
        weights[0, place] += DECAY**back
    found, distances = recommender.fusion_.query_sessions(weights.tocsr(), k)
    return {recommender.catalog_.ids[int(p)]: float(d) for p, d in zip(found[0], distances[0], strict=True) if p >= 0}


def test_the_nearest_products_that_she_did_not_click_are_ranked_by_probability(small, recommender, ranker):
    history = [small.data.items[i] for i in (3, 8, 30)]
    visitor = small.data.users[0]
    found = recommend(recommender, ranker, history, visitor=visitor, candidates=20, k=8)
    around = {p: d for p, d in near(recommender, history, 60).items() if p not in history}
    nearest = list(around)[:20]
    chances = dict(zip(nearest, ranker.score(nearest, history, visitor=visitor).tolist(), strict=True))
    expected = sorted(nearest, key=lambda p: -chances[p])[:8]
    assert [p.product_id for p in found] == expected
    assert expected != nearest[:8]
    assert [p.probability for p in found] == [chances[p] for p in expected]
    assert [p.distance for p in found] == pytest.approx([around[p] for p in expected])
    assert (found.candidates, found.known, found.popular, found.added, found.skipped) == (20, True, False, 0, 0)


def test_the_latest_click_weighs_most_in_the_search(small, recommender, ranker):
    history = [small.data.items[i] for i in (3, 30)]
    one, other = ({p.product_id for p in recommend(recommender, ranker, h, candidates=10, k=10)}
                  for h in (history, history[::-1]))  # fmt: skip
    assert one != other


def test_what_was_clicked_comes_back_only_if_asked(small, recommender, ranker):
    history = [small.data.items[i] for i in (3, 8, 30)]
    without = recommend(recommender, ranker, history, candidates=60, k=60)
    again = recommend(recommender, ranker, history, candidates=60, k=60, repeats=True)
    assert not {p.product_id for p in without} & set(history)
    assert {p.product_id for p in again} - {p.product_id for p in without} == set(history)


def test_a_visitor_without_a_click_that_counts_gets_what_others_click(small, recommender, ranker, clicked_first):
    ids = small.data.items
    for history in ([], ["gone"]):
        found = recommend(recommender, ranker, history, candidates=3, k=3)
        assert found.popular
        assert {p.product_id for p in found} == {ids[i] for i in (20, *clicked_first[:2])}
        assert all(p.distance is None for p in found)
        assert sorted((p.probability for p in found), reverse=True) == [p.probability for p in found]
    assert found.skipped == 1
    assert len(recommend(recommender, ranker, [], candidates=50, k=50)) == 4  # four products have a click


def test_a_product_that_came_later_is_ranked_by_its_vectors(small, recommender, ranker):
    ids = small.data.items
    history = [ids[3], "new"]
    twin = next(p for p in ids if all(e.vector(p) is not None for e in small.market.vectors.values()))
    vectors = {name: e.vector(twin) for name, e in small.market.vectors.items()}
    category = small.catalog.frame["category"][int(ids.positions([twin])[0])]
    recommender.add(
        [{"product_id": "new", "title": "new", "category": category}],
        vectors={name: embedding(name, "new", vector) for name, vector in vectors.items()},
    )
    found = recommend(recommender, ranker, [twin], candidates=30, k=30)
    assert (found.added, found.unranked) == (1, 0)
    row = next(p for p in found if p.product_id == "new")
    assert row.distance == pytest.approx(0, abs=1e-6)
    assert "1 new products" in str(found)
    ranker.add("other", vectors, category=category)
    assert row.probability == pytest.approx(float(ranker.score(["other"], [twin])[0]), rel=1e-5)
    assert recommend(recommender, ranker, [twin], candidates=30, k=30).added == 0  # it is there since
    assert recommend(recommender, ranker, history, candidates=30, k=30).skipped == 0  # also as a click


def test_vectors_of_another_encoder_are_not_taken_for_those_of_the_training(small, recommender, ranker):
    new = {name: embedding(name, "new", e.vectors[0]) for name, e in small.market.vectors.items()}
    other = {
        name: Embedding(e.modality, e.ids, e.state, e.vectors, Provenance("another encoder"))
        for name, e in small.market.vectors.items()
    }
    foreign = Recommender(modalities=("image", "text")).fit(small.catalog, vectors=other)
    foreign.add([{"product_id": "new", "title": "new"}], vectors=new)
    twin = small.market.vectors["text"].ids[int(np.flatnonzero(small.market.vectors["text"].state)[0])]
    found = recommend(foreign, ranker, [twin, "new"], candidates=60, k=60, repeats=True)
    assert (found.added, found.unranked, found.skipped) == (0, 1, 1)
    assert "new" not in {p.product_id for p in found}
    assert "new" not in ranker


def test_it_prints_as_a_table_and_goes_through_json(small, recommender, ranker):
    found = recommend(recommender, ranker, [small.data.items[3]], visitor="nobody", candidates=10, k=4)
    lines = str(found).splitlines()
    assert lines[0] == "recommended to nobody (not in training): 4 of 10 neighbours of her clicks"
    assert [line.split()[0] for line in lines[2:]] == [p.product_id for p in found]
    written = json.loads(json.dumps(found.to_dict()))
    assert [p["product_id"] for p in written["products"]] == [p.product_id for p in found]
    assert set(written["products"][0]) == {"product_id", "probability", "distance"}


def test_arguments_are_checked(small, recommender, ranker):
    for arguments in ({"k": 0}, {"candidates": 0}):
        with pytest.raises(ParameterError):
            recommend(recommender, ranker, [], **arguments)
    with pytest.raises(NotFittedError):
        recommend(Recommender(), ranker, [small.data.items[0]])
