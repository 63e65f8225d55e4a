"""Small batches for click models, data with a planted signal, and layers evaluated naively in NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from trimodal.ctr.batches import Batch, ItemRows, ModelInputs
from trimodal.ctr.layers.inputs import IdEmbedding
from trimodal.ctr.models.base import CtrModel

INPUTS = ModelInputs(users=6, items=16, categories=4, modalities={"image": 7, "text": 5})


def rows(m: int = 20, seed: int = 0, dtype: torch.dtype = torch.float32) -> ItemRows:
    """m items; some have an unknown id, no category, one modality or none."""
    g = torch.Generator().manual_seed(seed)
    item_id = torch.arange(m) % INPUTS.items
    category = torch.randint(0, INPUTS.categories, (m,), generator=g)
    features, present = {}, {}
    for n, (name, length) in enumerate(INPUTS.modalities.items()):
        present[name] = (torch.arange(m) + n) % 4 > 1
        features[name] = torch.randn(m, length, generator=g, dtype=dtype) * present[name][:, None]
    category[0] = 0
    present["image"][0] = present["text"][0] = False  # nothing at all is known of item 0
    features["image"][0] = features["text"][0] = 0
    return ItemRows(item_id, category, features, present)


def batch(b: int = 12, m: int = 20, length: int = 6, seed: int = 0, dtype: torch.dtype = torch.float32) -> Batch:
    """b events: the first without a history, the second of an unknown visitor, padding anywhere."""
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(b, length, generator=g) < 0.6
    mask[0] = False
    mask[2] = True
    user = torch.randint(0, INPUTS.users, (b,), generator=g)
    user[1] = 0
    candidate = torch.randint(0, m, (b,), generator=g)
    candidate[3] = 0
    history = torch.randint(0, m, (b, length), generator=g)
    label = torch.randint(0, 2, (b,), generator=g).to(dtype)
    return Batch(rows(m, seed, dtype), user, candidate, history, mask, label)


def take_items(items: ItemRows, index: torch.Tensor) -> ItemRows:
    return ItemRows(
        items.id[index],
        items.category[index],
        {name: v[index] for name, v in items.features.items()},
        {name: v[index] for name, v in items.present.items()},
    )


def take_events(whole: Batch, events: list[int]) -> Batch:
    """Some events of a batch, over only the items that they hold."""
    candidate, history = whole.candidate[events], whole.history[events]
    index = torch.unique(torch.cat([candidate, history.flatten()]))
    return Batch(
        take_items(whole.items, index),
        whole.user[events],
        torch.searchsorted(index, candidate),
        torch.searchsorted(index, history),
        whole.mask[events],
        whole.label[events],
    )


def shake(model: CtrModel, seed: int = 0, spread: float = 0.4) -> CtrModel:
    """Give every parameter and running statistic a value of its own, so that none hides behind a zero at the start."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=g) * spread)
        for module in model.modules():
            if isinstance(module, IdEmbedding):
                module.weight[0] = 0
        for name, buffer in model.named_buffers():
            if buffer.is_floating_point():
                values = torch.randn(buffer.shape, generator=g)
                buffer.copy_(values.abs() + 0.1 if name.endswith("variance") else values * 0.3)
    return model


def losses(model: CtrModel, data: Batch) -> torch.Tensor:
    """Click loss plus auxiliary losses."""
    output = model(data)
    return binary_cross_entropy_with_logits(output.logits, data.label) + sum(output.losses.values())


# Planted data: 24 items; the odd ones please everyone (`quality`), or each visitor likes the half that she clicked
# before (`taste`). Visitors of `taste` are unknown, so only the history can tell.


def planted(kind: str, events: int, seed: int) -> tuple[Batch, ModelInputs]:
    g = torch.Generator().manual_seed(seed)
    n, length = 24, 5
    items = torch.Generator().manual_seed(99)
    half = torch.arange(n) % 2
    features = {name: torch.randn(n, d, generator=items) for name, d in INPUTS.modalities.items()}
    features["image"][:, 0] = 4.0 * half - 2.0
    present = {name: torch.ones(n, dtype=torch.bool) for name in features}
    rows = ItemRows(torch.arange(n) + 1, torch.ones(n, dtype=torch.int64), features, present)
    candidate = torch.randint(0, n, (events,), generator=g)
    liked = torch.randint(0, 2, (events,), generator=g)
    history = 2 * torch.randint(0, n // 2, (events, length), generator=g) + liked[:, None]
    mask = torch.arange(length) < torch.randint(1, length + 1, (events, 1), generator=g)
    wanted = half[candidate] == (liked if kind == "taste" else 1)
    noise = torch.rand(events, generator=g) < 0.03
    label = (wanted ^ noise).float()
    user = torch.zeros(events, dtype=torch.int64)
    return Batch(rows, user, candidate, history, mask, label), ModelInputs(2, n + 1, 2, INPUTS.modalities)


def train(model: CtrModel, data: Batch, *, steps: int, rate: float = 0.01, size: int = 128, seed: int = 0) -> None:
    """Plain Adam on the click loss plus the auxiliary ones."""
    optimiser = torch.optim.Adam(list(model.parameters()), rate)
    g = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(steps):
        at = torch.randint(0, len(data.label), (size,), generator=g)
        part = replace(data, user=data.user[at], candidate=data.candidate[at], history=data.history[at])
        part = replace(part, mask=data.mask[at], label=data.label[at])
        optimiser.zero_grad()
        losses(model, part).backward()
        optimiser.step()
    model.eval()


def auc(model: CtrModel, data: Batch) -> float:
    """Share of pairs of a clicked and an unclicked event in the right order."""
    with torch.no_grad():
        scores = model(data).logits
    clicked, other = scores[data.label == 1], scores[data.label == 0]
    ahead = clicked[:, None] - other[None]
    return float(((ahead > 0).float() + 0.5 * (ahead == 0).float()).mean())


# Naive evaluation: one item, one event, one position at a time, from the numbers in a model's state.


class Naive:
    """Layers of a model by their names in its state, on vectors."""

    def __init__(self, model: CtrModel) -> None:
        self.state = {name: value.double().numpy() for name, value in model.state_dict().items()}

    def __getitem__(self, name: str) -> np.ndarray:
        return self.state[name]

    def has(self, name: str) -> bool:
        return name in self.state

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        y = self.state[f"{name}.weight"] @ x
        return y + self.state[f"{name}.bias"] if f"{name}.bias" in self.state else y

    def prelu(self, name: str, x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, self.state[f"{name}.weight"] * x)

    def tower(self, x: np.ndarray, name: str = "tower", hidden: int = 2) -> float:
        for layer in range(hidden):
            x = self.prelu(f"{name}.layers.{3 * layer + 1}", self.linear(f"{name}.layers.{3 * layer}", x))
        return float(self.linear(f"{name}.layers.{3 * hidden}", x)[0])

    def user(self, data: Batch, event: int) -> np.ndarray:
        return self.state["user.weight"][int(data.user[event])]

    def parts(self, items: ItemRows, i: int, name: str = "item") -> dict[str, np.ndarray]:
        """Id, category and modalities of item i through `ItemInput`."""
        out = {
            "id": self.state[f"{name}.id.weight"][int(items.id[i])],
            "category": self.state[f"{name}.category.weight"][int(items.category[i])],
        }
        for modality in items.features:
            prefix = f"{name}.projections.{modality}"
            if items.present[modality][i]:
                out[modality] = self.linear(f"{prefix}.linear", items.features[modality][i].double().numpy())
            else:
                out[modality] = self.state[f"{prefix}.missing"]
        return out

    def views(self, items: ItemRows, i: int) -> dict[str, np.ndarray]:
        """The views of item i that are present, through `Views`."""
        out = {}
        if items.id[i] > 0:
            out["id"] = self.state["views.id.weight"][int(items.id[i])]
        for modality in items.features:
            if items.present[modality][i]:
                vector = items.features[modality][i].double().numpy()
                out[modality] = self.linear(f"views.projections.{modality}", vector)
        return out


def clicked(data: Batch, event: int) -> list[int]:
    """The items of an event's history, oldest first."""
    return [int(i) for i, here in zip(data.history[event], data.mask[event], strict=True) if here]


def pooled(naive: Naive, data: Batch, vectors: list[np.ndarray]) -> np.ndarray:
    """Logits of user, mean of the history's vectors and candidate through the tower."""
    out = []
    for event in range(len(data.user)):
        target = vectors[int(data.candidate[event])]
        history = [vectors[i] for i in clicked(data, event)]
        mean = sum(history) / len(history) if history else np.zeros_like(target)
        out.append(naive.tower(np.concatenate([naive.user(data, event), mean, target])))
    return np.array(out)


def logits(model: CtrModel, data: Batch) -> np.ndarray:
    """A model's logits in evaluation."""
    model.eval()
    with torch.no_grad():
        return model(data).logits.numpy()
