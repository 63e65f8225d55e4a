"""Result shaping: which of the nearest products a list shows, and in which order; distances are left alone."""

from __future__ import annotations

from .choose import shape
from .facts import Facts
from .search import shaped_neighbors, shaped_query
from .settings import DUPLICATE_DISTANCE, Shaping

__all__ = ["DUPLICATE_DISTANCE", "Facts", "Shaping", "shape", "shaped_neighbors", "shaped_query"]
