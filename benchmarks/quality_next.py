"""Quality of the next click: `diginetica_sessions` (published split), `amazon_beauty` (leave one out)."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from next_click import published_questions
from quality_rows import Row, click_vectors, climbed, clusters, described, log_of, mark, rates, unseen
from real_data import diginetica_sessions
from trimodal import Embedding, read_data
from trimodal.clicks import LONGEST, ClickLog
from trimodal.embeddings import Provenance
from trimodal.encoders import text_encoder
from trimodal.evaluation.retrieval import NextClicks, Resampled, co_occurrence, from_session, from_table, popular
from trimodal.fusion import fusion_strategy
from trimodal.ids import ProductIds

ASKED = 2000
"""Validation questions that settings are chosen on, at most."""

SPLIT = "published split: next click among 20, whole session, repeats allowed (95 % over sessions)"
CLICKS = "ARI of click vectors against categories (mean of seeds, lowest-highest)"
DIGINETICA_CLICKS = {
    "window": 3, "epochs": 25, "negative": 6, "ns_exponent": -0.4, "sample": 0.0042, "alpha": 0.17, "min_count": 1,
    "skip_gram": False,
}  # fmt: skip
"""Found on validation sessions by `trimodal tune clicks DATA --trials 14 --timeout 330 --sample 30000 --max-cost 3`."""
GENSIM = {"dimension": 100, "window": 10, "epochs": 20, "min_count": 1}
"""The setting of the mark for click ARI."""


def diginetica(source: Path, out: Path, seeds: int) -> list[Row]:
    name = "diginetica_sessions"
    folder = out / name
    diginetica_sessions(source, folder)
    data = read_data(folder, min_clicks=1, max_clicks=LONGEST)
    assert data.clicks is not None
    rows = [
        mark(name, SPLIT, f"{system} (published)", metric, value)
        for system, hit, mrr in (("Item-KNN", 0.3575, 0.1157), ("NARM", 0.4970, 0.1617), ("SR-GNN", 0.5073, 0.1759))
        for metric, value in (("P@20", hit), ("MRR@20", mrr))
    ]
    earlier, _ = data.clicks.split(0.1)
    validation = _validation(source, data.catalog.ids, 0.1)
    ready = click_vectors(earlier, DIGINETICA_CLICKS)
    chosen = climbed("covisit", ready, earlier, validation, k=20, repeats=True)
    test = published_questions(source / "benchmark_test_prefix_target.tsv.gz", data.catalog.ids)
    embeddings = click_vectors(data.clicks, DIGINETICA_CLICKS)
    fusion = fusion_strategy("covisit", **chosen).fit(embeddings, data.clicks.ids, clicks=data.clicks)
    plain = fusion_strategy("intermediate").fit(embeddings, data.clicks.ids)
    table = co_occurrence(data.clicks)
    answers: dict[str, Callable[[], NDArray[np.int64]]] = {
        "popularity": lambda: popular(data.clicks, test, 20, repeats=True),  # type: ignore[arg-type]
        "control: cosine co-occurrence": lambda: control,
        "click, intermediate": lambda: from_session(plain, test, 20, repeats=True),
        "click, covisit": lambda: from_session(fusion, test, 20, repeats=True),
    }
    resampled = Resampled(test, 0)
    control = from_table(table, test, 20, repeats=True)
    for system, answer in answers.items():
        note = f"chosen on validation: {described(chosen)}" if "covisit" in system else ""
        metrics = {"hit": "P@20", "mrr": "MRR@20"}
        rows += rates(name, SPLIT, system, answer(), test, resampled, 20, metrics, note, control)
    return rows


def diginetica_categories(source: Path, out: Path, seeds: int) -> list[Row]:
    name = "diginetica_categories"
    folder = out / "diginetica_sessions"
    diginetica_sessions(source, folder)
    data = read_data(folder, min_clicks=1, max_clicks=LONGEST)
    assert data.clicks is not None
    rows = []
    for setting, label in ((GENSIM, "gensim, d = 100, window 10, 20 epochs"), (DIGINETICA_CLICKS, "tune clicks")):
        vectors = click_vectors(data.clicks, setting)
        for largest, published in ((3, 1.00), (10, 0.88), (20, 0.90), (50, 0.81)):
            if setting is GENSIM:
                rows.append(mark(name, CLICKS, f"plain gensim, {largest} categories", "ARI", published))
            found = clusters(
                name, CLICKS, vectors, data.catalog.categories, [(("click",), "intermediate")],
                seeds, largest=largest,
            )  # fmt: skip
            rows += [Row(**{**asdict(r), "name": f"{label}, {largest} categories: {r.name}"}) for r in found]
    return rows


def _validation(source: Path, ids: ProductIds, share: float) -> NextClicks:
    """Questions about the last sessions of the training file, with repeats in a row kept as the published test has."""
    with gzip.open(source / "benchmark_train_sessions.txt.gz", "rt") as stream:
        sessions = [line.split() for line in stream]
    some = sessions[-round(share * len(sessions)) :]
    bounds = np.cumsum([0, *map(len, some)])
    asks = np.ones(bounds[-1], bool)
    asks[bounds[1:] - 1] = False
    clicks = ids.positions(product for session in some for product in session).astype(np.int32)
    questions = NextClicks(clicks, bounds, np.flatnonzero(asks))
    return questions.some(np.random.default_rng(0).permutation(len(questions)) < ASKED)


NEXT = "leave one out: next product among 10, all products ranked but the user's own (95 % over users)"
LONGEST_USER = 204
"""Products of the longest history; lists are so much longer, so that ten are left that the user has not had."""
BEAUTY_CLICKS = {"dimension": 128, "window": 10, "epochs": 20, "min_count": 1}


def beauty(source: Path, out: Path, seeds: int) -> list[Row]:
    name = "amazon_beauty"
    with gzip.open(source / "sequences.txt.gz", "rt") as stream:
        users = [line.split()[1:] for line in stream]
    with gzip.open(source / "items.tsv.gz", "rt", encoding="utf-8") as stream:
        items = {row["item_id"]: row for row in csv.DictReader(stream, delimiter="\t")}
    ids = ProductIds(sorted({item for user in users for item in user}, key=int))
    given = {"text": _keywords(ids, items), "attributes": _attributes(ids, items)}
    # Chosen with each user's last product but one as the answer, judged with the last.
    validation, earlier = _leave_one_out([user[:-1] for user in users], ids)
    validation = validation.some(np.random.default_rng(0).permutation(len(validation)) < ASKED)
    test, log = _leave_one_out(users, ids)
    vectors = {"earlier": click_vectors(earlier, BEAUTY_CLICKS), "all": click_vectors(log, BEAUTY_CLICKS)}
    rows = [
        mark(name, NEXT, f"{system}", metric, value)
        for system, hit, ndcg in (
            ("SASRec (published)", 0.0605, 0.0318), ("S3-Rec (published)", 0.0647, 0.0327),
            ("plain co-occurrence kNN", 0.0700, 0.0423),
        )
        for metric, value in (("HR@10", hit), ("NDCG@10", ndcg))
    ]  # fmt: skip
    resampled = Resampled(test, 0)
    metrics = {"hit": "HR@10", "ndcg": "NDCG@10"}
    rows += rates(
        name, NEXT, "popularity", unseen(popular(log, test, LONGEST_USER + 10), test, 10), test, resampled, 10, metrics
    )
    table = co_occurrence(log)
    control = unseen(from_table(table, test, LONGEST_USER + 10, repeats=True), test, 10)
    rows += rates(name, NEXT, "control: cosine co-occurrence", control, test, resampled, 10, metrics)
    both = ("text", "click")
    for subset, strategy, learned in (
        (("click",), "intermediate", False), (("text",), "intermediate", False), (both, "intermediate", False),
        (both, "intermediate", True), (both, "adaptive", False), (both, "adaptive", True),
        (("click",), "covisit", True), (both, "covisit", False), (both, "covisit", True),
        (("text", "attributes", "click"), "covisit", True),
    ):  # fmt: skip
        before, after = ({**given, **vectors[part]} for part in ("earlier", "all"))
        before, after = ({m: e[m] for m in subset} for e in (before, after))
        chosen: dict[str, Any] = {}
        if learned:
            chosen = climbed(strategy, before, earlier, validation, k=10, only_new=True)
        fusion = fusion_strategy(strategy, **chosen).fit(after, ids, clicks=log)
        found = unseen(from_session(fusion, test, LONGEST_USER + 10, repeats=True), test, 10)
        system = f"{' + '.join(subset)}, {strategy}{', learned' if learned else ''}"
        note = f"chosen on validation: {described(chosen)}" if chosen else ""
        rows += rates(name, NEXT, system, found, test, resampled, 10, metrics, note, control)
    return rows


def _leave_one_out(users: list[list[str]], ids: ProductIds) -> tuple[NextClicks, ClickLog]:
    """Questions about the last product of every user, and the log without it."""
    bounds = np.cumsum([0, *map(len, users)])
    clicks = ids.positions(item for user in users for item in user).astype(np.int32)
    return NextClicks(clicks, bounds, bounds[1:] - 2), log_of([user[:-1] for user in users], ids)


def _keywords(ids: ProductIds, items: Mapping[str, Mapping[str, str]]) -> Embedding:
    encoder = text_encoder("use-multilingual")
    keys = [key for key in ids if items.get(key, {}).get("keywords")]
    vectors = encoder.encode([items[key]["keywords"] for key in keys])
    return Embedding.join("text", ids, keys, vectors, Provenance(encoder.name, encoder.revision))


def _attributes(ids: ProductIds, items: Mapping[str, Mapping[str, str]]) -> Embedding:
    """Category and brand of each product (anonymous numbers), as TF-IDF reduced to 256 dimensions."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    keys = [key for key in ids if items.get(key, {}).get("attribute_ids")]
    counts = TfidfVectorizer(token_pattern=r"\S+").fit_transform(items[key]["attribute_ids"] for key in keys)
    vectors = TruncatedSVD(256, random_state=0).fit_transform(counts).astype(np.float32)
    return Embedding.join("attributes", ids, keys, vectors, Provenance("tf-idf"))
