"""The report's page: each section as the template shows it, and the file."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from ..data import DataReport
from ..files import atomic
from .cards import Card, Cards
from .charts import Dot, Line, dot_chart, line_chart
from .clustering import ClusteringReport, ClusteringRow
from .cold_start import Ladder, LadderRow
from .examples import Answered, AnsweredExamples, Disagreements, Listed
from .paper import CATEGORIES, ENCODERS, TABLE_1, paper_ari, patterns
from .report_map import category_colors, map_view
from .report_parts import LeftOut
from .retrieval import REFERENCE, RetrievalReport, RetrievalRow

if TYPE_CHECKING:
    from .report import EvaluationReport

SECTIONS = {
    "data": "The data",
    "clustering": "Categories",
    "map": "The map",
    "next-click": "Next click",
    "cold-start": "Cold start",
    "examples": "Examples",
    "run": "What was run",
}
"""Anchor and heading of each section, in the order of the page."""

_CLEANING = {
    "clicks": "clicks kept",
    "repeats": "clicks on the product of the click before",
    "too_short": "clicks of sessions that are too short",
    "too_long": "clicks of sessions that are too long",
    "jumps": "events that leave to the shop, not clicks",
    "sessions_too_short": "sessions too short",
    "sessions_too_long": "sessions too long",
    "sessions_unsorted": "sessions out of order, sorted",
    "sessions_shared": "sessions of more than one visitor",
}


def write_page(path: Path, report: EvaluationReport) -> int:
    """Write the page, atomically; returns its size in bytes."""
    content = render_page(report).encode("utf-8")
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return len(content)


def render_page(report: EvaluationReport) -> str:
    """The page as text: one file, no network, no script but its own."""
    environment = Environment(
        loader=PackageLoader("trimodal.evaluation"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "whole": lambda value: f"{value:,}",
        "share": lambda value: f"{100 * value:.1f} %",
        "rate": lambda value: _plain(value, 4),
        "signed": lambda value: f"{value:+.4f}".replace("-", "−"),
        "joined": " + ".join,
    }
    script = files("trimodal.evaluation").joinpath("templates", "report.js").read_text(encoding="utf-8")
    recommender, drawn = report.recommender, report.map
    view: dict[str, Any] = {
        "data": _data(report.data),
        "clustering": _clustering(report.clustering),
        "next_clicks": _next_clicks(report.next_clicks),
        "cold_start": _cold_start(report.cold_start),
        "enough_clicks": _enough_clicks(report),
        "modalities": [],
    }
    if recommender is None or isinstance(drawn, LeftOut):
        view["map"] = drawn.to_dict()
    else:
        pictures, seed = report.options.pictures, report.options.seed
        view["map"] = map_view(drawn, recommender.catalog_, pictures=pictures, seed=seed)
        view["map_of"] = drawn
    if recommender is None:
        view |= {"answered": report.answered.to_dict(), "disagreements": report.disagreements.to_dict()}
    else:
        cards = Cards(recommender)
        view["answered"] = _answered(report.answered, cards)
        view["disagreements"] = _disagreements(report.disagreements, cards)
        view["modalities"] = list(cards.colors.items())
    return environment.get_template("report.html.j2").render(
        report=report,
        sections=SECTIONS,
        short=_in_short(report),
        encoders=ENCODERS,
        # Only this script may run, so that not even a fault in escaping could make a title run.
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **view,
    )


def _plain(value: float, decimals: int) -> str:
    """A number with a minus sign, and without one where it rounds to 0."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def _name(row: ClusteringRow | RetrievalRow | LadderRow) -> str:
    return row.strategy + (f": {' + '.join(row.modalities)}" if row.modalities else "")


def _in_short(report: EvaluationReport) -> list[str]:
    """The findings that a reader looks for first, in sentences."""
    found = []
    if isinstance(report.clustering, ClusteringReport):
        grid = report.clustering.grid
        best = max(grid.rows, key=lambda row: row.ari)
        over = f" ({best.ari_low:.3f} to {best.ari_high:.3f} over {best.seeds} seeds)" if best.seeds > 1 else ""
        found.append(
            f"Categories: the best of {len(grid.rows)} cells is {_name(best)}, with an ARI of {best.ari:.3f}{over}; "
            f"chance is {_plain(grid.chance, 3)}."
        )
        widest = [r for r in grid.rows if r.strategy == "intermediate" and len(r.modalities) == max(_sizes(grid.rows))]
        alone = [r for r in grid.rows if r.strategy == "intermediate" and len(r.modalities) == 1]
        if len(alone) > 1 and widest:
            single = max(alone, key=lambda row: row.ari)
            found.append(
                f"Intermediate fusion of all modalities: {widest[0].ari:.3f}; the best single one, "
                f"{single.modalities[0]}: {single.ari:.3f}."
            )
    if isinstance(report.next_clicks, RetrievalReport):
        rows = report.next_clicks.rows
        top = max(rows, key=lambda row: row.hit_rate)
        found.append(
            f"Next click: the best of {len(rows)} rows is {_name(top)} (from the {_query(top)}), with the answer among "
            f"the {top.k} for {100 * top.hit_rate:.2f} % of {top.queries:,} questions "
            f"({100 * top.hit_rate_low:.2f} to {100 * top.hit_rate_high:.2f})."
        )
    if isinstance(report.cold_start, Ladder):
        rungs = [r for r in report.cold_start.rows if r.side == "to"]
        first, last = rungs[0].clicks, rungs[-1].clicks
        ends = [max((r for r in rungs if r.clicks == level), key=lambda r: r.hit_rate) for level in (first, last)]
        found.append(
            f"Cold start: products with {first} clicks are found best by {_name(ends[0])} "
            f"({100 * ends[0].hit_rate:.2f} %), products with {last} by {_name(ends[1])} "
            f"({100 * ends[1].hit_rate:.2f} %)."
        )
    return found


def _sizes(rows: tuple[ClusteringRow, ...]) -> list[int]:
    return [len(row.modalities) for row in rows]


def _query(row: RetrievalRow) -> str:
    return "last click" if row.query == "last" else row.query


def _data(report: DataReport) -> dict[str, Any]:
    here, paper = report.table, TABLE_1

    def spread(values: dict[str, float]) -> str:
        return f"{values['min']:,} / {values['max']:,} / {values['mean']:.2f}"

    visitors = here["visitors"]
    rows = [
        ("products", f"{here['products']:,}", f"{paper['products']:,}"),
        ("clicks", f"{here['clicks']:,}", f"{paper['clicks']:,}"),
        ("visitors", "unknown" if visitors is None else f"{visitors:,}", f"{paper['visitors']:,}"),
        ("sessions", f"{here['sessions']:,}", f"{paper['sessions']:,}"),
        *(
            (f"{label}, min / max / mean", spread(here[key]), spread(paper[key]))  # type: ignore[arg-type]
            for label, key in (("clicks per session", "clicks_per_session"), ("words per title", "title_words"))
        ),
    ]
    if here["image_pixels"] is not None:
        sizes = f"{here['image_pixels']['min']} / {here['image_pixels']['max']}"
        rows.append(("picture size, smallest / largest", sizes.replace("x", "×"), "1000×1000"))
    rows.append(("categories", f"{here['categories']:,}", "–"))
    cleaning = [(_CLEANING.get(name, name.replace("_", " ")), n) for name, n in (here["cleaning"] or {}).items()]
    return {
        "rows": rows,
        "cleaning": cleaning,
        "reasons": report.rejections.reasons(),
        "total": report.rejections.total,
        "table": here,
    }


def _clustering(report: ClusteringReport | LeftOut) -> dict[str, Any]:
    if isinstance(report, LeftOut):
        return report.to_dict()
    grid = report.grid
    strategies = list(dict.fromkeys(row.strategy for row in grid.rows))
    cells = {(row.modalities, row.strategy): row for row in grid.rows}
    subsets = list(dict.fromkeys(row.modalities for row in grid.rows))
    paper = {key: paper_ari(*key, CATEGORIES) for key in cells}
    shown = [
        Dot(" + ".join(row.modalities), row.ari, row.ari_low, row.ari_high, paper[row.modalities, row.strategy])
        for row in grid.rows
        if row.strategy == "intermediate"
    ]
    series = [
        {
            "first": table.rows[0],
            "cells": [(row, paper_ari(row.modalities, row.strategy, row.categories)) for row in table.rows],
            "chance": table.chance,
        }
        for table in report.series
    ]
    return {
        "grid": grid,
        "first": grid.rows[0],
        "strategies": strategies,
        "rows": [
            (subset, [(cells.get((subset, name)), paper.get((subset, name))) for name in strategies])
            for subset in subsets
        ],
        "best": max(row.ari for row in grid.rows),
        "patterns": patterns(grid.rows),
        "chart": dot_chart(
            shown,
            title="Adjusted Rand index of intermediate fusion by subset of the modalities, beside the paper's",
            reference=grid.chance,
            reference_label=f"chance: {grid.chance:.4f}",
        ),
        "series": series,
        "heads": [row.modalities for row in report.series[0].rows] if report.series else [],
        "paper_categories": CATEGORIES,
    }


def _next_clicks(report: RetrievalReport | LeftOut) -> dict[str, Any]:
    if isinstance(report, LeftOut):
        return report.to_dict()
    rows = sorted(report.rows, key=lambda row: -row.hit_rate)
    base = next((row.hit_rate for row in rows if row.strategy == REFERENCE), None)
    dots = [
        Dot(
            f"{_name(row)}, {row.query}",
            row.hit_rate,
            row.hit_rate_low,
            row.hit_rate_high,
            accent=row.strategy == REFERENCE,
        )
        for row in rows
    ]
    title = f"Share of questions whose answer is among the {rows[0].k}, with 95 % intervals"
    label = f"{REFERENCE}, the baseline"
    return {
        "rows": rows,
        "first": rows[0],
        "sessions": report.sessions,
        "target_popularity": report.target_popularity,
        "reference": REFERENCE,
        "has_reference": base is not None,
        "chart": dot_chart(dots, title=title, reference=base, reference_label=label, percent=True),
    }


def _cold_start(ladder: Ladder | LeftOut) -> dict[str, Any]:
    if isinstance(ladder, LeftOut):
        return ladder.to_dict()
    levels = list(dict.fromkeys(row.clicks for row in ladder.rows))
    keys = list(dict.fromkeys((row.strategy, row.modalities) for row in ladder.rows))
    colors = dict(zip(keys, category_colors(len(keys)), strict=True))
    sides = []
    for side in ("from", "to"):
        rows = [row for row in ladder.rows if row.side == side]
        lines = [[row for row in rows if (row.strategy, row.modalities) == key] for key in keys]
        chart = line_chart(
            [
                Line(
                    _name(line[0]) if line[0].strategy != "intermediate" else " + ".join(line[0].modalities),
                    [(row.hit_rate_low, row.hit_rate, row.hit_rate_high) for row in line],
                    colors[key],
                    dashed=key[0] == REFERENCE,
                )
                for key, line in zip(keys, lines, strict=True)
            ],
            [str(level) for level in levels],
            title=f"Hit rate {side} products by the clicks that are left to them",
        )
        sides.append({"side": side, "queries": rows[0].queries, "lines": lines, "chart": chart})
    return {"levels": levels, "sides": sides, "probes": ladder.probes, "k": ladder.rows[0].k}


def _enough_clicks(report: EvaluationReport) -> int | None:
    """Clicks from which a product has a click vector."""
    click = None if report.recommender is None else report.recommender.embeddings_.get("click")
    return None if click is None else click.provenance.settings.get("min_count")


def _answered(found: AnsweredExamples | LeftOut, cards: Cards) -> dict[str, Any]:
    if isinstance(found, LeftOut):
        return found.to_dict()

    def shown(example: Answered) -> dict[str, Any]:
        return {
            "example": example,
            "card": cards.of_id(example.product_id),
            "neighbors": _listed(example.neighbors, cards),
            "clicked": _listed(example.clicked, cards),
        }

    return {"found": found, "best": list(map(shown, found.best)), "worst": list(map(shown, found.worst))}


def _disagreements(found: Disagreements | LeftOut, cards: Cards) -> dict[str, Any]:
    if isinstance(found, LeftOut):
        return found.to_dict()
    most = [
        {
            "card": cards.of_id(one.product_id),
            "overlap": one.overlap,
            "left": _listed(one.left, cards),
            "right": _listed(one.right, cards),
            "shared": {item.product_id for item in one.left} & {item.product_id for item in one.right},
        }
        for one in found.most
    ]
    return {"found": found, "most": most}


def _listed(items: tuple[Listed, ...], cards: Cards) -> list[tuple[Card, Listed, list[Any]]]:
    return [(cards.of_id(item.product_id), item, cards.bars(item.shares)) for item in items]
