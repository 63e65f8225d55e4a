"""Every strategy against its plain dense definition, on random data with gaps, ties and duplicates."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimodal.embeddings import Embedding, Provenance
from trimodal.errors import NotFittedError, ParameterError, UnknownProductError
from trimodal.fusion import (
    ClickText,
    EarlyFusion,
    IntermediateFusion,
    LateFusion,
    fusion_strategy,
)
from trimodal.ids import ProductIds
from trimodal.index import exact

_spec = importlib.util.spec_from_file_location("dense", Path(__file__).parent / "dense.py")
dense = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(dense)

WIDTH = {"text": 3, "image": 5, "click": 4}


@st.composite
def markets(draw):
    """Small integer vectors, so that ties and exact duplicates are common; each product has >= 0 modalities."""
    n = draw(st.integers(1, 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vectors, present = {}, {}
    for name, width in WIDTH.items():
        v = rng.integers(-2, 3, (n, width)).astype(np.float32)
        copies = rng.random(n) < 0.3
        v[copies] = v[rng.integers(0, n, n)][copies]
        has = rng.random(n) < draw(st.sampled_from([0.0, 0.3, 0.8, 1.0]))
        has &= (v != 0).any(1)
        vectors[name], present[name] = v, has
    weights = draw(
        st.sampled_from([{"text": 1.0, "image": 1.0, "click": 1.0}, {"text": 2.0, "image": 0.5, "click": 1.0}])
    )
    return n, vectors, present, weights


def embed(n, vectors, present):
    ids = ProductIds([f"p{i}" for i in range(n)])
    return {
        name: Embedding.join(
            name,
            ids,
            [f"p{i}" for i in np.flatnonzero(present[name])],
            vectors[name][present[name]],
            Provenance("test"),
        )
        for name in vectors
    }


def definition(name, fusion, n, vectors, present, weights):
    if name == "intermediate":
        return dense.intermediate(vectors, present, weights), None
    if name == "early":
        return dense.early(vectors, present, weights), None
    if name == "click-text":
        return dense.click_text(vectors, present), None
    codes = {}
    for m, modality in enumerate(fusion.modalities_):
        codes[modality] = np.full(n, -1)
        codes[modality][fusion.points_.order] = fusion.points_.codes[:, m]
    return dense.late(vectors, present, weights, codes), dense.intermediate(vectors, present, weights)


def make(name, weights):
    if name == "click-text":
        return ClickText()
    extra = {"clusters": 3, "restarts": 1} if name == "late" else {}
    return fusion_strategy(name, weights=weights, **extra)


@pytest.mark.parametrize("name", ["early", "intermediate", "late", "click-text"])
@settings(max_examples=60, deadline=None)
@given(market=markets(), k=st.integers(1, 30), small_blocks=st.booleans(), exclude_self=st.booleans())
def test_neighbors_equal_the_dense_definition(name, market, k, small_blocks, exclude_self):
    n, vectors, present, weights = market
    fusion = make(name, weights).fit(embed(n, vectors, present))
    wanted, tie = definition(name, fusion, n, vectors, present, weights)
    sizes = exact.search.__kwdefaults__
    before = dict(sizes)
    if small_blocks:
        sizes.update(query_block=3, candidate_block=4)
    try:
        found = fusion.neighbors(k=k, exclude_self=exclude_self)
    finally:
        sizes.update(before)
    k = min(k, n)
    places, distances = dense.ranking(wanted, k, tie, exclude_self)
    np.testing.assert_allclose(found.distances, distances, atol=2e-6)
    same = fusion.ids_.find(["" if x is None else x for x in found.ids.ravel()]).reshape(n, k)
    # Where the two rank differently, the distances must tie within the rounding of the definition.
    for i, j in zip(*np.nonzero(same != places), strict=True):
        assert same[i, j] >= 0
        assert places[i, j] >= 0
        assert wanted[i, same[i, j]] == pytest.approx(wanted[i, places[i, j]], abs=2e-6)
        if tie is not None:
            assert tie[i, same[i, j]] == pytest.approx(tie[i, places[i, j]], abs=2e-6)


@pytest.mark.parametrize("name", ["early", "intermediate", "late", "click-text"])
@settings(max_examples=30, deadline=None)
@given(market=markets())
def test_distances_and_shares_agree_with_the_definition(name, market):
    n, vectors, present, weights = market
    fusion = make(name, weights).fit(embed(n, vectors, present))
    wanted, _ = definition(name, fusion, n, vectors, present, weights)
    ids = list(fusion.ids_)
    np.testing.assert_allclose(fusion.distances(ids, ids), np.clip(wanted, 0, 2), atol=2e-6)
    for i in range(min(n, 4)):
        for j in range(min(n, 4)):
            shares = fusion.explain(ids[i], ids[j])
            if np.isnan(wanted[i, j]):
                assert sum(shares.values()) == 0
            else:
                assert sum(shares.values()) == pytest.approx(1 - wanted[i, j], abs=1e-6)
            assert all(v == 0 for m, v in shares.items() if not (present[m][i] and present[m][j]))


@pytest.mark.parametrize("name", ["early", "intermediate", "late"])
@pytest.mark.parametrize("subset", [("text",), ("image", "click"), ("click", "text", "image")])
def test_any_subset_of_the_modalities(name, subset):
    rng = np.random.default_rng(1)
    vectors = {m: rng.normal(size=(40, w)).astype(np.float32) for m, w in WIDTH.items()}
    present = {m: rng.random(40) < 0.7 for m in WIDTH}
    fusion = fusion_strategy(name, modalities=subset).fit(embed(40, vectors, present))
    cut = ({m: vectors[m] for m in subset}, {m: present[m] for m in subset}, dict.fromkeys(subset, 1.0))
    wanted, tie = definition(name, fusion, 40, *cut)
    places, distances = dense.ranking(wanted, 7, tie)
    found = fusion.neighbors(k=7)
    np.testing.assert_allclose(found.distances, distances, atol=2e-6)
    assert (found.ids[places >= 0] == np.array([f"p{i}" for i in range(40)])[places[places >= 0]]).all()


def test_intermediate_is_the_inner_product_of_concatenated_unit_vectors():
    rng = np.random.default_rng(2)
    vectors = {m: rng.normal(size=(30, w)).astype(np.float32) for m, w in WIDTH.items()}
    full = {m: np.ones(30, bool) for m in WIDTH}
    fusion = IntermediateFusion().fit(embed(30, vectors, full))
    z = np.concatenate([v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors.values()], 1) / np.sqrt(3)
    np.testing.assert_allclose(fusion.distances(fusion.ids_, fusion.ids_), 1 - z @ z.T, atol=2e-6)


def test_one_query_gives_what_all_queries_give():
    rng = np.random.default_rng(3)
    vectors = {m: rng.normal(size=(300, w)).astype(np.float32) for m, w in WIDTH.items()}
    present = {m: rng.random(300) < 0.7 for m in WIDTH}
    for fusion in (IntermediateFusion(), EarlyFusion(), LateFusion(clusters=5), ClickText()):
        fusion.fit(embed(300, vectors, present))
        every = fusion.neighbors(k=9)
        some = ["p7", "p250", "p7", "p0"]
        found = fusion.neighbors(some, 9)
        for row, product_id in enumerate(some):
            i = int(product_id[1:])
            assert found.ids[row].tolist() == every.ids[i].tolist()
            np.testing.assert_array_equal(found.distances[row], every.distances[i])


def test_query_by_vectors_equals_the_product_that_has_them():
    rng = np.random.default_rng(4)
    vectors = {m: rng.normal(size=(60, w)).astype(np.float32) for m, w in WIDTH.items()}
    full = {m: np.ones(60, bool) for m in WIDTH}
    for fusion in (IntermediateFusion(), EarlyFusion(), LateFusion(clusters=4)):
        fusion.fit(embed(60, vectors, full))
        by_id = fusion.neighbors(["p5"], 6, exclude_self=False)
        by_vector = fusion.query({m: v[5] for m, v in vectors.items()}, 6)
        assert by_vector.ids.tolist() == by_id.ids.tolist()
        np.testing.assert_allclose(by_vector.distances, by_id.distances, atol=1e-6)
        ids = ProductIds([f"q{i}" for i in range(60)])
        every = {m: Embedding.join(m, ids, list(ids), v, Provenance("test")) for m, v in vectors.items()}
        places, distances = fusion.query_many(every, 6)
        whole = fusion.neighbors(k=6, exclude_self=False)
        assert [[f"p{j}" for j in row] for row in places] == whole.ids.tolist()
        np.testing.assert_array_equal(distances, whole.distances)
        partial = fusion.query({"image": vectors["image"][5]}, 3)
        assert partial.ids[0, 0] == "p5"


def test_thousands_of_equal_products_stay_quick_and_exact():
    n = 6000
    vectors = {"text": np.repeat(np.eye(3, dtype=np.float32), n // 3, axis=0)}
    fusion = IntermediateFusion().fit(embed(n, vectors, {"text": np.ones(n, bool)}))
    found = fusion.neighbors(["p0", "p5999"], 5)
    assert found.ids.tolist() == [
        ["p1", "p2", "p3", "p4", "p5"],
        ["p4000", "p4001", "p4002", "p4003", "p4004"],
    ]
    assert (found.distances == 0).all()


def test_thousands_of_nearly_equal_products_are_ranked_exactly():
    rng = np.random.default_rng(0)
    n = 6000
    near = (rng.normal(size=64) + 5e-4 * rng.normal(size=(n, 64))).astype(np.float32)
    fusion = IntermediateFusion().fit(embed(n, {"text": near}, {"text": np.ones(n, bool)}))
    found = fusion.neighbors([f"p{i}" for i in range(n - 40, n)], 15)
    unit = near.astype(float) / np.linalg.norm(near.astype(float), axis=1, keepdims=True)
    wanted = 1 - unit[-40:] @ unit.T
    wanted[np.arange(40), np.arange(n - 40, n)] = np.inf
    np.testing.assert_allclose(found.distances, np.sort(wanted, axis=1)[:, :15], atol=1.5e-7)
    assert fusion.neighbors([]).ids.shape == (0, 15)


def test_late_clusters_are_kept_when_products_change():
    rng = np.random.default_rng(5)
    vectors = {m: rng.normal(size=(50, w)).astype(np.float32) for m, w in WIDTH.items()}
    full = {m: np.ones(50, bool) for m in WIDTH}
    fusion = LateFusion(clusters=4).fit(embed(50, vectors, full))
    centers = {k: v.copy() for k, v in fusion.learned().items()}
    fewer = {m: v[:20] for m, v in vectors.items()}
    fusion.place(embed(20, fewer, {m: np.ones(20, bool) for m in WIDTH}))
    assert len(fusion.ids_) == 20
    for key, value in fusion.learned().items():
        np.testing.assert_array_equal(value, centers[key])
    other = LateFusion(clusters=4).restore(centers).place(embed(50, vectors, full))
    again = LateFusion(clusters=4).fit(embed(50, vectors, full))
    assert other.neighbors(k=5).ids.tolist() == again.neighbors(k=5).ids.tolist()


def test_wrong_arguments_are_one_clear_error():
    data = embed(3, {"text": np.eye(3, dtype=np.float32)}, {"text": np.ones(3, bool)})
    with pytest.raises(NotFittedError):
        IntermediateFusion().neighbors()
    with pytest.raises(ParameterError, match="'image' is not among"):
        IntermediateFusion(["image"]).fit(data)
    with pytest.raises(ParameterError, match="must be 0 or in"):
        IntermediateFusion(weights={"text": -1}).fit(data)
    with pytest.raises(ParameterError, match="must be 0 or in"):
        IntermediateFusion(weights={"text": 1e308}).fit(data)
    with pytest.raises(ParameterError, match="must be a number"):
        IntermediateFusion(weights={"text": "much"}).fit(data)
    with pytest.raises(ParameterError, match="no modality"):
        IntermediateFusion(weights={"text": 0}).fit(data)
    with pytest.raises(ParameterError, match="click-text needs"):
        ClickText().fit(data)
    with pytest.raises(ParameterError, match="must be one of early"):
        fusion_strategy("middle")
    with pytest.raises(ParameterError, match="clusterz"):
        fusion_strategy("late", clusterz=3)
    fusion = IntermediateFusion().fit(data)
    with pytest.raises(UnknownProductError, match="'nope'"):
        fusion.neighbors(["nope"])
    with pytest.raises(ParameterError, match="k == 0"):
        fusion.neighbors(k=0)
    with pytest.raises(ParameterError, match="has 2 numbers, must have 3"):
        fusion.query({"text": [1.0, 2.0]})
    with pytest.raises(ParameterError, match="finite numbers, not all 0"):
        fusion.query({"text": [0.0, 0.0, 0.0]})
    with pytest.raises(ParameterError, match="'sound' is not in use"):
        fusion.query({"sound": [1.0]})
