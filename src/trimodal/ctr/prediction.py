"""Scores of events: every item is encoded once, then events are scored in batches."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .batches import Placed, Tables
from .models.base import CtrModel, Encoded


@torch.inference_mode()  # type: ignore[untyped-decorator]
def encode_all(model: CtrModel, tables: Tables, *, block: int = 8192) -> Encoded:
    """The item side of all n items, by name [n, ...], in blocks."""
    model.eval()
    index = torch.arange(len(tables.item_row), device=tables.device)
    blocks = [model.encode(tables.items(part)) for part in index.split(block)]
    return {name: torch.cat([encoded[name] for encoded in blocks]) for name in blocks[0]}


@torch.inference_mode()  # type: ignore[untyped-decorator]
def predict(
    model: CtrModel, tables: Tables, events: Placed, *, encoded: Encoded | None = None, batch_size: int = 4096
) -> NDArray[np.float32]:
    """Logits of events, float32 [n]; `encoded` as `encode_all` gives it, where it is there already."""
    model.eval()
    if encoded is None:
        encoded = encode_all(model, tables)
    parts: list[Tensor] = []
    for rows in events.epoch(batch_size):
        batch = tables.indexed(events, rows)
        parts.append(model.score(encoded, batch.user, batch.candidate, batch.history, batch.mask).float())
    return torch.cat(parts).cpu().numpy() if parts else np.empty(0, np.float32)
