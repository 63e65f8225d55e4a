"""Charts are well-formed, say what they are given, and place it to scale."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimodal.evaluation.charts import Dot, Line, dot_chart, line_chart, ticks


@given(st.floats(-1e3, 1e3), st.floats(0, 1e3))
def test_ticks_cover_and_are_few(low, span):
    marks = ticks(low, low + span)
    assert marks[0] <= low + 1e-6
    assert marks[-1] >= low + span - 1e-6
    assert 1 <= len(marks) <= 8


def test_dots_stand_where_their_values_are():
    rows = [Dot("a <b> & c", 0.25, 0.2, 0.3), Dot("b", 0.5, other=0.75), Dot("c", 1.0, accent=True)]
    tree = ElementTree.fromstring(dot_chart(rows, title='say "what"', reference=0.5, reference_label="half"))
    dots = [float(c.get("cx")) for c in tree.iter("circle")]
    assert dots[2] - dots[1] == pytest.approx(2 * (dots[1] - dots[0]), abs=0.2)
    (interval,) = [line for line in tree.iter("line") if line.get("class") == "interval"]
    assert float(interval.get("x1")) < dots[0] < float(interval.get("x2"))
    (reference,) = [line for line in tree.iter("line") if line.get("class") == "reference"]
    assert float(reference.get("x1")) == pytest.approx(dots[1], abs=0.1)
    assert len(list(tree.iter("path"))) == 1
    text = [t.text for t in tree.iter("text")]
    assert "a <b> & c" in text
    assert "0.250" in text
    assert tree.get("aria-label") == 'say "what"'


def test_lines_rise_with_their_values_and_labels_stay_apart():
    lines = [Line(f"line {i}", [(0.1, 0.2, 0.3), (0.29, 0.3, 0.31)], "#123456", dashed=i == 0) for i in range(4)]
    tree = ElementTree.fromstring(line_chart(lines, ["0", "10"], title="t"))
    series = [g for g in tree.iter("g") if g.get("class") == "series"]
    assert len(series) == 4
    for group in series:
        low, high = (float(c.get("cy")) for c in group.iter("circle"))
        assert high < low
    places = sorted(float(group.find("text").get("y")) for group in series)
    assert min(b - a for a, b in pairwise(places)) >= 14.9
    assert max(places) < 300


def test_a_chart_of_zeros():
    ElementTree.fromstring(dot_chart([Dot("none", 0.0, 0.0, 0.0)], title="t", percent=True))
    ElementTree.fromstring(line_chart([Line("none", [(0.0, 0.0, 0.0)], "#000")], ["0"], title="t"))
