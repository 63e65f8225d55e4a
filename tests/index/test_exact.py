"""The exact search by itself: block sizes and threads change nothing, memory stays bounded."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from trimodal.embeddings import Embedding, Provenance
from trimodal.fusion import EarlyFusion, IntermediateFusion
from trimodal.ids import ProductIds
from trimodal.index import exact


def fitted(n, strategy, seed=0):
    rng = np.random.default_rng(seed)
    ids = ProductIds([f"p{i}" for i in range(n)])
    embeddings = {}
    for name, width, share in (("text", 32, 1.0), ("image", 48, 0.8), ("click", 24, 0.6)):
        state = (rng.random(n) < share).astype(np.uint8)
        vectors = rng.normal(size=(int(state.sum()), width)).astype(np.float32)
        vectors[::7] = vectors[0]
        embeddings[name] = Embedding(name, ids, state, vectors, Provenance("random"))
    return strategy().fit(embeddings)


@pytest.mark.parametrize("strategy", [IntermediateFusion, EarlyFusion])
def test_block_sizes_change_nothing(strategy, monkeypatch):
    fusion = fitted(700, strategy)
    whole = fusion.neighbors(k=20)
    for queries, candidates in ((1, 50), (64, 7), (700, 700)):
        monkeypatch.setitem(exact.search.__kwdefaults__, "query_block", queries)
        monkeypatch.setitem(exact.search.__kwdefaults__, "candidate_block", candidates)
        found = fusion.neighbors(k=20)
        assert found.ids.tolist() == whole.ids.tolist()
        np.testing.assert_array_equal(found.distances, whole.distances)


MEMORY = """
import resource
import numpy as np
from trimodal.embeddings import Embedding, Provenance
from trimodal.fusion import IntermediateFusion
from trimodal.ids import ProductIds
n = 40_000
ids = ProductIds([f"p{i}" for i in range(n)])
vectors = np.random.default_rng(0).normal(size=(n, 16)).astype(np.float32)
fusion = IntermediateFusion().fit({"text": Embedding("text", ids, np.ones(n, np.uint8), vectors, Provenance("x"))})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = sum(len(rows) for rows, _, _ in fusion.iter_neighbors(None, 15))
print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_no_matrix_of_all_pairs():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    rows, megabytes = done.stdout.split()
    assert int(rows) == 40_000
    assert float(megabytes) < 400  # all pairs would be 6,400 in float32
