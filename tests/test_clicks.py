"""Sessions: cleaning against a plain Python definition, and every kind of bad row."""

from __future__ import annotations

import json
from itertools import groupby

import daft
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimodal.clicks import ClickLog, parse_timestamps
from trimodal.errors import DataError, ParameterError
from trimodal.ids import ProductIds
from trimodal.tables import ROW

IDS = ProductIds(["a", "b", "c"])


def log_of(rows, **options):
    frame = pl.DataFrame(rows).with_columns(pl.int_range(1, pl.len() + 1).alias(ROW))
    return ClickLog.from_events(daft.from_arrow(frame.to_arrow()), IDS, **options)


def clean_by_hand(rows, low, high):
    """The definition, in plain Python."""
    sessions = {}
    for number, (session, product, time) in enumerate(rows):
        sessions.setdefault(session, []).append((time, number, product))
    clean = {}
    for session, clicks in sessions.items():
        products = [key for key, _ in groupby(product for _, _, product in sorted(clicks))]
        if low <= len(products) <= high:
            clean[session] = products
    return clean


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("stuvw"), st.sampled_from("abc"), st.integers(1_700_000_000, 1_700_000_020)),
        min_size=1,
        max_size=60,
    ),
    low=st.integers(1, 3),
    extra=st.integers(0, 6),
)
def test_cleaning_equals_the_definition(rows, low, extra):
    log = log_of(
        {
            "session_id": [r[0] for r in rows],
            "product_id": [r[1] for r in rows],
            "timestamp": [r[2] for r in rows],
        },
        min_clicks=low,
        max_clicks=low + extra,
    )
    wanted = clean_by_hand(rows, low, low + extra)
    found = dict(zip(log.sessions["session_id"], log, strict=True))
    assert found == wanted
    c = log.cleaning
    assert c.clicks == sum(map(len, wanted.values()))
    assert c.clicks + c.repeats + c.too_short + c.too_long == len(rows)
    assert log.counts().sum() == c.clicks
    started = log.sessions["started"].to_list()
    assert started == sorted(started)


def test_statistics_are_table_one():
    log = log_of(
        {
            "session_id": ["s", "s", "s", "t", "t", "u"],
            "product_id": ["a", "a", "b", "b", "c", "a"],
            "timestamp": [5, 6, 7, 1, 2, 3],
            "user_id": ["x", "x", "w", "y", "y", "z"],
        }
        | {"timestamp": [1_700_000_000 + t for t in (5, 6, 7, 1, 2, 3)]}
    )
    s = log.statistics()
    assert (s.products, s.clicks, s.sessions, s.visitors) == (3, 4, 2, 2)
    assert log.cleaning.sessions_shared == 1
    assert (s.min_clicks, s.max_clicks, s.mean_clicks) == (2, 2, 2.0)
    assert log.cleaning.sessions_too_short == 1
    assert [list(x) for x in log] == [["b", "c"], ["a", "b"]]


def test_every_bad_row_is_named(tmp_path):
    path = tmp_path / "clicks.csv"
    path.write_text(
        "session_id,product_id,timestamp,event\n"
        "s,a,2024-01-01T10:00:00Z,click\n"
        "s,b,2024-01-01 10:00:01,\n"
        ",a,2024-01-01T10:00:00Z,click\n"
        "s,,2024-01-01T10:00:00Z,click\n"
        "s,zebra,2024-01-01T10:00:00Z,click\n"
        "s,a,yesterday,click\n"
        "s,a,1066-10-14T09:00:00Z,click\n"
        "s,a,2024-01-01T10:00:02Z,hover\n"
        "s,c,1704103200,Jump\n"
        "s,a\n"
    )
    log = ClickLog.read(path, IDS, max_rejected=1.0)
    assert [list(x) for x in log] == [["a", "b"]]
    assert log.cleaning.jumps == 1
    assert log.records == 10
    reasons = {r.row: r.reason for r in log.rejections}
    assert reasons[3] == "session_id is empty"
    assert reasons[4] == "product_id is empty"
    assert reasons[5] == "product is not in the catalogue"
    assert reasons[6].startswith("timestamp does not parse")
    assert reasons[7] == "timestamp is before 1990 or after 2100"
    assert reasons[8].startswith("event is neither")
    assert reasons[10] == "3 fields where the header has 4".replace("3", "2")
    with pytest.raises(DataError, match="7 of 10 rows were rejected"):
        ClickLog.read(path, IDS)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_the_three_formats_agree(tmp_path, suffix):
    rng = np.random.default_rng(1)
    n = 500
    frame = pl.DataFrame(
        {
            "session_id": [f"s{i}" for i in rng.integers(0, 80, n)],
            "product_id": [("a", "b", "c", "nope")[i] for i in rng.choice(4, n, p=[0.4, 0.3, 0.25, 0.05])],
            "timestamp": pl.Series(1_700_000_000 + rng.integers(0, 10_000, n)).cast(pl.Int64),
        }
    )
    stamped = frame.with_columns(pl.from_epoch("timestamp").cast(pl.Datetime("us")))
    path = tmp_path / f"clicks.{suffix}"
    if suffix == "csv":
        stamped.write_csv(path)
    elif suffix == "jsonl":
        frame.write_ndjson(path)
    else:
        stamped.write_parquet(path, row_group_size=64)
    log = ClickLog.read(path, IDS)
    rows = [r for r in frame.rows() if r[1] != "nope"]
    assert dict(zip(log.sessions["session_id"], log, strict=True)) == clean_by_hand(rows, 2, 184)
    bad = [i + 1 for i, r in enumerate(frame.rows()) if r[1] == "nope"]
    assert [r.row for r in log.rejections] == bad


def test_a_session_of_thousands_of_clicks_is_left_out_and_counted():
    rng = np.random.default_rng(0)
    products = [("a", "b")[i % 2] for i in range(5000)]
    log = log_of(
        {
            "session_id": ["bot"] * 5000 + ["s"] * 2,
            "product_id": [*products, "a", "b"],
            "timestamp": [1_700_000_000 + int(i) for i in rng.permutation(5000)] + [1_700_000_000, 1_700_000_001],
        }
    )
    assert len(log) == 1
    assert log.cleaning.sessions_too_long == 1
    assert log.cleaning.sessions_unsorted == 1


def test_nothing_clean_is_empty_and_not_an_error():
    log = log_of({"session_id": ["s"], "product_id": ["a"], "timestamp": [1_700_000_000]})
    assert len(log) == 0
    assert list(log) == []
    assert log.statistics().mean_clicks == 0
    assert log.counts().tolist() == [0, 0, 0]


def test_timestamps_of_many_kinds():
    at = 1_700_000_000_000_000
    good = [
        "2023-11-14T22:13:20Z",
        "2023-11-14 22:13:20",
        "2023-11-15T01:13:20+03:00",
        "1700000000",
        "1700000000000",
    ]
    good += ["1700000000.0", "2023-11-14T22:13:20.000", " 1700000000 "]
    assert parse_timestamps(pl.Series(good)).to_list() == [at] * len(good)
    assert parse_timestamps(pl.Series(["2023-11-14T22:13", "2023-11-14"])).to_list() == [
        at - 20_000_000,
        at - (22 * 3600 + 13 * 60 + 20) * 1_000_000,
    ]
    assert parse_timestamps(pl.Series(["2023-11-14T22:13Z"])).to_list() == [at - 20_000_000]
    assert parse_timestamps(pl.Series(["", None, "soon"])).to_list() == [None] * 3
    assert parse_timestamps(pl.Series([1_700_000_000, None])).to_list() == [at, None]
    assert parse_timestamps(pl.Series([1.7e18])).to_list() == [at]
    with pytest.raises(DataError, match="must be a time"):
        parse_timestamps(pl.Series([[1]]))


def test_wrong_arguments(tmp_path):
    with pytest.raises(ParameterError, match="max_clicks == 1, must be >= 2"):
        log_of({"session_id": ["s"], "product_id": ["a"], "timestamp": [1]}, max_clicks=1)
    with pytest.raises(ParameterError, match="must be <= 10000"):
        log_of({"session_id": ["s"], "product_id": ["a"], "timestamp": [1]}, max_clicks=20_000)
    with pytest.raises(DataError, match="does not exist"):
        ClickLog.read(tmp_path / "clicks.parquet", IDS)
    pl.DataFrame({"session_id": ["s"], "product_id": ["a"]}).write_parquet(tmp_path / "clicks.parquet")
    with pytest.raises(DataError, match="no column 'timestamp'"):
        ClickLog.read(tmp_path / "clicks.parquet", IDS)
    pl.DataFrame({"session_id": [1.0], "product_id": ["a"], "timestamp": [1]}).write_parquet(
        tmp_path / "clicks.parquet"
    )
    with pytest.raises(DataError, match="must be text or whole numbers"):
        ClickLog.read(tmp_path / "clicks.parquet", IDS)
    (tmp_path / "clicks.jsonl").write_text(json.dumps({"session_id": "s", "product_id": "a", "timestamp": [1]}) + "\n")
    with pytest.raises(DataError, match="must be a time"):
        ClickLog.read(tmp_path / "clicks.jsonl", IDS, min_clicks=1)


@pytest.mark.parametrize(
    "wrong", [{"session_id": [["s"]]}, {"user_id": [{"a": 1}]}, {"timestamp": [True]}, {"product_id": [b"a"]}]
)
def test_columns_of_a_wrong_type_are_refused_before_anything_runs(tmp_path, capfd, wrong):
    frame = pl.DataFrame({"session_id": ["s"], "product_id": ["a"], "timestamp": [1]} | wrong)
    frame.write_parquet(tmp_path / "clicks.parquet")
    with pytest.raises(DataError, match=f"column '{next(iter(wrong))}' is of type"):
        ClickLog.read(tmp_path / "clicks.parquet", IDS)
    assert capfd.readouterr().err == ""


def test_a_column_named_row_and_a_damaged_page(tmp_path):
    path = tmp_path / "clicks.parquet"
    frame = pl.DataFrame(
        {"session_id": ["s", "s"], "product_id": ["a", "b"], "timestamp": [1_700_000_000] * 2, "row": [7, 8]}
    )
    frame.write_parquet(path, compression="zstd")
    assert [list(x) for x in ClickLog.read(path, IDS)] == [["a", "b"]]
    data = bytearray(path.read_bytes())
    data[8:60] = bytes(52)
    path.write_bytes(data)
    with pytest.raises(DataError, match="cannot be read"):
        ClickLog.read(path, IDS)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_was_shown_and_not_clicked_is_no_click(tmp_path, suffix):
    times = [f"2024-01-01T00:0{minute}:00" for minute in range(4)]
    rows = pl.DataFrame(
        {"session_id": ["s"] * 4, "product_id": list("abac"), "timestamp": times, "label": [1, 0, 0, 1]}
    )
    path = tmp_path / f"clicks{suffix}"
    rows.write_csv(path) if suffix == ".csv" else rows.write_parquet(path)
    log = ClickLog.read(path, ProductIds(["a", "b", "c"]))
    assert list(log) == [["a", "c"]]
    assert (log.cleaning.clicks, log.cleaning.shown, log.cleaning.repeats) == (2, 2, 0)
