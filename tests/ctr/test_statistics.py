"""Intervals cover what they should as often as they say, known effects are found, and chance is not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from trimodal.ctr.metrics import pooled_auc
from trimodal.ctr.statistics import compare, over_seeds, over_users, pooled_resamples
from trimodal.errors import DataError, ParameterError


def aucs(rng, share, users):
    """AUC of users with one positive and one negative: 1 with probability `share`, else 0, some ties."""
    return np.where(rng.random(users) < 0.1, 0.5, (rng.random(users) < share).astype(float))


def test_interval_over_users_covers_the_true_mean_19_times_of_20():
    rng = np.random.default_rng(0)
    truth = 0.1 * 0.5 + 0.9 * 0.7
    found = [over_users(aucs(rng, 0.7, 150), draws=400, seed=i) for i in range(500)]
    assert 0.92 <= np.mean([interval.low <= truth <= interval.high for interval in found]) <= 0.975


def test_interval_over_seeds_covers_the_true_mean_19_times_of_20():
    rng = np.random.default_rng(1)
    found = [over_seeds(rng.normal(0.8, 0.01, 4)) for _ in range(1500)]
    assert 0.93 <= np.mean([interval.low <= 0.8 <= interval.high for interval in found]) <= 0.97


def test_interval_of_a_difference_covers_the_truth_and_p_errs_1_time_of_20():
    rng = np.random.default_rng(2)
    covered, t, wilcoxon = [], [], []
    for i in range(500):
        found = compare(aucs(rng, 0.7, 200), aucs(rng, 0.7, 200), draws=300, seed=i)
        covered.append(found.low <= 0 <= found.high)
        t.append(found.p < 0.05)
        wilcoxon.append(found.p_wilcoxon < 0.05)
    assert 0.92 <= np.mean(covered) <= 0.975
    assert 0.025 <= np.mean(t) <= 0.08
    assert 0.025 <= np.mean(wilcoxon) <= 0.08


def test_interval_over_seeds_is_the_t_interval():
    values = [0.81, 0.80, 0.83]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    found = over_seeds(values)
    assert (found.low, found.high, found.n) == (pytest.approx(low), pytest.approx(high), 3)
    assert str(found) == f"0.8133 [{low:.4f}, {high:.4f}]"


def test_a_known_effect_is_found():
    rng = np.random.default_rng(3)
    base = rng.beta(8, 3, 2000)
    better = np.clip(base + rng.normal(0.02, 0.1, 2000), 0, 1)
    found = compare(better, base)
    assert found.low < (better - base).mean() == pytest.approx(found.difference)
    assert 0 < found.low < found.high < 0.05
    assert found.high - found.low == pytest.approx(2 * 1.96 * stats.sem(better - base), rel=0.1)
    assert found.p == pytest.approx(stats.ttest_rel(better, base).pvalue, rel=1e-6)
    assert found.p < 1e-6
    assert found.p_wilcoxon < 1e-6


def test_pairing_finds_what_two_separate_samples_hide():
    """Users differ far more than the systems: unpaired, the gain drowns."""
    rng = np.random.default_rng(4)
    base = rng.random(300)
    better = base + 0.01 + rng.normal(0, 0.02, 300)
    assert compare(better, base).p < 1e-6
    assert stats.ttest_ind(better, base).pvalue > 0.2


def test_sides_are_swapped_with_the_systems():
    rng = np.random.default_rng(5)
    one, two = aucs(rng, 0.8, 300), aucs(rng, 0.7, 300)
    found, back = compare(one, two), compare(two, one)
    assert found.difference == pytest.approx(-back.difference)
    assert (found.better, found.equal, found.worse) == (back.worse, back.equal, back.better)
    assert (found.p, found.p_wilcoxon) == (pytest.approx(back.p), pytest.approx(back.p_wilcoxon))


def test_means_over_users_and_wilcoxon_disagree_where_few_lose_much():
    """Ninety gain a little, ten lose a lot: no gain in the mean, and p says so; the signed ranks see a gain."""
    base = np.full(100, 0.6)
    other = base + np.r_[np.full(90, 0.02) + np.arange(90) / 1e5, np.full(10, -0.3)]
    found = compare(other, base)
    assert found.difference < 0
    assert found.p > 0.2
    assert found.p_wilcoxon < 1e-3


def test_equal_systems_do_not_differ():
    values = np.random.default_rng(6).random(50)
    found = compare(values, values)
    assert (found.difference, found.low, found.high, found.p, found.p_wilcoxon, found.equal) == (0, 0, 0, 1, 1, 1)


def test_a_difference_made_by_rounding_is_a_tie():
    one = np.tile([0.1 + 0.2, 0.7], 20)
    assert compare(one, np.tile([0.3, 0.7], 20)).equal == 1


def test_a_constant_difference_is_certain():
    assert compare(np.full(30, 0.75), np.full(30, 0.5)).p == 0


def test_same_seed_same_interval():
    values = np.random.default_rng(7).random(80)
    assert over_users(values, seed=1) == over_users(values, seed=1)
    assert over_users(values, seed=1) != over_users(values, seed=2)


def test_resamples_are_the_same_in_blocks(monkeypatch):
    values = np.random.default_rng(8).random(60)
    whole = over_users(values, seed=3)
    monkeypatch.setattr("trimodal.ctr.statistics._BLOCK", 60 * 700)
    assert over_users(values, seed=3) == whole


def test_prints_as_a_table_and_writes_json():
    found = compare([0.5, 1.0, 1.0, 0.0], [0.5, 0.5, 0.0, 0.5])
    text = str(found)
    assert "difference                                     +0.2500" in text
    assert "50.0% / 25.0% / 25.0%" in text
    assert json.loads(json.dumps(found.to_dict()))["users"] == 4


@pytest.mark.parametrize(
    ("one", "two", "message"),
    [
        ([0.5], [0.5], "at least two users"),
        ([0.5, 1], [0.5, 1, 0], "same users"),
        ([0.5, np.nan], [0.5, 1], "1 of 2 users"),
        ([[0.5, 1]], [[0.5, 1]], "one value for each"),
    ],
)
def test_what_cannot_be_compared_is_refused(one, two, message):
    with pytest.raises(DataError, match=message):
        compare(one, two)


def test_one_seed_has_no_interval_and_few_draws_are_refused():
    with pytest.raises(DataError, match="at least two seeds"):
        over_seeds([0.8])
    with pytest.raises(ParameterError, match="draws"):
        over_users([0.1, 0.2], draws=10)


def test_pooled_resamples_are_the_pooled_auc_with_whole_users_drawn():
    rng = np.random.default_rng(4)
    user, label = rng.integers(0, 30, 400), rng.integers(0, 2, 400)
    scores = [rng.normal(size=400).round(1) + label * 0.5 for _ in range(2)]
    found = pooled_resamples(user, label, scores, draws=100, seed=3)
    assert found[0] == pytest.approx(np.mean([pooled_auc(label, column) for column in scores]))
    drawn = np.random.default_rng(3)
    users = len(np.unique(user))
    for expected in found[1:4]:
        rows = np.concatenate([np.flatnonzero(user == np.unique(user)[u]) for u in drawn.integers(0, users, users)])
        assert expected == pytest.approx(np.mean([pooled_auc(label[rows], column[rows]) for column in scores]))


def test_pooled_resamples_of_two_systems_are_paired_and_cover_what_is_planted():
    rng = np.random.default_rng(5)
    user, label = np.repeat(np.arange(300), 10), rng.integers(0, 2, 3000)
    base = rng.normal(size=3000) + 0.5 * label
    same = pooled_resamples(user, label, [base], draws=100) - pooled_resamples(user, label, [base + 1], draws=100)
    np.testing.assert_allclose(same, 0, atol=1e-12)
    better = pooled_resamples(user, label, [base + 0.3 * label], draws=200)
    apart = better - pooled_resamples(user, label, [base], draws=200)
    assert np.quantile(apart[1:], 0.025) > 0
