"""Files are read row by row accounted for, whatever is wrong with them."""

from __future__ import annotations

import json

import polars as pl
import pytest

from trimodal.errors import DataError
from trimodal.rejections import Rejections
from trimodal.tables import ROW, find_table, read_table


def read(path, **options):
    rejections = Rejections()
    table, records = read_table(path, rejections, required=["product_id"], **options)
    return table, records, [(r.row, r.reason) for r in rejections]


def test_csv_numbers_rows_and_names_those_that_do_not_parse(tmp_path):
    path = tmp_path / "products.csv"
    path.write_bytes(b'\xef\xbb\xbfproduct_id,title\na,"one\ntwo"\nb,x,y\n\nc\nd,caf\xe9\ne,"caf\xc3\xa9, fine"\n')
    table, records, bad = read(path)
    assert table["product_id"].to_list() == ["a", "e"]
    assert table["title"].to_list() == ["one\ntwo", "café, fine"]
    assert table[ROW].to_list() == [1, 5]
    assert records == 5
    assert bad == [
        (2, "3 fields where the header has 2"),
        (3, "1 fields where the header has 2"),
        (4, "bytes that are not utf-8; save the file as UTF-8, or give --encoding"),
    ]


@pytest.mark.parametrize(
    ("lines", "kept", "bad"),
    [
        (["1,a", '2,"b', "3,c", "4,d"], ["1"], [2, 3, 4]),
        (["1,a", '2,"b', '3,c"', "4,d"], ["1", "4"], [2, 3]),
        (["1,a", '2,"b', "3,c", '4,"d', "5,e", "x,y,z", "6,f"], ["1", "5", "6"], [2, 3, 4, 6]),
        (['1,"two', 'lines"', "2,b"], ["1", "2"], []),
        (['1,"Set of', "2 cups, white", 'new"', "2,b"], ["1", "2"], []),
        (['1,"Nice', 'red, blue"', "2,b"], ["1", "2"], []),
    ],
)
def test_a_quote_left_open_does_not_swallow_rows_silently(tmp_path, lines, kept, bad):
    path = tmp_path / "products.csv"
    path.write_text("product_id,title\n" + "\n".join(lines) + "\n")
    table, records, found = read(path)
    assert table["product_id"].to_list() == kept
    assert [row for row, _ in found] == bad
    assert records == len(kept) + len(bad)
    if kept[-1] == "6":
        assert table[ROW].to_list() == [1, 5, 7]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_csv_with_another_delimiter(tmp_path, delimiter):
    path = tmp_path / "products.csv"
    path.write_text(f"product_id{delimiter}title\na{delimiter}x, y\n", encoding="utf-8")
    assert read(path)[0].row(0)[:2] == ("a", "x, y")


def test_csv_in_another_encoding(tmp_path):
    path = tmp_path / "products.csv"
    path.write_bytes("product_id,title\na,Çay bardağı\n".encode("cp1254"))
    assert read(path, encoding="cp1254")[0]["title"].to_list() == ["Çay bardağı"]
    with pytest.raises(DataError, match="unknown encoding 'nonsense'"):
        read(path, encoding="nonsense")
    with pytest.raises(DataError, match="unknown encoding 'rot13'"):
        read(path, encoding="rot13")
    with pytest.raises(DataError, match=r"utf-16"):
        read(path, encoding="utf-16")


def test_utf16_is_one_clear_error(tmp_path):
    for name in ("products.csv", "products.jsonl"):
        path = tmp_path / name
        path.write_bytes("product_id,title\na,b\n".encode("utf-16"))
        with pytest.raises(DataError, match="UTF-16"):
            read(path)


@pytest.mark.parametrize(
    ("lines", "kept", "bad"),
    [
        (["1,a,9", '2,"b,9', "3,c,9", "4,d,9"], ["1"], [2, 3, 4]),
        (["1,a,9", '2,"b,9', '3,"c,9', "4,d,9"], ["1", "4"], [2, 3]),
        (["1,a,9", '2,"b,9', '3,"c, red",9', "4,d,9"], ["1", "4"], [2, 3]),
        (["1,a,9", '2,"b,9', "3,c,9", "4,d", '5,"e,1', "6,f,9"], ["1", "6"], [2, 3, 4, 5]),
        (['1,a,"Good shoes.', "red, blue, green", 'Cheap"', "2,b,9"], ["1", "2"], []),
    ],
)
def test_a_quote_left_open_in_a_column_that_is_not_the_last(tmp_path, lines, kept, bad):
    path = tmp_path / "products.csv"
    path.write_text("product_id,title,note\n" + "\n".join(lines) + "\n")
    table, records, found = read(path)
    assert table["product_id"].to_list() == kept
    assert [row for row, _ in found] == bad
    assert records == len(kept) + len(bad)
    assert table[ROW].to_list() == [i + 1 for i in range(records) if i + 1 not in bad]


def test_one_wrong_byte_costs_a_row_in_any_encoding(tmp_path):
    path = tmp_path / "products.csv"
    path.write_bytes("product_id;title;price\n1;Çay;2\n2;x".encode("cp1254") + b"\x81y;3\n3;z;4\n")
    table, records, bad = read(path, encoding="cp1254")
    assert table["title"].to_list() == ["Çay", "z"]
    assert (records, [row for row, _ in bad]) == (3, [2])


def test_the_delimiter_is_the_one_that_makes_the_columns(tmp_path):
    path = tmp_path / "products.csv"
    path.write_text('product_id;title;"Fiyat, TL"\n1;a;9\n')
    assert read(path)[0].columns[:3] == ["product_id", "title", "Fiyat, TL"]


def test_jsonl_good_and_broken(tmp_path):
    path = tmp_path / "products.jsonl"
    rows = [{"product_id": "a", "title": "x"}, {"product_id": 7, "title": None, "extra": 1.5}]
    path.write_text("\n".join(map(json.dumps, rows[:1])) + "\n")
    table, records, bad = read(path)
    assert (table["product_id"].to_list(), records, bad) == (["a"], 1, [])
    path.write_bytes(
        json.dumps(rows[0]).encode() + b"\n{broken\n\n[1]\n" + json.dumps(rows[1]).encode() + b"\n\xff\xfe{}\n"
    )
    table, records, bad = read(path)
    assert table["product_id"].to_list() == ["a", "7"]
    assert table[ROW].to_list() == [1, 4]
    assert records == 5
    assert [row for row, _ in bad] == [2, 3, 5]
    assert "not a JSON object" in bad[0][1]


def test_jsonl_names_values_of_a_wrong_type_and_takes_a_byte_order_mark(tmp_path):
    path = tmp_path / "products.jsonl"
    lines = [
        '{"product_id": "a"}',
        '{"product_id": 1.5}',
        '{"product_id": {"x": 1}}',
        "[" * 100_000,
        '{"product_id": 7}',
    ]
    path.write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    rejections = Rejections()
    table, records = read_table(path, rejections, required=["product_id"], text=["product_id"])
    assert table["product_id"].to_list() == ["a", "7"]
    assert records == 5
    assert [(r.row, r.reason.split(",")[0]) for r in rejections] == [
        (2, "product_id is a float"),
        (3, "product_id is a dict"),
        (4, "not a JSON object on one line"),
    ]
    mixed = ['{"product_id": "a"}', '{"product_id": true}', '{"product_id": "\\ud83d"}', '{"product_id": ["x"]}']
    path.write_text("\n".join(mixed) + "\n")
    table, records = read_table(path, rejections, required=["product_id"], text=["product_id"])
    assert (table["product_id"].to_list(), records) == (["a"], 4)
    path.write_text('{"product_id": "2024-01-01"}\n')
    assert read_table(path, rejections, required=["product_id"], text=["product_id"])[0]["product_id"].to_list() == [
        "2024-01-01"
    ]
    path.write_text("\n".join(lines[:1]) + "\n", encoding="utf-16")
    assert read(path, encoding="utf-16")[0]["product_id"].to_list() == ["a"]


def test_parquet_and_what_is_not_parquet(tmp_path):
    path = tmp_path / "products.parquet"
    pl.DataFrame({"product_id": [1, 2]}).write_parquet(path)
    assert read(path)[0][ROW].to_list() == [1, 2]
    path.write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("products.csv", b"", "is empty"),
        ("products.csv", b"id,title\n1,x\n", "has no column 'product_id'; it has 'id', 'title'"),
        ("products.csv", b"product_id,title,title\n1,x,y\n", "a column name occurs twice"),
        ("products.jsonl", b"nonsense\n", "holds no usable JSON object"),
        ("products.xlsx", b"PK", "unknown format '.xlsx'"),
        ("products.csv", b"\n\n", "has no header line"),
    ],
)
def test_unusable_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / name)


def test_two_files_of_one_name_are_refused(tmp_path):
    assert find_table(tmp_path, "clicks") is None
    (tmp_path / "clicks.csv").touch()
    (tmp_path / "clicks.jsonl").touch()
    with pytest.raises(DataError, match="keep one of them"):
        find_table(tmp_path, "clicks")
