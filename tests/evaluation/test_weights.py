"""Weights are learned where there is something to learn, and judged on questions that did not choose them."""

from __future__ import annotations

import numpy as np
import pytest

from trimodal.embeddings import Embedding, Provenance
from trimodal.errors import DataError
from trimodal.evaluation.retrieval import NextClicks
from trimodal.evaluation.weights import learn_weights
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
