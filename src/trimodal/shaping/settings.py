"""What a list of similar products may hold: caps, diversity and filters, checked when they are set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ParameterError, check_int, check_share

DUPLICATE_DISTANCE = 0.05
"""Fused distance up to which two products count as near-duplicates, unless another is given."""

Bounds = tuple[float | None, float | None]


@dataclass(frozen=True, kw_only=True)
class Shaping:
    """How lists are shaped. Everything is off unless asked for; filters first, then caps and diversity.

    Parameters
    ----------
    max_per_group
        At most so many products of one `group_id` (offers of one product). A product without is a group of its own.
    exclude_own_group
        Leave out other products of the query's own group.
    max_per_duplicate
        At most so many near-duplicates: a product is left out where so many of those chosen before it lie within
        `duplicate_distance` of it. Only distances to chosen products count, so that a chain of alike products is
        not taken for one product.
    duplicate_distance
        Fused distance, in [0, 2], up to which two products are near-duplicates; None for `DUPLICATE_DISTANCE`.
    diversity
        1 - lambda of maximal marginal relevance (Carbonell & Goldstein 1998), in [0, 1]: 0 is the plain order.
    pool
        How many of the nearest products diversity chooses from; None for 10 times the length of the list.
    categories, brands
        Only products of these; None for any.
    exclude_categories
        No product of these.
    same_category
        Only products of the query's category.
    price
        Lowest and highest price; None for no bound.
    relative_price
        The same as multiples of the query's price.

    A product whose category, brand or price is not known does not pass a filter on it, and a query whose own is not
    known finds nothing under a filter that compares with it. `exclude_categories` alone lets the unknown pass.

    Raises
    ------
    ParameterError
        A value is outside its range, or one was given that another setting would have to make use of.
    """

    max_per_group: int | None = None
    exclude_own_group: bool = False
    max_per_duplicate: int | None = None
    duplicate_distance: float | None = None
    diversity: float = 0.0
    pool: int | None = None
    categories: Sequence[str] | None = None
    exclude_categories: Sequence[str] = ()
    same_category: bool = False
    price: Bounds | None = None
    relative_price: Bounds | None = None
    brands: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("max_per_group", "max_per_duplicate", "pool"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), low=1)
        check_share("diversity", self.diversity)
        if self.duplicate_distance is not None:
            if self.max_per_duplicate is None:
                raise ParameterError("duplicate_distance goes with max_per_duplicate; give it too.")
            if not 0 <= self.duplicate_distance <= 2:
                raise ParameterError(f"duplicate_distance == {self.duplicate_distance!r}, must be in [0, 2].")
        if self.pool is not None and not self.diversity:
            raise ParameterError("pool goes with diversity; give a diversity above 0 too.")
        for name in ("categories", "exclude_categories", "brands"):
            value = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(part, str) for part in value or ()):
                raise ParameterError(f"{name} == {value!r}, must be a list of names.")
            if value is not None:
                object.__setattr__(self, name, tuple(value))  # hashable, and no one else's list
        for name in ("categories", "brands"):
            if getattr(self, name) == ():
                raise ParameterError(f"{name} is empty, so nothing would pass; leave it out or name some.")
        for name in ("price", "relative_price"):
            _check_bounds(name, getattr(self, name))

    @property
    def filters(self) -> bool:
        """Whether any product is kept out whatever else the list holds."""
        wanted = (self.categories, self.brands, self.price, self.relative_price)
        return (
            self.exclude_own_group
            or self.same_category
            or bool(self.exclude_categories)
            or any(value is not None for value in wanted)
        )

    @property
    def chooses(self) -> bool:
        """Whether what is chosen decides about what else may be."""
        return self.max_per_group is not None or self.max_per_duplicate is not None or self.diversity > 0

    def first_pool(self, k: int) -> int:
        """How many candidates to look at first for a list of k."""
        if self.pool is not None and self.pool < k:
            raise ParameterError(f"pool == {self.pool}, must be at least the length of the list, {k}.")
        if self.diversity:
            return self.pool or 10 * k
        return 4 * k if self.chooses else k


def _check_bounds(name: str, bounds: Bounds | None) -> None:
    if bounds is None:
        return
    if not isinstance(bounds, tuple) or len(bounds) != 2 or bounds == (None, None):
        raise ParameterError(f"{name} == {bounds!r}, must be (lowest, highest); one of them may be None.")
    for bound in bounds:
        if bound is not None and not (np.isreal(bound) and np.isfinite(bound) and bound >= 0):
            raise ParameterError(f"{name} == {bounds!r}, must be finite numbers >= 0.")
    low, high = bounds
    if low is not None and high is not None and low > high:
        raise ParameterError(f"{name} == {bounds!r}: the lowest is above the highest.")
