"""A prepared folder: the data of a recipe and the features of its items, all that training and comparing read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..embeddings import Embedding
from ..errors import DataError
from .data import CtrData
from .features import ItemFeatures, check_modality

_FEATURES = "features"


def write_prepared(folder: Path, data: CtrData, embeddings: Mapping[str, Embedding]) -> None:
    """Write data and features, the data's manifest last; features of an earlier preparation are removed.

    Raises
    ------
    DataError
        The folder holds something else with a manifest, such as a ranker, or a modality cannot have its name.
    """
    check_place(folder)
    for name in embeddings:
        check_modality(name)
    target = folder / _FEATURES
    target.mkdir(parents=True, exist_ok=True)
    # Without a manifest while it is written: no reader takes new features for those of the old data.
    (folder / "manifest.json").unlink(missing_ok=True)
    for name, embedding in embeddings.items():
        embedding.write(target / f"{name}.parquet")
    for old in target.glob("*.parquet"):
        if old.stem not in embeddings:
            old.unlink()
    data.write(folder)


def check_place(folder: Path) -> None:
    """Raise `DataError` where writing would destroy something else: a manifest without the tables beside it."""
    if (folder / "manifest.json").exists() and not is_prepared(folder):
        raise DataError(f"{folder} holds something else with a manifest.json; choose another folder.")


def is_prepared(folder: Path) -> bool:
    """Whether a folder is one that `write_prepared` made."""
    return (folder / "manifest.json").is_file() and (folder / "events.safetensors").is_file()


def read_prepared(folder: str | Path) -> tuple[CtrData, ItemFeatures]:
    """Read a prepared folder.

    Raises
    ------
    DataError
        It is not one, its tables were changed since, or a modality has no vector for any of its items.
    """
    folder = Path(folder)
    data = CtrData.read(folder)
    files = sorted((folder / _FEATURES).glob("*.parquet"))
    if not files:
        raise DataError(f"{folder} holds no features; prepare it again: trimodal ctr prepare.")
    # In the order of their names, whatever order they were given in: what a seed draws depends on it.
    embeddings = {path.stem: Embedding.read(path, path.stem, data.items) for path in files}
    return data, ItemFeatures.join(data.items, embeddings)
