"""Second-order interactions of a factorisation machine."""

from __future__ import annotations

from torch import Tensor


def pairwise(fields: Tensor) -> tuple[Tensor, Tensor]:
    """Sum [m, d] of the fields [m, f, d] of each row, and the sum [m] of the inner products of all pairs of them.

    Rendle 2010, Lemma 3.1: half of the squared sum less the sum of squares. A field u that joins later adds
    the inner product of u with the sum.
    """
    total = fields.sum(1)
    return total, (total.square() - fields.square().sum(1)).sum(1) / 2
