"""EncoderShelf: the text and image encoder of a recommender, each loaded once, when it is first needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..catalog import Catalog
from ..embeddings import Embedding
from ..errors import EncoderError, ItemError, check_choice, check_int
from ..progress import Progress, silent
from .base import DEVICES, Encoder
from .image import PictureEncoder, image_encoder
from .pictures import PictureSource
from .run import EncodingRun, encode_catalog
from .text import text_encoder


class EncoderShelf:
    """Encodes catalogues, and single titles and pictures, with encoders given by name.

    Parameters
    ----------
    text, image
        Names, as `text_encoder` and `image_encoder` take them.
    device, batch_size
        Where the models run, and how many items at once; None for the encoder's own.
    allow_private_urls
        Let picture URLs reach private and loopback addresses.
    """

    def __init__(
        self,
        text: str,
        image: str,
        *,
        device: str = "auto",
        batch_size: int | None = None,
        allow_private_urls: bool = False,
    ) -> None:
        self.names = {"text": text, "image": image}
        self.device = check_choice("device", device, DEVICES)
        self.batch_size = None if batch_size is None else check_int("batch_size", batch_size, low=1)
        self.allow_private_urls = allow_private_urls
        self._loaded: dict[str, Encoder] = {}

    def encode(
        self,
        modality: str,
        catalog: Catalog,
        *,
        store: Path | None = None,
        like: Embedding | None = None,
        progress: Progress = silent,
    ) -> EncodingRun:
        """Encode a catalogue's titles or pictures, these from below its folder.

        `like` are vectors that the new ones must be comparable with; `EncoderError` if they come from another model.
        """
        encoder = self._get(modality, catalog.root, outside=catalog.root is None)
        _check_same(encoder, like)
        values = catalog.titles if modality == "text" else catalog.images
        try:
            return encode_catalog(encoder, catalog.ids, values, store=store, progress=progress)
        finally:
            if isinstance(encoder, PictureEncoder):
                encoder.source.close()

    def encode_one(self, modality: str, value: str, *, like: Embedding | None = None) -> NDArray[np.float32]:
        """Encode one title, or the picture at a path or URL: float32 [d]. `ItemError` if that cannot be."""
        encoder = self._get(modality, None, outside=True)
        _check_same(encoder, like)
        try:
            return encoder.encode([value])[0]
        except ItemError as error:
            raise ItemError(f"{'title' if modality == 'text' else 'picture'} {value!r}: {error}") from error

    def _get(self, modality: str, root: Path | None, *, outside: bool) -> Encoder:
        if modality not in self._loaded:
            make = text_encoder if modality == "text" else image_encoder
            self._loaded[modality] = make(self.names[modality], device=self.device, batch_size=self.batch_size)
        encoder = self._loaded[modality]
        if isinstance(encoder, PictureEncoder):
            folder = Path.cwd() if root is None else root
            return encoder.reading(PictureSource(folder, allow_outside=outside, allow_private=self.allow_private_urls))
        return encoder


def _check_same(encoder: Encoder, like: Embedding | None) -> None:
    if like is None:
        return
    made = like.provenance
    if (made.encoder, made.revision) != (encoder.name, encoder.revision):
        raise EncoderError(
            f"the {like.modality} vectors come from {made.encoder} {made.revision}, this machine has "
            f"{encoder.name} {encoder.revision}; vectors of the two cannot be compared. Fit again."
        )
