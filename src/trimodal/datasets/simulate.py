"""A simulated market with known truth: products, titles, pictures and clicks, for demos, tests and scale.

Nothing in it is a real shop's: `docs/simulated-market.md` says how every part is drawn, and what is and is not
like the real thing.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from ..errors import DataError, ParameterError, check_choice, check_int
from ..progress import Progress, silent
from . import _drawings, _sessions, _words
from ._market import PICTURE_KINDS, TITLE_KINDS, Market, build
from ._model import MarketModel
from ._tables import FORMATS, TableWriter
from ._titles import titles
from ._vectors import write_vectors

__all__ = ["MarketModel", "SimulatedMarket", "simulate"]

TRUTH_VERSION = 1
_BLOCK = 8_192  # products written at once; changes nothing in the files' rows
_PER_FOLDER = 1_000  # pictures in one folder
_KIND = "trimodal simulated market"


@dataclass(frozen=True, kw_only=True)
class SimulatedMarket:
    """Where a simulated market lies, and what is in it. Prints as a table.

    Attributes
    ----------
    folder, products_file, clicks_file, truth_file, parameters_file
        The data directory and its files.
    pictures_folder, vector_files
        Where pictures and ready-made vectors lie; None, or empty, where they were not asked for.
    products, departments, categories, groups
        Numbers of offers, of departments and categories, and of different products.
    without_picture, cold
        Numbers of products without a picture, and without a click.
    sessions, visitors, robots, clicks, jumps
        Numbers in the raw log, before any cleaning; `robots` counts sessions.
    """

    folder: Path
    products_file: Path
    clicks_file: Path
    truth_file: Path
    parameters_file: Path
    pictures_folder: Path | None
    vector_files: dict[str, Path]
    products: int
    departments: int
    categories: int
    groups: int
    without_picture: int
    cold: int
    sessions: int
    visitors: int
    robots: int
    clicks: int
    jumps: int

    def __str__(self) -> str:
        names = (
            "products", "groups", "departments", "categories", "without_picture", "cold",
            "sessions", "visitors", "robots", "clicks", "jumps",
        )  # fmt: skip
        rows = [f"{name.replace('_', ' '):<16}{getattr(self, name):>14,}" for name in names]
        return "\n".join([f"Simulated market in {self.folder}", *rows])


def simulate(
    out: Path | str,
    *,
    products: int = 1000,
    sessions: int = 5000,
    categories: int = 20,
    seed: int = 0,
    pictures: bool = True,
    vectors: bool = False,
    users: bool = True,
    format: str = "csv",
    model: MarketModel | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> SimulatedMarket:
    """Write a simulated market into the folder `out` and return what is in it.

    The same arguments give the same bytes with the same versions of the libraries. Rows are drawn and written
    in blocks, so memory grows only with a few hundred bytes for each product and a few for each visitor. The
    folder appears when it is complete, never before.

    Parameters
    ----------
    out
        A folder that does not exist or is empty; its parent is made if need be.
    products
        Number of offers, at least twice the number of categories.
    sessions
        Number of sessions in the raw log, robots and one-click sessions among them.
    categories
        Number of leaves of the category tree; up to 60 have nouns of their own, further ones are
        variations (`Sneakers (kids')`).
    seed
        Decides every draw.
    pictures
        Draw a JPEG of 128 x 128 pixels, about 3 KB, for each product that has a picture. Without, the column
        `image` is empty.
    vectors
        Also write `vectors/text.parquet` (512-d) and `vectors/image.parquet` (1280-d): noisy unit vectors made
        from taste, for measuring scale without encoders.
    users
        Write the column `user_id`. The clicks are the same without it.
    format
        `csv` (default: opens anywhere), `jsonl`, or `parquet` (smallest and fastest; best above 100,000 products).
    model
        Parameters of the behaviour and of the noise.
    overwrite
        Replace `out` if it holds an earlier simulated market. Any other folder is never replaced.
    progress
        Told how the work goes on.

    Raises
    ------
    ParameterError
        An argument is outside its range.
    DataError
        `out` is not empty, or is a file.
    """
    categories = check_int("categories", categories, low=1, high=20_000)
    products = check_int("products", products, low=2, high=100_000_000)
    if products < 2 * categories:
        raise ParameterError(f"products == {products}, must be >= 2 * categories ({2 * categories}).")
    sessions = check_int("sessions", sessions, low=1)
    seed = check_int("seed", seed, low=0)
    check_choice("format", format, FORMATS)
    model = MarketModel() if model is None else model
    out = Path(out).absolute()
    with _published(out, overwrite=overwrite) as folder:
        with progress("Drawing the hidden market", None):
            market = build(seed, products, categories, model)
            ids = pa.array([f"p{number:07d}" for number in range(1, products + 1)])
        _write_products(folder, market, ids, pictures=pictures, format=format, progress=progress)
        if pictures:
            _write_pictures(folder, market, ids, progress)
        log = _write_clicks(
            folder, market, ids, seed=seed, sessions=sessions, users=users, format=format, progress=progress
        )
        _write_truth(folder, market, ids, log.per_product, progress)
        files = write_vectors(folder / "vectors", seed, market, ids, progress) if vectors else {}
        counts = {
            "products": products,
            "departments": len(market.tree.departments),
            "categories": categories,
            "groups": len(np.unique(market.group)),
            "without_picture": products - int(market.has_picture.sum()) if pictures else products,
            "cold": int((log.per_product == 0).sum()),
            "sessions": sessions,
            "visitors": log.visitors,
            "robots": _sessions.robots(sessions, model.bot_share),
            "clicks": int(log.per_product.sum()),
            "jumps": log.jumps,
        }
        asked = {"products": products, "sessions": sessions, "categories": categories, "seed": seed,
                 "pictures": pictures, "vectors": vectors, "users": users, "format": format}  # fmt: skip
        truth = {"kind": _KIND, "version": TRUTH_VERSION, "arguments": asked, "model": asdict(model), "counts": counts}
        text = json.dumps(truth, indent=2) + "\n"
        (folder / "truth.json").write_text(text, encoding="utf-8", newline="\n")
    return SimulatedMarket(
        folder=out,
        products_file=out / f"products.{format}",
        clicks_file=out / f"clicks.{format}",
        truth_file=out / "truth.parquet",
        parameters_file=out / "truth.json",
        pictures_folder=out / "images" if pictures else None,
        vector_files={modality: out / "vectors" / path.name for modality, path in files.items()},
        **counts,
    )


@contextmanager
def _published(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a folder beside `out` to write into, and rename it to `out` once the block ends without an error."""
    replaces = False
    if out.exists() or out.is_symlink():
        if not out.is_dir():
            raise DataError(f"{out} is not a folder, must be a folder or nothing; name another one.")
        replaces = any(out.iterdir())
    if replaces and not overwrite:
        raise DataError(f"{out} is not empty; name another folder, or allow it to be replaced (overwrite=True).")
    if replaces and not _is_simulated(out):
        raise DataError(f"{out} holds something other than a simulated market and is not replaced; empty it yourself.")
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        folder = scratch / "new"
        folder.mkdir()
        yield folder
        if replaces:
            out.rename(scratch / "old")
        elif out.exists():
            out.rmdir()
        os.replace(folder, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _is_simulated(folder: Path) -> bool:
    """Return whether this folder was written by `simulate`."""
    try:
        truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(truth, dict) and truth.get("kind") == _KIND


def _picture_name(product_id: str, position: int) -> str:
    return f"images/{position // _PER_FOLDER:04d}/{product_id}.jpg"


def _write_products(
    folder: Path, market: Market, ids: Any, *, pictures: bool, format: str, progress: Progress
) -> None:
    """Write the products table, its columns in the order of the contract."""
    text = ("product_id", "title", "category", "image", "price", "url", "brand", "group_id", "department", "shop")
    schema = pa.schema([(name, pa.float64() if name == "price" else pa.string()) for name in text])
    leaves = np.array(market.tree.categories, dtype=object)
    departments = np.array(market.tree.departments, dtype=object)
    with (
        TableWriter(folder / "products", schema, format=format) as table,
        progress("Writing products", len(market)) as advance,
    ):
        for start in range(0, len(market), _BLOCK):
            stop = min(start + _BLOCK, len(market))
            rows, names = slice(start, stop), ids[start:stop].to_pylist()
            shown = market.has_picture[rows] & pictures
            shops = [f"shop-{number + 1:03d}" for number in market.shop[rows].tolist()]
            table.write({
                "product_id": ids[start:stop],
                "title": titles(market, start, stop),
                "category": leaves[market.category[rows]],
                "image": [_picture_name(name, start + k) if shown[k] else None for k, name in enumerate(names)],
                "price": market.price[rows],
                "url": [f"https://{shop}.example/{name}" for shop, name in zip(shops, names, strict=True)],
                "brand": [_words.brand(number) for number in market.brand[rows].tolist()],
                "group_id": [f"g{number + 1:07d}" for number in market.group[rows].tolist()],
                "department": departments[market.department[rows]],
                "shop": shops,
            })  # fmt: skip
            advance(stop - start)


def _write_pictures(folder: Path, market: Market, ids: Any, progress: Progress) -> None:
    """Draw each product's picture into `images/`, a thousand to a folder."""
    noise = _drawings.grain()
    places = np.flatnonzero(market.has_picture)
    made: set[int] = set()
    with progress("Drawing pictures", len(places)) as advance:
        for position in places.tolist():
            path = folder / _picture_name(ids[position].as_py(), position)
            if position // _PER_FOLDER not in made:
                path.parent.mkdir(parents=True)
                made.add(position // _PER_FOLDER)
            path.write_bytes(_drawings.picture(market, position, noise))
            advance()


@dataclass(frozen=True)
class _Log:
    """What was written to the click log: clicks of each product [N], different visitors, jumps."""

    per_product: np.ndarray[Any, np.dtype[np.int64]]
    visitors: int
    jumps: int


def _write_clicks(
    folder: Path, market: Market, ids: Any, *, seed: int, sessions: int, users: bool, format: str, progress: Progress
) -> _Log:
    """Write the click log in time order."""
    columns = [("session_id", pa.string()), ("product_id", pa.string()), ("timestamp", pa.timestamp("ms", "UTC")),
               ("event", pa.string())]  # fmt: skip
    if users:
        columns.append(("user_id", pa.string()))
    per_product, jumps = np.zeros(len(market), np.int64), 0
    seen = np.zeros(_sessions.visitor_count(sessions, market.model), np.bool_)
    events = np.array(["click", "jump"], dtype=object)
    with (
        TableWriter(folder / "clicks", pa.schema(columns), format=format) as table,
        progress("Writing sessions", sessions) as advance,
    ):
        for rows, done in _sessions.blocks(seed, market, sessions):
            if len(rows):
                table.write({
                    "session_id": _numbered("s", rows.session + 1),
                    "product_id": ids.take(pa.array(rows.product)),
                    "timestamp": _sessions.FIRST_DAY + rows.time.astype("timedelta64[ms]"),
                    "event": events[rows.jump.astype(np.int64)],
                    "user_id": _numbered("u", rows.visitor + 1) if users else None,
                })  # fmt: skip
            per_product += np.bincount(rows.product[~rows.jump], minlength=len(market))
            jumps += int(rows.jump.sum())
            seen[rows.visitor] = True
            advance(done)
    return _Log(per_product, int(seen.sum()), jumps)


def _numbered(letter: str, numbers: _sessions.Ints) -> Any:
    """Return ids such as `s0000012`: an Arrow array."""
    digits = pa.compute.utf8_lpad(pa.array(numbers).cast(pa.string()), width=7, padding="0")
    return pa.compute.binary_join_element_wise(letter, digits, "")


def _write_truth(folder: Path, market: Market, ids: Any, clicks: _sessions.Ints, progress: Progress) -> None:
    """Write what is hidden from a recommender: one row for each product."""
    size = market.model.taste_dimension
    named = ("category", "department", "style", "group_id", "title_kind", "picture_kind", "language", "colour", "material")
    schema = pa.schema([
        ("product_id", pa.string()), *((name, pa.string()) for name in named),
        ("taste", pa.list_(pa.float32(), size)), ("popularity", pa.float64()), ("clicks", pa.int64()),
        ("cold", pa.bool_()), ("has_picture", pa.bool_()),
    ])  # fmt: skip
    leaves = np.array(market.tree.categories, dtype=object)
    per_category = market.style.max() // len(leaves) + 1
    lists = {
        "title_kind": (TITLE_KINDS, market.title_kind),
        "picture_kind": (PICTURE_KINDS, market.picture_kind),
        "language": (_words.LANGUAGES, market.language),
        "colour": ([words.pick(0, 0) for _, words in _words.COLOURS], market.colour),
        "material": ([words.pick(0, 0) for words in _words.MATERIALS], market.material),
        "department": (market.tree.departments, market.department),
        "category": (leaves, market.category),
    }
    with (
        TableWriter(folder / "truth", schema, format="parquet") as table,
        progress("Writing the truth", len(market)) as advance,
    ):
        for start in range(0, len(market), _BLOCK):
            rows = slice(start, min(start + _BLOCK, len(market)))
            category = leaves[market.category[rows]]
            styles = zip(category, (market.style[rows] % per_category).tolist(), strict=True)
            table.write({
                "product_id": ids[rows.start : rows.stop],
                **{name: np.array(words, dtype=object)[numbers[rows]] for name, (words, numbers) in lists.items()},
                "style": [f"{leaf}/{number + 1}" for leaf, number in styles],
                "group_id": [f"g{number + 1:07d}" for number in market.group[rows].tolist()],
                "taste": pa.FixedSizeListArray.from_arrays(pa.array(market.taste[rows].ravel()), size),
                "popularity": market.popularity[rows],
                "clicks": clicks[rows],
                "cold": clicks[rows] == 0,
                "has_picture": market.has_picture[rows],
            })  # fmt: skip
            advance(rows.stop - rows.start)
