"""Correlations are SciPy's, resamples are of whole users, and shuffled importance goes with nothing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from trimodal.ctr.faithfulness import CategoryAucs, Correlation, EventEffects, faithfulness, means
from trimodal.ctr.metrics import pooled_auc


def effects(users: int = 60, each: int = 10, seed: int = 0, noise: float = 1.0, **changes) -> EventEffects:
    """Events of five categories, two parts; `gate` follows the effect of removal, less so with more noise."""
    rng = np.random.default_rng(seed)
    n = users * each
    category = rng.integers(1, 6, n).astype(np.int32)
    logit = rng.normal(size=n)
    size = np.abs(rng.normal(size=(n, 2)) * np.column_stack([category, 6 - category]))
    given = {
        "parts": ("id", "image"),
        "user": np.repeat(np.arange(users), each).astype(np.int32),
        "category": category,
        "label": (rng.random(n) < 1 / (1 + np.exp(-2 * logit))).astype(np.uint8),
        "logit": logit.astype(np.float32),
        "without": (logit[:, None] - size).astype(np.float32),
        "inside": {"gate": (size + noise * rng.normal(size=(n, 2))).astype(np.float32), "share": rng.random((n, 2))},
    }
    return EventEffects(**given | changes)


def found(rows: tuple[Correlation, ...], measure: str, effect: str, over: str, part: str) -> Correlation:
    return next(r for r in rows if (r.measure, r.effect, r.over, r.part) == (measure, effect, over, part))


def test_over_events_it_is_spearmans_correlation():
    data = effects()
    rows = faithfulness(data, 6, draws=100)
    for m, part in enumerate(data.parts):
        for measure in ("gate", "share"):
            rho = stats.spearmanr(data.inside[measure][:, m], data.effect[:, m]).statistic
            row = found(rows, measure, "logit", "events", part)
            assert row.rho == pytest.approx(rho)
            assert row.low < rho < row.high
            assert row.n == 600


def test_equal_values_share_a_rank():
    data = effects()
    gate = np.round(data.inside["gate"] / 3)
    rho = stats.spearmanr(gate[:, 0], data.effect[:, 0]).statistic
    row = found(faithfulness(effects(inside={"gate": gate}), 6, draws=100), "gate", "logit", "events", "id")
    assert row.rho == pytest.approx(rho)


def test_over_categories_it_is_spearmans_correlation_of_means():
    data = effects()
    rows = faithfulness(data, 6, draws=100)
    there = range(1, 6)
    loss = [data.loss[data.category == k].mean(0) for k in there]
    drop = [
        [
            pooled_auc(data.label[rows], data.logit[rows]) - pooled_auc(data.label[rows], data.without[rows, m])
            for m in (0, 1)
        ]
        for rows in (data.category == k for k in there)
    ]
    for m, part in enumerate(data.parts):
        row = found(rows, "loss", "auc", "categories", part)
        assert row.rho == pytest.approx(stats.spearmanr(np.array(loss)[:, m], np.array(drop)[:, m]).statistic)
        assert row.n == 5


def test_what_follows_the_effect_is_found_and_what_does_not_is_not():
    rows = faithfulness(effects(noise=0.0), 6, draws=200)
    for part in ("id", "image"):
        assert found(rows, "gate", "logit", "events", part).rho == pytest.approx(1)
        assert found(rows, "gate", "logit", "categories", part).rho == pytest.approx(1)
        share = found(rows, "share", "logit", "events", part)
        assert share.low < 0 < share.high
        assert share.high - share.low < 0.25


def test_shuffled_importance_goes_with_nothing():
    for row in faithfulness(effects(noise=0.0), 6, draws=400):
        assert row.shuffled == pytest.approx(0, abs=0.01 if row.over == "events" else 0.12)
        assert row.shuffled_low < 0 < row.shuffled_high


def test_users_are_resampled_whole():
    """Ten copies of an event by its user are no new evidence; as ten users they would be."""
    once = effects(each=1, users=200)
    copied = {name: np.repeat(getattr(once, name), 10, 0) for name in ("user", "category", "label", "logit", "without")}
    inside = {name: np.repeat(values, 10, 0) for name, values in once.inside.items()}
    same = EventEffects(once.parts, inside=inside, **copied)
    apart = EventEffects(once.parts, inside=inside, **copied | {"user": np.arange(2000)})
    widths = []
    for data in (once, same, apart):
        row = found(faithfulness(data, 6, draws=400), "gate", "logit", "events", "id")
        widths.append(row.high - row.low)
    assert widths[1] == pytest.approx(widths[0], rel=0.1)
    assert widths[2] < 0.5 * widths[0]


def test_interval_holds_the_truth_19_times_of_20():
    whole = effects(users=20_000, each=2, seed=99)
    truth = stats.spearmanr(whole.inside["gate"][:, 0], whole.effect[:, 0]).statistic
    rows = [
        found(faithfulness(effects(each=2, seed=i), 6, draws=100), "gate", "logit", "events", "id") for i in range(40)
    ]
    assert np.mean([row.low <= truth <= row.high for row in rows]) >= 0.85


def test_auc_by_category_with_weights_is_that_of_repeated_events():
    data = effects()
    times = np.random.default_rng(1).integers(0, 4, len(data.label))
    table = CategoryAucs(data, 7)(times.astype(float))
    assert table.shape == (7, 3)
    for k in range(1, 6):
        rows = np.repeat(np.flatnonzero(data.category == k), times[data.category == k])
        for column, scores in enumerate((data.logit, *data.without.T)):
            assert table[k, column] == pytest.approx(pooled_auc(data.label[rows], scores[rows]))
    assert np.isnan(table[[0, 6]]).all()


def test_ties_count_one_half():
    data = effects(logit=np.zeros(600, np.float32))
    assert CategoryAucs(data, 6)(np.ones(600))[1:, 0] == pytest.approx(0.5)


def test_means_leave_out_nan():
    values = np.array([[1.0, np.nan], [3.0, np.nan], [5.0, 2.0]])
    table = means(np.array([0, 0, 2]), values, 3)
    np.testing.assert_array_equal(table, [[2, np.nan], [np.nan, np.nan], [5, 2]])
    assert means(np.array([0, 0, 0]), values, 1, np.array([1.0, 0.0, 3.0]))[0].tolist() == [4.0, 2.0]


def test_events_without_a_share_are_left_out():
    data = effects()
    share = data.inside["share"].copy()
    share[:100] = np.nan
    row = found(faithfulness(effects(inside={"share": share}), 6, draws=100), "share", "logit", "events", "id")
    assert row.n == 500
    assert row.rho == pytest.approx(stats.spearmanr(share[100:, 0], data.effect[100:, 0]).statistic)


def test_what_cannot_be_correlated_is_a_dash_and_null():
    small = effects(users=4)  # too few events in any category
    rows = faithfulness(EventEffects(**{**vars(small), "inside": {"gate": np.ones((40, 2), np.float32)}}), 6, draws=100)
    for row in rows:
        assert math.isnan(row.rho)
        assert row.to_dict()["rho"] is None
        json.dumps(row.to_dict(), allow_nan=False)
        assert "nan" not in str(row)


def test_a_category_of_one_class_takes_no_part():
    data = effects()
    label = data.label.copy()
    label[data.category == 3] = 1
    assert found(faithfulness(effects(label=label), 6, draws=100), "loss", "auc", "categories", "id").n == 4


def test_same_seed_same_rows():
    assert faithfulness(effects(), 6, draws=100) == faithfulness(effects(), 6, draws=100)
    assert faithfulness(effects(), 6, draws=100) != faithfulness(effects(), 6, draws=100, seed=1)
