"""Ready-made text and image vectors of the simulated market: taste, seen through each modality's faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from ..progress import Progress
from ._market import Market
from ._model import generator

BLOCK = 4_096  # rows drawn together; part of the model, like the block of sessions
DIMENSIONS = {"text": 512, "image": 1280}
_SEEN = 0.6  # share of the taste's dimensions that a modality can see
_NOISE = 0.8  # length of the noise beside a taste of length about 1.4
# how much of its taste a product's vector holds, by kind of title or picture (`TITLE_KINDS`, `PICTURE_KINDS`)
_CLARITY = {"text": (1.0, 0.6, 0.0, 0.35, 0.3), "image": (1.0, 0.0, 0.5)}


def _views(seed: int, market: Market, modality: str) -> NDArray[np.float32]:
    """Return the matrix [taste dimension, vector dimension] through which a modality sees taste."""
    rng = generator(seed, "vectors", 0 if modality == "text" else 1)
    size, dimension = market.model.taste_dimension, DIMENSIONS[modality]
    view = rng.standard_normal((size, dimension), dtype=np.float32)
    view *= np.float32(1 / dimension**0.5)
    hidden = rng.choice(size, size=size - max(1, round(_SEEN * size)), replace=False)
    view[hidden] = 0.0
    return view


def _block(
    seed: int, market: Market, modality: str, view: NDArray[np.float32], start: int, stop: int
) -> NDArray[np.float32]:
    """Return the unit vectors of products start..stop-1: float32 [stop - start, dimension]."""
    rng = generator(seed, "vectors", 2 * (1 + start // BLOCK) + (modality == "image"))
    kinds = market.title_kind if modality == "text" else market.picture_kind
    clarity = np.asarray(_CLARITY[modality], np.float32)[kinds[start:stop]]
    seen: NDArray[np.float32] = market.taste[start:stop] * clarity[:, None]
    vectors = seen @ view
    noise = rng.standard_normal(vectors.shape, dtype=np.float32)
    noise *= np.float32(_NOISE / vectors.shape[1] ** 0.5)
    vectors += noise
    vectors /= np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    return vectors


def write_vectors(folder: Path, seed: int, market: Market, ids: Any, progress: Progress) -> dict[str, Path]:
    """Write `text.parquet` and `image.parquet` and return their paths; who has no picture is absent."""
    folder.mkdir()
    written = {}
    for modality, dimension in DIMENSIONS.items():
        view = _views(seed, market, modality)
        schema = pa.schema([("product_id", pa.string()), ("vector", pa.list_(pa.float32(), dimension))])
        path = folder / f"{modality}.parquet"
        with (
            progress(f"Writing {modality} vectors", len(market)) as advance,
            pyarrow.parquet.ParquetWriter(path, schema, compression="none", use_dictionary=["product_id"]) as file,
        ):
            for start in range(0, len(market), BLOCK):
                stop = min(start + BLOCK, len(market))
                vectors, names = _block(seed, market, modality, view, start, stop), ids[start:stop]
                if modality == "image":
                    present = market.has_picture[start:stop]
                    vectors, names = vectors[present], names.filter(pa.array(present))
                flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dimension)
                file.write_table(pa.table([names, flat], schema=schema))
                advance(stop - start)
        written[modality] = path
    return written
