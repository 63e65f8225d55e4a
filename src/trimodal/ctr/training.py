"""Training: Adam, early stopping on validation, GMMF's alternation, checkpoints that resume to the same result."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ..errors import DataError, ParameterError, check_choice, check_int, check_share
from ..progress import Progress, silent
from .batches import Batch, Tables
from .data import CtrData
from .metrics import Metrics, measure
from .models.base import Adversarial, CtrModel
from .prediction import predict
from .training_log import TrainingLog
from .training_state import load_state, save_state

MONITORS = ("auc_user", "auc_impression_weighted", "auc_positive_weighted", "auc_pooled")


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained.

    Attributes
    ----------
    epochs
        At most so many passes over the training events.
    batch_size
        Events per step.
    learning_rate, adversarial_rate
        Adam's rates for the backbone, and for the generator and the discriminator; the paper has 1e-4 and 1e-5.
    weight_decay
        Decoupled from the gradient (AdamW); 0 is plain Adam.
    patience
        Stop after so many epochs without a better validation value.
    adversarial_after
        K of Algorithm 1: epochs before the generator and the discriminator begin.
    max_history
        Clicks of a history that are used, the latest ones.
    monitor
        The validation metric that is watched: one of `MONITORS`, or empty for the recipe's own.
    precision
        `float32`, or `bfloat16` for mixed precision.
    compile
        Compile the model; worth it on a GPU.
    seed
        Of the first weights, the order of the events, and dropout.
    """

    epochs: int = 30
    batch_size: int = 1024
    learning_rate: float = 1e-3
    adversarial_rate: float = 1e-4
    weight_decay: float = 0.01
    patience: int = 3
    adversarial_after: int = 1
    max_history: int = 50
    monitor: str = ""
    precision: str = "float32"
    compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience", "max_history"):
            check_int(name, getattr(self, name), low=1)
        check_int("adversarial_after", self.adversarial_after, low=0)
        check_int("seed", self.seed, low=0)
        check_choice("precision", self.precision, ("float32", "bfloat16"))
        if self.monitor:
            check_choice("monitor", self.monitor, MONITORS)
        for name in ("learning_rate", "adversarial_rate"):
            if not 0 < getattr(self, name) < 1:
                raise ParameterError(f"{name} == {getattr(self, name)!r}, must be between 0 and 1.")
        check_share("weight_decay", self.weight_decay)


@dataclass
class TrainingState:
    """Where a training stands after an epoch.

    `best` is the state of the model at the best epoch, `best_value` what it reached of the watched metric.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_value: float = float("-inf")
    seconds: float = 0.0
    best: dict[str, Tensor] = field(default_factory=dict)

    def numbers(self) -> dict[str, float]:
        """All but the tensors."""
        return {name: value for name, value in vars(self).items() if name != "best"}


class Trainer:
    """Trains one model on prepared data; the test part is never touched.

    Parameters
    ----------
    model
        The model, on any device; it is moved to that of `tables`.
    data, tables
        The data, and the same on the device with the features of the items.
    folder
        Where `log.jsonl` and the checkpoint are written; none of them without it.

    A stopped training, even a killed one, goes on from its last whole epoch when it is made again with the same folder,
    model, data and settings, and gives the same result bit for bit on a CPU with the same number of threads.
    A checkpoint of other data, settings or shapes is refused; options of the model that shape no weight, and the
    features, leave no trace in it, so trainings that differ in them need folders of their own.
    """

    def __init__(
        self,
        model: CtrModel,
        data: CtrData,
        *,
        tables: Tables,
        settings: TrainingSettings,
        folder: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        self.model = model.to(tables.device)
        self.data, self.tables, self.settings, self.folder = data, tables, settings, folder
        self.progress = progress
        self.monitor = settings.monitor or str(data.manifest.get("monitor", "auc_user"))
        self.train, self.valid = tables.place(data.parts["train"]), tables.place(data.parts["valid"])
        self.optimisers = self._optimisers()
        self.state = TrainingState()
        self._forward = torch.compile(model, dynamic=True) if settings.compile else model

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        s = self.settings
        decay = s.weight_decay
        optimisers = {"backbone": _adam(self.model.backbone(), s.learning_rate, decay)}
        if isinstance(self.model, Adversarial) and list(self.model.generators()):
            optimisers["generator"] = _adam(self.model.generators(), s.adversarial_rate, decay)
            optimisers["discriminator"] = _adam(self.model.discriminators(), s.adversarial_rate, decay)
        return optimisers

    def run(self) -> Metrics:
        """Train to the end and leave the model with its best weights; the metrics of validation there.

        Raises
        ------
        DataError
            The folder's checkpoint is damaged or of another training; the watched metric is not defined on validation.
        """
        s, state = self.settings, self.state
        checkpoint = self.folder / "checkpoint.safetensors" if self.folder else None
        fingerprint = self._fingerprint()
        if checkpoint is not None:
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            load_state(checkpoint, self.model, self.optimisers, state, fingerprint=fingerprint)
        with TrainingLog(self.folder, epochs=state.epoch) as log, self.progress("training", s.epochs) as advance:
            advance(state.epoch)
            while state.epoch < s.epochs and state.epoch - state.best_epoch < s.patience:
                started = time.perf_counter()
                losses = self._epoch(state.epoch)
                metrics = self.validate()
                state.epoch += 1
                value = getattr(metrics, self.monitor)
                if math.isnan(value):
                    raise DataError(
                        f"{self.monitor} of the validation part is not defined: no user there has both a click and a "
                        "non-click, so no epoch can be chosen; watch auc_pooled (monitor)."
                    )
                if value > state.best_value:
                    state.best_value, state.best_epoch = value, state.epoch
                    state.best = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
                seconds = time.perf_counter() - started
                state.seconds += seconds
                # The log first: a line that the checkpoint does not know of is cut at a resume, a lost one stays lost.
                log.epoch(state.epoch, losses=losses, metrics=metrics, seconds=seconds)
                if checkpoint is not None:
                    save_state(checkpoint, self.model, self.optimisers, state, fingerprint=fingerprint)
                advance()
        if state.best:
            self.model.load_state_dict(state.best)
        return self.validate()

    def validate(self) -> Metrics:
        """Metrics of the validation part."""
        events = self.data.parts["valid"]
        return measure(events.user, events.label, score=predict(self.model, self.tables, self.valid))

    def _fingerprint(self) -> str:
        name = {"model": self.model.name, "data": self.data.fingerprint, **asdict(self.settings)}
        shapes = {key: list(value.shape) for key, value in self.model.state_dict().items()}
        return json.dumps({**name, "shapes": shapes}, sort_keys=True)

    def _epoch(self, epoch: int) -> dict[str, float]:
        # A seed per epoch in place of a running state: an epoch gives the same whether or not it follows a resume.
        torch.manual_seed(self.settings.seed * 100_003 + epoch)
        self.model.train()
        sums: dict[str, Tensor] = {}
        steps = 0
        adversarial = "generator" in self.optimisers and epoch >= self.settings.adversarial_after
        seed = self.settings.seed * 100_003 + epoch
        for rows in self.train.epoch(self.settings.batch_size, seed=seed):
            batch = self.tables.batch(self.train, rows)
            losses = self.adversarial_step(batch) if adversarial else {}
            losses |= self.backbone_step(batch)
            for name, loss in losses.items():
                sums[name] = sums.get(name, torch.zeros_like(loss)) + loss
            steps += 1
        return {name: float(total) / steps for name, total in sums.items()}

    def adversarial_step(self, batch: Batch) -> dict[str, Tensor]:
        """The CGAN step of Algorithm 1: first the discriminator by (17), then the generator by (16)."""
        assert isinstance(self.model, Adversarial)
        losses = {}
        for name, loss_of in (
            ("discriminator", self.model.discriminator_loss),
            ("generator", self.model.generator_loss),
        ):
            with self._precision():
                loss = loss_of(batch.items)
            self._step(name, loss)
            losses[name] = loss.detach()
        return losses

    def backbone_step(self, batch: Batch) -> dict[str, Tensor]:
        """One step on the click loss (15) and the model's auxiliary losses; generator and discriminator stay."""
        with self._precision():
            output = self._forward(batch)
            losses: Mapping[str, Tensor] = {
                "click": binary_cross_entropy_with_logits(output.logits.float(), batch.label),
                **output.losses,
            }
            total = torch.stack(list(losses.values())).sum()
        self._step("backbone", total)
        return {name: loss.detach() for name, loss in losses.items()}

    def _step(self, name: str, loss: Tensor) -> None:
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        self.optimisers[name].step()

    def _precision(self) -> AbstractContextManager[Any]:
        if self.settings.precision == "float32":
            return nullcontext()
        return torch.autocast(self.tables.device.type, dtype=torch.bfloat16)


def _adam(parameters: Any, rate: float, decay: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(list(parameters), lr=rate, weight_decay=decay)
