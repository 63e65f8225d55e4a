"""Shaped search against brute force over all products, for every strategy, with modalities and facts missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from trimodal import Catalog, Embedding, Provenance
from trimodal.errors import ParameterError
from trimodal.fusion import fusion_strategy
from trimodal.shaping import Facts, Shaping, shaped_neighbors, shaped_query

_spec = importlib.util.spec_from_file_location("plain_shaping", Path(__file__).parent / "plain.py")
plain = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(plain)

N, K = 240, 8
STRATEGIES = ("early", "intermediate", "late", "adaptive", "covisit", "click-text")


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(4)
    return [
        {
            "product_id": f"p{i}",
            "title": f"title {i}",
            "category": [*"abcdef", "rare", None][int(rng.choice(8, p=[0.3, 0.2, 0.15, 0.1, 0.08, 0.07, 0.02, 0.08]))],
            "brand": ["x", "y", None][int(rng.integers(3))],
            "group_id": f"g{i // 3 % 40}" if i % 7 else None,
            "price": None if i % 11 == 0 else float(round(np.exp(rng.normal(3, 1)), 2)),
        }
        for i in range(N)
    ]


@pytest.fixture(scope="module")
def market(rows):
    """Catalogue, embeddings: products of one group lie close; some lack a modality, one lacks all."""
    rng = np.random.default_rng(1)
    catalog = Catalog.from_records(rows)
    centre = rng.normal(size=(40, 12))
    embeddings = {}
    for name, width, gap in (("text", 10, 9), ("image", 12, 4), ("click", 6, 3)):
        vectors = (centre[np.arange(N) // 3 % 40, :width] + rng.normal(scale=0.3, size=(N, width))).astype(np.float32)
        has = np.arange(N) % gap != 1
        has[100] = False
        keys = [catalog.ids[i] for i in np.flatnonzero(has)]
        embeddings[name] = Embedding.join(name, catalog.ids, keys, vectors[has], Provenance("test"))
    return catalog, embeddings


@pytest.fixture(scope="module")
def fitted(market, make_log):
    catalog, embeddings = market
    rng = np.random.default_rng(2)
    log = make_log([rng.permutation(N // 2)[:6].tolist() for _ in range(60)], catalog.ids)
    settings = {"late": {"clusters": 6, "restarts": 1}}
    return {s: fusion_strategy(s, **settings.get(s, {})).fit(embeddings, catalog.ids, clicks=log) for s in STRATEGIES}


@pytest.fixture(scope="module")
def matrices(fitted):
    """Fused distances of all pairs, by strategy."""
    return {name: fusion.distances(list(fusion.ids_), list(fusion.ids_)) for name, fusion in fitted.items()}


def lists(fusion, facts, positions, k, shaping):
    places = np.full((len(positions), k), -1)
    distances = np.full((len(positions), k), np.nan, np.float32)
    seen = []
    for asked, found, distance in shaped_neighbors(fusion, facts, positions, k, shaping):
        places[asked], distances[asked] = found, distance
        seen += asked.tolist()
    assert sorted(seen) == list(range(len(positions)))
    return places, distances


def brute(matrix, rows, query, ranked, distance, k, shaping):
    let = [i for i in ranked if plain.allowed(shaping, query, i, rows)]
    if shaping.diversity:
        let = let[: shaping.pool or 10 * k]
    group = [row["group_id"] or f"own {i}" for i, row in enumerate(rows)]
    return plain.greedy(
        let,
        distance,
        k,
        lambda i, j: matrix[i, j],
        group=group,
        per_group=shaping.max_per_group,
        per_duplicate=shaping.max_per_duplicate,
        near=shaping.duplicate_distance if shaping.duplicate_distance is not None else 0.05,
        diversity=shaping.diversity,
    )


SHAPINGS = [
    Shaping(),
    Shaping(categories=["rare"]),
    Shaping(categories=["a", "c"], brands=["x"]),
    Shaping(exclude_categories=["a", "b"]),
    Shaping(same_category=True),
    Shaping(price=(10, 40.0)),
    Shaping(price=(1e9, None)),
    Shaping(price=(0, None)),
    Shaping(relative_price=(0.5, 2)),
    Shaping(relative_price=(None, 1.0), exclude_own_group=True),
    Shaping(max_per_group=1),
    Shaping(max_per_group=2, exclude_own_group=True),
    Shaping(max_per_duplicate=1, duplicate_distance=0.15),
    Shaping(diversity=0.3, pool=20),
    Shaping(diversity=0.5, max_per_group=1, same_category=True),
]


@pytest.mark.parametrize("shaping", SHAPINGS, ids=lambda s: str(s)[:1] + str(SHAPINGS.index(s)))
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_lists_are_those_of_brute_force(market, rows, fitted, matrices, strategy, shaping):
    catalog, _ = market
    fusion, facts = fitted[strategy], Facts.of(catalog)
    positions = np.array([7, 100, 0, 55, 11, 239, 180])
    found, nearness = lists(fusion, facts, positions, K, shaping)
    every = fusion.neighbors([catalog.ids[p] for p in positions], N)
    for row, query in enumerate(positions.tolist()):
        ids = [x for x in every.ids[row] if x is not None]
        ranked = catalog.ids.find(ids).tolist()
        distance = dict(zip(ranked, every.distances[row], strict=False))
        wanted = brute(matrices[strategy], rows, query, ranked, distance, K, shaping)
        assert found[row][found[row] >= 0].tolist() == wanted
        assert query not in wanted
        np.testing.assert_array_equal(nearness[row, : len(wanted)], np.array([distance[i] for i in wanted], np.float32))


@pytest.mark.parametrize("shaping", [Shaping(max_per_group=1), Shaping(max_per_duplicate=1, duplicate_distance=0.2)])
def test_a_list_is_full_though_one_product_fills_the_neighbourhood(shaping):
    rng = np.random.default_rng(0)
    far = 40
    products = [{"product_id": f"n{i}", "title": "t", "group_id": "same"} for i in range(1000)]
    products += [{"product_id": f"f{i}", "title": "t", "group_id": f"g{i}"} for i in range(far)]
    catalog = Catalog.from_records(products)
    near = np.eye(64)[0] + rng.normal(scale=0.01, size=(1000, 64))
    vectors = np.concatenate([near, np.eye(64)[0] * 0.2 + np.eye(64)[1 : far + 1]]).astype(np.float32)
    text = Embedding.join("text", catalog.ids, list(catalog.ids), vectors, Provenance("test"))
    fusion = fusion_strategy("intermediate").fit({"text": text}, catalog.ids)
    found, _ = lists(fusion, Facts.of(catalog), np.array([3]), 15, shaping)
    assert (found[0] >= 0).all()
    assert (found[0] < 1000).sum() == 1
    every = catalog.ids.find(fusion.neighbors(["n3"], 1040, exclude_self=True).ids[0, :-1])
    assert found[0].tolist() == [every[0], *every[every >= 1000][:14]]


def test_one_at_a_time_is_as_all_at_once(market, fitted):
    catalog, _ = market
    fusion, facts = fitted["intermediate"], Facts.of(catalog)
    shaping = Shaping(diversity=0.4, max_per_group=2, relative_price=(0.3, 3))
    together, distances = lists(fusion, facts, np.arange(N), K, shaping)
    again, _ = lists(fusion, facts, np.arange(N), K, shaping)
    np.testing.assert_array_equal(together, again)
    for place in (0, 17, 100, 203):
        alone, distance = lists(fusion, facts, np.array([place]), K, shaping)
        np.testing.assert_array_equal(alone[0], together[place])
        np.testing.assert_array_equal(distance[0], distances[place])


def test_what_is_not_known_passes_no_filter(market, rows, fitted):
    catalog, _ = market
    fusion, facts = fitted["intermediate"], Facts.of(catalog)
    nameless = next(i for i, r in enumerate(rows) if r["category"] is None)
    assert rows[0]["price"] is None
    assert (lists(fusion, facts, np.array([0]), K, Shaping(relative_price=(0, None)))[0] == -1).all()
    assert (lists(fusion, facts, np.array([nameless]), K, Shaping(same_category=True))[0] == -1).all()
    found, _ = lists(fusion, facts, np.array([5]), N, Shaping(price=(0, None)))
    assert not {i for i, r in enumerate(rows) if r["price"] is None} & set(found[0].tolist())
    found, _ = lists(fusion, facts, np.array([5]), N, Shaping(exclude_categories=["a"]))
    assert nameless in found[0]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_product_that_is_not_there(market, rows, fitted, matrices, strategy):
    catalog, embeddings = market
    fusion, facts = fitted[strategy], Facts.of(catalog)
    vectors = {"text": embeddings["text"].vector("p5") + np.float32(0.1)}
    ranked, distances, shares = fusion.query_positions(vectors, N)
    for shaping in (Shaping(), Shaping(categories=["b"], diversity=0.3), Shaping(price=(5, 50), max_per_group=1)):
        found, nearness, parts = shaped_query(fusion, facts, vectors, K, shaping)
        distance = dict(zip(ranked.tolist(), distances, strict=True))
        assert found.tolist() == brute(matrices[strategy], rows, None, ranked.tolist(), distance, K, shaping)
        np.testing.assert_array_equal(nearness, [distance[i] for i in found.tolist()])
        where = [ranked.tolist().index(i) for i in found.tolist()]
        np.testing.assert_allclose(parts, shares[where])
    for shaping in (Shaping(same_category=True), Shaping(exclude_own_group=True), Shaping(relative_price=(0.5, 2))):
        with pytest.raises(ParameterError, match="not in the catalogue"):
            shaped_query(fusion, facts, vectors, K, shaping)


def test_a_name_that_no_product_has(market, fitted):
    facts = Facts.of(market[0])
    with pytest.raises(ParameterError, match=r"category 'rar'; near it: rare"):
        lists(fitted["early"], facts, np.array([1]), K, Shaping(categories=["rar"]))
    with pytest.raises(ParameterError, match="no product has the brand 'z'"):
        lists(fitted["early"], facts, np.array([1]), K, Shaping(brands=["z"]))


def test_co_visits_count_where_a_filter_keeps_few(make_log):
    n, k = 1600, 5
    rng = np.random.default_rng(4)
    kinds = np.where(np.arange(n) % 20 == 3, "rare", "common")
    rows = [{"product_id": f"p{i}", "title": "", "category": kind} for i, kind in enumerate(kinds)]
    catalog = Catalog.from_records(rows)
    vectors = rng.normal(size=(n, 8)).astype(np.float32)
    click = Embedding.join("click", catalog.ids, list(catalog.ids), vectors, Provenance("test"))
    rare = np.flatnonzero(kinds == "rare")
    log = make_log([rng.choice(rare, 6, replace=False).tolist() for _ in range(150)], catalog.ids)
    fusion = fusion_strategy("covisit", covisits=8.0).fit({"click": click}, catalog.ids, clicks=log)
    asked = rare[:12]
    places, _ = lists(fusion, Facts.of(catalog), asked, k, Shaping(categories=("rare",)))
    for row, product in zip(places, asked, strict=True):
        others = rare[rare != product]
        distance = fusion.pair_distances(np.full(len(others), product), others)
        assert row.tolist() == others[np.lexsort((others, distance))[:k]].tolist()
