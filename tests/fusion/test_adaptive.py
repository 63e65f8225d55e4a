"""Adaptive and co-visit fusion against plain dense NumPy definitions."""

from __future__ import annotations

import importlib.util
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from trimodal.embeddings import Embedding, Provenance, State
from trimodal.errors import DataError, ParameterError
from trimodal.fusion import AdaptiveFusion, CoVisitFusion
from trimodal.fusion.adaptive import band
from trimodal.fusion.evidence import DECAY, WINDOW, ClickEvidence
from trimodal.ids import ProductIds

_spec = importlib.util.spec_from_file_location("dense", Path(__file__).parent / "dense.py")
dense = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(dense)
cosines, ranking = dense.cosines, dense.ranking

N = 40
WEIGHTS = {"text": 1.0, "image": 0.5, "click": 2.0}


def shop_vectors(seed, *, shares=None):
    """Vectors of three modalities over N products, some missing, some click vectors inferred."""
    rng = np.random.default_rng(seed)
    ids = ProductIds([f"p{i}" for i in range(N)])
    vectors, present, embeddings = {}, {}, {}
    for name, width in (("text", 9), ("image", 7), ("click", 5)):
        vectors[name] = (rng.normal(size=(N, width)) + rng.normal(size=width)).astype(np.float32)
        present[name] = rng.random(N) < (shares or {}).get(name, 0.7)
        present[name][rng.integers(N)] = True
        keys = [x for x, h in zip(ids, present[name], strict=True) if h]
        embeddings[name] = Embedding.join(name, ids, keys, vectors[name][present[name]], Provenance("known"))
        vectors[name][~present[name]] = 0
    inferred = present["click"] & (rng.random(N) < 0.3)
    embeddings["click"].state[inferred] = State.INFERRED
    return ids, vectors, present, embeddings, inferred


def dense_evidence(log):
    n = len(log.ids)
    together = np.zeros((n, n))
    clicks, bounds = log.arrays()
    for a, b in pairwise(bounds):
        session = clicks[a:b]
        for x in range(len(session)):
            for y in range(x + 1, min(x + WINDOW + 1, len(session))):
                if session[x] != session[y]:
                    together[session[x], session[y]] += DECAY ** (y - x - 1)
                    together[session[y], session[x]] += DECAY ** (y - x - 1)
    return np.bincount(clicks, minlength=n), together


def dense_table(together, popularity):
    o = together.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        table = together / np.sqrt(np.outer(o, o)) * (o / o.max())[None, :] ** popularity
    table = np.nan_to_num(table)
    tops = [x for row in table for x in sorted(row[row > 0])[::-1][:10]]
    near = float(np.mean(tops))
    table[np.diag_indices(len(o))] = np.where(o > 0, (o / o.max()) ** popularity, 0)
    return table / (table + near)


def dense_adaptive(
    vectors, present, inferred, counts, *, prior=0.1, shrinkage=20.0, trust=0.5, v=0.0, together=None, tilt=0.25
):
    """The sums of every pair and what they are divided by, and which pairs are comparable."""
    n = len(counts)
    top, bottom, total, comparable = np.zeros((n, n)), np.zeros((n, n)), 0.0, np.zeros((n, n), bool)
    for name, cos in cosines(vectors, present).items():
        mu, tau = band(vectors[name][present[name]])
        r = present[name].astype(float)
        if name == "click":
            r = r * np.where(inferred, trust, np.sqrt(counts / (counts + shrinkage)))
        p = WEIGHTS[name] * (1 - mu) / (tau - mu)
        top += p * np.outer(r, r) * (cos - mu) / (1 - mu)
        bottom += p * ((1 - prior) * np.outer(r, r) + prior)
        total += p
        comparable |= np.outer(present[name], present[name])
    if together is not None:
        seen = together.sum(1) > 0
        r = seen * np.sqrt(counts / (counts + shrinkage))
        top += 2 * v * np.outer(r, r) * dense_table(together, tilt)
        bottom += 2 * v * ((1 - prior) * np.outer(r, r) + prior)
        comparable |= np.outer(seen, seen)
    return top / bottom, comparable


def assert_equal_rankings(fusion, similarity, comparable, k=9):
    places, distances = ranking(np.where(comparable, 1 - similarity, np.nan), k)
    found = fusion.neighbors(k=k)
    np.testing.assert_allclose(found.distances, distances, atol=1e-6)
    wanted = np.array([[None if p < 0 else f"p{p}" for p in row] for row in places], object)
    # near ties may come out in either order
    differ = (found.ids != wanted) & (np.abs(found.distances - np.roll(found.distances, 1, 1)) > 1e-6)
    assert not (differ & (np.abs(found.distances - np.roll(found.distances, -1, 1)) > 1e-6)).any()


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_adaptive_is_its_definition(make_log, seed):
    ids, vectors, present, embeddings, inferred = shop_vectors(seed)
    log = random_log(make_log, ids, seed)
    fusion = AdaptiveFusion(weights=WEIGHTS).fit(embeddings, ids, clicks=log)
    similarity, comparable = dense_adaptive(vectors, present, inferred, log.counts())
    assert_equal_rankings(fusion, similarity, comparable)


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_covisit_is_its_definition(make_log, seed):
    ids, vectors, present, embeddings, inferred = shop_vectors(seed)
    log = random_log(make_log, ids, seed)
    fusion = CoVisitFusion(weights=WEIGHTS, covisits=3.0, popularity=0.4).fit(embeddings, ids, clicks=log)
    _, together = dense_evidence(log)
    options = {"v": 3.0, "together": together, "tilt": 0.4}
    similarity, comparable = dense_adaptive(vectors, present, inferred, log.counts(), **options)
    assert_equal_rankings(fusion, similarity, comparable)


@pytest.mark.parametrize("strategy", [AdaptiveFusion, CoVisitFusion])
def test_a_session_is_the_mean_of_its_products(make_log, strategy):
    ids, vectors, present, embeddings, inferred = shop_vectors(3, shares=dict.fromkeys(WEIGHTS, 1.0))
    log = random_log(make_log, ids, 3)
    # With prior = 1 every pair is divided by the same number, so S of a session is the mean of S.
    fusion = strategy(weights=WEIGHTS, prior=1.0).fit(embeddings, ids, clicks=log)
    options = {"v": 2.0, "together": dense_evidence(log)[1]} if strategy is CoVisitFusion else {}
    similarity, _ = dense_adaptive(vectors, present, inferred, log.counts(), prior=1.0, **options)
    rng = np.random.default_rng(0)
    weights = sparse.csr_matrix(rng.random((6, N)) * (rng.random((6, N)) < 0.15))
    weights = sparse.csr_matrix(sparse.diags(1 / np.asarray(weights.sum(1)).ravel()) @ weights)
    places, distances = fusion.query_sessions(weights, N)
    wanted = np.clip(1 - weights @ similarity, 0, 2)
    np.testing.assert_allclose(distances, np.take_along_axis(wanted, places, 1), atol=1e-6)


@pytest.mark.parametrize("strategy", [AdaptiveFusion, CoVisitFusion])
def test_a_session_of_one_product_is_that_product(make_log, strategy):
    ids, _, _, embeddings, _ = shop_vectors(6)
    log = random_log(make_log, ids, 6)
    # shrinkage = 0, since some of these products have a click vector and, unlike in real life, no click
    fusion = strategy(weights=WEIGHTS, shrinkage=0).fit(embeddings, ids, clicks=log)
    _, distances = fusion.query_sessions(sparse.identity(N, format="csr"), N)
    found = fusion.neighbors(k=N, exclude_self=False)
    np.testing.assert_allclose(distances, found.distances, atol=2e-6)


def test_evidence_is_its_definition_and_follows_the_products(make_log):
    ids = ProductIds([f"p{i}" for i in range(N)])
    log = random_log(make_log, ids, 1)
    evidence = ClickEvidence.of(log)
    clicks, together = dense_evidence(log)
    np.testing.assert_array_equal(evidence.clicks, clicks)
    np.testing.assert_allclose(evidence.together.toarray(), together, rtol=1e-5)
    other = ProductIds(["new", *[f"p{i}" for i in range(N - 1, 4, -1)]])
    moved = evidence.aligned(ids, other)
    back = [ids.find([x])[0] for x in other]
    assert moved.clicks[0] == 0
    np.testing.assert_allclose(moved.together.toarray()[1:, 1:], together[np.ix_(back[1:], back[1:])], rtol=1e-5)
    assert moved.together[0].nnz == 0
    again = ClickEvidence.from_arrays(evidence.arrays())
    assert (again.together != evidence.together).nnz == 0


def test_products_can_come_and_go(make_log):
    ids, _, _, embeddings, _ = shop_vectors(5)
    log = random_log(make_log, ids, 5)
    fusion = CoVisitFusion().fit(embeddings, ids, clicks=log)
    fewer = ProductIds([x for x in ids if x != "p7"] + ["late"])
    before = fusion.distances(["p1"], ["p2", "p3"])
    fusion.place({name: e.aligned(fewer) for name, e in embeddings.items()}, fewer)
    assert "p7" not in fusion.neighbors(k=N).ids.ravel().tolist()
    # weights of co-visits are relative to the whole log, which has lost a product: close, not equal
    np.testing.assert_allclose(fusion.distances(["p1"], ["p2", "p3"]), before, atol=0.1)


def test_a_band_holds_what_it_says():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 6)).astype(np.float32) + 1
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cos = unit @ unit.T
    off = cos[~np.eye(300, dtype=bool)]
    np.fill_diagonal(cos, -2)
    mu, tau = band(vectors)
    assert mu == pytest.approx(off.mean(), abs=0.01)
    assert tau == pytest.approx(np.sort(cos, 1)[:, -10:].mean(), abs=1e-5)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_band_of_almost_nothing(count):
    mu, tau = band(np.ones((count, 4), np.float32))
    assert tau > mu


def test_vectors_that_are_all_alike_say_nothing(make_log):
    ids, _, _, embeddings, _ = shop_vectors(2, shares={"text": 1.0})
    same = Embedding.join("image", ids, list(ids), np.ones((N, 3), np.float32), Provenance("same"))
    with_same = AdaptiveFusion().fit({"text": embeddings["text"], "image": same}, ids)
    without = AdaptiveFusion().fit({"text": embeddings["text"]}, ids)
    assert with_same.neighbors(k=5).ids.tolist() == without.neighbors(k=5).ids.tolist()


def test_other_settings_share_what_was_learned(make_log):
    ids, _, _, embeddings, _ = shop_vectors(4)
    log = random_log(make_log, ids, 4)
    first = CoVisitFusion().fit(embeddings, ids, clicks=log)
    other = first.retuned(embeddings, covisits=0.5, weights={"image": 3.0})
    wanted = CoVisitFusion(covisits=0.5, weights={"image": 3.0}).fit(embeddings, ids, clicks=log)
    np.testing.assert_array_equal(other.neighbors(k=7).distances, wanted.neighbors(k=7).distances)
    np.testing.assert_array_equal(
        first.neighbors(k=7).distances, CoVisitFusion().fit(embeddings, ids, clicks=log).neighbors(k=7).distances
    )


def test_covisit_says_what_it_needs():
    ids, _, _, embeddings, _ = shop_vectors(0)
    with pytest.raises(ParameterError, match="click log"):
        CoVisitFusion().fit(embeddings, ids)
    with pytest.raises(ParameterError, match="'click'"):
        CoVisitFusion(["text"]).fit(embeddings, ids)


@pytest.mark.parametrize(
    "wrong", [{"covisits": -1}, {"popularity": 2}, {"shrinkage": "much"}, {"inferred": 1.5}, {"prior": -0.1}]
)
def test_settings_are_checked(wrong):
    with pytest.raises(ParameterError):
        CoVisitFusion(**wrong)


def random_log(make_log, ids, seed):
    rng = np.random.default_rng(seed)
    sessions = [rng.integers(0, N // 2, rng.integers(2, 14)).tolist() for _ in range(25)]
    sessions = [[p for i, p in enumerate(s) if i == 0 or p != s[i - 1]] for s in sessions]
    return make_log(sessions, ids)


def narrow_shop(n, seed=0):
    """Narrow bands, near ties and equal vectors: n products, and a log that knows half of them."""
    rng = np.random.default_rng(seed)
    ids = ProductIds([f"p{i}" for i in range(n)])
    embeddings = {}
    for name, width, centre, share in (("text", 24, 60, 0.9), ("image", 16, 90, 0.8), ("click", 8, 0, 0.5)):
        vectors = centre * np.eye(1, width) + rng.normal(size=(n, width))
        if name == "text":
            vectors = vectors[rng.integers(0, 40, n)]  # many are equal, and half of them almost
            vectors = vectors + 1e-5 * rng.normal(size=vectors.shape) * (rng.random((n, 1)) < 0.5)
        has = rng.random(n) < share
        keys = [x for x, h in zip(ids, has, strict=True) if h]
        embeddings[name] = Embedding.join(name, ids, keys, vectors[has].astype(np.float32), Provenance("known"))
    state = embeddings["click"].state
    state[(state > 0) & (rng.random(n) < 0.3)] = State.INFERRED
    return ids, embeddings, [rng.permutation(n // 2)[: rng.integers(2, 8)].tolist() for _ in range(n // 2)]


@pytest.mark.parametrize(
    "options",
    [{}, {"prior": 0.0}, {"prior": 0.0, "shrinkage": 1e9}, {"prior": 1.0, "shrinkage": 0}, {"weights": {"text": 1e6}}],
)
@pytest.mark.parametrize("strategy", [AdaptiveFusion, CoVisitFusion])
def test_narrow_bands_and_near_ties_are_ranked_exactly(make_log, strategy, options):
    n = 1000
    ids, embeddings, sessions = narrow_shop(n)
    fusion = strategy(**options).fit(embeddings, ids, clicks=make_log(sessions, ids))
    assert fusion.bands_["text"][0] > 0.98
    asked = np.random.default_rng(1).permutation(n)[:30]
    for k in (15, n - 5):
        for rows, places, distances in fusion.iter_neighbors(asked, k):
            for row, place, distance in zip(rows, places, distances, strict=True):
                mine = np.full(n, asked[row])
                exact = fusion._keys(fusion.points_, fusion._rank[mine], fusion._rank[np.arange(n)])[:, 0]
                exact[asked[row]] = np.nan
                order = np.lexsort((np.arange(n), exact))
                order = order[~np.isnan(exact[order])][:k]
                np.testing.assert_array_equal(place[: len(order)], order)
                np.testing.assert_array_equal(distance[: len(order)], exact[order].astype(np.float32))
                assert (place[len(order) :] == -1).all()


def test_what_is_unlike_everything_still_has_an_order():
    n = 120
    rng = np.random.default_rng(0)
    vectors = 60 * np.eye(1, 16) + rng.normal(size=(n, 16))
    vectors[7] = rng.normal(size=16) + 3  # below 0 in the band with everything, by far
    ids = ProductIds([f"p{i}" for i in range(n)])
    text = Embedding.join("text", ids, list(ids), vectors.astype(np.float32), Provenance("known"))
    fusion = AdaptiveFusion().fit({"text": text}, ids)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    wanted = np.argsort(-(unit @ unit[7]))[1:7]
    found = fusion.neighbors(["p7"], 6)
    assert found.ids[0].tolist() == [f"p{i}" for i in wanted]
    assert found.distances[0, 0] > 2
    assert sum(fusion.explain("p7", found.ids[0, 0]).values()) == pytest.approx(1 - found.distances[0, 0], abs=1e-4)


@pytest.mark.parametrize("count", [2, 5, 10, 11, 30])
def test_a_handful_of_vectors_does_not_outweigh_all_others(count):
    _, _, _, embeddings, _ = shop_vectors(8, shares={"text": 1.0})
    ids = embeddings["text"].ids
    few = np.random.default_rng(count).normal(size=(count, 16)).astype(np.float32)
    click = Embedding.join("click", ids, list(ids)[:count], few, Provenance("known"))
    fusion = AdaptiveFusion().fit({"text": embeddings["text"], "click": click}, ids)
    assert 0.1 < fusion._share[1] < 0.9


def test_a_modality_without_a_vector_takes_no_part(make_log):
    ids, _, _, embeddings, _ = shop_vectors(9)
    log = random_log(make_log, ids, 9)
    nothing = Embedding("own", ids, np.zeros(N, np.uint8), np.empty((0, 4), np.float32), Provenance("none"))
    # prior = 0: what nobody has counts as chance otherwise, alike for every pair
    with_it = CoVisitFusion(prior=0).fit({**embeddings, "own": nothing}, ids, clicks=log).neighbors(k=8)
    without = CoVisitFusion(prior=0).fit(embeddings, ids, clicks=log).neighbors(k=8)
    np.testing.assert_array_equal(with_it.distances, without.distances)


def test_settings_make_an_equal_strategy():
    fusion = CoVisitFusion(["click"], weights={"click": 2}, covisits=np.float32(3), prior="0.5")
    told = json.loads(json.dumps(fusion.settings()))
    assert told == CoVisitFusion(**told).settings()
    assert told["covisits"] == 3
    assert told["prior"] == 0.5


def test_a_session_counts_relative_to_itself(make_log):
    ids, _, _, embeddings, _ = shop_vectors(10)
    fusion = CoVisitFusion().fit(embeddings, ids, clicks=random_log(make_log, ids, 10))
    weights = sparse.csr_matrix(([1.0, 3.0, 2.0], ([0, 0, 1], [1, 4, 9])), shape=(3, N))
    places, distances = fusion.query_sessions(weights, 9)
    scaled, found = fusion.query_sessions(50 * weights, 9)
    np.testing.assert_array_equal(places, scaled)
    np.testing.assert_allclose(found, distances, atol=1e-6)
    assert (places[2] == -1).all()  # nothing was clicked
    assert fusion.query_sessions(weights[:0], 9)[0].shape == (0, 9)
    for wrong in (-weights, weights * np.nan):
        with pytest.raises(ParameterError, match="numbers >= 0"):
            fusion.query_sessions(sparse.csr_matrix(wrong), 9)


@pytest.mark.parametrize("strategy", [AdaptiveFusion, CoVisitFusion])
def test_a_retuned_strategy_can_change_its_products(make_log, strategy):
    ids, _, _, embeddings, _ = shop_vectors(11)
    log = random_log(make_log, ids, 11)
    other = strategy().fit(embeddings, ids, clicks=log).retuned(embeddings, prior=0.3)
    turned = ProductIds(list(ids)[::-1])
    other.place({name: e.aligned(turned) for name, e in embeddings.items()}, turned)
    wanted = strategy(prior=0.3).fit(embeddings, ids, clicks=log)
    np.testing.assert_allclose(other.neighbors(list(ids)).distances, wanted.neighbors().distances, atol=1e-6)


def test_an_earlier_log_is_forgotten(make_log):
    ids, _, _, embeddings, _ = shop_vectors(12)
    fusion = AdaptiveFusion().fit(embeddings, ids, clicks=random_log(make_log, ids, 12)).fit(embeddings, ids)
    np.testing.assert_array_equal(
        fusion.neighbors().distances, AdaptiveFusion().fit(embeddings, ids).neighbors().distances
    )
    with pytest.raises(ParameterError, match="click log"):
        CoVisitFusion().fit(embeddings, ids, clicks=random_log(make_log, ids, 12)).fit(embeddings, ids)


def test_a_damaged_table_is_an_error(make_log):
    ids = ProductIds([f"p{i}" for i in range(N)])
    arrays = ClickEvidence.of(random_log(make_log, ids, 1)).arrays()
    arrays["evidence.indices"] = arrays["evidence.indices"] + 1000
    with pytest.raises(DataError, match="damaged"):
        ClickEvidence.from_arrays(arrays)
