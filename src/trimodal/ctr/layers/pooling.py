"""Poolings: a history's item vectors become one vector; padding takes no part."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding, embedding_bag

_DENSE = 64
"""Distinct items for each place of a history up to which a dense table of products is the faster way."""


def masked_mean(vectors: Tensor, history: Tensor, mask: Tensor) -> Tensor:
    """Mean [b, d] over the items of each history; zero where it is empty.

    `vectors` [m, d], `history` int64 and `mask` bool [b, l] as in `Batch`.
    """
    weights = mask.to(vectors.dtype) / mask.sum(1, keepdim=True).clamp(min=1)
    return _weighted_sum(vectors, history, weights)


def _weighted_sum(vectors: Tensor, history: Tensor, weights: Tensor) -> Tensor:
    """Sum [b, d] of the rows of `vectors` that each history names, by `weights` [b, l]."""
    if torch.onnx.is_in_onnx_export():  # PyTorch cannot export a bag with weights
        return torch.bmm(weights[:, None], embedding(history, vectors))[:, 0]
    return embedding_bag(history, vectors, per_sample_weights=weights, mode="sum")


def interest_weights(scores: Tensor, mask: Tensor, *, kind: str, floor: float = 0.1) -> Tensor:
    """Weights of the positions of a history, from the products of the candidate with each: the same shape.

    Parameters
    ----------
    scores, mask
        H'c . H'i and whether position i holds an item with the modality; any shape, the positions last.
    kind
        `paper`: equation (10), relu(s_i / sum_j s_j). The sum can be near zero or negative; its size is held above
        `floor` times the sum of the sizes, its sign is kept. `softmax`: exp(s_i / sqrt(d)) over their sum, with the
        scale already in the scores.
    """
    scores = torch.where(mask, scores, 0)
    if kind == "softmax":
        scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)
        return torch.where(mask, torch.softmax(scores, -1), 0)
    total = scores.sum(-1, keepdim=True)
    least = (floor * scores.abs().sum(-1, keepdim=True)).clamp(min=1e-12)
    size = torch.maximum(total.abs(), least)
    return torch.relu(scores / torch.where(total < 0, -size, size))


def interest_pooling(vectors: Tensor, candidate: Tensor, history: Tensor, mask: Tensor, *, kind: str) -> Tensor:
    """Equation (10) for one part: the history's vectors by their likeness to the candidate's, [b, d].

    `vectors` [m, d]; `candidate` [b], `history` and `mask` [b, l] or [1, l] as in `CtrModel.score`; `kind` as in
    `interest_weights`.
    """
    target = vectors.index_select(0, candidate)
    one = history.shape[0] == 1
    if one:
        past = embedding(history[0], vectors)
        scores = target @ past.T
    elif len(vectors) <= _DENSE * history.shape[1] and not torch.onnx.is_in_onnx_export():
        # Few distinct items against the length of the histories: all products by one matrix product, then a lookup.
        scores = (target @ vectors.T).gather(1, history)
    else:
        scores = (embedding(history, vectors) * target[:, None]).sum(-1)
    if kind == "softmax":
        scores = scores / vectors.shape[1] ** 0.5
    # Mixed precision gives the products, but not the vectors, in half of the bits; a bag takes one type.
    weights = interest_weights(scores, mask, kind=kind).to(vectors.dtype)
    return weights @ past if one else _weighted_sum(vectors, history, weights)
