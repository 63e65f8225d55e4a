"""Inferred vectors against a plain definition of ridge regression; what is known never changes."""

from __future__ import annotations

import numpy as np
import pytest

from trimodal.embeddings import Embedding, Provenance, State
from trimodal.errors import DataError, ParameterError
from trimodal.fusion.inferred import HELD_OUT, PENALTIES, infer, infer_clicks
from trimodal.ids import ProductIds

N = 300
IDS = ProductIds([f"p{i}" for i in range(N)])


def joined(name, vectors, has):
    keys = [x for x, h in zip(IDS, has, strict=True) if h]
    return Embedding.join(name, IDS, keys, vectors[has].astype(np.float32), Provenance("own", settings={"a": 1}))


def shop(seed=0, *, signal=1.0, noise=0.3):
    """Clicks follow titles and pictures as far as `signal`; a third lack a click vector, some a source."""
    rng = np.random.default_rng(seed)
    text, image = rng.normal(size=(N, 9)), rng.normal(size=(N, 6))
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (text, image)]
    click = signal * (unit[0] @ rng.normal(size=(9, 5)) + unit[1] @ rng.normal(size=(6, 5)))
    click = click + noise * rng.normal(size=(N, 5))
    return {
        "text": joined("text", text, rng.random(N) < 0.9),
        "image": joined("image", image, rng.random(N) < 0.7),
        "click": joined("click", click, rng.random(N) < 0.66),
    }


def unit_rows(embedding):
    """Unit vectors over all products, NaN where missing: [n, d]."""
    rows = np.full((N, embedding.dimension), np.nan)
    rows[embedding.state > 0] = embedding.vectors
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def plain_features(embeddings, names):
    parts = []
    for name in names:
        has = embeddings[name].state > 0
        parts += [np.nan_to_num(unit_rows(embeddings[name])), has[:, None].astype(float)]
    return np.hstack(parts)


def plain_ridge(x, y, penalty):
    gram = x.T @ x
    return np.linalg.inv(gram + penalty * np.mean(np.diag(gram)) * np.eye(len(gram))) @ x.T @ y


def normed(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("names", [("text", "image"), ("image",)])
@pytest.mark.parametrize("noise", [0.1, 2.0])
def test_it_is_its_definition(names, noise):
    embeddings = shop(noise=noise)
    found = infer(embeddings, sources=names, seed=3)
    x, y = plain_features(embeddings, names), unit_rows(embeddings["click"])
    sourced = x[:, np.cumsum([embeddings[n].dimension + 1 for n in names]) - 1].any(1)
    paired = np.flatnonzero(sourced & (embeddings["click"].state > 0))
    order = np.random.default_rng(3).permutation(paired)
    held, kept = order[: round(HELD_OUT * len(order))], order[round(HELD_OUT * len(order)) :]
    scores = [np.mean(np.sum(normed(x[held] @ plain_ridge(x[kept], y[kept], p)) * y[held], 1)) for p in PENALTIES]
    assert found.penalty == PENALTIES[int(np.argmax(scores))]
    assert found.cosine == pytest.approx(max(scores), abs=1e-5)
    cosines = normed(x[held] @ plain_ridge(x[kept], y[kept], found.penalty)) @ y[held].T
    assert found.chance == pytest.approx(cosines[~np.eye(len(held), dtype=bool)].mean(), abs=1e-5)
    missing = np.flatnonzero(sourced & (embeddings["click"].state == 0))
    wanted = normed(x[missing] @ plain_ridge(x[paired], y[paired], found.penalty))
    got = unit_rows(found.embedding)[missing]
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    assert found.inferred == len(missing)


def test_states_and_known_vectors():
    embeddings = shop()
    old = embeddings["click"]
    before = old.vectors.copy(), old.state.copy()
    found = infer(embeddings)
    new = found.embedding
    known = old.state == State.KNOWN
    np.testing.assert_array_equal(new.state == State.KNOWN, known)
    sourced = (embeddings["text"].state > 0) | (embeddings["image"].state > 0)
    np.testing.assert_array_equal(new.state == State.INFERRED, ~known & sourced)
    assert (new.state[~known & ~sourced] == State.MISSING).all()
    np.testing.assert_array_equal(new.vectors[new.position[known]], old.vectors)
    np.testing.assert_array_equal(old.vectors, before[0])
    np.testing.assert_array_equal(old.state, before[1])
    assert new.provenance == Provenance("own", settings={"a": 1, "inferred_from": ["text", "image"]})
    assert old.provenance.settings == {"a": 1}
    assert "embedding" not in found.to_dict()
    again = infer({**embeddings, "click": new})  # what was inferred stays, and nothing is learned from it
    np.testing.assert_array_equal(again.embedding.vectors, new.vectors)
    assert (again.inferred, again.cosine) == (0, found.cosine)


def test_a_title_alone_is_enough():
    embeddings = shop(noise=0.1)
    alone = (embeddings["image"].state == 0) & (embeddings["text"].state > 0) & (embeddings["click"].state == 0)
    found = infer(embeddings)
    assert alone.any()
    assert (found.embedding.state[alone] == State.INFERRED).all()
    # what the pictures of others are like does not matter to it, but through what was learned
    x = plain_features(embeddings, ("text", "image"))
    assert not x[alone][:, 10:].any()


def test_signal_is_above_chance_and_noise_is_not():
    signal = infer(shop(noise=0.1))
    assert signal.cosine > signal.chance + 0.5
    assert signal.penalty < max(PENALTIES)
    nothing = infer(shop(signal=0.0))
    assert abs(nothing.cosine - nothing.chance) < 0.2


def test_rows_in_blocks_are_the_same(monkeypatch):
    whole = infer(shop())
    monkeypatch.setattr("trimodal.fusion.inferred._BLOCK", 17)
    parts = infer(shop())
    np.testing.assert_allclose(parts.embedding.vectors, whole.embedding.vectors, atol=1e-5)


@pytest.mark.parametrize("pairs", [0, 9, 10])
def test_ten_pairs_are_needed(pairs):
    embeddings = shop()
    some = np.zeros(N, bool)
    some[np.flatnonzero(embeddings["text"].state > 0)[:pairs]] = True
    embeddings["click"] = joined("click", np.random.default_rng(0).normal(size=(N, 4)), some)
    if pairs == 10:
        assert infer(embeddings).inferred > 0
        assert (infer_clicks(embeddings)["click"].state == State.INFERRED).any()
        return
    with pytest.raises(DataError, match=f"{pairs} products have 'click' and one of text, image; inferring needs 10"):
        infer(embeddings)
    assert infer_clicks(embeddings) == embeddings


def test_a_source_without_any_vector():
    embeddings = shop()
    nothing = Embedding("own", IDS, np.zeros(N, np.uint8), np.empty((0, 0), np.float32), Provenance("own"))
    with_it, without = infer({**embeddings, "own": nothing}), infer(embeddings)
    assert with_it.inferred == without.inferred
    # the mean diagonal, and so the ridge, is smaller by one empty column
    np.testing.assert_allclose(with_it.embedding.vectors, without.embedding.vectors, atol=0.05)


@pytest.mark.parametrize(
    ("target", "sources"), [("clicks", None), ("click", ["texts"]), ("click", []), ("click", ["text", "click"])]
)
def test_unknown_modalities(target, sources):
    with pytest.raises(ParameterError, match="cannot infer"):
        infer(shop(), target, sources=sources)
