"""Export a ranker's scoring as an ONNX graph, for ONNX Runtime and other engines without PyTorch."""

from __future__ import annotations

import copy
import io
import json
import threading
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import MissingExtraError
from ..files import atomic
from .layers.recurrent import AttentionalGru
from .models.base import CtrModel
from .ranker import Ranker

OPSET = 18
INPUTS = ("user", "candidate", "history", "mask")
"""Inputs beside the encoded items, in the order of `CtrModel.score`."""
OUTPUT = "probability"

_exporting = threading.Lock()  # PyTorch exports one model at a time


def export_onnx(ranker: Ranker, path: str | Path) -> tuple[str, ...]:
    """Write the graph of `CtrModel.score` with a sigmoid to a file, atomically.

    The graph holds the model's parameters, the items are its inputs: the tensors of a ranker's `encoded` by their
    names, whole or only the rows asked about, [m, ...]. Further inputs are `user` int64 [b], `candidate` int64 [b]
    and `history` int64 [b, l], rows of those tensors, and `mask` bool [b, l]. The output is `probability` float32
    [b]. The sizes m, b and l are free, l at least 1; a padded place of `history` holds any row of the tensors. A model
    that does not use an input has none of that name.

    Returns
    -------
    tuple of str
        Names of the graph's inputs.

    Raises
    ------
    MissingExtraError
        `onnx` is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("exporting a ranker to ONNX", "ctr") from error
    names = tuple(ranker.encoded)
    sizes = {name: {0: "items"} for name in names}
    sizes |= {"user": {0: "events"}, "candidate": {0: "events"}, OUTPUT: {0: "events"}}
    sizes |= {name: {0: "events", 1: "clicks"} for name in ("history", "mask")}
    stream = io.BytesIO()
    with _exporting, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's notes on tracing and on its own successor
        torch.onnx.export(
            _Graph(ranker.model, names).eval(),
            _sample(ranker, names),
            stream,
            dynamo=False,
            opset_version=OPSET,
            input_names=[*names, *INPUTS],
            output_names=[OUTPUT],
            dynamic_axes=sizes,
        )
    model = onnx.load_from_string(stream.getvalue())
    notes = {"model": ranker.model.name, "data": ranker.manifest["data"]["fingerprint"]}
    onnx.helper.set_model_props(model, {"trimodal": json.dumps(notes)})
    onnx.checker.check_model(model, full_check=True)
    with atomic(Path(path)) as temporary:
        temporary.write_bytes(model.SerializeToString())
    return tuple(entry.name for entry in model.graph.input)


class _Graph(nn.Module):
    """`CtrModel.score` with tensors in place of a mapping."""

    def __init__(self, model: CtrModel, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).cpu()
        self.names = names
        for module in self.model.modules():
            for name, child in module.named_children():
                if isinstance(child, AttentionalGru):
                    setattr(module, name, _LoopedGru(child))

    def forward(self, *tensors: Tensor) -> Tensor:
        encoded = dict(zip(self.names, tensors, strict=False))
        logits = self.model.score(encoded, *tensors[len(self.names) :])
        return logits.float().sigmoid()


class _LoopedGru(nn.Module):
    """The same unit as a loop of the graph, over all rows; a padded place leaves a row's state as it is.

    The layer itself sorts histories by their length and counts them in Python, which tracing would fix in the graph.
    """

    def __init__(self, gru: AttentionalGru) -> None:
        super().__init__()
        self.recurrent = gru.recurrent
        self.steps = torch.jit.script(_steps)

    def forward(self, gates: Tensor, attention: Tensor, history: Tensor, mask: Tensor) -> Tensor:
        return self.steps(gates, attention, history, mask, self.recurrent.weight, self.recurrent.bias)


def _steps(gates: Tensor, attention: Tensor, history: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Last states [b, hidden]; written for `torch.jit.script`, which keeps the loop where tracing would unroll it."""
    state = torch.zeros([mask.size(0), weight.size(1)], dtype=gates.dtype)
    for step in range(mask.size(1)):
        inputs = gates.index_select(0, history[:, step]).chunk(3, 1)
        recurrent = torch.matmul(state, weight.t()).add(bias).chunk(3, 1)
        update = (inputs[0] + recurrent[0]).sigmoid() * attention[:, step].unsqueeze(1)
        reset = (inputs[1] + recurrent[1]).sigmoid()
        proposal = (inputs[2] + reset * recurrent[2]).tanh()
        moved = state + update * (proposal - state)
        state = torch.where(mask[:, step].unsqueeze(1), moved, state)
    return state


def _sample(ranker: Ranker, names: tuple[str, ...]) -> tuple[Tensor, ...]:
    """Inputs to trace with: three events with two or three clicks among a few items."""
    items = tuple(ranker.encoded[name][:5].cpu() for name in names)
    rows = torch.arange(3) % len(items[0])
    history = torch.arange(9).view(3, 3) % len(items[0])
    mask = torch.tensor([[True, True, False], [True, True, True], [False, True, True]])
    return *items, torch.zeros(3, dtype=torch.int64), rows, history, mask
