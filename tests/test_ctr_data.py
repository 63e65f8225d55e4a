"""The recipes on public data with visitors, where they are: TRIMODAL_DATA, or `shared/data` beside the project."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import numpy as np
import pytest

from trimodal.ctr.recipes import din_2018, temporal
from trimodal.ctr.source import VisitorEvents
from trimodal.embeddings import Embedding

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("TRIMODAL_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture
def benchmark(monkeypatch):
    """A function that imports a script of `benchmarks`."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module


def converted(benchmark, name, folder):
    if not (DATA / name).is_dir():
        pytest.skip(f"no {name} in {DATA}")
    benchmark("ctr_data").SETS[name](DATA / name, folder)
    return VisitorEvents.read(folder)


@pytest.mark.slow
def test_movielens_splits_as_its_readme_says_and_gives_its_floors(tmp_path, benchmark):
    data = temporal(converted(benchmark, "movielens100k_posters", tmp_path))
    counts = data.manifest["counts"]
    assert (counts["users"], counts["items"], sum(counts["events"].values())) == (943, 1682, 100_000)
    assert counts["events"]["test"] == 19_633
    assert round(counts["positives"]["test"] / 19_633, 3) == 0.478
    floors = benchmark("ctr_floors").floors(data)
    assert round(floors["item mean"]["auc_pooled"], 4) == 0.7233
    assert round(floors["item mean"]["auc_weighted"], 4) == 0.6970
    assert round(floors["item mean + visitor mean"]["auc_pooled"], 4) == 0.7683


@pytest.mark.slow
def test_beauty_has_its_counts_and_attributes_that_tell_items_apart(tmp_path, benchmark):
    data = din_2018(converted(benchmark, "amazon_beauty", tmp_path))
    counts = data.manifest["counts"]
    assert (counts["users"], counts["items"], counts["reviews"]) == (22_363, 12_101, 198_502)
    assert counts["samples"] == 2 * (198_502 - 2 * 22_363) + 22_363
    assert np.bincount(data.category)[1:].min() >= 1
    attributes = Embedding.read(tmp_path / "attributes.parquet", ids=data.items)
    assert attributes.dimension == 64
    np.testing.assert_allclose(np.linalg.norm(attributes.vectors, axis=1), 1, atol=1e-5)


def test_attribute_vectors_are_near_where_attributes_are_shared(benchmark):
    rows = [["1", "2"], ["1", "2"], ["3", "4"], ["3"], []]
    e = benchmark("ctr_data").attribute_vectors(["a", "b", "c", "d", "e"], rows)
    assert e.state.tolist() == [1, 1, 1, 1, 0]
    cosine = e.vectors @ e.vectors.T
    assert cosine[0, 1] == pytest.approx(1, abs=1e-5)
    assert cosine[2, 3] > 0.5
    assert abs(cosine[0, 2]) < 1e-5
