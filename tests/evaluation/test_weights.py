"""Weights are learned where there is something to learn, and judged on questions that did not choose them."""

from __future__ import annotations

import numpy as np
import pytest

from trimodal.embeddings import Embedding, Provenance, State
from trimodal.errors import DataError, ParameterError
from trimodal.evaluation.retrieval import NextClicks
from trimodal.evaluation.weights import PARAMETERS, STEPS, LearnedWeights, climb, learn_every_subset, learn_weights
from trimodal.fusion import fusion_strategy
from trimodal.ids import ProductIds

N = 60
IDS = ProductIds([f"p{i}" for i in range(N)])


@pytest.fixture(scope="module")
def log(make_log):
    """Sessions inside six groups of ten products."""
    rng = np.random.default_rng(0)
    sessions = [rng.permutation(10)[: rng.integers(2, 6)] + 10 * rng.integers(6) for _ in range(400)]
    return make_log(sessions, IDS)


def embedding(name, signal, seed):
    rng = np.random.default_rng(seed)
    vectors = signal * np.eye(6, 10)[np.arange(N) // 10] + rng.normal(size=(N, 10))
    return Embedding.join(name, IDS, list(IDS), vectors.astype(np.float32), Provenance("known"))


def test_noise_is_weighed_down_and_the_gain_is_real(log):
    train, later = log.split(0.6)
    embeddings = {"text": embedding("text", 4.0, 1), "image": embedding("image", 0.0, 2)}
    found = learn_weights(embeddings, train, NextClicks.of(later), k=9)
    assert found.weights["text"] == 1
    assert found.weights["image"] < 0.5
    assert found.difference_low > 0
    assert found.hit_rate == pytest.approx(found.hit_rate_equal + found.difference)
    assert "--weight image=" in str(found)
    assert "keep them" in str(found)
    assert found == learn_weights(embeddings, train, NextClicks.of(later), k=9)


def test_nothing_to_learn_is_said(log):
    train, later = log.split(0.6)
    embeddings = {"text": embedding("text", 0.0, 3), "image": embedding("image", 0.0, 4)}
    found = learn_weights(embeddings, train, NextClicks.of(later), k=9)
    assert found.difference_low < 0.05
    assert abs(found.difference) < 0.08
    with pytest.raises(DataError, match="two modalities"):
        learn_weights({"text": embeddings["text"]}, train, NextClicks.of(later))


@pytest.mark.parametrize("query", ["last", "session"])
@pytest.mark.parametrize("strategy", ["adaptive", "covisit"])
def test_our_own_strategies_learn_weights_and_parameters(log, strategy, query):
    train, later = log.split(0.6)
    embeddings = {"click": embedding("click", 4.0, 1), "image": embedding("image", 0.0, 2)}
    questions = NextClicks.of(later, limit=200)
    found = learn_weights(embeddings, train, questions, strategy=strategy, query=query, k=9)
    start = fusion_strategy(strategy).settings()
    assert found.parameters.keys() == {name for name in PARAMETERS if name in start}
    assert all(value in PARAMETERS[name] or value == start[name] for name, value in found.parameters.items())
    assert found.weights["click"] == 1
    assert found.weights["image"] < 1
    assert found.hit_rate >= found.hit_rate_equal - 0.05
    options = f"--fusion {strategy} --modalities click,image --weight click=1 --weight image={found.weights['image']:g}"
    assert found.options.startswith(options)
    assert f"--fusion-option prior={found.parameters['prior']:g}" in found.options
    assert ("whole session" if query == "session" else "last click") in str(found)
    assert found.to_dict()["parameters"] == found.parameters


@pytest.mark.parametrize(
    ("strategy", "wanted"),
    [
        ("intermediate", [("text", "image"), ("text", "click"), ("image", "click"), ("text", "image", "click")]),
        ("covisit", [("click",), ("text", "click"), ("image", "click"), ("text", "image", "click")]),
    ],
)
def test_every_subset_that_has_something_to_weigh(log, strategy, wanted):
    train, later = log.split(0.6)
    embeddings = {name: embedding(name, 2.0, seed) for seed, name in enumerate(("text", "image", "click"))}
    asked = embeddings, train, NextClicks.of(later, limit=40)
    found = learn_every_subset(*asked, strategy=strategy, k=5)
    assert [row.modalities for row in found] == wanted
    assert found[-1] == learn_weights(*asked, strategy=strategy, k=5)


def fitted(strategy, log, names=("text", "image")):
    embeddings = {name: embedding(name, 2.0, seed) for seed, name in enumerate(names)}
    return embeddings, fusion_strategy(strategy).fit(embeddings, IDS, clicks=log)


@pytest.mark.parametrize("best", [2.0**-6, 0.25, 1.0, 8.0, 2.0**6])
def test_climbing_finds_the_top_of_one_hill(log, best):
    embeddings, start = fitted("intermediate", log)
    found = climb(start, embeddings, lambda f: -abs(np.log2(f.settings()["weights"].get("image", 1.0) / best)))
    assert found.settings()["weights"].get("image", 1.0) == best
    assert best in STEPS


def test_climbing_finds_the_top_in_every_setting(log):
    # A modality may be called what a parameter is called.
    names = ("text", "prior", "click")
    embeddings, start = fitted("covisit", log, names)
    embeddings["click"].state[:5] = State.INFERRED  # so that the trust in inferred vectors is worth trying
    top = {"shrinkage": 200.0, "inferred": 0.0, "prior": 0.5, "covisits": 0.25, "popularity": 0.0}
    weights = {"prior": 0.5, "click": 4.0}
    tried = []

    def score(fusion):
        told = fusion.settings()
        tried.append(told)
        steps = [-abs(list(grid).index(told[n]) - list(grid).index(top[n])) for n, grid in PARAMETERS.items()]
        return sum(steps) - sum(abs(np.log2(told["weights"].get(n, 1.0) / w)) for n, w in weights.items())

    advanced = []
    found = climb(start, embeddings, score, advanced.append)
    assert {n: found.settings()[n] for n in top} == top
    assert found.settings()["weights"] == weights
    assert len(tried) == len(advanced) + 1
    assert all(told["weights"].get("text", 1.0) == 1.0 for told in tried)
    wanted = fusion_strategy("covisit", **found.settings()).fit(embeddings, IDS, clicks=log)
    np.testing.assert_array_equal(found.neighbors(k=5).distances, wanted.neighbors(k=5).distances)


def test_the_trust_in_inferred_vectors_is_left_alone_where_nothing_is_inferred(log):
    embeddings, start = fitted("covisit", log, ("text", "click"))
    tried = []
    climb(start, embeddings, lambda f: tried.append(f.settings()["inferred"]) or 0.0)
    assert set(tried) == {start.settings()["inferred"]}


def test_climbing_stays_where_nothing_is_better(log):
    embeddings, start = fitted("adaptive", log)
    assert climb(start, embeddings, lambda _: 0.5) is start


def test_an_inferred_vector_is_trusted_as_far_as_it_helps(log):
    train, later = log.split(0.6)
    click = embedding("click", 4.0, 5)
    rng = np.random.default_rng(1)
    unknown = rng.random(N) < 0.5
    click.vectors[unknown] = rng.normal(size=(unknown.sum(), 10))
    click.state[unknown] = State.INFERRED  # and what was inferred is noise
    embeddings = {"text": embedding("text", 1.5, 6), "click": click}
    found = learn_weights(embeddings, train, NextClicks.of(later, limit=300), strategy="adaptive", k=9)
    assert found.parameters["inferred"] < 0.5


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.01, 0.03, "keep them"), (-0.03, -0.01, "worse than equal"), (-0.01, 0.01, "no gain"), (0.0, 0.02, "no gain")],
)
def test_the_verdict(low, high, verdict):
    row = LearnedWeights(
        strategy="covisit",
        modalities=("click",),
        query="last",
        weights={"click": 1.0},
        parameters={"covisits": 4.0},
        k=15,
        queries=1200,
        hit_rate=0.3,
        hit_rate_equal=0.3 - (low + high) / 2,
        difference=(low + high) / 2,
        difference_low=low,
        difference_high=high,
    )
    text = str(row)
    assert verdict in text
    assert "--fusion covisit --modalities click --weight click=1 --fusion-option covisits=4" in text
    assert "1,200 other questions" in text


@pytest.mark.parametrize("wrong", [{"strategy": "late"}, {"query": "first"}, {"k": 0}])
def test_settings_are_checked(log, wrong):
    embeddings = {name: embedding(name, 1.0, 0) for name in ("text", "image")}
    with pytest.raises(ParameterError):
        learn_weights(embeddings, log, NextClicks.of(log, limit=20), **wrong)
