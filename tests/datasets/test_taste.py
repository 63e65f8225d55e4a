"""The simulated taste: its shares, its ceiling, and that its planted structure shows where it should and only there."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from trimodal import Catalog, Embedding
from trimodal.ctr.metrics import measure, pooled_auc, user_auc
from trimodal.datasets.taste import SOURCES, TasteMarket, simulate_taste
from trimodal.errors import DataError, ParameterError


@pytest.fixture(scope="module")
def market() -> TasteMarket:
    return simulate_taste(seed=4)


@pytest.fixture(scope="module")
def late(market: TasteMarket) -> np.ndarray:
    """The last quarter of each visitor's events: bool [e]."""
    return np.tile(np.arange(40) >= 30, len(market.users))


def popularity(market: TasteMarket, earlier: np.ndarray) -> np.ndarray:
    """Log odds of each event's item, from its `earlier` clicks and a few events of average luck: float [e]."""
    shown = np.bincount(market.item[earlier], minlength=len(market.items)) + 5
    clicked = np.bincount(market.item[earlier], market.label[earlier], len(market.items)) + 2
    return np.log(clicked / (shown - clicked))[market.item]


def likeness(market: TasteMarket, modality: str, earlier: np.ndarray) -> np.ndarray:
    """Cosine of each event's item and the mean of the visitor's `earlier` clicked items; NaN where one is missing."""
    embedding = market.vectors[modality]
    vectors = np.zeros((len(market.items), embedding.dimension))
    present = embedding.state > 0
    vectors[present] = embedding.vectors
    used = earlier & (market.label == 1) & present[market.item]
    mean = np.zeros((len(market.users), embedding.dimension))
    np.add.at(mean, market.user[used], vectors[market.item[used]])
    one, other = vectors[market.item], mean[market.user]
    with np.errstate(invalid="ignore"):
        return (one * other).sum(1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))


def likeness_auc(market: TasteMarket, late: np.ndarray, modality: str, follows: str) -> float:
    """How well likeness to clicks in categories that follow `follows` tells the later clicks in those categories."""
    there = market.importance_of(follows) == 1
    score = likeness(market, modality, ~late & there)
    rows = late & there & np.isfinite(score)
    return pooled_auc(market.label[rows], score[rows])


def test_counts_and_shares_are_as_promised(market):
    assert (len(market.items), len(market.users), len(market)) == (600, 800, 32_000)
    assert 0.36 < market.label.mean() < 0.44
    assert market.vectors["image"].coverage == pytest.approx(0.9)
    assert market.vectors["text"].coverage == pytest.approx(0.95)
    assert np.bincount(market.category).tolist() == [0, *[75] * 8]
    assert (market.importance.sum(0) == [3, 3, 2]).all()
    assert (market.importance.sum(1) == 1).all()
    for name, row in zip(market.categories, market.importance, strict=True):
        assert f"-{SOURCES[row.argmax()]}-" in name
    assert list(market.categories) == sorted(market.categories)


def test_a_visitor_is_shown_different_items_in_order_of_time(market):
    assert (market.user == np.repeat(np.arange(800), 40)).all()
    assert all(len(set(row)) == 40 for row in market.item.reshape(800, 40).tolist())
    assert (np.diff(market.time.reshape(800, 40), axis=1) > 0).all()
    assert market.time.min() >= 1_740_960_000_000_000
    assert market.time.max() < 1_740_960_000_000_000 + 31 * 86_400_000_000
    shown = np.bincount(market.item, minlength=600)
    assert shown.std() < 1.2 * np.sqrt(shown.mean())  # even, but for chance


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_the_ceiling_is_about_85(seed):
    market = simulate_taste(seed=seed)
    chance = 1 / (1 + np.exp(-market.oracle))
    found = measure(market.user, market.label, score=market.oracle, probability=chance)
    assert 0.835 < found.auc_pooled < 0.865
    assert 0.835 < found.auc_user < 0.865
    assert found.users_left_out < 0.01
    assert found.calibration_error < 0.015
    assert found.calibration_ratio == pytest.approx(1, abs=0.03)


def test_no_kind_of_category_is_much_easier_than_another(market):
    for source in SOURCES:
        rows = market.importance_of(source) == 1
        assert 0.82 < pooled_auc(market.label[rows], market.oracle[rows]) < 0.88


def test_popularity_alone_reaches_about_60_and_all_of_it_where_the_item_itself_decides(market, late):
    score = popularity(market, ~late)
    assert 0.57 < user_auc(market.user[late], market.label[late], score=score[late]).mean() < 0.66
    for source, low, high in (("image", 0.46, 0.54), ("text", 0.46, 0.54), ("id", 0.78, 0.88)):
        rows = late & (market.importance_of(source) == 1)
        assert low < pooled_auc(market.label[rows], score[rows]) < high


def test_picture_likeness_tells_clicks_where_pictures_decide_and_nowhere_else(market, late):
    assert likeness_auc(market, late, "image", "image") > 0.7
    assert likeness_auc(market, late, "image", "text") == pytest.approx(0.5, abs=0.03)
    assert likeness_auc(market, late, "image", "id") == pytest.approx(0.5, abs=0.03)


def test_text_likeness_tells_clicks_where_texts_decide_and_nowhere_else(market, late):
    assert likeness_auc(market, late, "text", "text") > 0.7
    assert likeness_auc(market, late, "text", "image") == pytest.approx(0.5, abs=0.03)
    assert likeness_auc(market, late, "text", "id") == pytest.approx(0.5, abs=0.03)


def test_history_and_planted_importance_together_reach_about_75(market, late):
    """A plain predictor that is told what each category follows; told the wrong modality, it has popularity alone."""

    def auc(sees: dict[str, str]) -> float:
        score = popularity(market, ~late) + 0.7
        for source, modality in sees.items():
            rows = market.importance_of(source) == 1
            score[rows] = 1.5 * np.nan_to_num(likeness(market, modality, ~late & rows)[rows])
        return user_auc(market.user[late], market.label[late], score=score[late]).mean()

    assert 0.72 < auc({"image": "image", "text": "text"}) < 0.79
    assert auc({"image": "text", "text": "image"}) < 0.63


def test_the_seed_decides_everything():
    one, same, other = (simulate_taste(60, 40, events_per_user=10, seed=seed) for seed in (5, 5, 6))
    for name in ("category", "user", "item", "time", "label", "oracle"):
        assert np.array_equal(getattr(one, name), getattr(same, name))
    assert not np.array_equal(one.item, other.item)
    for modality, embedding in one.vectors.items():
        assert np.array_equal(embedding.vectors, same.vectors[modality].vectors)
        assert np.array_equal(embedding.state, same.vectors[modality].state)
        assert not np.array_equal(embedding.vectors, other.vectors[modality].vectors)


def test_a_data_folder_holds_the_same(tmp_path):
    market = simulate_taste(60, 40, events_per_user=10, seed=1)
    market.write(tmp_path / "taste")
    catalog = Catalog.read(tmp_path / "taste")
    assert catalog.ids == market.items
    assert catalog.rejections.total == 0
    assert catalog.frame["category"].to_list() == [market.categories[c - 1] for c in market.category]
    for modality, expected in market.vectors.items():
        found = Embedding.read(tmp_path / "taste" / "vectors" / f"{modality}.parquet", ids=catalog.ids)
        assert np.array_equal(found.state, expected.state)
        assert np.array_equal(found.vectors, expected.vectors)
    events = pl.read_csv(tmp_path / "taste" / "clicks.csv", try_parse_dates=True)
    assert events["timestamp"].is_sorted()
    events = events.sort("user_id", "timestamp")
    assert events["user_id"].to_list() == [market.users[u] for u in market.user]
    assert events["product_id"].to_list() == [market.items[i] for i in market.item]
    assert events["label"].to_numpy().tolist() == market.label.tolist()
    assert events["timestamp"].dt.epoch("us").to_numpy().tolist() == market.time.tolist()
    truth = json.loads((tmp_path / "taste" / "truth.json").read_text())
    assert truth["arguments"] == {"items": 60, "users": 40, "events_per_user": 10, "seed": 1}
    assert truth["importance"]["simulated-text-2"] == {"image": 0, "text": 1, "id": 0}


def test_the_same_market_writes_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        simulate_taste(60, 40, events_per_user=10).write(tmp_path / folder)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 5
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="not empty"):
        simulate_taste(60, 4, events_per_user=10).write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_prints_as_a_table_that_says_it_is_simulated(market):
    lines = str(market).splitlines()
    assert lines[0] == "Simulated market with a planted taste"
    assert lines[3].split() == ["events", "32,000"]
    assert lines[-1].split() == ["simulated-text-3", "0.00", "1.00", "0.00"]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"items": 20}, "items"), ({"items": 7, "events_per_user": 2}, "items"), ({"users": 0}, "users"),
     ({"events_per_user": 0}, "events_per_user"), ({"seed": -1}, "seed")],
)  # fmt: skip
def test_arguments_outside_their_range_are_refused(arguments, name):
    with pytest.raises(ParameterError, match=f"{name} =="):
        simulate_taste(**arguments)
