"""Controls score as a plain count says, from the train part alone; shuffled histories are other visitors'."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trimodal.ctr.controls import SCORES, SMOOTHING, with_shuffled_histories
from trimodal.ctr.data import PARTS


def naive(data, part):
    """Scores by name, an event at a time."""
    train = list(zip(*(getattr(data.parts["train"], c).tolist() for c in ("user", "item", "label")), strict=True))
    overall = sum(label for *_, label in train) / len(train)

    def mean(labels):
        return (sum(labels) + SMOOTHING * overall) / (len(labels) + SMOOTHING)

    found = {"popularity": [], "item mean": [], "item + user mean": []}
    events = data.parts[part]
    for user, item in zip(events.user.tolist(), events.item.tolist(), strict=True):
        of_item = [label for _, i, label in train if i == item]
        of_user = [label for u, _, label in train if u == user]
        found["popularity"].append(sum(of_item))
        found["item mean"].append(mean(of_item))
        found["item + user mean"].append(mean(of_item) + mean(of_user))
    return found


@pytest.mark.parametrize("part", ["valid", "test"])
def test_popularity_and_means_are_plain_counts_of_the_train_part(small, part):
    for name, expected in naive(small.data, part).items():
        scores = SCORES[name](small.data, part, 0)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected, rtol=1e-6)
        assert len(np.unique(scores)) > 3


def test_nothing_but_the_train_part_and_the_events_to_score_is_looked_at(small):
    data = small.data
    turned = {part: replace(data.parts[part], label=1 - data.parts[part].label) for part in ("valid", "test")}
    blind = replace(data, parts={**data.parts, **turned}, history=data.history[:0], starts=data.starts * 0)
    for score in SCORES.values():
        for part in ("valid", "test"):
            np.testing.assert_array_equal(score(data, part, 1), score(blind, part, 1))


def test_random_scores_are_drawn_by_seed_and_part(small):
    random = SCORES["random"]
    one = random(small.data, "test", 0)
    np.testing.assert_array_equal(one, random(small.data, "test", 0))
    assert (one != random(small.data, "test", 1)).all()
    assert len(np.unique(one)) == len(one) > 100
    assert abs(one.mean() - 0.5) < 0.1
    valid = random(small.data, "valid", 0)
    assert (valid != one[: len(valid)]).any()


def histories(data):
    return [tuple(data.history[a:b].tolist()) for a, b in zip(data.starts[:-1], data.starts[1:], strict=True)]


def test_every_history_is_dealt_to_one_visitor_whole(small):
    for seed in range(3):
        dealt = with_shuffled_histories(small.data, seed)
        assert dealt.starts.dtype == np.int64
        assert dealt.starts[0] == 0
        assert len(dealt.starts) == len(small.data.starts)
        assert dealt.starts[-1] == len(dealt.history) == len(small.data.history)
        assert sorted(histories(dealt)) == sorted(histories(small.data))


def test_almost_every_visitor_has_the_history_of_another_one(small):
    # A random order leaves one visitor her own on average, however many there are.
    mine = histories(small.data)
    dealt = [histories(with_shuffled_histories(small.data, seed)) for seed in range(20)]
    own = [sum(a == b for a, b in zip(mine, others, strict=True)) for others in dealt]
    assert np.mean(own) < 3
    assert max(own) < 8 < len(small.data.users)


def test_events_stay_and_what_they_see_is_cut_to_the_history_that_is_there(small):
    dealt = with_shuffled_histories(small.data, 0)
    length = np.diff(dealt.starts)
    for part in PARTS:
        before, after = small.data.parts[part], dealt.parts[part]
        for column in ("user", "item", "label"):
            assert getattr(after, column) is getattr(before, column)
        expected = [min(seen, length[user]) for seen, user in zip(before.seen.tolist(), before.user, strict=True)]
        np.testing.assert_array_equal(after.seen, np.array(expected, np.int32), strict=True)
    assert any((dealt.parts[part].seen < small.data.parts[part].seen).any() for part in PARTS)
    assert dealt.items is small.data.items


def test_the_seed_decides_who_gets_which(small):
    one, same, other = (with_shuffled_histories(small.data, seed).history for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
