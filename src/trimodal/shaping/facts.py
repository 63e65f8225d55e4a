"""What filters know of products, as arrays: category, brand, group and price; and which pairs they let through."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..catalog import Catalog
from ..errors import ParameterError
from .settings import Bounds, Shaping


@dataclass(frozen=True)
class Labels:
    """One label per product: `code` int64 [n] into `names`, -1 where there is none."""

    code: NDArray[np.int64]
    names: tuple[str, ...]

    @classmethod
    def of(cls, column: pl.Series) -> Labels:
        """The labels of a text column."""
        code = column.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1
        return cls(code, tuple(column.drop_nulls().unique().sort().to_list()))

    def among(self, names: Sequence[str], what: str) -> NDArray[np.bool_]:
        """Which products have one of these names: bool [n]. Raises `ParameterError` for a name that none has."""
        codes = {name: code for code, name in enumerate(self.names)}
        for name in names:
            if name not in codes:
                near = difflib.get_close_matches(name, self.names, 3)
                hint = f"; near it: {', '.join(near)}" if near else ""
                raise ParameterError(f"no product has the {what} {name!r}{hint}.")
        return np.isin(self.code, [codes[name] for name in names])


@dataclass(frozen=True)
class Facts:
    """What filters and caps know of n products.

    Attributes
    ----------
    category, brand
        Labels.
    group
        int64 [n]: products of one `group_id` share a number; one without has a number of its own.
    price
        float64 [n], NaN where not known.
    """

    category: Labels
    brand: Labels
    group: NDArray[np.int64]
    price: NDArray[np.float64]

    @classmethod
    def of(cls, catalog: Catalog) -> Facts:
        """The facts of a catalogue, in its order."""
        frame = catalog.frame
        group = Labels.of(frame["group_id"]).code
        return cls(
            category=Labels.of(frame["category"]),
            brand=Labels.of(frame["brand"]),
            group=np.where(group >= 0, group, len(catalog) + np.arange(len(catalog))),
            price=frame["price"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
        )


@dataclass(frozen=True)
class Allowed:
    """Which candidates the filters let each query find; both sides in the order of the search.

    Attributes
    ----------
    candidates
        bool [c]: what no query decides about.
    category, group
        (of queries [q], of candidates [c]): must be equal and known; must differ.
    price
        (lowest [q], highest [q], of candidates [c]).
    """

    candidates: NDArray[np.bool_]
    category: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
    group: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
    price: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None = None

    @classmethod
    def by(
        cls, shaping: Shaping, facts: Facts, queries: NDArray[np.int64] | None, candidates: NDArray[np.int64]
    ) -> Allowed:
        """What some settings let through.

        Parameters
        ----------
        queries
            Places of the queries in the catalogue, [q]; None: they are not in it, so nothing is known of them.
        candidates
            Places of the candidates, [c].

        Raises
        ------
        ParameterError
            A name that no product has; a comparison with a query of which nothing is known.
        """
        passes = np.ones(len(facts.price), bool)
        if shaping.categories is not None:
            passes &= facts.category.among(shaping.categories, "category")
        if shaping.exclude_categories:
            passes &= ~facts.category.among(shaping.exclude_categories, "category")
        if shaping.brands is not None:
            passes &= facts.brand.among(shaping.brands, "brand")
        if shaping.price is not None:
            low, high = _bounds(shaping.price)
            passes &= (facts.price >= low) & (facts.price <= high)
        category = group = price = None
        for name in ("same_category", "exclude_own_group", "relative_price"):
            if getattr(shaping, name) and queries is None:
                raise ParameterError(
                    f"{name} compares with the product that is asked about, and this one is not in the catalogue; "
                    "give categories or price themselves."
                )
        if queries is not None:
            if shaping.same_category:
                category = facts.category.code[queries], facts.category.code[candidates]
            if shaping.exclude_own_group:
                group = facts.group[queries], facts.group[candidates]
            if shaping.relative_price is not None:
                low, high = _bounds(shaping.relative_price)
                own = facts.price[queries]
                price = low * own, own * high if high < np.inf else np.full(len(own), np.inf), facts.price[candidates]
        return cls(passes[candidates], category, group, price)

    def block(self, queries: slice, candidates: slice) -> NDArray[np.bool_]:
        """What is let through of a block: bool [q, c]."""
        passes = np.repeat(self.candidates[None, candidates], queries.stop - queries.start, axis=0)
        if self.category is not None:
            own, other = self.category
            passes &= (own[queries, None] == other[None, candidates]) & (own[queries, None] >= 0)
        if self.group is not None:
            own, other = self.group
            passes &= own[queries, None] != other[None, candidates]
        if self.price is not None:
            low, high, of = self.price
            passes &= (of[None, candidates] >= low[queries, None]) & (of[None, candidates] <= high[queries, None])
        return passes


def _bounds(bounds: Bounds) -> tuple[float, float]:
    low, high = bounds
    return (0.0 if low is None else float(low)), (np.inf if high is None else float(high))
