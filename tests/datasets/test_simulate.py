"""The simulated market: its contract, its shares, its sessions, its truth, its bounds."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import adjusted_rand_score

from trimodal.datasets import _nouns, _words
from trimodal.datasets._market import build
from trimodal.datasets._tree import tree
from trimodal.datasets.simulate import MarketModel, SimulatedMarket, simulate
from trimodal.errors import DataError, ParameterError


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> SimulatedMarket:
    """One market of a demo's shape, with plenty of clicks."""
    return simulate(tmp_path_factory.mktemp("simulate") / "market", products=800, sessions=24_000, seed=5)


@pytest.fixture(scope="module")
def truth(market: SimulatedMarket) -> pl.DataFrame:
    return pl.read_parquet(market.truth_file)


@pytest.fixture(scope="module")
def products(market: SimulatedMarket) -> pl.DataFrame:
    return pl.read_csv(market.products_file)


@pytest.fixture(scope="module")
def sessions(market: SimulatedMarket) -> list[list[str]]:
    """Sessions after the paper's cleaning: clicks only, runs collapsed, 2 to 184 clicks."""
    trails: dict[str, list[str]] = defaultdict(list)
    with market.clicks_file.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            trail = trails[row["session_id"]]
            if row["event"] == "click" and (not trail or trail[-1] != row["product_id"]):
                trail.append(row["product_id"])
    return [trail for trail in trails.values() if 2 <= len(trail) <= 184]


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def small(out: Path, **changes: object) -> SimulatedMarket:
    arguments: dict[str, object] = {"products": 60, "sessions": 300, "categories": 6, "seed": 1, **changes}
    return simulate(out, **arguments)  # type: ignore[arg-type]


def test_same_seed_gives_same_bytes(tmp_path: Path) -> None:
    small(tmp_path / "a", vectors=True)
    small(tmp_path / "b", vectors=True)
    first = digest(tmp_path / "a")
    assert first == digest(tmp_path / "b")
    assert {"products.csv", "clicks.csv", "truth.parquet", "truth.json", "vectors/text.parquet"} <= set(first)


def test_another_seed_gives_another_market(tmp_path: Path) -> None:
    first, second = small(tmp_path / "a"), small(tmp_path / "b", seed=2)
    assert first.products_file.read_bytes() != second.products_file.read_bytes()
    assert first.clicks_file.read_bytes() != second.clicks_file.read_bytes()


def test_pictures_and_users_change_nothing_else(tmp_path: Path) -> None:
    full, bare = small(tmp_path / "a"), small(tmp_path / "b", pictures=False, users=False)
    columns = ["session_id", "product_id", "timestamp", "event"]
    with_users, without = pl.read_csv(full.clicks_file), pl.read_csv(bare.clicks_file)
    assert without.columns == columns
    assert with_users.select(columns).equals(without)
    titled = pl.read_csv(full.products_file).drop("image")
    assert titled.equals(pl.read_csv(bare.products_file).drop("image"))
    assert pl.read_csv(bare.products_file)["image"].null_count() == 60
    assert bare.pictures_folder is None
    assert not (bare.folder / "images").exists()


def test_rows_do_not_depend_on_the_block_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = small(tmp_path / "a", format="jsonl")
    monkeypatch.setattr("trimodal.datasets._files._BLOCK", 7)
    pieces = small(tmp_path / "b", format="jsonl")
    assert whole.products_file.read_bytes() == pieces.products_file.read_bytes()


def test_product_columns(market: SimulatedMarket, products: pl.DataFrame) -> None:
    contract = ["product_id", "title", "category", "image", "price", "url", "brand", "group_id"]
    assert products.columns[:8] == contract
    assert products["product_id"].n_unique() == market.products == len(products)
    assert products["title"].str.strip_chars().str.len_chars().min() >= 3
    assert products["category"].n_unique() == 20
    assert products["department"].n_unique() == market.departments == 5
    assert products["price"].min() > 0
    assert products.drop("image").null_count().sum_horizontal().item() == 0


def test_pictures_exist_and_open(market: SimulatedMarket, products: pl.DataFrame) -> None:
    named = products["image"].drop_nulls().to_list()
    assert len(named) == market.products - market.without_picture
    sizes = []
    for name in named:
        path = market.products_file.parent / name
        sizes.append(path.stat().st_size)
        with Image.open(path) as picture:
            assert picture.size == (128, 128)
            assert picture.mode == "RGB"
    assert 1_000 < np.mean(sizes) < 6_000
    assert len(list(market.folder.rglob("*.jpg"))) == len(named)


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_formats_hold_the_same_rows(tmp_path: Path, format: str) -> None:
    read = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet}
    plain, other = small(tmp_path / "a", format="csv"), small(tmp_path / "b", format=format)
    assert other.products_file.name == f"products.{format}"
    assert read[format](other.products_file).equals(pl.read_csv(plain.products_file))
    clicks, wanted = read[format](other.clicks_file), pl.read_csv(plain.clicks_file)
    if format == "parquet":
        assert clicks["timestamp"].dtype == pl.Datetime("ms", "UTC")
        clicks = clicks.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
    assert clicks.equals(wanted)


def test_clicks_are_a_log(market: SimulatedMarket, products: pl.DataFrame) -> None:
    clicks = pl.read_csv(market.clicks_file)
    assert clicks.columns == ["session_id", "product_id", "timestamp", "event", "user_id"]
    assert clicks["timestamp"].is_sorted()
    assert datetime.fromisoformat(clicks["timestamp"][0]).utcoffset() is not None
    assert not clicks.select("session_id", "timestamp").is_duplicated().any()  # increasing inside a session
    assert set(clicks["product_id"]) <= set(products["product_id"])
    events = Counter(clicks["event"])
    assert events == {"click": market.clicks, "jump": market.jumps}
    assert 0.1 < market.jumps / market.clicks < 0.25
    assert clicks["session_id"].n_unique() == market.sessions == 24_000
    visits = clicks.group_by("session_id").agg(pl.col("user_id").n_unique())["user_id"]
    assert visits.max() == 1
    assert clicks["user_id"].n_unique() == market.visitors < market.sessions


def test_a_jump_follows_a_click_on_its_product(market: SimulatedMarket) -> None:
    clicks = pl.read_csv(market.clicks_file).with_columns(
        before=pl.col("product_id").shift(1).over("session_id"),
        what=pl.col("event").shift(1).over("session_id"),
    )
    jumps = clicks.filter(pl.col("event") == "jump")
    assert (jumps["before"] == jumps["product_id"]).all()
    assert (jumps["what"] == "click").all()


def test_shares(market: SimulatedMarket, truth: pl.DataFrame) -> None:
    assert market.without_picture == round(0.06 * 800) == 800 - truth["has_picture"].sum()
    assert market.groups == 800 - round(0.12 * 800)
    never = truth.filter(pl.col("popularity") == 0)
    assert len(never) == round(0.06 * 800)
    assert never["cold"].all()
    assert market.cold == truth["cold"].sum() >= len(never)
    assert 0.6 < (truth["title_kind"] == "full").mean() < 0.95
    assert set(truth["title_kind"]) == {"full", "no-noun", "code", "vague", "misleading"}
    assert set(truth["picture_kind"]) == {"own", "generic", "wrong-shape"}
    assert set(truth["language"]) == {"en", "tr", "de", "es"}


def test_robots_are_few_and_long(market: SimulatedMarket) -> None:
    clicks = pl.read_csv(market.clicks_file)
    lengths = clicks.filter(pl.col("event") == "click").group_by("session_id").len()["len"]
    assert (lengths >= 300).sum() == market.robots == round(0.0005 * 24_000)
    assert lengths.max() <= 5_000
    assert (lengths == 1).mean() > 0.1


def test_offers_of_one_product_are_alike(market: SimulatedMarket, truth: pl.DataFrame) -> None:
    products = pl.read_csv(market.products_file).join(truth.select("product_id", "taste"), on="product_id")
    groups = [rows for _, rows in products.group_by("group_id") if len(rows) > 1]
    assert groups
    tastes = np.array(truth["taste"].to_list())
    spread = np.linalg.norm(tastes - tastes.mean(0), axis=1).mean()
    shared = 0
    for rows in groups:
        assert rows["category"].n_unique() == rows["brand"].n_unique() == 1
        inside = np.array(rows["taste"].to_list())
        assert np.linalg.norm(inside - inside[0], axis=1).max() < spread / 5
        first, second = (set(title.lower().split()) for title in rows["title"][:2])
        shared += len(first & second) / len(first | second)
    assert shared / len(groups) > 0.5


def test_sessions_after_cleaning(sessions: list[list[str]]) -> None:
    lengths = np.array([len(trail) for trail in sessions])
    assert 2.9 < lengths.mean() < 3.5  # the paper's is 3.22
    assert lengths.max() > 60
    assert 0.7 < len(sessions) / 24_000 < 0.9


def test_sessions_stay_near_and_popularity_is_uneven(sessions: list[list[str]], truth: pl.DataFrame) -> None:
    leaf = dict(zip(truth["product_id"], truth["category"], strict=True))
    steps = [(leaf[a], leaf[b]) for trail in sessions for a, b in pairwise(trail)]
    assert 0.45 < np.mean([a == b for a, b in steps]) < 0.85
    counts = sorted(Counter(p for trail in sessions for p in trail).values(), reverse=True)
    assert sum(counts[: len(counts) // 10]) > 0.2 * sum(counts)
    expected = truth["popularity"].to_numpy()
    assert np.corrcoef(expected, truth["clicks"].to_numpy())[0, 1] > 0.5


def test_truth_counts_the_clicks(market: SimulatedMarket, truth: pl.DataFrame) -> None:
    clicks = pl.read_csv(market.clicks_file).filter(pl.col("event") == "click")
    counted = dict(clicks.group_by("product_id").len().iter_rows())
    assert truth["clicks"].to_list() == [counted.get(name, 0) for name in truth["product_id"]]
    assert truth["cold"].to_list() == [name not in counted for name in truth["product_id"]]
    assert truth["clicks"].sum() == market.clicks


def test_truth_matches_the_products(market: SimulatedMarket, truth: pl.DataFrame, products: pl.DataFrame) -> None:
    for column in ("product_id", "category", "department", "group_id"):
        assert truth[column].to_list() == products[column].to_list()
    assert truth["has_picture"].to_list() == products["image"].is_not_null().to_list()
    assert truth["popularity"].sum() == pytest.approx(1.0)
    assert truth.schema["taste"] == pl.Array(pl.Float32, 32)
    tastes = truth["taste"].to_numpy()
    labels = truth["category"].to_numpy()
    centres = {name: tastes[labels == name].mean(0) for name in set(labels)}
    nearest = [min(centres, key=lambda name: ((centres[name] - row) ** 2).sum()) for row in tastes]
    assert np.mean(np.array(nearest) == labels) > 0.9
    recorded = json.loads(market.parameters_file.read_text(encoding="utf-8"))
    assert recorded["arguments"]["seed"] == 5
    assert recorded["model"]["bot_share"] == MarketModel().bot_share
    assert recorded["counts"]["clicks"] == market.clicks


def test_prints_as_a_table(market: SimulatedMarket) -> None:
    assert f"{market.clicks:,}" in str(market)
    assert str(market.folder) in str(market)


def test_vectors(tmp_path: Path) -> None:
    market = small(tmp_path / "a", pictures=False, vectors=True, products=400, categories=8)
    truth = pl.read_parquet(market.truth_file)
    for modality, dimension in (("text", 512), ("image", 1280)):
        table = pl.read_parquet(market.vector_files[modality])
        assert table.schema == {"product_id": pl.String, "vector": pl.Array(pl.Float32, dimension)}
        wanted = truth if modality == "text" else truth.filter("has_picture")
        assert table["product_id"].to_list() == wanted["product_id"].to_list()
        vectors = table["vector"].to_numpy()
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
        found = KMeans(8, n_init=3, random_state=0).fit_predict(vectors)
        assert 0.25 < adjusted_rand_score(wanted["category"].to_numpy(), found) < 0.97


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def drawn(path: Path) -> np.ndarray:
    """Colour histogram and edge directions on a 6 x 6 grid: a cheap picture feature."""
    with Image.open(path) as picture:
        hue = np.asarray(picture.resize((64, 64)).convert("HSV")).reshape(-1, 3)
        grey = np.asarray(picture.resize((48, 48)).convert("L"), dtype=float)
    colours = np.sqrt(np.histogramdd(hue, bins=(8, 3, 3), range=[(0, 256)] * 3)[0].ravel() / len(hue))
    down, right = np.gradient(grey)
    direction = (np.arctan2(down, right) % np.pi / np.pi * 8).astype(int) % 8
    y, x = np.mgrid[:48, :48] // 8
    edges = np.zeros((6, 6, 8))
    np.add.at(edges, (y.ravel(), x.ravel(), direction.ravel()), np.hypot(right, down).ravel())
    return np.concatenate([unit(edges.reshape(1, -1))[0], colours])


def test_no_modality_alone_is_enough(
    market: SimulatedMarket, products: pl.DataFrame, sessions: list[list[str]]
) -> None:
    names = products["product_id"].to_list()
    place = {name: k for k, name in enumerate(names)}
    together = np.zeros((len(names), len(names)))
    for trail in sessions:
        for k, name in enumerate(trail):
            for other in trail[max(0, k - 5) : k]:
                if other != name:
                    together[place[name], place[other]] += 1
                    together[place[other], place[name]] += 1
    clicked = together.sum(1) >= 5
    rows = np.flatnonzero(clicked & products["image"].is_not_null().to_numpy())
    labels = products["category"].to_numpy()[rows]

    share = together / max(together.sum(), 1)
    expected = np.outer(share.sum(1), share.sum(1))
    pmi = np.log(np.maximum(share, 1e-12) / np.maximum(expected, 1e-12)).clip(0) * (share > 0)
    words = TfidfVectorizer(sublinear_tf=True).fit_transform([products["title"][int(k)] for k in rows])
    views = {
        "text": TruncatedSVD(48, random_state=0).fit_transform(words),
        "image": np.stack([drawn(market.folder / products["image"][int(k)]) for k in rows]),
        "click": TruncatedSVD(48, random_state=0).fit_transform(pmi[rows]),
    }
    views = {name: unit(view - view.mean(0)) for name, view in views.items()}

    def ari(vectors: np.ndarray) -> float:
        return float(adjusted_rand_score(labels, KMeans(20, n_init=4, random_state=0).fit_predict(vectors)))

    alone = {name: ari(view) for name, view in views.items()}
    fused = ari(np.hstack(list(views.values())))
    assert all(value > 0.1 for value in alone.values()), alone
    assert max(alone.values()) + 0.03 < fused < 0.98, (alone, fused)


SCALE = """
import resource, sys
from trimodal.datasets.simulate import simulate
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
simulate(sys.argv[1], products=int(sys.argv[2]), sessions=int(sys.argv[3]), pictures=False, format="parquet")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def grown(out: Path, products: int, sessions: int) -> float:
    """Return by how many MiB the process grew while it wrote a market of this size."""
    command = [sys.executable, "-c", SCALE, str(out), str(products), str(sessions)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1024


def test_memory_of_30_000_products(tmp_path: Path) -> None:
    """A products x products matrix of float32 alone would be 3,433 MiB."""
    assert grown(tmp_path / "market", 30_000, 60_000) < 300


@pytest.mark.slow
def test_memory_does_not_grow_with_sessions(tmp_path: Path) -> None:
    short = grown(tmp_path / "short", 20_000, 100_000)
    long = grown(tmp_path / "long", 20_000, 1_000_000)
    assert long < short + 120


def test_blocks_of_sessions_are_merged_by_time(tmp_path: Path) -> None:
    """More sessions than one block holds: the edges do not show in the order."""
    market = small(tmp_path / "a", sessions=40_000, pictures=False, format="parquet", products=500)
    clicks = pl.read_parquet(market.clicks_file)
    assert clicks["timestamp"].is_sorted()
    assert clicks["session_id"].n_unique() == 40_000
    assert (clicks["timestamp"][-1] - clicks["timestamp"][0]).days >= 27


@pytest.mark.parametrize("categories", [1, 2, 3, 60, 61, 250])
def test_any_number_of_categories(categories: int) -> None:
    leaves = tree(categories)
    assert len(leaves.categories) == len(set(leaves.categories)) == categories
    assert len(leaves.departments) <= 15
    market = build(0, 2 * categories + 1, categories, MarketModel())
    assert set(market.category.tolist()) == set(range(categories))


def test_every_word_is_known_in_every_language() -> None:
    lists = [
        *_nouns.DEPARTMENT_WORDS, *(words for row in _nouns.NOUNS for words in row), *_words.MODIFIERS,
        *(words for _, words in _words.COLOURS), *_words.MATERIALS, *_words.STYLES, *_words.EXTRAS,
        _words.LINKS,
    ]  # fmt: skip
    for words in lists:
        assert len(words.by_language) == len(_words.LANGUAGES)
        assert all(word for synonyms in words.by_language for word in synonyms), words
    assert [len(row) for row in _nouns.CATEGORIES] == [4] * 15
    assert len({_words.brand(number) for number in range(3000)}) == 3000


def test_smallest_market(tmp_path: Path) -> None:
    market = simulate(tmp_path / "a", products=2, sessions=1, categories=1)
    assert market.sessions == 1
    assert len(pl.read_csv(market.products_file)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"products": 10, "categories": 6}, "2 \\* categories"),
        ({"sessions": 0}, "sessions == 0"),
        ({"categories": 0}, "categories == 0"),
        ({"seed": -1}, "seed == -1"),
        ({"format": "xml"}, "csv, jsonl, parquet"),
    ],
)
def test_arguments_are_checked(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        small(tmp_path / "a", **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "parameters",
    [
        {"cold_share": 1.5},
        {"style_share": 0.9},
        {"temperature": 0.0},
        {"candidates": 0},
        {"mean_extra": -1.0},
    ],
)
def test_model_is_checked(parameters: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match=next(iter(parameters))):
        MarketModel(**parameters)  # type: ignore[arg-type]


def test_model_is_used(tmp_path: Path) -> None:
    shares = ("cold_share", "variant_share", "no_picture_share", "bot_share", "jump_share")
    calm = MarketModel(**dict.fromkeys(shares, 0.0))
    market = small(tmp_path / "a", model=calm)
    assert (market.groups, market.without_picture, market.robots, market.jumps) == (60, 0, 0, 0)


def test_overwrite_only_what_simulate_wrote(tmp_path: Path) -> None:
    out = tmp_path / "market"
    out.mkdir()
    first = small(out)
    before = digest(out)
    with pytest.raises(DataError, match="--overwrite"):
        small(out, seed=9)
    assert digest(out) == before
    small(out, seed=9, overwrite=True)
    assert digest(out) != before
    assert first.folder == out
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match=r"holds 'notes\.txt'"):
        small(out, seed=8, overwrite=True)
    assert (out / "notes.txt").read_text(encoding="utf-8") == "mine"
    (out / "notes.txt").unlink()

    own = tmp_path / "own"
    own.mkdir()
    (own / "letter.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="not replaced"):
        small(own, overwrite=True)
    assert (own / "letter.txt").read_text(encoding="utf-8") == "mine"
    with pytest.raises(DataError, match="not a folder"):
        small(own / "letter.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["market", "own"]


def test_failure_leaves_the_old_market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "market"
    small(out)
    before = digest(out)

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("trimodal.datasets.simulate.write_truth", fail)
    with pytest.raises(OSError, match="disk full"):
        small(out, seed=3, overwrite=True)
    assert digest(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["market"]
