"""Next-click evaluation against plain Python definitions, on data whose right answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trimodal.embeddings import Embedding, Provenance
from trimodal.errors import DataError, ParameterError
from trimodal.evaluation.retrieval import (
    DECAY,
    NextClicks,
    co_occurrence,
    evaluate_retrieval,
    from_last,
    from_session,
    from_table,
    popular,
)
from trimodal.fusion import IntermediateFusion
from trimodal.ids import ProductIds

N = 30
IDS = ProductIds([f"p{i}" for i in range(N)])


@pytest.fixture
def log_of(make_log):
    return lambda sessions: make_log(sessions, IDS)


@pytest.fixture
def market(log_of):
    """Three groups of ten products; sessions stay in one group; vectors tell the groups apart."""
    rng = np.random.default_rng(0)
    sessions = [rng.permutation(10)[: rng.integers(2, 6)] + 10 * rng.integers(3) for _ in range(300)]
    log = log_of([s.tolist() for s in sessions])
    embeddings = {}
    for name, width, gap in (("text", 8, None), ("click", 6, 4)):
        vectors = 4 * np.eye(3, width)[np.arange(N) // 10] + rng.normal(size=(N, width))
        has = np.ones(N, bool)
        if gap:
            has[gap::10] = False
        keys = [IDS[i] for i in np.flatnonzero(has)]
        embeddings[name] = Embedding.join(name, IDS, keys, vectors[has].astype(np.float32), Provenance("known"))
    return log, embeddings


def test_split_is_by_time(log_of):
    log = log_of([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]])
    before, after = log.split(0.4)
    assert [list(s) for s in before] == [["p0", "p1"], ["p1", "p2"], ["p2", "p3"]]
    assert [list(s) for s in after] == [["p3", "p4"], ["p4", "p5"]]
    with pytest.raises(ParameterError, match="share == 2"):
        log.split(2)


def test_questions_are_all_clicks_but_the_last(log_of):
    questions = NextClicks.of(log_of([[0, 1, 2], [3, 4]]))
    assert questions.last.tolist() == [0, 1, 3]
    assert questions.target.tolist() == [1, 2, 4]
    assert questions.session.tolist() == [0, 0, 1]
    weights = questions.weights(N).toarray()
    assert weights[1, 1] == 1
    assert weights[1, 0] == pytest.approx(DECAY)
    assert weights[2, 0] == 0
    few = NextClicks.of(log_of([[0, 1, 2]] * 50), limit=20, seed=1)
    assert len(few) == 20
    assert len(set(few.session.tolist())) == 10


def test_answers_equal_plain_definitions(market, log_of):
    log, embeddings = market
    train, later = log.split(0.3)
    questions = NextClicks.of(later)
    fusion = IntermediateFusion().fit(embeddings, IDS)
    k = 7
    last = from_last(fusion, questions, k)
    every = IDS.find(fusion.neighbors(k=k).ids.ravel()).reshape(N, k)
    np.testing.assert_array_equal(last, every[questions.last])

    session = from_session(fusion, questions, k)
    clicks, bounds = later.arrays()
    for q in range(0, len(questions), 17):
        prefix = clicks[bounds[questions.session[q]] : questions.at[q] + 1]
        query = {}
        for name, e in embeddings.items():
            total = np.zeros(e.dimension)
            for back, product in enumerate(prefix[::-1]):
                vector = e.vector(IDS[product])
                if vector is not None:
                    total += DECAY**back * vector / np.linalg.norm(vector)
            if total.any():
                query[name] = total
        wanted = [x for x in fusion.query(query, k + 1).ids[0] if x != IDS[prefix[-1]]][:k]
        assert [IDS[i] for i in session[q]] == wanted

    seen = [set(s) for s in train]
    table = co_occurrence(train).toarray()
    for i, j in ((0, 1), (3, 9), (12, 17), (0, 15)):
        a, b = (sum(IDS[x] in s for s in seen) for x in (i, j))
        both = sum(IDS[i] in s and IDS[j] in s for s in seen)
        assert table[i, j] == pytest.approx(both / math.sqrt(a * b), abs=1e-6)
    found = from_table(co_occurrence(train), questions, k, decay=0.0)
    repeated = from_table(co_occurrence(train), questions, k, decay=0.0, repeats=True)
    for q in range(0, len(questions), 13):
        scores = table[questions.last[q]]
        ranked = [j for j in np.lexsort((np.arange(N), -scores)) if scores[j] > 0]
        assert [j for j in found[q] if j >= 0] == [j for j in ranked if j != questions.last[q]][:k]
        assert [j for j in repeated[q] if j >= 0] == ranked[:k]
    assert (from_last(fusion, questions, 1, repeats=True)[:, 0] == questions.last).all()
    single = NextClicks.of(log_of([[3, 5]]))
    assert from_session(fusion, single, 1, repeats=True)[0, 0] == 3

    counts = train.counts()
    top = popular(train, questions, k)
    for q in range(5):
        wanted = [j for j in np.lexsort((np.arange(N), -counts)) if j != questions.last[q]][:k]
        assert top[q].tolist() == wanted


def test_report_counts_right(market):
    log, embeddings = market
    train, later = log.split(0.3)
    questions = NextClicks.of(later)
    report = evaluate_retrieval(embeddings, train, questions, ks=(5, 9), clusters=3)
    rows = {(r.strategy, r.modalities, r.query, r.k): r for r in report.rows}
    row = rows["intermediate", ("text", "click"), "last", 5]
    found = from_last(IntermediateFusion().fit(embeddings, IDS), questions, 5)
    rank = [list(f).index(t) + 1 if t in f else 0 for f, t in zip(found, questions.target, strict=True)]
    assert row.queries == len(questions)
    assert row.hit_rate == pytest.approx(np.mean([r > 0 for r in rank]))
    assert row.mrr == pytest.approx(np.mean([1 / r if r else 0 for r in rank]))
    assert row.ndcg == pytest.approx(np.mean([1 / math.log2(1 + r) if r else 0 for r in rank]))
    assert row.coverage == len(set(found.ravel().tolist()) - {-1}) / N
    assert row.hit_rate_low < row.hit_rate < row.hit_rate_high
    assert rows["intermediate", ("text", "click"), "last", 9].hit_rate > 0.9  # the group is ten products
    assert rows["popularity", (), "last", 9].hit_rate < 0.6
    reference = rows["click-text", ("click", "text"), "last", 5]
    assert reference.difference is None
    assert row.difference == pytest.approx(row.hit_rate - reference.hit_rate)
    assert row.difference_low <= row.difference <= row.difference_high
    assert 0 < row.fallback < 0.3
    keys = {"strategy", "modalities", "query", "k", "hit_rate", "hit_rate_low", "mrr", "ndcg", "coverage", "queries"}
    assert set(report.to_dict()["rows"][0]) >= keys
    assert "click-text" in str(report)
    again = evaluate_retrieval(embeddings, train, questions, ks=(5, 9), clusters=3)
    assert again == report


def test_shuffled_answers_are_found_at_chance(market, log_of):
    log, embeddings = market
    train, _ = log.split(0.3)
    rng = np.random.default_rng(3)
    questions = NextClicks.of(log_of([rng.integers(0, N, 6).tolist() for _ in range(400)]))
    report = evaluate_retrieval(embeddings, train, questions, ks=(5,), clusters=3)
    for row in report.rows:
        assert row.hit_rate == pytest.approx(5 / N, abs=0.06)


def test_nothing_to_ask_is_an_error(market):
    log, embeddings = market
    empty = NextClicks(np.empty(0, np.int32), np.zeros(1, np.int64), np.empty(0, np.int64))
    with pytest.raises(DataError, match="no question"):
        evaluate_retrieval(embeddings, log, empty)
    other = {"text": embeddings["text"].aligned(ProductIds(["p1"]))}
    with pytest.raises(ParameterError, match="not over the products"):
        evaluate_retrieval(other, log, NextClicks.of(log))
