"""The paper's numbers, and its pattern as differences."""

from __future__ import annotations

import pytest

from trimodal.evaluation.clustering import ClusteringRow
from trimodal.evaluation.paper import paper_ari, patterns


def row(modalities, strategy, ari):
    return ClusteringRow(modalities, strategy, 20, 100, 1, ari, ari, ari, ari)


def test_the_papers_cells():
    assert paper_ari(("text", "image", "click"), "intermediate", 20) == 0.9153
    assert paper_ari(("text", "image", "click"), "late", 7) == 0.8270
    assert paper_ari(("click",), "intermediate", 50) == 0.5320
    assert paper_ari(("text",), "intermediate", 50) is None
    assert paper_ari(("text",), "late", 20) is None
    assert paper_ari(("text", "brand"), "early", 20) is None


def test_patterns_need_all_their_cells():
    pair = [row(("text",), "intermediate", 0.4), row(("image",), "intermediate", 0.5)]
    pair.append(row(("text", "image"), "intermediate", 0.7))
    ((sentence, paper, here),) = patterns(tuple(pair))
    assert sentence == "text + image less the better of the two"
    assert (paper, here) == (pytest.approx(0.8680 - 0.7909), pytest.approx(0.2))
    assert patterns(tuple(pair[:2])) == []
