"""What shaping costs and gives, counted by hand on lists that are known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from trimodal import Catalog, Embedding, Provenance, Shaping
from trimodal.errors import DataError
from trimodal.evaluation.retrieval import NextClicks
from trimodal.evaluation.shaping import evaluate_shaping, ways
from trimodal.fusion import IntermediateFusion
from trimodal.shaping import Facts

N = 40


def market(make_log, *, columns=("category", "group_id", "price")):
    """40 products: four categories, offers in pairs that lie close; sessions stay in a category."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "product_id": f"p{i}",
            "title": "t",
            "category": "abcd"[i // 10] if i != 7 else None,
            "group_id": f"g{i // 2}",
            "price": float(1 + i % 10),
        }
        for i in range(N)
    ]
    catalog = Catalog.from_records(
        [{k: v for k, v in r.items() if k in ("product_id", "title", *columns)} for r in rows]
    )
    centre = 3 * np.eye(4, 8)[np.arange(N) // 10] + rng.normal(size=(20, 8))[np.arange(N) // 2]
    vectors = (centre + rng.normal(scale=0.1, size=(N, 8))).astype(np.float32)
    text = Embedding.join("text", catalog.ids, list(catalog.ids), vectors, Provenance("test"))
    sessions = [(rng.permutation(10)[:4] + 10 * rng.integers(4)).tolist() for _ in range(120)]
    questions = NextClicks.of(make_log(sessions, catalog.ids))
    return IntermediateFusion().fit({"text": text}, catalog.ids), Facts.of(catalog), questions


def test_rows_are_counted_right(make_log):
    fusion, facts, questions = market(make_log)
    k = 6
    report = evaluate_shaping(fusion, facts, questions, k=k)
    rows = {row.shaping: row for row in report.rows}
    assert list(rows) == [
        "plain", "1 of a group", "1 of duplicates", "MMR, lambda 0.9", "MMR, lambda 0.7", "MMR, lambda 0.5",
        "same category", "price x 0.5 to 2",
    ]  # fmt: skip
    assert (report.queries, report.k, report.left_out) == (len(questions), k, ())
    every = fusion.neighbors(k=k)
    lists = [fusion.ids_.find(ids).tolist() for ids in every.ids]
    matrix = fusion.distances(list(fusion.ids_), list(fusion.ids_))
    asked = questions.last.tolist()
    plain = rows["plain"]
    assert plain.hit_rate == pytest.approx(
        np.mean([t in lists[q] for q, t in zip(asked, questions.target, strict=True)])
    )
    assert plain.difference is None
    assert plain.distance == pytest.approx(np.mean([every.distances[q] for q in asked]), abs=1e-6)
    pairs = [[matrix[a, b] for a, b in combinations(lists[q], 2)] for q in asked]
    assert plain.diversity == pytest.approx(np.mean(pairs), abs=1e-6)
    assert plain.duplicates == pytest.approx(np.mean([min(p) <= 0.05 for p in pairs]))
    assert plain.groups == pytest.approx(np.mean([len({i // 2 for i in lists[q]}) < k for q in asked]))
    assert plain.categories == pytest.approx(np.mean([len({i // 10 for i in lists[q] if i != 7}) for q in asked]))
    assert plain.coverage == len({i for q in set(asked) for i in lists[q]}) / N
    assert plain.short == 0
    assert rows["1 of a group"].groups == 0 < plain.groups
    assert rows["1 of duplicates"].duplicates == 0 < plain.duplicates
    assert rows["MMR, lambda 0.5"].diversity > rows["MMR, lambda 0.9"].diversity > plain.diversity
    assert rows["same category"].short == pytest.approx(np.mean([q == 7 for q in asked]))
    assert rows["same category"].categories == pytest.approx(np.mean([q != 7 for q in asked]))
    for row in report.rows[1:]:
        assert row.difference == pytest.approx(row.hit_rate - plain.hit_rate)
        assert row.difference_low <= row.difference <= row.difference_high
        assert row.hit_rate_low <= row.hit_rate <= row.hit_rate_high
    assert evaluate_shaping(fusion, facts, questions, k=k) == report
    assert "1 of a group" in str(report)
    assert "left out" not in str(report)
    assert report.to_dict()["rows"][0]["shaping"] == "plain"


def test_an_equal_list_differs_by_nothing(make_log):
    fusion, facts, questions = market(make_log)
    report = evaluate_shaping(fusion, facts, questions, k=5, plan={"all prices": Shaping(price=(0, None))})
    plain, same = report.rows
    assert (same.difference, same.difference_low, same.difference_high) == (0, 0, 0)
    assert same.diversity == plain.diversity


def test_what_is_not_there_is_left_out_and_said_so(make_log):
    fusion, facts, questions = market(make_log, columns=())
    plan, missing = ways(facts)
    assert list(plan) == ["plain", "1 of duplicates", "MMR, lambda 0.9", "MMR, lambda 0.7", "MMR, lambda 0.5"]
    assert len(missing) == 3
    report = evaluate_shaping(fusion, facts, questions, k=5)
    assert report.rows[0].groups is None
    assert report.rows[0].categories is None
    assert "left out: prices (no product has one)" in str(report)


def test_lists_that_hold_nothing(make_log):
    fusion, facts, questions = market(make_log)
    row = evaluate_shaping(fusion, facts, questions, k=5, plan={"none": Shaping(price=(1e6, None))}).rows[1]
    assert (row.hit_rate, row.short, row.coverage, row.duplicates) == (0, 1, 0, 0)
    assert row.distance is None
    assert row.diversity is None
    assert "none" in str(evaluate_shaping(fusion, facts, questions, k=5, plan={"none": Shaping(price=(1e6, None))}))


def test_no_question(make_log):
    fusion, facts, _ = market(make_log)
    empty = NextClicks(np.empty(0, np.int32), np.zeros(1, np.int64), np.empty(0, np.int64))
    with pytest.raises(DataError, match="no question"):
        evaluate_shaping(fusion, facts, empty)
