"""The ladder cuts the clicks of the right products to the right number, and shows what that does."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest

from trimodal.embeddings import Embedding, Provenance
from trimodal.encoders.click import Prod2Vec, click_settings
from trimodal.errors import DataError
from trimodal.evaluation.cold_start import cold_start_ladder
from trimodal.evaluation.retrieval import NextClicks
from trimodal.ids import ProductIds

N = 40
IDS = ProductIds([f"p{i}" for i in range(N)])


@pytest.fixture(scope="module")
def log(make_log):
    """Sessions inside four groups of ten products."""
    rng = np.random.default_rng(0)
    sessions = [rng.permutation(10)[: rng.integers(2, 6)] + 10 * rng.integers(4) for _ in range(900)]
    return make_log(sessions, IDS)


def test_keep_equals_the_definition(log):
    rng = np.random.default_rng(1)
    clicks, bounds = log.arrays()
    kept = rng.random(len(clicks)) < 0.6
    wanted = {}
    for name, start, stop in zip(log.sessions["session_id"], bounds[:-1], bounds[1:], strict=True):
        these = zip(clicks[start:stop], kept[start:stop], strict=True)
        left = [key for key, _ in groupby(IDS[c] for c, k in these if k)]
        if len(left) >= 2:
            wanted[name] = left
    cut = log.keep(kept)
    assert dict(zip(cut.sessions["session_id"], cut, strict=True)) == wanted
    assert cut.counts().sum() == sum(map(len, wanted.values()))
    whole = log.keep(np.ones(len(clicks), bool))
    assert list(whole) == list(log)
    assert len(log.keep(np.zeros(len(clicks), bool))) == 0


def test_clicks_lift_what_they_can_and_nothing_else(log):
    settings = click_settings(dimension=16, epochs=20, min_count=1, sample=0.0)
    train, later = log.split(0.3)
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(N, 8)).astype(np.float32)
    text = Embedding.join("text", IDS, list(IDS), noise, Provenance("noise"))
    embeddings = {"text": text, "click": Prod2Vec(settings).fit(train)}
    questions = NextClicks.of(later)
    ladder = cold_start_ladder(embeddings, train, questions, settings=settings, levels=(30, 0, 3), k=9)
    assert ladder.probes == 8
    rate = {(r.clicks, r.side, r.strategy, r.modalities): r for r in ladder.rows}
    for side in ("from", "to"):
        click = [rate[level, side, "intermediate", ("click",)].hit_rate for level in (0, 3, 30)]
        assert click[0] == 0
        assert click[2] > 0.8
        assert click[0] < click[1] <= click[2] + 0.1
        texts = {rate[level, side, "intermediate", ("text",)].hit_rate for level in (0, 3, 30)}
        assert len(texts) == 1
        assert texts.pop() < 0.5
        row = rate[30, side, "intermediate", ("click",)]
        assert row.hit_rate_low <= row.hit_rate <= row.hit_rate_high
    # Without clicks the baseline falls back to text.
    fallback = rate[0, "from", "click-text", ("click", "text")].hit_rate
    assert fallback == rate[0, "from", "intermediate", ("text",)].hit_rate
    # With enough clicks of everybody nothing is inferred, and the two are the same.
    for side in ("from", "to"):
        for name in ("intermediate", "adaptive", "covisit"):
            rates = [rate[30, side, label, ("text", "click")].hit_rate for label in (name, f"{name}, inferred")]
            assert rates[0] == rates[1]
    assert "covisit, inferred" in str(ladder)
    assert {row.clicks for row in ladder.rows} == {0, 3, 30}
    assert "from such products" in str(ladder)
    assert ladder.to_dict()["probes"] == 8


def test_inferred_vectors_lift_products_without_clicks(log):
    settings = click_settings(dimension=16, epochs=20, min_count=1, sample=0.0)
    train, later = log.split(0.3)
    rng = np.random.default_rng(3)
    titles = (3 * np.eye(4, 8)[np.arange(N) // 10] + rng.normal(size=(N, 8))).astype(np.float32)
    text = Embedding.join("text", IDS, list(IDS), titles, Provenance("titles"))
    embeddings = {"text": text, "click": Prod2Vec(settings).fit(train)}
    ladder = cold_start_ladder(embeddings, train, NextClicks.of(later), settings=settings, levels=(0, 30), k=9)
    rate = {(r.clicks, r.side, r.strategy): r.hit_rate for r in ladder.rows if len(r.modalities) == 2}
    names = {"intermediate", "adaptive", "covisit"}
    assert {name for _, _, name in rate} == names | {f"{name}, inferred" for name in names} | {"click-text"}
    for name in names:
        assert rate[0, "to", f"{name}, inferred"] > rate[0, "to", name] - 0.02
    assert max(rate[0, "to", f"{name}, inferred"] for name in names) > 0.5


def test_levels_above_all_clicks_are_an_error(log):
    train, later = log.split(0.3)
    text = Embedding.join("text", IDS, list(IDS), np.eye(N, dtype=np.float32), Provenance("x"))
    with pytest.raises(DataError, match="lower the levels"):
        cold_start_ladder({"text": text}, train, NextClicks.of(later), levels=(10_000,))
