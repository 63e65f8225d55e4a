"""A fitted recommender as the files of a bundle, and back."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from . import bundle as bundles
from .catalog import Catalog
from .embeddings import Embedding, State
from .errors import BundleError, DataError, ParameterError
from .fusion import STRATEGIES
from .rejections import Rejections

if TYPE_CHECKING:
    from .recommender import Recommender

_PRODUCTS = "products.parquet"
_ARRAYS = "arrays.safetensors"
_COUNTS = "click_counts"
_UNREADABLE = (
    DataError,
    ParameterError,
    LookupError,
    TypeError,
    AttributeError,
    OSError,
    pl.exceptions.PolarsError,
    SafetensorError,
)
_LIBRARIES = ("trimodal", "numpy", "gensim", "polars", "scikit-learn", "onnxruntime", "torch")


def save(recommender: Recommender, bundle: Path, keep: int, base: str | None) -> Path:
    """Publish a fitted recommender; embeddings that have not changed since it was loaded are linked, not written."""

    def write(folder: Path) -> Mapping[str, Any]:
        recommender.catalog_.frame.write_parquet(folder / _PRODUCTS)
        (folder / "embeddings").mkdir()
        for name, embedding in recommender.embeddings_.items():
            target = folder / _embedding_file(name)
            origin = recommender.origin_ if name in recommender.unchanged_ else None
            if origin is None or not bundles.reuse(origin, _embedding_file(name), target):
                embedding.write(target)
        arrays = {_COUNTS: recommender.click_counts_, **recommender.fusion_.learned()}
        save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, folder / _ARRAYS)
        return _manifest(recommender)

    return bundles.publish(bundle, write, keep=keep, base=base)


def _manifest(recommender: Recommender) -> dict[str, Any]:
    catalog = recommender.catalog_
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "products": len(catalog),
        "root": None if catalog.root is None else str(catalog.root.resolve()),
        "modalities": {
            name: {
                "encoder": e.provenance.encoder,
                "revision": e.provenance.revision,
                "settings": dict(e.provenance.settings),
                "dimension": e.dimension,
                "known": int((e.state == State.KNOWN).sum()),
                "inferred": int((e.state == State.INFERRED).sum()),
                "missing": int((e.state == State.MISSING).sum()),
                "given": name in recommender.given_,
            }
            for name, e in recommender.embeddings_.items()
        },
        "fusion": {"strategy": recommender.fusion_.name, "settings": recommender.fusion_.settings()},
        "settings": recommender.settings(),
        "clicks": int(recommender.click_counts_.sum()),
        "made_with": {"python": platform.python_version(), **_versions()},
    }


def load(cls: type[Recommender], bundle: Path, verify: bool, device: str) -> Recommender:
    """Load the current version of a bundle."""
    folder = bundles.current(bundle)
    manifest = bundles.verify(folder, checksums=verify)
    try:
        recommender = cls(**manifest["settings"], device=device)
        frame = pl.read_parquet(folder / _PRODUCTS)
        root = None if manifest["root"] is None else Path(manifest["root"])
        catalog = Catalog(frame, root=root, rejections=Rejections(), records=frame.height, file=_PRODUCTS)
        embeddings = {
            name: Embedding.read(folder / _embedding_file(name), name, catalog.ids) for name in manifest["modalities"]
        }
        arrays = load_file(folder / _ARRAYS)
        fusion = STRATEGIES[manifest["fusion"]["strategy"]](**manifest["fusion"]["settings"])
        counts = arrays.pop(_COUNTS)
        recommender.fusion_ = fusion.restore(arrays).place(embeddings, catalog.ids)
        recommender.given_ = tuple(name for name, note in manifest["modalities"].items() if note["given"])
    except _UNREADABLE as error:
        raise BundleError(f"{folder} cannot be loaded: {type(error).__name__}: {error}") from error
    recommender.catalog_ = catalog
    recommender.embeddings_ = embeddings
    recommender.click_counts_ = counts
    recommender.runs_ = {}
    recommender.origin_, recommender.unchanged_ = folder, set(embeddings)
    return recommender


def _embedding_file(modality: str) -> str:
    return f"embeddings/{modality}.parquet"


def _versions() -> dict[str, str]:
    found = {}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
