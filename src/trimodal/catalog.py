"""Catalog: a shop's products, checked, and joined to everything else by product id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from .errors import DataError, check_share
from .ids import ProductIds
from .rejections import MAX_REJECTED, Rejections
from .tables import ROW, as_text, find_table, read_table, require_columns

REQUIRED = ("product_id", "title")
OPTIONAL = ("category", "image", "price", "url", "brand", "group_id")
TEXT = tuple(name for name in (*REQUIRED, *OPTIONAL) if name != "price")
ROOT = "__root__"
MAX_ID = 256
MAX_TITLE = 10_000


class Catalog:
    """Products, one row each, checked by id.

    Attributes
    ----------
    frame
        `product_id`, `title`, and where the input has them `category`, `image`, `price`, `url`, `brand`,
        `group_id` and any other column. `ROW` is the record's number in the input, `ROOT` the folder that a
        relative picture path starts from where it is not `root`.
    root
        Folder that relative picture paths start from.
    rejections
        Rows kept out and values not used, with reasons.
    records
        How many records the input had, good or bad.
    """

    def __init__(
        self, frame: pl.DataFrame, *, root: Path | None, rejections: Rejections, records: int, file: str
    ) -> None:
        self.frame = frame
        self.root = root
        self.rejections = rejections
        self.records = records
        self.file = file
        self.ids = ProductIds(frame["product_id"])

    @classmethod
    def read(cls, path: str | Path, *, encoding: str = "utf-8", max_rejected: float = MAX_REJECTED) -> Catalog:
        """Read and check a products file, or the `products.*` of a data folder.

        Raises
        ------
        DataError
            No such file, a required column is missing, or more than the share `max_rejected` of the rows is bad.
        """
        path = Path(path)
        if path.is_dir():
            found = find_table(path, "products")
            if found is None:
                raise DataError(f"{path} holds no products.csv, products.jsonl or products.parquet.")
            path = found
        rejections = Rejections()
        table, records = read_table(path, rejections, required=REQUIRED, text=TEXT, encoding=encoding)
        return cls._checked(table, path.parent, rejections, records, path.name, max_rejected)

    @classmethod
    def from_records(
        cls,
        products: pl.DataFrame | Iterable[Mapping[str, Any]],
        *,
        root: str | Path | None = None,
        max_rejected: float = MAX_REJECTED,
    ) -> Catalog:
        """Check products given as a Polars frame or as mappings with the keys of the products file."""
        frame = (
            products if isinstance(products, pl.DataFrame) else pl.DataFrame(list(products), infer_schema_length=None)
        )
        require_columns("products", frame.columns, REQUIRED)
        frame = frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).alias(ROW))
        folder = Path(root) if root is not None else None
        return cls._checked(frame, folder, Rejections(), frame.height, "products", max_rejected)

    @classmethod
    def _checked(
        cls,
        table: pl.DataFrame,
        root: Path | None,
        rejections: Rejections,
        records: int,
        file: str,
        max_rejected: float,
    ) -> Catalog:
        check_share("max_rejected", max_rejected)
        if ROOT in table.columns:
            raise DataError(f"{file}: a column is named {ROOT!r}, which is reserved; rename it.")
        table = as_text(table, file, TEXT)

        def reject(condition: pl.Expr, reason: str) -> None:
            nonlocal table
            marked = table.select(pl.col(ROW), condition.fill_null(False).alias("bad"))
            rejections.add(file, marked.filter("bad")[ROW], reason)
            table = table.filter(~marked["bad"])

        def note(condition: pl.Expr, reason: str) -> None:
            rejections.add(file, table.filter(condition.fill_null(False))[ROW], reason, kept=True)

        product_id = pl.col("product_id")
        reject(product_id.is_null(), "product_id is empty")
        reject(product_id.str.len_chars() > MAX_ID, f"product_id is longer than {MAX_ID} characters")
        reject(product_id.str.contains(r"[\x00-\x1f]"), "product_id holds a control character")
        reject(
            pl.col("title").str.len_chars() > MAX_TITLE,
            f"title is longer than {MAX_TITLE:,} characters; is a quote left open?",
        )
        reject(~product_id.is_first_distinct(), "product_id occurs twice; the first row is kept")
        note(pl.col("title").is_null(), "title is empty; the product is kept without text")
        if "price" in table.columns:
            dtype = table.schema["price"]
            if not (dtype.is_numeric() or dtype in (pl.String, pl.Null)):
                raise DataError(f"{file}: column 'price' is of type {dtype}, must be a number or text.")
            if dtype == pl.String:  # 9,90 is 9.90; what 1,234 is nobody knows
                decimal = pl.col("price").str.strip_chars().str.replace(r"^(\d+),(\d{1,2})$", "$1.$2")
                table = table.with_columns(decimal.alias("price"))
            price = pl.col("price").cast(pl.Float64, strict=False)
            price = pl.when(price.is_finite() & (price >= 0)).then(price)
            given = pl.col("price").is_not_null()
            if dtype == pl.String:
                given &= pl.col("price").str.strip_chars() != ""
            note(given & price.is_null(), "price is not a number >= 0; the product is kept without price")
            table = table.with_columns(price.alias("price"))
        for name in OPTIONAL:
            if name not in table.columns:
                table = table.with_columns(pl.lit(None, pl.Float64 if name == "price" else pl.String).alias(name))
        if not records or table.is_empty():
            raise DataError(f"{file} holds no usable product; rejected most often: {rejections.worst(file)}.")
        rejections.enforce(file, records, max_rejected)
        return cls(table, root=root, rejections=rejections, records=records, file=file)

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        return f"Catalog({len(self):,} products, {self.rejections.total:,} rejections)"

    @property
    def titles(self) -> list[str | None]:
        """Title per product, None where empty."""
        return self.frame["title"].to_list()

    @property
    def images(self) -> list[str | None]:
        """Picture path or URL per product, None where there is none."""
        return self.frame["image"].to_list()

    @property
    def categories(self) -> list[str | None]:
        """Category per product, None where there is none."""
        return self.frame["category"].to_list()

    def rows(self, ids: Iterable[str]) -> list[int]:
        """Record numbers of products in the input."""
        return self.frame[ROW].gather(self.ids.positions(ids)).to_list()

    def title_words(self) -> dict[str, float]:
        """Minimum, maximum and mean number of words per title (Table I); 0 where no product has a title."""
        words = self.frame["title"].drop_nulls().str.count_matches(r"\S+")
        if words.is_empty():
            return {"min": 0, "max": 0, "mean": 0.0}
        return {"min": int(words.min()), "max": int(words.max()), "mean": float(words.mean())}  # type: ignore[arg-type]

    def without(self, ids: Iterable[str]) -> Catalog:
        """The catalogue less some products."""
        gone = pl.Series(list(ids), dtype=pl.String)
        return self._with(self.frame.filter(~pl.col("product_id").is_in(gone.implode())))

    def extended(self, other: Catalog) -> Catalog:
        """This catalogue and the products of another; a product of the same id is taken from the other.

        Each product's picture stays in its own catalogue's folder (`image_roots`). To encode, take the catalogues
        one by one, as `Recommender.add` does: an encoder reads below one folder.
        """
        shared = [product_id for product_id in other.ids if product_id in self.ids]
        kept = (self.without(shared) if shared else self).frame
        added = other.frame
        if other.root != self.root or ROOT in added.columns:
            roots = [str((root or Path()).resolve()) for root in other.image_roots()]
            added = added.with_columns(pl.Series(ROOT, roots, dtype=pl.String))
        try:
            return self._with(pl.concat([kept, added], how="diagonal_relaxed"))
        except pl.exceptions.PolarsError as error:
            raise DataError(f"a column differs in type between the two catalogues: {error}") from error

    def image_roots(self) -> list[Path | None]:
        """Folder per product that its relative picture path starts from; None: the working folder."""
        if ROOT not in self.frame.columns:
            return [self.root] * len(self)
        return [self.root if folder is None else Path(folder) for folder in self.frame[ROOT].to_list()]

    def _with(self, frame: pl.DataFrame) -> Catalog:
        return Catalog(frame, root=self.root, rejections=self.rejections, records=self.records, file=self.file)
