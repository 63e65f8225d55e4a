"""A data folder: the products file, the clicks file beside it, and the report on both."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .catalog import Catalog
from .clicks import MAX_CLICKS, MIN_CLICKS, ClickLog
from .encoders.base import available_threads
from .encoders.click import Prod2VecSettings
from .encoders.pictures import PictureSource, is_url
from .errors import DataError, ItemError
from .progress import Progress, silent
from .rejections import MAX_REJECTED, Rejections
from .tables import ROW, find_table

HOT = Prod2VecSettings().min_count
"""Clicks from which a product has a click vector under the preset `paper`."""


@dataclass(frozen=True)
class Data:
    """A catalogue and its click log (None where the folder has no clicks file)."""

    catalog: Catalog
    clicks: ClickLog | None


def read_data(
    folder: str | Path,
    *,
    min_clicks: int = MIN_CLICKS,
    max_clicks: int = MAX_CLICKS,
    encoding: str = "utf-8",
    max_rejected: float = MAX_REJECTED,
) -> Data:
    """Read `products.*` and, where it is there, `clicks.*` of a folder.

    Raises
    ------
    DataError
        The folder or its products file is not there, or the data are too bad to use.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; it must hold products.csv, products.jsonl or products.parquet.")
    catalog = Catalog.read(folder, encoding=encoding, max_rejected=max_rejected)
    path = find_table(folder, "clicks")
    clicks = None
    if path is not None:
        clicks = ClickLog.read(
            path,
            catalog.ids,
            min_clicks=min_clicks,
            max_clicks=max_clicks,
            encoding=encoding,
            max_rejected=max_rejected,
        )
    return Data(catalog, clicks)


@dataclass(frozen=True)
class DataReport:
    """What `trimodal check` says: the paper's Table I, coverage, cleaning and rejections. Prints as a table.

    `problems` says why `fit` would refuse these data, with its default of at most a tenth of the rows rejected.
    """

    table: dict[str, Any]
    rejections: Rejections
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The shape that `trimodal check --json` prints."""
        rows = [{"file": r.file, "row": r.row, "reason": r.reason, "kept": r.kept} for r in self.rejections]
        reasons = [{"file": file, "reason": reason, "rows": n} for file, reason, n in self.rejections.reasons()]
        return {
            **self.table,
            "rejected": rows,
            "rejected_total": self.rejections.total,
            "rejected_reasons": reasons,
            "problems": list(self.problems),
        }

    def __str__(self) -> str:
        t = self.table
        spread = "{min:,} / {max:,} / {mean:.2f}"
        lines = [
            f"{'products':<44}{t['products']:>14,}",
            f"{'clicks':<44}{t['clicks']:>14,}",
            f"{'visitors':<44}{'unknown' if t['visitors'] is None else format(t['visitors'], ','):>14}",
            f"{'sessions':<44}{t['sessions']:>14,}",
            f"{'clicks per session, min / max / mean':<44}{spread.format(**t['clicks_per_session']):>14}",
            f"{'words per title, min / max / mean':<44}{spread.format(**t['title_words']):>14}",
        ]
        if t["image_pixels"] is not None:
            sizes = "{min} / {max}".format(**t["image_pixels"])
            lines.append(f"{'picture size, smallest / largest':<44}{sizes:>14}")
        lines += ["", "share of the products that have"]
        lines += [f"  {name:<42}{share:>14.1%}" for name, share in t["coverage"].items()]
        if t["cleaning"] is not None:
            lines += ["", "products by clicks (hot: has a click vector under the preset 'paper')"]
            lines += [f"  {name:<42}{n:>14,}" for name, n in t["popularity"].items()]
            lines += ["", "cleaning"]
            lines += [f"  {name.replace('_', ' '):<42}{n:>14,}" for name, n in t["cleaning"].items()]
        if t["image_unchecked"]:
            lines += ["", f"{t['image_unchecked']:,} pictures were not looked at"]
        lines += ["", f"rejected: {self.rejections.total:,}"]
        rows: dict[tuple[str, str], list[str]] = {}
        for r in self.rejections:
            rows.setdefault((r.file, r.reason), []).append(str(r.row))
        for file, reason, n in self.rejections.reasons():
            first = ", ".join(rows[file, reason][:5]) + (", ..." if n > 5 else "")
            lines.append(f"  {n:>8,}  {file}: {reason} (row {first})")
        lines += [f"fit would refuse: {problem}" for problem in self.problems]
        return "\n".join(lines)


def check_data(
    data: Data,
    *,
    pictures: bool = True,
    fetch: bool = False,
    allow_private: bool = False,
    progress: Progress = silent,
) -> DataReport:
    """Report on a data folder: Table I, coverage per modality, rejected rows with reasons.

    Parameters
    ----------
    pictures
        Decode every local picture; False counts a picture that is named as there.
    fetch
        Also fetch and decode pictures behind URLs.
    """
    catalog, clicks = data.catalog, data.clicks
    rejections = Rejections()
    rejections.extend(catalog.rejections)
    named = [i for i, image in enumerate(catalog.images) if image]
    looked, sizes = _check_pictures(catalog, named, rejections, pictures, fetch, allow_private, progress)
    usable_pictures = len(sizes) + len(named) - looked
    counts = clicks.counts() if clicks is not None else None
    statistics = clicks.statistics() if clicks is not None else None
    if clicks is not None:
        rejections.extend(clicks.rejections)
    n = len(catalog)
    areas = sorted(sizes, key=lambda s: s[0] * s[1])
    table = {
        "products": n,
        "clicks": statistics.clicks if statistics else 0,
        "sessions": statistics.sessions if statistics else 0,
        "visitors": statistics.visitors if statistics else None,
        "clicks_per_session": {
            "min": statistics.min_clicks if statistics else 0,
            "max": statistics.max_clicks if statistics else 0,
            "mean": statistics.mean_clicks if statistics else 0.0,
        },
        "title_words": catalog.title_words(),
        "image_pixels": {"min": "{}x{}".format(*areas[0]), "max": "{}x{}".format(*areas[-1])} if areas else None,
        "image_unchecked": len(named) - looked,
        "coverage": {
            "text": catalog.frame["title"].count() / n,
            "image": usable_pictures / n,
            "click": float((counts > 0).mean()) if counts is not None else 0.0,
        },
        "popularity": None
        if counts is None
        else {
            f"hot ({HOT} or more)": int((counts >= HOT).sum()),
            f"warm (1 to {HOT - 1})": int(((counts > 0) & (counts < HOT)).sum()),
            "cold (none)": int((counts == 0).sum()),
        },
        "categories": catalog.frame["category"].drop_nulls().n_unique(),
        "cleaning": asdict(clicks.cleaning) if clicks is not None else None,
    }
    problems = []
    for part in (catalog, clicks):
        if part is not None:
            try:
                part.rejections.enforce(part.file, part.records, MAX_REJECTED)
            except DataError as error:
                problems.append(str(error))
    return DataReport(table, rejections, tuple(problems))


def _check_pictures(
    catalog: Catalog,
    named: list[int],
    rejections: Rejections,
    pictures: bool,
    fetch: bool,
    allow_private: bool,
    progress: Progress,
) -> tuple[int, list[tuple[int, int]]]:
    """Decode pictures: how many were looked at, and the sizes (width, height) of those that are fine."""
    values = catalog.images
    looked = [i for i in named if pictures and (fetch or not is_url(str(values[i])))]
    if not looked:
        return 0, []
    source = PictureSource(
        catalog.root if catalog.root is not None else ".",
        allow_outside=catalog.root is None,
        allow_private=allow_private,
    )

    def size(i: int) -> tuple[int, int] | str:
        try:
            with source.open(str(values[i])) as picture:
                return picture.size
        except ItemError as error:
            return str(error)

    rows = catalog.frame[ROW].to_list()
    sizes: list[tuple[int, int]] = []
    reasons: dict[str, list[int]] = {}
    with (
        ThreadPoolExecutor(16 if fetch else available_threads()) as pool,
        progress("checking pictures", len(looked)) as step,
    ):
        for i, result in zip(looked, pool.map(size, looked), strict=True):
            if isinstance(result, str):
                reasons.setdefault(result, []).append(rows[i])
            else:
                sizes.append(result)
            step(1)
    for reason, bad in reasons.items():
        rejections.add(catalog.file, bad, f"picture: {reason}; the product is kept without picture", kept=True)
    source.close()
    return len(looked), sizes
