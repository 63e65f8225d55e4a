"""Quality on four public sets, with the encoders that arrive by pip: one table, beside the marks of others.

    python benchmarks/quality.py --data FOLDER --out out/quality [--markdown docs/quality.md] [SET ...]

FOLDER holds the sets as their own READMEs describe them; none of them is part of this project. Settings are chosen
on validation parts of the training sessions; test questions are asked once, of what was chosen. Prints tables and
writes OUT/results.json; --markdown also writes the tables as the docs carry them.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import daft
import numpy as np
import polars as pl
from numpy.typing import NDArray

from next_click import published_questions
from real_data import diginetica_sessions, flipkart_1050, ikea_rooms
from trimodal import Embedding, Recommender, read_data
from trimodal.clicks import LONGEST, ClickLog
from trimodal.embeddings import Provenance
from trimodal.encoders import text_encoder
from trimodal.encoders.click import Prod2Vec, click_settings
from trimodal.evaluation.clustering import clustering_table
from trimodal.evaluation.retrieval import (
    INFERRED,
    NextClicks,
    Resampled,
    co_occurrence,
    from_session,
    from_table,
    popular,
)
from trimodal.evaluation.weights import climb
from trimodal.fusion import Fusion, fusion_strategy
from trimodal.fusion.inferred import infer_clicks
from trimodal.ids import ProductIds
from trimodal.tables import ROW

RESAMPLES = 1000
ASKED = 4000
"""Validation questions that settings are chosen on, at most."""


@dataclass(frozen=True)
class Row:
    """One line of a table: what was measured, its value, a 95 % interval or a spread, and whose it is."""

    data: str
    table: str
    name: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""

    def cell(self) -> str:
        spread = "" if self.low is None else f" ({self.low:.4f}-{self.high:.4f})"
        return f"{self.value:.4f}{spread}"


# ---------------------------------------------------------------------- flipkart_1050

CLUSTERS = "ARI against 7 categories, text and picture (mean of seeds, lowest-highest)"


def flipkart(source: Path, out: Path, seeds: int) -> list[Row]:
    folder = out / "flipkart_1050"
    flipkart_1050(source, folder)
    data = read_data(folder)
    fitted = Recommender(modalities=["text", "image"]).fit(data.catalog, store=folder / ".trimodal")
    embeddings = dict(fitted.embeddings_)
    description = _described(source, data.catalog.ids)
    rows = [
        _mark("flipkart_1050", CLUSTERS, "best public figure for these products", "ARI", 0.503),
        _mark("flipkart_1050", CLUSTERS, "the paper's intermediate fusion, one run", "ARI", 0.683),
    ]
    both = ("text", "image")
    rows += _clusters("flipkart_1050", CLUSTERS, embeddings, data.catalog.categories, [
        (("text",), "intermediate"), (("image",), "intermediate"), (both, "early"), (both, "intermediate"),
        (both, "late"), (both, "adaptive"),
    ], seeds)  # fmt: skip
    three = (*both, "description")
    rows += _clusters(
        "flipkart_1050", CLUSTERS, embeddings | {"description": description}, data.catalog.categories,
        [(three, "intermediate"), (three, "adaptive")], seeds,
    )  # fmt: skip
    return rows


def _described(source: Path, ids: ProductIds) -> Embedding:
    """Descriptions as a modality of their own, by the text encoder."""
    with open(source / "items.csv", encoding="utf-8") as stream:
        texts = {row["item_id"]: row["description"] for row in csv.DictReader(stream) if row["description"]}
    encoder = text_encoder("use-multilingual")
    keys = [key for key in ids if key in texts]
    vectors = encoder.encode([texts[key] for key in keys])
    return Embedding.join("description", ids, keys, vectors, Provenance(encoder.name, encoder.revision))


def _clusters(
    data: str,
    table: str,
    embeddings: Mapping[str, Embedding],
    labels: Sequence[str | None],
    cells: Sequence[tuple[tuple[str, ...], str]],
    seeds: int,
    *,
    largest: int | None = None,
    sample: int = 20_000,
) -> list[Row]:
    found = clustering_table(embeddings, labels, cells=cells, seeds=seeds, sample=sample, largest=largest)
    return [
        Row(data, table, f"{' + '.join(row.modalities)}, {row.strategy}", "ARI", row.ari, row.ari_low, row.ari_high,
            f"{row.products:,} products, {row.categories} categories; without t-SNE {row.ari_without_tsne:.4f}")
        for row in found.rows
    ]  # fmt: skip


# ---------------------------------------------------------------------- diginetica_sessions

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
        _mark(name, SPLIT, f"{system} (published)", metric, value)
        for system, hit, mrr in (("Item-KNN", 0.3575, 0.1157), ("NARM", 0.4970, 0.1617), ("SR-GNN", 0.5073, 0.1759))
        for metric, value in (("P@20", hit), ("MRR@20", mrr))
    ]
    earlier, later = data.clicks.split(0.1)
    validation = NextClicks.of(later, limit=ASKED)
    ready = _click_vectors(earlier, DIGINETICA_CLICKS)
    chosen = _climbed("covisit", ready, earlier, validation, k=20, repeats=True)
    test = published_questions(source / "benchmark_test_prefix_target.tsv.gz", data.catalog.ids)
    embeddings = _click_vectors(data.clicks, DIGINETICA_CLICKS)
    fusion = fusion_strategy("covisit", **chosen).fit(embeddings, data.clicks.ids, clicks=data.clicks)
    plain = fusion_strategy("intermediate").fit(embeddings, data.clicks.ids)
    table = co_occurrence(data.clicks)
    answers: dict[str, Callable[[], NDArray[np.int64]]] = {
        "popularity": lambda: popular(data.clicks, test, 20, repeats=True),  # type: ignore[arg-type]
        "control: cosine co-occurrence": lambda: from_table(table, test, 20, repeats=True),
        "click, intermediate": lambda: from_session(plain, test, 20, repeats=True),
        "click, covisit": lambda: from_session(fusion, test, 20, repeats=True),
    }
    resampled = Resampled(test, 0)
    for system, answer in answers.items():
        rows += _rates(name, SPLIT, system, answer(), test, resampled, 20, {"hit": "P@20", "mrr": "MRR@20"})
    rows[-1] = Row(**{**asdict(rows[-1]), "note": f"chosen on validation: {_text(chosen)}"})
    for setting, label in ((GENSIM, "gensim, d = 100, window 10, 20 epochs"), (DIGINETICA_CLICKS, "tune clicks")):
        vectors = embeddings if setting is DIGINETICA_CLICKS else _click_vectors(data.clicks, setting)
        for largest, mark in ((3, 1.00), (10, 0.88), (20, 0.90), (50, 0.81)):
            if setting is GENSIM:
                rows.append(_mark(name, CLICKS, f"plain gensim, {largest} categories", "ARI", mark))
            found = _clusters(
                name, CLICKS, vectors, data.catalog.categories, [(("click",), "early"), (("click",), "intermediate")],
                seeds, largest=largest,
            )  # fmt: skip
            rows += [Row(**{**asdict(r), "name": f"{label}, {largest} categories: {r.name}"}) for r in found]
    return rows


def _click_vectors(log: ClickLog, settings: Mapping[str, Any]) -> dict[str, Embedding]:
    return {"click": Prod2Vec(click_settings(**settings)).fit(log)}


# ---------------------------------------------------------------------- ikea_rooms

SCENES = "scene completion: share of a photo's other products among 15 (95 % over scene groups)"
ROOMS = "ARI against room and category (mean of seeds, lowest-highest)"
IKEA_CLICKS = {"min_count": 1, "epochs": 40, "window": 20}


def ikea(source: Path, out: Path, seeds: int) -> list[Row]:
    name = "ikea_rooms"
    folder = out / name
    ikea_rooms(source, folder)
    data = read_data(folder)
    assert data.clicks is not None
    fitted = Recommender(modalities=["text", "image"]).fit(data.catalog, store=folder / ".trimodal")
    with open(source / "sessions.csv", encoding="utf-8") as stream:
        scenes = list(csv.DictReader(stream))
    rows = _scenes(name, scenes, data.catalog.ids, dict(fitted.embeddings_))
    everything = {**fitted.embeddings_, **_click_vectors(data.clicks, IKEA_CLICKS)}
    rooms = [label or None for label in data.catalog.frame["room"].to_list()]
    for title, labels in (("category", data.catalog.categories), ("room", rooms)):
        subsets = [("text",), ("image",), ("click",), ("text", "image"), ("text", "image", "click")]
        cells = [
            (subset, s)
            for subset in subsets
            for s in ("intermediate", "adaptive")
            if len(subset) > 1 or s != "adaptive"
        ]
        found = _clusters(name, ROOMS, everything, labels, cells, seeds)
        rows += [Row(**{**asdict(r), "name": f"{title}: {r.name}"}) for r in found]
    return rows


def _scenes(name: str, scenes: list[dict[str, str]], ids: ProductIds, given: dict[str, Embedding]) -> list[Row]:
    """Five-fold over scene groups: trained on the photos of the other groups, asked about every pair of a photo."""
    groups = np.array([scene["scene_group"] for scene in scenes])
    fold = np.random.default_rng(0).permutation(len(np.unique(groups)))[np.unique(groups, return_inverse=True)[1]] % 5
    subsets = [("text",), ("image",), ("click",), ("text", "image"), ("text", "click"), ("text", "image", "click")]
    everything = ("text", "image", "click")
    systems = [(subset, "intermediate") for subset in subsets]
    systems += [(("text", "image"), "adaptive"), (("click",), "covisit")]
    systems += [(everything, name) for name in ("adaptive", "covisit")]
    systems += [(everything, f"{name}{INFERRED}") for name in ("intermediate", "adaptive", "covisit")]
    hits: dict[str, list[NDArray[np.float64]]] = {}
    owners: list[NDArray[Any]] = []
    for held in range(5):
        train = _log([s["item_ids"].split() for s, f in zip(scenes, fold, strict=True) if f != held], ids)
        asked, answers, owner = _completions([s for s, f in zip(scenes, fold, strict=True) if f == held], ids)
        owners.append(owner)
        embeddings = {**given, **_click_vectors(train, IKEA_CLICKS)}
        products, place = np.unique(asked, return_inverse=True)
        for subset, strategy in systems:
            plain = strategy.removesuffix(INFERRED)
            known = embeddings if plain == strategy else infer_clicks(embeddings)
            fusion = fusion_strategy(plain, modalities=subset).fit(known, ids, clicks=train)
            found = np.full((len(products), 15), -1)
            for block, places, _ in fusion.iter_neighbors(products, 15):
                found[block, : places.shape[1]] = places
            inside = [np.isin(answer, row).mean() for answer, row in zip(answers, found[place], strict=True)]
            hits.setdefault(f"{' + '.join(subset)}, {strategy}", []).append(np.array(inside))
    group = np.unique(np.concatenate(owners), return_inverse=True)[1]
    weights = np.random.default_rng(0).poisson(1.0, (RESAMPLES, group.max() + 1))
    size = weights @ np.bincount(group)
    whole = {system: np.concatenate(parts) for system, parts in hits.items()}
    rates = {system: weights @ np.bincount(group, hit) / size for system, hit in whole.items()}
    single = max((s for s in whole if "+" not in s), key=lambda s: float(whole[s].mean()))
    rows = []
    for system, hit in whole.items():
        low, high = np.quantile(rates[system], [0.025, 0.975])
        least, most = np.quantile(rates[system] - rates[single], [0.025, 0.975])
        gain = float(hit.mean() - whole[single].mean())
        note = f"{gain:+.4f} ({least:+.4f} {most:+.4f}) from the best single one" if "+" in system else ""
        rows.append(Row(name, SCENES, system, "hit@15", float(hit.mean()), float(low), float(high), note))
    return rows


def _completions(
    scenes: list[dict[str, str]], ids: ProductIds
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]], NDArray[Any]]:
    """For every product of every photo: its place, the places of the photo's other products, the scene group."""
    asked: list[int] = []
    answers: list[NDArray[np.int64]] = []
    owner: list[str] = []
    for scene in scenes:
        places = np.unique(ids.positions(dict.fromkeys(scene["item_ids"].split())))
        for place in places if len(places) > 1 else []:
            asked.append(int(place))
            answers.append(places[places != place])
            owner.append(scene["scene_group"])
    return np.array(asked), answers, np.array(owner)


# ---------------------------------------------------------------------- amazon_beauty

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
    vectors = {"earlier": _click_vectors(earlier, BEAUTY_CLICKS), "all": _click_vectors(log, BEAUTY_CLICKS)}
    rows = [
        _mark(name, NEXT, f"{system}", metric, value)
        for system, hit, ndcg in (
            ("SASRec (published)", 0.0605, 0.0318), ("S3-Rec (published)", 0.0647, 0.0327),
            ("plain co-occurrence kNN", 0.0700, 0.0423),
        )
        for metric, value in (("HR@10", hit), ("NDCG@10", ndcg))
    ]  # fmt: skip
    resampled = Resampled(test, 0)
    metrics = {"hit": "HR@10", "ndcg": "NDCG@10"}
    rows += _rates(
        name, NEXT, "popularity", _unseen(popular(log, test, LONGEST_USER + 10), test, 10), test, resampled, 10, metrics
    )
    table = co_occurrence(log)
    found = _unseen(from_table(table, test, LONGEST_USER + 10, repeats=True), test, 10)
    rows += _rates(name, NEXT, "control: cosine co-occurrence", found, test, resampled, 10, metrics)
    for subset, strategy in (
        (("click",), "intermediate"), (("text",), "intermediate"), (("text", "click"), "intermediate"),
        (("text", "click"), "adaptive"), (("click",), "covisit"), (("text", "click"), "covisit"),
        (("text", "attributes", "click"), "covisit"),
    ):  # fmt: skip
        before, after = ({**given, **vectors[part]} for part in ("earlier", "all"))
        before, after = ({m: e[m] for m in subset} for e in (before, after))
        chosen: dict[str, Any] = {}
        if strategy != "intermediate":
            chosen = _climbed(strategy, before, earlier, validation, k=10, unseen=True)
        fusion = fusion_strategy(strategy, **chosen).fit(after, ids, clicks=log)
        found = _unseen(from_session(fusion, test, LONGEST_USER + 10, repeats=True), test, 10)
        system = f"{' + '.join(subset)}, {strategy}"
        note = f"chosen on validation: {_text(chosen)}" if chosen else ""
        rows += _rates(name, NEXT, system, found, test, resampled, 10, metrics, note)
    return rows


def _leave_one_out(users: list[list[str]], ids: ProductIds) -> tuple[NextClicks, ClickLog]:
    """Questions about the last product of every user, and the log without it."""
    bounds = np.cumsum([0, *map(len, users)])
    clicks = ids.positions(item for user in users for item in user).astype(np.int32)
    return NextClicks(clicks, bounds, bounds[1:] - 2), _log([user[:-1] for user in users], ids)


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


def _unseen(places: NDArray[np.int64], questions: NextClicks, k: int) -> NDArray[np.int64]:
    """The first k of each row that the user has not had before; rows must be long enough for that."""
    kept = np.full((len(places), k), -1, np.int64)
    for row, (at, session) in enumerate(zip(questions.at, questions.session, strict=True)):
        had = questions.clicks[questions.bounds[session] : at + 1]
        new = places[row][~np.isin(places[row], had)][:k]
        kept[row, : len(new)] = new
    return kept


# ---------------------------------------------------------------------- shared


def _log(sessions: list[list[str]], ids: ProductIds) -> ClickLog:
    """Sessions as given, the order of clicks and of sessions as their times."""
    length = [len(session) for session in sessions]
    frame = pl.DataFrame(
        {
            "session_id": np.repeat([f"s{n:07}" for n in range(len(sessions))], length),
            "product_id": [product for session in sessions for product in session],
            "timestamp": 1_400_000_000 + np.arange(sum(length)),
        }
    ).with_columns(pl.int_range(1, pl.len() + 1).alias(ROW))
    return ClickLog.from_events(daft.from_arrow(frame.to_arrow()), ids, min_clicks=1, max_clicks=LONGEST)


def _climbed(
    strategy: str,
    embeddings: Mapping[str, Embedding],
    log: ClickLog,
    questions: NextClicks,
    *,
    k: int,
    repeats: bool = False,
    unseen: bool = False,
) -> dict[str, Any]:
    """Settings of a strategy by NDCG at k on validation questions, from whole sessions."""

    def score(fusion: Fusion) -> float:
        places = from_session(fusion, questions, 60 if unseen else k, repeats=repeats or unseen)
        places = _unseen(places, questions, k) if unseen else places
        rank = np.where(places == questions.target[:, None], np.arange(1, k + 1), 0).max(1)
        return float(np.where(rank > 0, 1 / np.log2(1 + np.maximum(rank, 1)), 0.0).mean())

    start = fusion_strategy(strategy, modalities=tuple(embeddings)).fit(embeddings, log.ids, clicks=log)
    best = climb(start, embeddings, score)
    return {name: value for name, value in best.settings().items() if name != "inferred"}


def _text(settings: Mapping[str, Any]) -> str:
    weights = [f"{name} {weight:g}" for name, weight in settings.get("weights", {}).items()]
    return ", ".join([*weights, *(f"{n} {v:g}" for n, v in settings.items() if isinstance(v, float))])


def _rates(
    data: str,
    table: str,
    system: str,
    places: NDArray[np.int64],
    questions: NextClicks,
    resampled: Resampled,
    k: int,
    metrics: Mapping[str, str],
    note: str = "",
) -> list[Row]:
    rank = np.where(places[:, :k] == questions.target[:, None], np.arange(1, k + 1), 0).max(1)
    found = np.maximum(rank, 1)
    scores = {"hit": (rank > 0) * 1.0, "mrr": (rank > 0) / found, "ndcg": (rank > 0) / np.log2(1 + found)}
    rows = []
    for key, metric in metrics.items():
        low, high = resampled.interval(scores[key])
        rows.append(Row(data, table, system, metric, float(scores[key].mean()), low, high, note))
    return rows


def _mark(data: str, table: str, name: str, metric: str, value: float) -> Row:
    return Row(data, table, name, metric, value, note="mark")


SETS: dict[str, tuple[Callable[[Path, Path, int], list[Row]], str]] = {
    "flipkart_1050": (flipkart, "flipkart_1050"),
    "diginetica_sessions": (diginetica, "diginetica_sessions"),
    "ikea_rooms": (ikea, "ikea_rooms"),
    "amazon_beauty": (beauty, "amazon_beauty"),
}


def markdown(rows: Sequence[Row]) -> str:
    """The rows as one Markdown table per table, a column per metric."""
    lines = []
    for data, table in dict.fromkeys((row.data, row.table) for row in rows):
        part = [row for row in rows if (row.data, row.table) == (data, table)]
        metrics = list(dict.fromkeys(row.metric for row in part))
        lines += [
            "",
            f"**{data}**: {table}",
            "",
            "| | " + " | ".join(metrics) + " | |",
            "|---" * (len(metrics) + 2) + "|",
        ]
        for name in dict.fromkeys(row.name for row in part):
            cells = {row.metric: row for row in part if row.name == name}
            shown = [cells[m].cell() if m in cells else "" for m in metrics]
            note = next((row.note for row in cells.values() if row.note and row.note != "mark"), "")
            lines.append(f"| {name} | " + " | ".join(shown) + f" | {note} |")
    return "\n".join(lines).strip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(SETS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("out/quality"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "results.json"
    kept = json.loads(results.read_text())["rows"] if results.is_file() else []
    for name in options.sets or SETS:
        run, folder = SETS[name]
        start = time.perf_counter()
        rows = run(options.data / folder, options.out, options.seeds)
        print(markdown(rows), f"\n{name}: {time.perf_counter() - start:.0f} s\n", flush=True)
        kept = [row for row in kept if row["data"] != name] + [asdict(row) for row in rows]
        note = {
            "date": datetime.now(UTC).date().isoformat(), "python": platform.python_version(), "cpus": os.cpu_count(),
            "trimodal": version("trimodal"), "seeds": options.seeds,
        }  # fmt: skip
        results.write_text(json.dumps({**note, "rows": kept}, indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(markdown([Row(**row) for row in kept]))


if __name__ == "__main__":
    main()
