"""Ranking: what a ranker answers, products by click probability."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ranking:
    """Products by their click probability, the most likely first. Iterates as pairs and prints as a table.

    Attributes
    ----------
    products, probabilities
        The ranked products and their click probabilities.
    visitor, known
        The visitor asked about, and whether training saw her.
    skipped
        Products that the ranker does not know and left out, by `history` and `candidates`.
    """

    products: tuple[str, ...]
    probabilities: tuple[float, ...]
    visitor: str | None
    known: bool
    skipped: Mapping[str, int]

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return iter(zip(self.products, self.probabilities, strict=True))

    def __len__(self) -> int:
        return len(self.products)

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON holds it."""
        ranked = [{"product_id": product, "probability": chance} for product, chance in self]
        return {"visitor": self.visitor, "known": self.known, "skipped": dict(self.skipped), "ranked": ranked}

    def __str__(self) -> str:
        who = "a visitor" if self.visitor is None else f"{self.visitor}{'' if self.known else ' (not in training)'}"
        lines = [f"click probability for {who}", *(f"  {chance:.4f}  {product}" for product, chance in self)]
        lines += [f"  {count:,} unknown in the {where}, left out" for where, count in self.skipped.items() if count]
        return "\n".join(lines)
