"""Features are joined by product id, each modality at a scale of its own, and missing stays missing."""

from __future__ import annotations

import numpy as np
import pytest

from trimodal.ctr.features import ItemFeatures
from trimodal.embeddings import Embedding, Provenance
from trimodal.errors import DataError, ParameterError
from trimodal.ids import ProductIds

IDS = ProductIds(["a", "b", "c", "d", "e"])


def embedding(name: str, vectors: dict[str, list[float]], ids: ProductIds | None = None) -> Embedding:
    rows = np.array(list(vectors.values()), np.float32)
    return Embedding.join(name, ids or ProductIds(vectors), list(vectors), rows, Provenance(f"{name} encoder"))


@pytest.fixture
def features() -> ItemFeatures:
    rng = np.random.default_rng(0)
    ids = ProductIds([f"p{n}" for n in range(40)])
    keys = {"text": [n for n in range(40) if n % 4], "image": [n for n in range(40) if n % 5]}
    given = {
        name: embedding(name, {f"p{n}": rng.normal(size=3 + len(name)).tolist() for n in rows})
        for name, rows in keys.items()
    }
    return ItemFeatures.join(ids, given)


@pytest.mark.parametrize("name", ["id", "category", "keys", "my.photos", "2nd", ""])
def test_a_name_that_no_layer_can_have_is_refused(name):
    ids = ProductIds(["a"])
    vectors = Embedding.join("image", ids, ["a"], np.ones((1, 2), np.float32), Provenance("test"))
    with pytest.raises(DataError, match=r"a name must be of a-z, 0-9 and _"):
        ItemFeatures.join(ids, {name: vectors})


def test_vectors_are_joined_by_id_not_by_row():
    vectors = {"d": [4.0, 0.0], "x": [9.0, 9.0], "a": [1.0, 1.0], "b": [0.0, 2.0]}
    joined = ItemFeatures.join(IDS, {"text": embedding("text", vectors)})
    assert joined.present["text"].tolist() == [True, True, False, True, False]
    for place, name in enumerate(IDS):
        expected = np.array(vectors[name]) if name in vectors else np.zeros(2)
        np.testing.assert_allclose(joined.vectors["text"][place] * joined.scales["text"], expected, rtol=1e-6)
    assert joined.sources["text"].encoder == "text encoder"
    assert joined.dimensions == {"text": 2}


@pytest.mark.parametrize("unit", [1.0, 1000.0, 1e-30])
def test_each_modality_has_a_mean_square_of_1_and_keeps_its_directions(unit):
    vectors = {"a": [3.0, 4.0], "b": [0.0, 10.0], "d": [1.0, 0.0]}
    scaled = {name: [unit * x for x in vector] for name, vector in vectors.items()}
    joined = ItemFeatures.join(IDS, {"image": embedding("image", scaled)})
    here = joined.vectors["image"][joined.present["image"]].astype(np.float64)
    np.testing.assert_allclose(np.mean(here**2), 1.0, rtol=1e-5)
    mean_square = (9 + 16 + 100 + 1) / 6  # over the numbers of the three products that have a vector
    np.testing.assert_allclose(here, np.array(list(vectors.values())) / np.sqrt(mean_square), rtol=1e-5)
    np.testing.assert_allclose(joined.scales["image"], unit * np.sqrt(mean_square), rtol=1e-5)


def test_a_product_that_misses_a_vector_is_masked_and_zero(features):
    for name, matrix in features.vectors.items():
        assert matrix.dtype == np.float32
        assert not matrix[~features.present[name]].any()
        assert matrix[features.present[name]].any(1).all()
    assert (~features.present["text"]).sum() == 10
    assert (~features.present["image"]).sum() == 8


def test_a_modality_without_a_vector_for_any_item_is_refused():
    with pytest.raises(DataError, match="modality 'text': none of the 5 items has a vector"):
        ItemFeatures.join(IDS, {"text": embedding("text", {"x": [1.0]})})


def test_a_share_is_masked_and_nothing_else_changes(features):
    masked = features.masked("text", 0.5, seed=1)
    before, after = features.present["text"], masked.present["text"]
    assert after.sum() == before.sum() / 2
    assert not (after & ~before).any()
    assert not masked.vectors["text"][~after].any()
    np.testing.assert_array_equal(masked.vectors["text"][after], features.vectors["text"][after])
    assert masked.vectors["image"] is features.vectors["image"]
    assert masked.present["image"] is features.present["image"]
    assert (masked.scales, masked.sources) == (features.scales, features.sources)
    assert masked.fingerprint() == features.masked("text", 0.5, seed=1).fingerprint()
    assert masked.fingerprint() != features.masked("text", 0.5, seed=2).fingerprint()


def test_all_and_nothing_can_be_masked(features):
    assert not features.masked("image", 1.0, seed=0).present["image"].any()
    assert features.masked("image", 0.0, seed=0).fingerprint() == features.fingerprint()


@pytest.mark.parametrize(("modality", "share"), [("sound", 0.5), ("text", -0.1), ("text", 1.1)])
def test_what_cannot_be_masked_is_refused(features, modality, share):
    with pytest.raises(ParameterError, match=r"modality == 'sound'|share == "):
        features.masked(modality, share, seed=0)


def test_shuffling_deals_every_vector_with_its_mask_to_an_item(features):
    dealt = features.shuffled(3)
    for name, matrix in features.vectors.items():
        rows = np.column_stack([features.present[name], matrix])
        others = np.column_stack([dealt.present[name], dealt.vectors[name]])
        assert sorted(map(tuple, rows)) == sorted(map(tuple, others))
        assert (rows != others).any(1).mean() > 0.8
        assert not others[~dealt.present[name], 1:].any()
    assert dealt.fingerprint() == features.shuffled(3).fingerprint()
    assert dealt.fingerprint() not in (features.fingerprint(), features.shuffled(4).fingerprint())


def test_modalities_are_dealt_apart_from_each_other():
    vectors = {name: [float(n + 1), 1.0] for n, name in enumerate(IDS)}
    joined = ItemFeatures.join(IDS, {name: embedding(name, vectors) for name in ("image", "text")})
    dealt = [joined.shuffled(seed) for seed in range(5)]
    assert any((d.vectors["image"] != d.vectors["text"]).any() for d in dealt)


def test_the_fingerprint_changes_with_a_number_a_mask_and_a_name(features):
    number = {name: matrix.copy() for name, matrix in features.vectors.items()}
    number["text"][1, 0] += 1e-3
    mask = {name: here.copy() for name, here in features.present.items()}
    mask["image"][1] = False
    renamed = {"words": features.vectors["text"], "image": features.vectors["image"]}
    others = [
        ItemFeatures(features.ids, number, features.present),
        ItemFeatures(features.ids, features.vectors, mask),
        ItemFeatures(features.ids, renamed, {"words": features.present["text"], "image": features.present["image"]}),
        ItemFeatures(features.ids, {"text": features.vectors["text"]}, features.present),
    ]
    prints = {other.fingerprint() for other in (features, *others)}
    assert len(prints) == 5
    turned = dict(reversed(list(features.vectors.items())))
    assert ItemFeatures(features.ids, turned, features.present).fingerprint() == features.fingerprint()
