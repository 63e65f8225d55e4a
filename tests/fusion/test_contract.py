"""What every fusion strategy must do, over data whose right answer is known by construction."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from trimodal.embeddings import Embedding, Provenance
from trimodal.fusion import STRATEGIES, fusion_strategy
from trimodal.ids import ProductIds

GROUPS, SIZE = 5, 8


@pytest.fixture(params=list(STRATEGIES))
def strategy(request, make_log):
    """A function that makes the strategy; `fit` brings the click log of the market along."""
    extra = {"clusters": GROUPS} if request.param == "late" else {}
    ids = ProductIds([f"g{g}-{i}" for g in range(GROUPS) for i in range(SIZE)])
    log = make_log([[SIZE * g + i, SIZE * g + (i + 3) % SIZE] for g in range(GROUPS) for i in range(SIZE)], ids)

    def make():
        fusion = fusion_strategy(request.param, **extra)
        fusion.fit = partial(fusion.fit, clicks=log)
        return fusion

    return make


@pytest.fixture
def market():
    """Five groups of eight products, far apart in text and click; some products lack one of the two."""
    rng = np.random.default_rng(0)
    ids = ProductIds([f"g{g}-{i}" for g in range(GROUPS) for i in range(SIZE)])
    group = np.repeat(np.arange(GROUPS), SIZE)
    embeddings = {}
    for name, width in (("text", 12), ("click", 9)):
        centre = 8 * np.eye(GROUPS, width)
        vectors = (centre[group] + rng.normal(size=(len(ids), width))).astype(np.float32)
        has = np.ones(len(ids), bool)
        has[(3 if name == "text" else 5) :: SIZE] = False
        embeddings[name] = Embedding.join(
            name, ids, [x for x, h in zip(ids, has, strict=True) if h], vectors[has], Provenance("known")
        )
    return embeddings


def test_neighbours_are_of_the_own_group(strategy, market):
    found = strategy().fit(market).neighbors(k=5)
    for product_id, near in zip(market["text"].ids, found.ids, strict=True):
        assert all(other.split("-")[0] == product_id.split("-")[0] for other in near)
        assert product_id not in near
    assert (np.diff(found.distances, axis=1) >= 0).all()
    assert found.distances.dtype == np.float32


def test_asking_for_more_than_there_is_gives_all_there_is(strategy, market):
    found = strategy().fit(market).neighbors(k=10**12)
    assert found.ids.shape == (GROUPS * SIZE, GROUPS * SIZE)
    assert (np.equal(found.ids, None) == np.isnan(found.distances)).all()
    assert np.equal(found.ids, None)[:, -1].all()


def test_distances_agree_with_neighbours_and_shares(strategy, market):
    fusion = strategy().fit(market)
    found = fusion.neighbors(["g0-0", "g1-5", "g2-3"], 4)
    for product_id, near, distance in zip(["g0-0", "g1-5", "g2-3"], found.ids, found.distances, strict=True):
        np.testing.assert_array_equal(fusion.distances([product_id], list(near))[0], distance)
        for other, d in zip(near, distance, strict=True):
            assert sum(fusion.explain(product_id, other).values()) == pytest.approx(1 - d, abs=1e-6)


def test_the_order_of_products_in_the_input_does_not_matter(strategy, market):
    ids = market["text"].ids
    shuffled = ProductIds(np.random.default_rng(1).permutation(list(ids)).tolist())
    first = strategy().fit(market, ids).neighbors(["g3-1"], 6)
    other = strategy().fit({name: e.aligned(shuffled) for name, e in market.items()}, shuffled).neighbors(["g3-1"], 6)
    np.testing.assert_allclose(first.distances, other.distances, atol=1e-6)


def test_the_same_input_gives_the_same_output(strategy, market):
    first, second = (strategy().fit(market).neighbors(k=7) for _ in range(2))
    assert first.ids.tolist() == second.ids.tolist()
    np.testing.assert_array_equal(first.distances, second.distances)


def test_settings_and_learned_arrays_make_an_equal_strategy(strategy, market):
    first = strategy().fit(market)
    second = type(first)(**first.settings()).restore(first.learned()).place(market)
    assert second.neighbors(k=7).ids.tolist() == first.neighbors(k=7).ids.tolist()


def test_a_product_with_nothing_has_no_neighbours(strategy, market):
    ids = ProductIds([*market["text"].ids, "ghost"])
    fusion = strategy().fit({name: e.aligned(ids) for name, e in market.items()}, ids)
    found = fusion.neighbors(k=50)
    assert np.isnan(found.distances[-1]).all()
    assert "ghost" not in found.ids[:-1].ravel().tolist()
    assert np.isnan(fusion.distances(["ghost"], ["g0-0"])).all()
    assert set(fusion.explain("ghost", "g0-0").values()) == {0.0}
