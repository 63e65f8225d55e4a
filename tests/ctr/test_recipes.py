"""The recipes on data small enough to count by hand, and on random data against slow loops."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict

import numpy as np
import polars as pl
import pytest

from trimodal.catalog import Catalog
from trimodal.ctr.data import PARTS, CtrData
from trimodal.ctr.negatives import negatives
from trimodal.ctr.recipes import din_2018, temporal
from trimodal.ctr.source import VisitorEvents
from trimodal.errors import DataError, ParameterError


def source(rows, columns=("user_id", "product_id", "timestamp"), items=None, **settings):
    """Events from tuples; the catalogue holds `items`, or the items of the events."""
    frame = pl.DataFrame(rows, schema=list(columns), orient="row")
    items = items or sorted(frame["product_id"].drop_nulls().unique().to_list())
    products = [{"product_id": p, "title": f"title {p}", "category": f"c{n % 2}"} for n, p in enumerate(items)]
    return VisitorEvents.from_frames(Catalog.from_records(products), frame, **settings)


def reviews(seed=0, users=40, items=30, longest=11):
    """Random reviews, several a visitor, some at the same moment, in a random order of rows."""
    rng = np.random.default_rng(seed)
    rows = []
    for u in range(users):
        n = int(rng.integers(1, longest + 1))
        chosen = rng.choice(items, n, replace=False)
        rows += [(f"u{u:02}", f"p{p:02}", 1_500_000_000 + int(rng.integers(0, 8))) for p in chosen]
    rng.shuffle(rows)
    return [tuple(row) for row in rows]


def in_order(rows):
    """Each visitor's items in order of time, ties by row, by plain Python."""
    found = defaultdict(list)
    for n, row in enumerate(rows):
        found[row[0]].append((row[2], n, row))
    return {user: [row for _, _, row in sorted(events)] for user, events in found.items()}


def told(data, part):
    """Events of a part in words: (user, item, label, history)."""
    events = data.parts[part]
    words = []
    for u, i, label, seen in zip(events.user, events.item, events.label, events.seen, strict=True):
        start = data.starts[u]
        history = [data.items[j] for j in data.history[start : start + seen]]
        words.append((data.users[u], data.items[i], int(label), history))
    return words


def test_din_2018_leaves_the_last_two_reviews_out_of_training():
    rows = [("u", p, t) for t, p in enumerate("abcde", 1_500_000_000)] + [("v", "x", 1_500_000_000)]
    data = din_2018(source(rows, items=[*"abcdexy"]))
    assert data.users == ("u",)
    positives = {part: [w for w in told(data, part) if w[2]] for part in PARTS}
    assert positives == {
        "train": [("u", "b", 1, ["a"]), ("u", "c", 1, ["a", "b"])],
        "valid": [("u", "d", 1, ["a", "b", "c"])],
        "test": [("u", "e", 1, ["a", "b", "c", "d"])],
    }
    # y is in the catalogue but nobody reviewed it; x is left, of a visitor who is left out.
    assert {w[1] for part in PARTS for w in told(data, part) if not w[2]} == {"x"}
    assert data.manifest["counts"]["left_out"]["users_short"] == 1
    assert data.manifest["monitor"] == "auc_user"


def test_din_2018_is_what_a_slow_loop_makes():
    rows = reviews()
    ordered = in_order(rows)
    data = din_2018(source(rows))
    expected = {part: [] for part in PARTS}
    for user in sorted(u for u, events in ordered.items() if len(events) >= 3):
        items = [row[1] for row in ordered[user]]
        for k in range(1, len(items)):
            part = "test" if k == len(items) - 1 else "valid" if k == len(items) - 2 else "train"
            expected[part].append((user, items[k], 1, items[:k]))
    for part in PARTS:
        words = told(data, part)
        assert words[::2] == expected[part]
        for positive, negative in zip(words[::2], words[1::2], strict=True):
            assert negative[2] == 0
            assert (negative[0], negative[3]) == (positive[0], positive[3])
            assert negative[1] not in {row[1] for row in ordered[positive[0]]}


def test_the_number_of_samples_follows_the_papers_formula():
    rows = reviews(seed=1)
    lengths = [len(events) for events in in_order(rows).values() if len(events) >= 3]
    r, u = sum(lengths), len(lengths)
    data = din_2018(source(rows))
    assert data.manifest["counts"]["samples"] == 2 * (r - 2 * u) + u
    assert [len(data.parts[part]) for part in PARTS] == [2 * (r - 3 * u), 2 * u, 2 * u]


@pytest.mark.parametrize(
    ("reviews", "users", "samples"),
    [(1_689_188, 192_403, 2_801_167), (551_682, 66_519, 903_807), (194_439, 27_879, 305_241)],
)
def test_the_formula_gives_the_papers_three_sample_counts(reviews, users, samples):
    train, valid, test = reviews - 3 * users, users, users
    assert 2 * train + 2 * valid + test == 2 * (reviews - 2 * users) + users == samples


def test_negatives_are_uniform_over_the_items_a_visitor_has_no_event_with():
    user = np.repeat([0, 1], [4, 1]).astype(np.int32)
    item = np.array([2, 3, 7, 9, 5], np.int32)
    pool = np.array([1, 2, 3, 5, 7, 9, 11], np.int32)
    asked = np.tile(np.array([0, 1], np.int32), 30_000)
    drawn = negatives(user, item, pool, asked, np.random.default_rng(0), ("a", "b"))
    for one, free in ((0, [1, 5, 11]), (1, [1, 2, 3, 7, 9, 11])):
        values, counts = np.unique(drawn[asked == one], return_counts=True)
        assert values.tolist() == free
        expected = 30_000 / len(free)
        assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_a_visitor_who_reviewed_every_item_is_an_error_with_a_way_out():
    rows = [("u", p, 1_500_000_000) for p in "abc"] + [("v", p, 1_500_000_000) for p in "ab"]
    with pytest.raises(DataError, match=r"visitor 'u' has events with all 3 items.*Leave such visitors out"):
        din_2018(source(rows, items=[*"abcd"]))


def test_visitors_of_fewer_than_three_reviews_alone_are_an_error():
    with pytest.raises(DataError, match="no visitor has 3 events"):
        din_2018(source([("u", "a", 1_500_000_000), ("v", "b", 1_500_000_000)]))


def test_the_same_seed_gives_the_same_data_and_another_seed_other_negatives():
    events = source(reviews())
    first, again, other = din_2018(events), din_2018(events), din_2018(events, seed=1)
    assert first.fingerprint == again.fingerprint == first.hash()
    assert first.fingerprint != other.fingerprint
    assert (first.parts["test"].item[::2] == other.parts["test"].item[::2]).all()


def test_a_sample_of_visitors_keeps_all_items_and_each_visitors_events():
    rows = reviews(users=60)
    everyone = din_2018(source(rows))
    data = din_2018(source(rows), sample_users=2)
    assert len(data.users) == 2
    assert len(data.items) == len(everyone.items)
    assert data.manifest["parameters"]["sample_users"] == 2
    assert data.manifest["counts"]["left_out"]["users_not_sampled"] == len(everyone.users) - 2
    positives = [w for w in told(everyone, "test") if w[2] and w[0] in data.users]
    assert [w for w in told(data, "test") if w[2]] == positives
    own = {row[1] for row in rows if row[0] in data.users}
    drawn = {w[1] for seed in range(40) for w in told(din_2018(source(rows), sample_users=2, seed=seed), "train")}
    assert drawn > own
    with pytest.raises(ParameterError, match="sample_users == 99, must be <="):
        din_2018(source(rows), sample_users=99)


def test_reviews_labelled_0_are_no_clicks_and_repeats_stay():
    rows = [("u", p, 1_500_000_000 + t, y) for t, (p, y) in enumerate(zip("abacb", [1, 1, 1, 0, 1], strict=True))]
    rows += [("v", "x", 1_500_000_000, 1)]
    data = din_2018(source(rows, ("user_id", "product_id", "timestamp", "label")))
    assert next(w for w in told(data, "test") if w[2]) == ("u", "b", 1, ["a", "b", "a"])
    assert data.manifest["counts"]["left_out"]["events_labelled_0"] == 1
    assert data.manifest["counts"]["repeats"] == 2


def rated(seed=0):
    rng = np.random.default_rng(seed)
    return [(*row, int(rng.integers(1, 6))) for row in reviews(seed, users=60, longest=28)]


RATED = ("user_id", "product_id", "timestamp", "rating")


@pytest.mark.parametrize("by", ["user", "time"])
@pytest.mark.parametrize("history", ["running", "frozen"])
def test_temporal_is_what_a_slow_loop_makes(by, history):
    rows = rated()
    data = temporal(source(rows, RATED), by=by, history=history, threshold=3)
    ordered = in_order(rows)
    times = sorted(row[2] for row in rows)
    cut = times[len(times) - len(times) // 5]
    before = [t for t in times if t < cut]
    valid = before[len(before) - len(before) // 10]
    expected = {part: [] for part in PARTS}
    for user, events in sorted(ordered.items()):
        n = len(events)
        m = n - n // 5
        train = []
        for k, (_, item, time, rating) in enumerate(events):
            if by == "user":
                part = "test" if k >= m else "valid" if k >= m - m // 10 else "train"
            else:
                part = "test" if time >= cut else "valid" if time >= valid else "train"
            if part == "train":
                train.append(k)
            seen = [
                e[1] for j, e in enumerate(events)
                if e[2] < time and e[3] >= 3 and (history == "running" or part == "train" or j in train)
            ]  # fmt: skip
            expected[part].append((user, item, int(rating >= 3), seen))
    assert {part: told(data, part) for part in PARTS} == expected
    assert data.manifest["monitor"] == "auc_pooled"


def test_the_parts_by_time_do_not_overlap_in_time():
    rows = rated(3)
    data = temporal(source(rows, RATED), by="time", test=0.3, validation=0.3)
    time = {(row[0], row[1]): row[2] for row in rows}
    span = {part: [time[w[0], w[1]] for w in told(data, part)] for part in PARTS}
    assert max(span["train"]) < min(span["valid"])
    assert max(span["valid"]) < min(span["test"])
    assert len(span["test"]) >= int(0.3 * len(rows))


def test_labels_go_before_ratings():
    rows = [(*row[:3], int(row[3] % 2), row[3]) for row in rated()]
    events = source(rows, ("user_id", "product_id", "timestamp", "label", "rating"))
    data = temporal(events)
    positives = data.manifest["counts"]["positives"]
    assert sum(positives.values()) == sum(row[3] for row in rows)
    assert data.manifest["parameters"]["threshold"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": 0.0}, r"test == 0.0, must be above 0"),
        ({"validation": 1.0}, r"validation == 1.0"),
        ({"by": "item"}, r"by == 'item', must be one of user, time"),
        ({"history": "none"}, r"history == 'none', must be one of running, frozen"),
    ],
)
def test_parameters_out_of_range_are_named(change, message):
    with pytest.raises(ParameterError, match=message):
        temporal(source(rated(), RATED), **change)


def test_clicks_alone_are_refused_with_the_way_out():
    with pytest.raises(DataError, match=r"neither a column 'label'.*din-2018"):
        temporal(source(reviews()))
    with pytest.raises(DataError, match=r"of the part 'train' are clicks.*din-2018"):
        temporal(source(rated(), RATED), threshold=1)
    with pytest.raises(DataError, match=r"of the part 'train' are not clicked"):
        temporal(source(rated(), RATED), threshold=9)


def test_too_few_events_for_a_part_are_refused():
    rows = [("u", p, 1_500_000_000 + n, 5 * (n % 2)) for n, p in enumerate("abcde")]
    with pytest.raises(DataError, match=r"the part 'valid' has no event.*of each visitor alone"):
        temporal(source(rows, RATED), test=0.4)


def test_bad_rows_are_counted_by_reason_and_too_many_fail():
    rows = [(f"u{n}", "a", "1500000000", "5") for n in range(40)]
    bad = [
        (None, "a", "1500000000", "5"),
        ("u", "", "1500000000", "5"),
        ("u", "zz", "1500000000", "5"),
        ("u", "a", "yesterday", "5"),
        ("u", "a", "12", "5"),
        ("u", "a", "1500000000", "good"),
    ]
    found = source(rows + bad, RATED, items=["a"], max_rejected=0.2)
    assert len(found) == 40
    assert {reason.split(";")[0]: n for _, reason, n in found.rejections.reasons()} == {
        "user_id is empty": 1,
        "product_id is empty": 1,
        "product is not in the catalogue": 1,
        "timestamp does not parse": 1,
        "timestamp is before 1990 or after 2100": 1,
        "rating is not a number": 1,
    }
    with pytest.raises(DataError, match="6 of 46 rows were rejected"):
        source(rows + bad, RATED, items=["a"])


def test_labels_other_than_0_and_1_are_rejected_and_jumps_left_out():
    columns = ("user_id", "product_id", "timestamp", "label", "event")
    rows = [("u", "a", 1_500_000_000, y, e) for y, e in [("1", None), ("0", "CLICK"), ("1", "jump"), ("2", "click")]]
    found = source([*rows, ("u", "a", 1_500_000_000, "1", "view")], columns, max_rejected=0.5)
    assert found.label.tolist() == [1, 0]
    assert found.jumps == 1
    assert {reason for _, reason, _ in found.rejections.reasons()} == {
        "label is neither 0 nor 1",
        "event is neither of click, jump",
    }


def test_a_folder_is_read_with_the_hashes_of_its_files_and_the_data_survive_a_round_trip(tmp_path):
    (tmp_path / "products.csv").write_text("product_id,title,category\n" + "".join(f"p{n:02},t,\n" for n in range(30)))
    lines = "".join(",".join(map(str, row)) + "\n" for row in reviews())
    (tmp_path / "clicks.csv").write_text("user_id,product_id,timestamp\n" + lines)
    data = din_2018(VisitorEvents.read(tmp_path))
    assert data.manifest["inputs"] == {
        name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("products.csv", "clicks.csv")
    }
    assert (data.category == 0).all()
    data.write(tmp_path / "prepared")
    back = CtrData.read(tmp_path / "prepared")
    assert back.manifest == json.loads(json.dumps(data.manifest))
    assert back.hash() == data.fingerprint
    for part in PARTS:
        assert [c.dtype for c in vars(back.parts[part]).values()] == [np.int32, np.int32, np.uint8, np.int32]


def test_a_folder_without_visitors_says_which_column_is_missing(tmp_path, shop):
    with pytest.raises(DataError, match="has no column 'user_id'"):
        VisitorEvents.read(shop)
    (shop / "clicks.csv").unlink()
    with pytest.raises(DataError, match=r"holds no clicks.csv"):
        VisitorEvents.read(shop)
