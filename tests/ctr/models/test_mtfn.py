"""MTFN against the tensors of rank R, one a pair."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from trimodal.ctr.batches import ModelInputs
from trimodal.ctr.models import build
from trimodal.errors import ParameterError

_spec = importlib.util.spec_from_file_location("toy", Path(__file__).parents[1] / "toy.py")
toy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toy)


@pytest.mark.parametrize("rank", [1, 3])
def test_the_fused_vector_is_the_sum_over_pairs_of_a_tensor_applied_to_both(rank):
    data = toy.batch(dtype=torch.float64)
    d = 4
    model = toy.shake(build("mtfn", toy.INPUTS, dimension=d, category_dimension=3, rank=rank)).double()
    state = toy.Naive(model)
    pairs = [("id", "image"), ("id", "text"), ("image", "text")]
    tensors = []
    for n in range(len(pairs)):
        left, right = (
            np.concatenate([state[f"fusion.{side}.{n}.weight"], state[f"fusion.{side}.{n}.bias"][:, None]], 1)
            for side in ("left", "right")
        )
        shape = (rank, d, d + 1)
        tensors.append(np.einsum("rki,rkj->kij", left.reshape(shape), right.reshape(shape)))
    vectors = []
    for i in range(len(data.items)):
        parts = state.parts(data.items, i)
        fused = sum(
            np.einsum("kij,i,j->k", tensor, np.append(parts[p], 1), np.append(parts[q], 1))
            for (p, q), tensor in zip(pairs, tensors, strict=True)
        )
        vectors.append(np.concatenate([fused, parts["category"]]))
    np.testing.assert_allclose(toy.logits(model, data), toy.pooled(state, data, vectors), atol=1e-9)


def test_without_a_modality_there_is_no_pair():
    with pytest.raises(ParameterError, match="at least one modality"):
        build("mtfn", ModelInputs(3, 3, 3, {}))
