"""TrainingLog: a line of JSON per epoch, and TensorBoard's events where it is installed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..files import atomic
from .metrics import Metrics


class TrainingLog:
    """Writes `log.jsonl` to a folder; `epochs` are those that an earlier run has completed, what is beyond is cut."""

    def __init__(self, folder: Path | None, *, epochs: int = 0) -> None:
        self._path = folder / "log.jsonl" if folder else None
        self._board: Any = None
        if self._path is None:
            return
        kept = self._path.read_text(encoding="utf-8").splitlines()[:epochs] if self._path.is_file() else []
        with atomic(self._path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self._path.parent / "tensorboard"), purge_step=epochs + 1)

    def epoch(self, epoch: int, *, losses: Mapping[str, float], metrics: Metrics, seconds: float) -> None:
        """Write one epoch: mean losses, validation metrics, seconds."""
        if self._path is None:
            return
        valid = metrics.to_dict()
        line = {"epoch": epoch, "losses": dict(losses), "valid": valid, "seconds": round(seconds, 3)}
        with open(self._path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        if self._board is not None:
            for name, value in losses.items():
                self._board.add_scalar(f"loss/{name}", value, epoch)
            for name, value in valid.items():
                if isinstance(value, float):
                    self._board.add_scalar(f"valid/{name}", value, epoch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._board is not None:
            self._board.close()
