"""The report: every section on a whole market; a sentence in place of what poor data do not allow; a page that is safe
to open, needs no network, and whose map works in a browser."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

from trimodal import Embedding, Provenance
from trimodal.cli import run
from trimodal.datasets.simulate import simulate
from trimodal.errors import ParameterError
from trimodal.evaluation.report import collect_report
from trimodal.evaluation.report_map import category_colors, script_json
from trimodal.evaluation.report_page import SECTIONS
from trimodal.evaluation.report_parts import LeftOut, ReportOptions

HOSTILE = '</script><script>document.title="broken"</script><img src=x onerror="alert(1)"> & "quotes" \u2028 end'
SMALL = ReportOptions(
    sample=60, points=60, seeds=2, categories=(2, 4), questions=200, click_parameters={"dimension": 16, "epochs": 4}
)
BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")


class Page(HTMLParser):
    """Tags with attributes, text by section, and the content of scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.scripts, self._section, self._script = [], {}, [], None, False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self._section = dict(attrs)["id"]
        if tag == "script":
            self._script = True
            self.scripts.append("")

    def handle_endtag(self, tag):
        if tag == "section":
            self._section = None
        if tag == "script":
            self._script = False

    def handle_data(self, data):
        if self._script:
            self.scripts[-1] += data
        else:
            self.text[self._section] = self.text.get(self._section, "") + data

    def values(self, tag, name):
        return [attrs[name] for found, attrs in self.tags if found == tag and name in attrs]


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """A simulated market with ready-made vectors; the titles of every tenth product, and a category, are hostile."""
    folder = tmp_path_factory.mktemp("market") / "shop"
    simulate(folder, products=90, sessions=1500, categories=4, seed=2, vectors=True)
    table = pl.read_csv(folder / "products.csv", infer_schema=False)
    tenth = pl.int_range(pl.len()) % 10 == 0
    first = table["category"].unique().sort()[0]
    table.with_columns(
        pl.when(tenth).then(pl.lit(HOSTILE) + pl.col("product_id")).otherwise("title").alias("title"),
        pl.col("category").replace(first, HOSTILE),
    ).write_csv(folder / "products.csv")
    return folder


@pytest.fixture(scope="module")
def report(market):
    files = [f"{name}={market / 'vectors' / f'{name}.parquet'}" for name in ("text", "image")]

    def vectors(data):
        return {name: Embedding.read(file, name, data.catalog.ids) for name, file in (f.split("=") for f in files)}

    return collect_report(market, options=SMALL, vectors=vectors, vector_files=files)


@pytest.fixture(scope="module")
def written(report, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert report.write(path) == path.stat().st_size
    return path


@pytest.fixture(scope="module")
def page(written):
    return Page(written.read_text(encoding="utf-8"))


def test_every_section_is_there(report, page):
    assert page.values("section", "id") == list(SECTIONS)
    assert page.values("a", "href") == [f"#{name}" for name in SECTIONS]
    assert report.simulated
    assert "A simulated market" in page.text[None]
    for found in (report.clustering, report.map, report.next_clicks, report.answered, report.disagreements):
        assert not isinstance(found, LeftOut), found
    assert "0.9153" in page.text["clustering"]
    assert "pattern to compare with, not a target" in page.text["clustering"]
    assert f"{report.clustering.grid.rows[0].ari:.4f}" in page.text["clustering"]
    assert "all three less the best single modality" in page.text["clustering"]
    for row in report.next_clicks.rows:
        assert f"{row.hit_rate:.4f}" in page.text["next-click"]
    assert "co-occurrence" in page.text["next-click"]
    for row in report.cold_start.rows:
        assert f"{row.hit_rate:.4f}" in page.text["cold-start"]
    assert "Where two strategies disagree most" in page.text["examples"]
    assert "915,817" in page.text["data"]


def test_the_page_needs_no_network_and_runs_its_own_script_alone(written, page):
    for tag, attrs in page.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            if tag not in ("a",) and name in attrs:
                assert attrs[name].startswith("data:image/jpeg;base64,"), (tag, name)
        assert not [name for name in attrs if name.startswith("on")], tag
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
    text = written.read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|\bfetch\(|XMLHttpRequest", text)
    assert len(page.scripts) == 2
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    digest = re.search(r"script-src 'sha256-([^']+)'$", policy)[1]
    assert base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode() == digest
    assert "default-src 'none'" in policy


def test_hostile_titles_are_words(report, page):
    data = json.loads(page.scripts[0])
    assert sum(title.startswith("</script><script>") for title in data["title"]) > 0
    assert HOSTILE in data["categories"]
    assert HOSTILE in page.values("span", "title")
    assert "</" not in page.scripts[0]
    assert report.map.categories == tuple(data["categories"])


def test_the_map_holds_what_was_laid_out(report, page):
    data = json.loads(page.scripts[0])
    drawn = report.map
    assert sorted(data["id"]) == sorted(drawn.ids)
    order = drawn.ids.find(data["id"])
    assert [data["categories"][g] for g in data["group"]] == [drawn.categories[g] for g in drawn.group[order]]
    x, y = np.array(data["x"]), np.array(data["y"])
    assert (min(x), min(y), max(max(x), max(y))) == (0, 0, 10_000)
    # The picture is the layout, upright: only shifted, scaled and turned to a y that grows downwards.
    assert np.corrcoef(x, drawn.layout[order, 0])[0, 1] > 0.999999
    assert np.corrcoef(y, drawn.layout[order, 1])[0, 1] < -0.999999
    still = [attrs["d"] for tag, attrs in page.tags if tag == "path" and "stroke" in attrs]
    assert sum(path.count("M") for path in still) == len(drawn.ids)
    assert len(page.values("button", "data-group")) == len(drawn.categories)


def test_pictures_on_the_map_are_bounded(market, report):
    from trimodal.evaluation.report_map import map_view

    catalog = report.recommender.catalog_
    for most in (0, 3, 20):
        view = map_view(report.map, catalog, pictures=most)
        assert view.pictures <= most
        assert sum(map(bool, json.loads(str(view.data))["picture"])) == view.pictures
    assert view.pictures > 4
    assert sum(entry.picture is not None for entry in view.legend) > 0


def test_json_and_the_record(market, report):
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert set(content["sections"]) == {
        "data", "clustering", "map", "next_clicks", "cold_start", "examples", "run"
    }  # fmt: skip
    run_ = content["sections"]["run"]
    files = {f["name"]: f["sha256"] for f in run_["files"]}
    assert set(files) == {"products.csv", "clicks.csv", "text.parquet", "image.parquet"}
    assert files["clicks.csv"] == hashlib.sha256((market / "clicks.csv").read_bytes()).hexdigest()
    assert run_["libraries"]["numpy"] == np.__version__
    assert {e["modality"] for e in run_["encoders"]} == {"text", "image", "click"}
    assert "--click-option dimension=16" in run_["command"]
    assert len(content["sections"]["map"]["products"]["x"]) == len(report.map.ids)


def test_everything_rests_on_the_earlier_sessions(report):
    log_sessions = report.data.table["sessions"]
    held_out = round(SMALL.held_out * log_sessions)
    assert f"{held_out:,} sessions from" in report.notes[0]
    assert report.recommender.click_counts_.sum() < report.data.table["clicks"]
    assert report.next_clicks.sessions <= held_out


def test_the_command_of_the_record_makes_the_same_numbers(market, report, tmp_path, capsys):
    words = report.run.command.split()
    assert words[:3] == ["trimodal", "evaluate", "report"]
    words[words.index("-o") + 1] = str(tmp_path / "again.html")
    assert run([*words[1:], "--json"]) == 0
    captured = capsys.readouterr()
    again, first = json.loads(captured.out), report.to_dict()
    for name in ("clustering", "map", "next_clicks", "cold_start", "examples"):
        assert again["sections"][name] == json.loads(json.dumps(first["sections"][name])), name
    assert (tmp_path / "again.html").stat().st_size > 100_000
    assert "report: clustering" in captured.err


# ---------------------------------------------------------------------- poor data


def poor(folder, *, categories=True, clicks=0, products=40, titles=True):
    """A data folder with titles, and whatever else is asked for."""
    folder.mkdir()
    with open(folder / "products.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["product_id", "title", *(["category"] if categories else [])])
        for i in range(products):
            writer.writerow([f"p{i}", f"thing {i}" if titles else "", *([f"c{i % 3}"] if categories else [])])
    if clicks:
        with open(folder / "clicks.csv", "w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["session_id", "product_id", "timestamp"])
            for n in range(clicks):
                for step in range(2):
                    writer.writerow([f"s{n}", f"p{(3 * n + step) % products}", 1_700_000_000 + 60 * n + step])
    return folder


def text_vectors(data):
    rng = np.random.default_rng(0)
    n = len(data.catalog)
    vectors = (4 * np.eye(3, 8)[np.arange(n) % 3] + rng.normal(size=(n, 8))).astype(np.float32)
    return {"text": Embedding.join("text", data.catalog.ids, list(data.catalog.ids), vectors, Provenance("blobs"))}


def sections(report, tmp_path):
    """Which sections are left out, and the text of the page."""
    report.write(tmp_path / "page.html")
    found = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert found.values("section", "id") == list(SECTIONS)
    names = ("clustering", "map", "next_clicks", "cold_start", "answered", "disagreements")
    out = {name: getattr(report, name).reason for name in names if isinstance(getattr(report, name), LeftOut)}
    text = " ".join(" ".join(found.text.values()).split())
    for reason in out.values():
        assert " ".join(reason.split()) in text
    return out, text


def test_text_alone(tmp_path):
    report = collect_report(poor(tmp_path / "shop"), options=SMALL, vectors=text_vectors)
    out, text = sections(report, tmp_path)
    assert set(out) == {"next_clicks", "cold_start", "answered", "disagreements"}
    assert "no clicks" in out["next_clicks"]
    assert "only one modality, text" in out["disagreements"]
    assert "it needs click vectors" in text
    assert "no picture" not in text
    assert not report.simulated
    assert "A simulated market" not in text


def test_no_categories(tmp_path):
    folder = poor(tmp_path / "shop", categories=False, clicks=400)
    report = collect_report(folder, options=SMALL, vectors=text_vectors)
    out, _ = sections(report, tmp_path)
    assert set(out) == {"clustering", "map"}
    assert "column 'category'" in out["map"]


def test_few_sessions_and_few_clicks(tmp_path):
    report = collect_report(poor(tmp_path / "one", clicks=1), options=SMALL, vectors=text_vectors)
    out, text = sections(report, tmp_path)
    assert {"next_clicks", "cold_start", "answered"} <= set(out)
    assert "No product has a vector in click, which is left out: none has 5 clicks or more" in text
    assert not isinstance(report.clustering, LeftOut)
    report = collect_report(poor(tmp_path / "few", clicks=40), options=SMALL, vectors=text_vectors)
    out, _ = sections(report, tmp_path)
    assert "too few clicks" in out["cold_start"]
    assert not isinstance(report.next_clicks, LeftOut)


def test_a_handful_of_products(tmp_path):
    for n in (1, 3, 11, 14):
        options = ReportOptions(seeds=1, categories=(3,))
        report = collect_report(poor(tmp_path / f"s{n}", products=n), options=options, vectors=text_vectors)
        out, _ = sections(report, tmp_path)
        assert ("map" in out) == (n < 10)


def test_products_that_are_all_alike(tmp_path):
    def same(data):
        ids = data.catalog.ids
        return {"text": Embedding.join("text", ids, list(ids), np.ones((len(ids), 4), np.float32), Provenance("one"))}

    report = collect_report(poor(tmp_path / "shop", clicks=300), options=SMALL, vectors=same)
    _, text = sections(report, tmp_path)
    assert "fault of trimodal" not in text


def test_a_fault_in_one_section_costs_that_section_alone(tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("trimodal.evaluation.report_parts.category_map", broken)
    said = []
    report = collect_report(poor(tmp_path / "shop"), options=SMALL, vectors=text_vectors, tell=said.append)
    out, _ = sections(report, tmp_path)
    assert out["map"].endswith("ZeroDivisionError: by zero")
    assert "clustering" not in out
    assert "report: map failed, ZeroDivisionError: by zero" in said


def test_nothing_to_fit(tmp_path):
    report = collect_report(poor(tmp_path / "shop", titles=False), options=SMALL)
    out, _ = sections(report, tmp_path)
    assert len(out) == 6
    assert all("Nothing could be fitted" in reason for reason in out.values())
    assert report.recommender is None
    assert report.to_dict()["sections"]["map"]["left_out"]


def test_pictures_that_cannot_be_read(tmp_path):
    folder = poor(tmp_path / "shop")
    table = pl.read_csv(folder / "products.csv", infer_schema=False)
    table.with_columns(image=pl.lit("gone.jpg")).write_csv(folder / "products.csv")
    report = collect_report(folder, options=SMALL, vectors=text_vectors)
    _, text = sections(report, tmp_path)
    assert "Pictures are left out: not one local picture can be read" in text
    assert "no such file" in text
    assert not isinstance(report.clustering, LeftOut)


def test_options_are_checked_before_any_work(tmp_path):
    for wrong in (
        {"seeds": 0},
        {"sample": 3},
        {"points": 3},
        {"categories": (1,)},
        {"held_out": 2},
        {"click_parameters": {"no": 1}},
    ):
        with pytest.raises(ParameterError):
            collect_report(tmp_path / "nowhere", options=ReportOptions(**wrong))


def test_the_cold_start_ladder_can_be_left_out(tmp_path):
    folder = poor(tmp_path / "shop", categories=False, clicks=400)
    report = collect_report(folder, options=ReportOptions(cold_start=False, questions=50), vectors=text_vectors)
    out, _ = sections(report, tmp_path)
    assert "was not asked for" in out["cold_start"]


def test_script_json_cannot_leave_its_tag():
    value = {"</script>": "<!-- \u2028 &amp; ünï"}
    text = str(script_json(value))
    assert json.loads(text) == value
    assert not set("<>&\u2028") & set(text)


def test_colours_differ():
    colors = category_colors(50)
    assert len(set(colors)) == 50
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in colors)


# ---------------------------------------------------------------------- in a browser


ACT = """
window.addEventListener("error", e => document.body.dataset.failed = e.message);
setTimeout(() => {
  const box = document.getElementById("category-map"), canvas = box.querySelector("canvas"), log = {};
  const area = canvas.getBoundingClientRect();
  const pixels = () => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(v => v > 0);
  const after = f => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(f()))));
  const at = (kind, x, y, more) => new PointerEvent(kind,
    { clientX: area.left + x, clientY: area.top + y, pointerId: 1, pointerType: "mouse", bubbles: true, ...more });
  const key = k => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: k, bubbles: true }));
  (async () => {
    log.pixels = pixels();
    log.all = box.dataset.drawn;
    canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -200, clientX: area.left + 50, clientY: area.top + 50 }));
    log.zoom = await after(() => box.dataset.zoom);
    key("0");
    log.whole = await after(() => box.dataset.zoom);
    box.querySelector(".legend button").click();
    log.alone = await after(() => box.dataset.drawn);
    log.pressed = box.querySelector(".legend button").getAttribute("aria-pressed");
    box.querySelector(".legend button").click();
    log.back = await after(() => box.dataset.drawn);
    key("n"); key("n");
    log.at = await after(() => box.dataset.at);
    log.tip = box.querySelector(".tip").hidden ? "" : box.querySelector(".tip").textContent;
    log.injected = box.querySelectorAll(".tip script").length;
    const search = box.querySelector("input");
    search.value = log.at;
    search.dispatchEvent(new Event("input"));
    log.found = await after(() => box.dataset.drawn);
    log.still = getComputedStyle(box.querySelector(".still")).display;
    document.body.dataset.log = JSON.stringify(log);
  })().catch(e => document.body.dataset.failed = String(e));
}, 300);
"""


def browse(path, profile):
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --window-size=1200,900 --virtual-time-budget=5000 --dump-dom"
    )
    done = subprocess.run(
        [BROWSER, *flags.split(), f"--user-data-dir={profile}", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


@pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine")
def test_the_page_as_written_draws_its_map(written, report, tmp_path):
    seen = Page(browse(written, tmp_path / "profile"))
    state = next(a for t, a in seen.tags if a.get("id") == "category-map")
    assert state["data-drawn"] == str(len(report.map.ids))
    assert "data-error" not in state
    assert "live" in state["class"]


@pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine")
def test_the_map_zooms_isolates_and_finds(written, report, tmp_path):
    text = written.read_text(encoding="utf-8")
    text = re.sub(r"script-src '[^']+'", "script-src 'unsafe-inline'", text)
    # A browser without a screen has no frames: a clock of 16 ms stands in for them.
    text = text.replace("<title>", "<script>window.requestAnimationFrame = f => setTimeout(f, 16)</script><title>", 1)
    text = text.replace("</body>", f"<script>{ACT}</script></body>")
    (tmp_path / "acted.html").write_text(text, encoding="utf-8")
    seen = Page(browse(tmp_path / "acted.html", tmp_path / "profile"))
    body = next(a for t, a in seen.tags if t == "body")
    assert "data-failed" not in body, body
    log = json.loads(html.unescape(body["data-log"]))
    sizes = np.bincount(report.map.group)
    assert log["pixels"]
    assert (log["all"], log["back"], log["alone"]) == (str(len(report.map.ids)),) * 2 + (str(sizes[0]),)
    assert log["pressed"] == "true"
    assert float(log["zoom"]) > 1.2
    assert float(log["whole"]) == 1
    assert log["at"] in report.map.ids
    assert log["at"] in log["tip"]
    assert HOSTILE.split("\u2028")[0].strip()[:30] in log["tip"]  # the first category's name, as words
    assert log["injected"] == 0
    assert log["found"] == "1"
    assert log["still"] == "none"
