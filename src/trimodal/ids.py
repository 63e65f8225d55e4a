"""Product ids and where each stands: every join in trimodal goes through this, never through row order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .errors import DataError, UnknownProductError


class ProductIds(Sequence[str]):
    """An ordered set of product ids. The position of an id is its row in arrays that are aligned to it."""

    def __init__(self, ids: Iterable[str] | pl.Series) -> None:
        self._ids: list[str] = ids.to_list() if isinstance(ids, pl.Series) else list(ids)
        if not all(isinstance(value, str) and value for value in self._ids):
            bad = next(value for value in self._ids if not isinstance(value, str) or not value)
            raise DataError(f"product id {bad!r}, must be a non-empty string.")
        if len(self._position) != len(self._ids):
            raise DataError(f"{len(self._ids) - len(self._position)} product ids occur more than once.")

    @cached_property
    def _position(self) -> dict[str, int]:
        return {product_id: i for i, product_id in enumerate(self._ids)}

    @cached_property
    def array(self) -> NDArray[np.object_]:
        """The ids as an object array, for indexing with positions."""
        return np.array(self._ids, dtype=object)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self._ids[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __contains__(self, product_id: object) -> bool:
        return product_id in self._position

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProductIds) and self._ids == other._ids

    __hash__ = None  # type: ignore[assignment]

    def find(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """Positions of ids, -1 where an id is unknown: int64 [n]."""
        get = self._position.get
        return np.fromiter((get(product_id, -1) for product_id in ids), np.int64)

    def positions(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """Positions of ids: int64 [n]. Raises `UnknownProductError` for one that is not there."""
        ids = list(ids)
        found = self.find(ids)
        if (found < 0).any():
            unknown = [ids[i] for i in np.flatnonzero(found < 0)]
            more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
            raise UnknownProductError(
                f"product {', '.join(map(repr, unknown[:3]))}{more} is not among the {len(self):,} known ones."
            )
        return found

    def __repr__(self) -> str:
        return f"ProductIds({len(self):,})"
