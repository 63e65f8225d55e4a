"""The command `evaluate report`: a page and, if asked, its content as JSON; clear words for wrong options."""

from __future__ import annotations

import json

from trimodal.cli import run


def test_quick_report(shop, tmp_path, capsys):
    page = tmp_path / "report.html"
    options = ["--quick", "--modalities", "text,click", "--click-option", "dimension=16", "--json"]
    assert run(["evaluate", "report", str(shop), "-o", str(page), *options]) == 0
    captured = capsys.readouterr()
    content = json.loads(captured.out)
    assert content["sections"]["data"]["products"] == 9
    assert "needs at least two categories and ten products" in content["sections"]["clustering"]["left_out"]
    assert content["sections"]["next_clicks"]["rows"]
    assert "--quick" in content["sections"]["cold_start"]["left_out"]
    assert content["sections"]["run"]["options"]["questions"] == 2000
    assert "report: next clicks" in captured.err
    assert "red shoe" in page.read_text(encoding="utf-8")
    assert not list(tmp_path.glob(".*tmp"))


def test_wrong_options_cost_no_work(shop, tmp_path, capsys):
    for options, words in (
        (["-o", str(tmp_path / "report.pdf")], "must end in .html"),
        (["-o", str(tmp_path / "no" / "report.html")], "does not exist"),
        (["-o", str(tmp_path / "r.html"), "--seeds", "0"], "seeds == 0"),
        (["-o", str(tmp_path / "r.html"), "--categories", "1"], "must be >= 2"),
        (["-o", str(tmp_path / "r.html"), "--modalities", "smell"], "unknown modality 'smell'"),
    ):
        assert run(["evaluate", "report", str(shop), *options]) == 2
        assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("*.html"))
