"""Search over fused products: exact here; approximate and remote indexes keep the same distances."""

from .exact import search

__all__ = ["search"]
