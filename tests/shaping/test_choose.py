"""Caps and maximal marginal relevance against the plain definition, on random candidates."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from trimodal.shaping import shape

_spec = importlib.util.spec_from_file_location("plain_shaping", Path(__file__).parent / "plain.py")
plain = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(plain)

N, POOL = 60, 35


def candidates(seed, *, coarse):
    """Distances of 60 products, some unknown, with many ties where `coarse`; 12 queries and their candidates."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(N, 6))
    points[10:20] = points[:10] + rng.normal(scale=0.05, size=(10, 6))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    matrix = 1 - points @ points.T
    matrix = np.round(matrix, 1 if coarse else 7)
    unknown = rng.random((N, N)) < 0.05
    matrix[unknown | unknown.T] = np.nan
    matrix = matrix.astype(np.float32)
    places = np.full((12, POOL), -1)
    distances = np.full((12, POOL), np.nan, np.float32)
    for q in range(12):
        own = np.where(np.arange(N) == q, np.nan, matrix[q])
        found = [j for j in np.lexsort((np.arange(N), own)) if not np.isnan(own[j])][: POOL - 3 * q]
        places[q, : len(found)], distances[q, : len(found)] = found, own[found]
    return matrix, places, distances, rng.integers(0, 15, N)


SETTINGS = [
    {},
    {"per_group": 1},
    {"per_group": 2},
    {"per_duplicate": 1, "near": 0.1},
    {"per_duplicate": 2, "near": 0.6},
    {"diversity": 0.1},
    {"diversity": 0.5},
    {"diversity": 1.0},
    {"diversity": 0.3, "per_group": 1, "per_duplicate": 1, "near": 0.4},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("coarse", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_lists_are_those_of_the_definition(settings, coarse, seed):
    matrix, places, distances, group = candidates(seed, coarse=coarse)
    found, nearness = shape(
        places,
        distances,
        9,
        pair_distances=lambda a, b: matrix[a, b],
        groups=group,
        max_per_group=settings.get("per_group"),
        max_per_duplicate=settings.get("per_duplicate"),
        duplicate_distance=settings.get("near", 0.0),
        diversity=settings.get("diversity", 0.0),
    )
    for q in range(len(places)):
        ranked = places[q][places[q] >= 0].tolist()
        wanted = plain.greedy(
            ranked, dict(zip(ranked, distances[q], strict=False)), 9, lambda i, j: matrix[i, j], group=group, **settings
        )
        assert found[q][found[q] >= 0].tolist() == wanted
        assert (found[q, len(wanted) :] == -1).all()
        np.testing.assert_array_equal(nearness[q, : len(wanted)], matrix[q, wanted])
        assert np.isnan(nearness[q, len(wanted) :]).all()


def test_no_diversity_keeps_the_plain_order():
    matrix, places, distances, _ = candidates(5, coarse=True)
    found, nearness = shape(places, distances, 7, pair_distances=lambda a, b: matrix[a, b])
    np.testing.assert_array_equal(found, places[:, :7])
    np.testing.assert_array_equal(nearness, distances[:, :7])


def test_a_chain_is_not_one_product():
    line = np.array([0.0, 0.4, 0.8, 1.2, 1.6])  # each within 0.5 of the next, the ends far apart
    matrix = np.abs(line[:, None] - line).astype(np.float32)
    places, distances = np.arange(5)[None], np.arange(5, dtype=np.float32)[None] / 10
    found, _ = shape(
        places, distances, 5, pair_distances=lambda a, b: matrix[a, b], max_per_duplicate=1, duplicate_distance=0.5
    )
    assert found[0].tolist() == [0, 2, 4, -1, -1]


def test_diversity_leaves_most_pairs_alone():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(2000, 16))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    own = 1 - points[:20] @ points.T
    places = np.argsort(own, axis=1)[:, 1:151]
    distances = np.take_along_axis(own, places, 1).astype(np.float32)
    pairs = 0

    def distance(a, b):
        nonlocal pairs
        pairs += len(a)
        return (1 - np.einsum("pd,pd->p", points[a], points[b])).astype(np.float32)

    shape(places, distances, 15, pair_distances=distance, diversity=0.1)
    print("PAIRS", pairs)
    assert pairs < 20 * 14 * 150 / 2  # the definition would take so many, halved


def test_no_candidates():
    found, nearness = shape(np.full((3, 5), -1), np.full((3, 5), np.nan, np.float32), 4)
    assert found.shape == nearness.shape == (3, 4)
    assert (found == -1).all()
    assert shape(np.empty((0, 5), np.int64), np.empty((0, 5), np.float32), 4)[0].shape == (0, 4)
