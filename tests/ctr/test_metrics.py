"""Each AUC equals its definition written out pair by pair; ties, single-class users and bad input are settled."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from trimodal.ctr.metrics import calibration_error, calibration_ratio, logloss, measure, pooled_auc, user_auc
from trimodal.errors import DataError, ParameterError

# Few distinct scores and users, so that ties and single-class users are common.
events = st.lists(
    st.tuples(st.integers(-2, 4), st.booleans(), st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 1e-300, 2.0, np.inf])),
    min_size=1,
    max_size=40,
)


def by_pairs(label, score):
    """AUC by its definition: every click against every non-click; None where there is no pair."""
    won = [
        1.0 if hit > miss else 0.5 if hit == miss else 0.0
        for hit, yes in zip(score, label, strict=True)
        for miss, no in zip(score, label, strict=True)
        if yes and not no
    ]
    return sum(won) / len(won) if won else None


@given(events)
def test_auc_of_each_user_is_the_share_of_won_pairs(rows):
    user, label, score = (np.array(column) for column in zip(*rows, strict=True))
    found = user_auc(user, label, score=score)
    expected = {u: by_pairs(label[user == u], score[user == u]) for u in sorted(set(user.tolist()))}
    kept = {u: auc for u, auc in expected.items() if auc is not None}
    assert found.user.tolist() == list(kept)
    assert found.auc == pytest.approx(list(kept.values()), abs=1e-12)
    assert found.events.tolist() == [int((user == u).sum()) for u in kept]
    assert found.positives.tolist() == [int(label[user == u].sum()) for u in kept]
    assert found.left_out == pytest.approx(1 - len(kept) / len(expected))


@given(events)
def test_pooled_auc_is_the_share_of_won_pairs(rows):
    _, label, score = (np.array(column) for column in zip(*rows, strict=True))
    expected = by_pairs(label, score)
    if expected is None:
        with pytest.raises(DataError, match="AUC needs both"):
            pooled_auc(label, score)
    else:
        assert pooled_auc(label, score) == pytest.approx(expected, abs=1e-12)


@pytest.fixture
def drawn():
    """2,000 events of 60 users of very different activity, with tied scores."""
    rng = np.random.default_rng(3)
    user = rng.integers(0, 60, 2000) ** 2  # sparse names
    user[user > 1000] = 7
    score = np.round(rng.normal(size=2000) + user / 500, 1)
    label = (rng.random(2000) < 1 / (1 + np.exp(-score))).astype(np.uint8)
    return user, label, score


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_the_four_aucs_agree_with_scikit_learn(drawn, dtype):
    user, label, score = drawn
    score = score.astype(dtype)
    rows = [np.flatnonzero(user == u) for u in np.unique(user)]
    rows = [r for r in rows if 0 < label[r].mean() < 1]
    each = np.array([roc_auc_score(label[r], score[r]) for r in rows])
    found = measure(user, label, score=score)
    assert found.auc_pooled == pytest.approx(roc_auc_score(label, score))
    assert found.auc_user == pytest.approx(each.mean())
    assert found.auc_impression_weighted == pytest.approx(np.average(each, weights=[len(r) for r in rows]))
    assert found.auc_positive_weighted == pytest.approx(np.average(each, weights=[label[r].sum() for r in rows]))
    assert len({round(value, 4) for name, value in found.to_dict().items() if name.startswith("auc")}) == 4


def test_users_may_have_any_whole_number_as_a_name(drawn):
    user, label, score = drawn
    far = user.astype(np.int64) * 10**15 - 10**17
    assert np.array_equal(user_auc(far, label, score=score).auc, user_auc(user, label, score=score).auc)
    assert np.array_equal(user_auc(far, label, score=score).user, np.unique(far))


def test_order_of_events_changes_nothing(drawn):
    user, label, score = drawn
    probability = 1 / (1 + np.exp(-score))
    order = np.random.default_rng(0).permutation(len(user))
    one = measure(user, label, score=score, probability=probability).to_dict()
    other = measure(user[order], label[order], score=score[order], probability=probability[order]).to_dict()
    assert other == pytest.approx(one, abs=1e-12)


def test_equal_scores_give_one_half():
    found = measure([0, 0, 1, 1, 1], [0, 1, 1, 1, 0], score=np.zeros(5))
    assert found.auc_pooled == found.auc_user == found.auc_positive_weighted == 0.5


def test_users_of_one_class_are_left_out_and_counted():
    found = measure([0, 0, 1, 1, 2, 2, 3], [1, 0, 1, 1, 0, 0, 1], score=[2, 1, 0, 0, 9, 9, 5])
    assert (found.users, found.users_left_out) == (4, 0.75)
    assert found.auc_user == 1.0
    assert found.auc_pooled == pytest.approx(by_pairs([1, 0, 1, 1, 0, 0, 1], [2, 1, 0, 0, 9, 9, 5]))


def test_with_one_class_for_every_user_only_the_pooled_auc_exists():
    found = measure([0, 0, 1], [1, 1, 0], score=[2.0, 0.0, 1.0])
    assert found.users_left_out == 1.0
    assert found.auc_pooled == 0.5
    assert math.isnan(found.auc_user)
    assert found.to_dict()["auc_user"] is None
    assert "AUC user                             -" in str(found)


def test_logloss_agrees_with_scikit_learn_and_is_clipped():
    rng = np.random.default_rng(0)
    label, probability = rng.integers(0, 2, 500), rng.random(500)
    assert logloss(label, probability) == pytest.approx(log_loss(label, probability))
    assert logloss([0, 1], [1.0, 0.0]) == pytest.approx(-math.log(1e-7), rel=1e-6)


def test_calibration_error_of_known_predictions():
    label = np.array([0, 0, 1, 1])
    assert calibration_error(label, [0.1, 0.3, 0.6, 0.8], bins=2) == pytest.approx((0.2 + 0.3) / 2)
    assert calibration_error(label, [0.1, 0.3, 0.6, 0.8], bins=1) == pytest.approx(0.05)
    assert calibration_error(label, np.full(4, 0.5)) == 0  # equal predictions are one bin, whatever their order


def test_bins_hold_equal_numbers_of_events():
    """Ten bins over 1,000 predictions: the error is that of the ten slices in the order of the predictions."""
    rng = np.random.default_rng(1)
    probability = rng.random(1000) ** 3
    label = rng.random(1000) < np.sqrt(probability)
    slices = np.split(np.argsort(probability), 10)
    expected = np.mean([abs(probability[rows].mean() - label[rows].mean()) for rows in slices])
    assert calibration_error(label, probability, bins=10) == pytest.approx(expected)


def test_calibrated_predictions_have_a_small_error_and_doubled_ones_a_ratio_of_two():
    rng = np.random.default_rng(2)
    probability = rng.beta(2, 6, 200_000) / 2
    label = rng.random(200_000) < probability
    found = measure(np.zeros(200_000, int), label, score=probability, probability=probability)
    assert found.calibration_error < 0.008
    assert found.calibration_ratio == pytest.approx(1, abs=0.02)
    assert calibration_ratio(label, 2 * probability) == pytest.approx(2, abs=0.04)


def test_without_probabilities_their_measures_are_missing():
    found = measure([0, 0], [1, 0], score=[3.0, 2.0]).to_dict()
    assert found["logloss"] is found["calibration_error"] is found["calibration_ratio"] is None
    assert json.loads(json.dumps(found)) == found


def test_prints_as_a_table():
    lines = str(measure([0, 0, 1], [1, 0, 1], score=[3, 2, 1], probability=[0.9, 0.2, 0.5])).splitlines()
    assert lines[0].split() == ["events", "3"]
    assert lines[3].split() == ["users", "left", "out", "of", "AUC", "50.0%"]
    assert lines[5].split() == ["AUC", "user", "1.0000"]
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("user", "label", "score", "message"),
    [
        ([], [], [], "no events"),
        ([0, 0], [1, 0], [np.nan, 1.0], "1 of 2 scores are NaN"),
        ([0, 0], [1, 0], [1.0], "one length"),
        ([0, 0], [1, 2], [1.0, 2.0], "label .*2.*, must be 0 or 1"),
        ([0, 0], [1, np.nan], [1.0, 2.0], "must be 0 or 1"),
        ([0.5, 0], [1, 0], [1.0, 2.0], "whole numbers"),
        ([0, 0], [1, 0], [None, 2.0], "must be numbers"),
        ([0, 0], [1, 1], [1.0, 2.0], "all 2 events are clicks"),
        ([0, 0], [0, 0], [1.0, 2.0], "all 2 events are non-clicks"),
    ],
)
def test_events_that_cannot_be_measured_are_refused(user, label, score, message):
    user = np.array(user, None if user else int)
    with pytest.raises(DataError, match=message):
        measure(user, label, score=score)


@pytest.mark.parametrize("probability", [[1.2, 0.5], [np.nan, 0.5], [0.5]])
def test_numbers_that_are_no_probabilities_are_refused(probability):
    with pytest.raises(DataError, match="probabilities"):
        measure([0, 0], [1, 0], score=[1.0, 2.0], probability=probability)
    with pytest.raises(DataError, match="probabilities"):
        logloss([1, 0], probability)


def test_calibration_needs_bins_and_a_click():
    with pytest.raises(ParameterError, match="bins"):
        calibration_error([1, 0], [0.5, 0.5], bins=0)
    with pytest.raises(DataError, match="none of the 2 events"):
        calibration_ratio([0, 0], [0.5, 0.5])
    with pytest.raises(DataError, match="at least one event"):
        calibration_error([], [])
