"""A simulated market with known truth: products, titles, pictures and clicks, for demos, tests and scale.

Nothing in it is a real shop's: `docs/simulated-market.md` says how every part is drawn, and what is and
is not like the real thing.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..errors import DataError, ParameterError, check_choice, check_int
from ..progress import Progress, silent
from . import _sessions
from ._files import write_clicks, write_pictures, write_products, write_truth
from ._market import build
from ._model import MarketModel
from ._tables import FORMATS
from ._vectors import write_vectors

__all__ = ["MarketModel", "SimulatedMarket", "simulate"]

TRUTH_VERSION = 1
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
    sessions: int = 10_000,
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
        Also write `vectors/text.parquet` (512-d) and `vectors/image.parquet` (1280-d): noisy unit vectors
        made from taste, for measuring scale without encoders.
    users
        Write the column `user_id`. The clicks are the same without it.
    format
        `csv` (default: opens anywhere), `jsonl`, or `parquet` (smallest, fastest; for
        more than 100,000 products).
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
    categories = check_int("categories", categories, low=1, high=2_000)
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
        write_products(folder, market, ids, pictures=pictures, format=format, progress=progress)
        if pictures:
            write_pictures(folder, market, ids, progress)
        log = write_clicks(
            folder, market, ids, seed=seed, sessions=sessions, users=users, format=format, progress=progress
        )
        write_truth(folder, market, ids, log.per_product, progress)
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
        truth = {
            "kind": _KIND,
            "version": TRUTH_VERSION,
            "arguments": asked,
            "model": asdict(model),
            "counts": counts,
        }
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


_OWN = {
    *(f"{stem}.{suffix}" for stem in ("products", "clicks") for suffix in ("csv", "jsonl", "parquet")),
    *("truth.parquet", "truth.json", "images", "vectors", ".trimodal"),
}
"""What a simulated market may hold and be replaced with: its files, and a store of what was encoded from them."""


@contextmanager
def _published(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a folder beside `out` to write into; rename it to `out` once the block ends without an error."""
    replaces = False
    if out.exists() or out.is_symlink():
        if not out.is_dir():
            raise DataError(f"{out} is not a folder, must be a folder or nothing; name another one.")
        replaces = any(out.iterdir())
    if replaces and not overwrite:
        raise DataError(f"{out} is not empty; name another folder, or replace a simulated market with --overwrite.")
    if replaces and not is_simulated(out):
        raise DataError(f"{out} holds something other than a simulated market and is not replaced; empty it yourself.")
    strangers = sorted(path.name for path in out.iterdir() if path.name not in _OWN) if replaces else []
    if strangers:
        raise DataError(f"{out} is not replaced: it holds {strangers[0]!r}, which `simulate` did not write.")
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
        try:
            folder.rename(out)
        except OSError:
            if replaces:
                (scratch / "old").rename(out)
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def is_simulated(folder: Path) -> bool:
    """Return whether this folder was written by `simulate`."""
    try:
        truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(truth, dict) and truth.get("kind") == _KIND
