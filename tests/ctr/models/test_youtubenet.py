"""YoutubeNet against its equation."""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from trimodal.ctr.models import build

_spec = importlib.util.spec_from_file_location("toy", Path(__file__).parents[1] / "toy.py")
toy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toy)


def test_logits_are_a_tower_over_user_mean_history_and_candidate():
    data = toy.batch(dtype=torch.float64)
    model = toy.shake(build("youtubenet", toy.INPUTS, dimension=8, category_dimension=3)).double()
    state = toy.Naive(model)
    vectors = [np.concatenate(list(state.parts(data.items, i).values())) for i in range(len(data.items))]
    assert len(vectors[0]) == 3 * 8 + 3
    np.testing.assert_allclose(toy.logits(model, data), toy.pooled(state, data, vectors), atol=1e-9)
