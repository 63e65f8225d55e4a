"""Small pictures of products, for pages and maps: read once, as the encoder reads them, never from the network."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

from ..encoders.pictures import PictureSource, is_url
from ..errors import ItemError

if TYPE_CHECKING:
    from PIL import Image

    from ..catalog import Catalog


class Thumbnails:
    """Thumbnails of a catalogue's local pictures.

    Pictures behind URLs are not fetched. Paths are read as the encoder reads them: a catalogue must not bring other
    files of this machine into a page.

    Parameters
    ----------
    catalog
        The products.
    side
        Longest side, in pixels.
    quality
        Of the JPEG in a data URI, 1 to 95.
    """

    def __init__(self, catalog: Catalog, side: int, *, quality: int = 82) -> None:
        self.side = side
        self.quality = quality
        self._images = catalog.images
        self._roots = catalog.image_roots()
        self._uris: dict[tuple[Path | None, str], str | None] = {}

    def picture(self, place: int) -> Image.Image | None:
        """The thumbnail of the product at a position; None where it has no local picture that can be read."""
        value, root = self._images[place], self._roots[place]
        if value is None or is_url(value):
            return None
        try:
            picture = PictureSource(root or ".", allow_outside=root is None).open(value)
        except ItemError:
            return None
        picture.thumbnail((self.side, self.side))
        return picture

    def uri(self, place: int) -> str | None:
        """The same as a data URI; equal paths are read once."""
        value = self._images[place]
        if value is None:
            return None
        key = (self._roots[place], value)
        if key not in self._uris:
            picture = self.picture(place)
            self._uris[key] = None if picture is None else jpeg_uri(picture, self.quality)
        return self._uris[key]


def jpeg_uri(picture: Image.Image, quality: int) -> str:
    """An RGB picture as a data URI."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
