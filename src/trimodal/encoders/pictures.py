"""From a product's `image` value to an upright RGB picture.

`PictureSource` turns the value (a path or a URL) into bytes, `open_picture` turns bytes into pixels. Both
say no with an `ItemError` whose message is the reason in the ledger.
"""

from __future__ import annotations

import io
import os
import re
import stat
import threading
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import ItemError, check_int
from .fetch import MAX_BYTES, Fetcher

MAX_PIXELS = 64_000_000
"""Largest picture that is decoded, in pixels, unless told otherwise."""

MIN_SIDE = 2  # pixels: below, it is a tracking pixel or a spacer
MAX_ASPECT = 100  # long side over short side: beyond, resizing the short side would need gigabytes

ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_lazy = threading.Lock()


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """The decoders in use, out of those that this Pillow has. The rarer ones are only a larger target."""
    Image.init()
    return tuple(f for f in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF") if f in Image.OPEN)


def open_picture(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode a picture into upright RGB, 8 bits per channel.

    The EXIF orientation is applied, transparency lies over white, an animation gives its first frame, and
    grey values of 16 or 32 bits are scaled, not clipped. Colour profiles are not applied: the models were
    trained without them. Pillow's own limit (`Image.MAX_IMAGE_PIXELS`) holds beside `max_pixels`.

    Raises
    ------
    ItemError
        Empty, too many bytes, not a picture, truncated or damaged, too many pixels (told by the header,
        before anything is decoded), a side under 2 pixels, or a side over 100 times the other.
    """
    if not data:
        raise ItemError("empty file")
    if len(data) > max_bytes:
        raise ItemError(f"too many bytes: {len(data)}, must be <= {max_bytes}")
    with _open(io.BytesIO(data)) as picture:
        _check_size(picture.size, max_pixels)
        try:
            picture.load()
        except Exception as error:  # decoders raise whatever they meet in damaged data
            raise ItemError(_decoding_reason(error)) from error
        turn = UPRIGHT.get(_orientation(picture))  # after load: TIFF is turned there, and says so
        try:
            upright = _to_rgb(picture)
        except Exception as error:
            raise ItemError(f"colour mode {picture.mode} cannot be read as RGB") from error
    return upright if turn is None else upright.transpose(turn)


def _open(stream: IO[bytes]) -> Image.Image:
    """Read a picture's header."""
    try:
        return Image.open(stream, formats=_formats())
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ItemError("too many pixels for this Pillow (Image.MAX_IMAGE_PIXELS)") from error
    except UnidentifiedImageError as error:
        raise ItemError("not a picture, or of a format that is not read") from error
    except Exception as error:  # header parsers raise whatever they meet in damaged data
        raise ItemError("not a readable picture: damaged header") from error


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ItemError(f"too many pixels: {width} x {height}, must be <= {max_pixels} in all")
    if min(size) < MIN_SIDE:
        raise ItemError(f"too small: {width} x {height} pixels, each side must be >= {MIN_SIDE}")
    if max(size) > MAX_ASPECT * min(size):
        raise ItemError(f"too narrow: {width} x {height} pixels, sides must be within {MAX_ASPECT}:1")


def _decoding_reason(error: Exception) -> str:
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return "too many pixels for this Pillow (Image.MAX_IMAGE_PIXELS)"
    return "truncated picture" if "truncated" in str(error).lower() else "damaged picture"


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; damaged EXIF says nothing about the pixels, so it counts as upright."""
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except Exception:
        return 1


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        return _from_deep_grey(picture)
    if picture.mode in ("RGBa", "La"):  # premultiplied: Pillow converts them only to their plain form
        picture = picture.convert("RGBA" if picture.mode == "RGBa" else "LA")
    if picture.has_transparency_data:
        with_alpha = picture.convert("RGBA")
        white = Image.new("RGB", picture.size, (255, 255, 255))
        white.paste(with_alpha, mask=with_alpha.getchannel("A"))
        return white
    # A JPEG's CMYK is Adobe's inverted one; Pillow has turned it by now, for every producer.
    return picture.convert("RGB")


def _from_deep_grey(picture: Image.Image) -> Image.Image:
    """Scale grey of 16 bits by their range, of 32 bits and float by the range that they seem to use."""
    levels = np.nan_to_num(np.asarray(picture).astype(np.float64))
    top = 65535.0
    if not picture.mode.startswith("I;16"):
        highest = float(levels.max())
        scales = (1.0, 255.0, 65535.0) if picture.mode == "F" else (255.0, 65535.0)
        top = next((scale for scale in scales if highest <= scale), highest)
    clear = picture.info.get("transparency")
    if isinstance(clear, int):
        levels[levels == clear] = top
    grey = np.clip(levels * (255.0 / top) + 0.5, 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


class PictureSource:
    """Reads the `image` values of one catalogue: paths below a folder, and http(s) URLs.

    A relative path is taken from `root`. A path that leads out of `root`, by `..` or by being absolute, is
    refused unless `allow_outside`: a catalogue often comes from someone else, and must not make this machine
    read other files. Links are followed wherever they point, since only the owner of the folder can put
    them there; `..` is resolved in the text of the path, before any link.

    Parameters
    ----------
    root
        The folder of the products file.
    allow_outside
        Also read absolute paths and paths that lead out of `root`.
    max_bytes, max_pixels
        Limits of one picture.
    allow_private
        Let URLs reach private and loopback addresses.
    fetcher
        Reads the URLs; by default a `Fetcher` with its own defaults, made when the first URL comes.
    """

    def __init__(
        self,
        root: str | Path = ".",
        *,
        allow_outside: bool = False,
        max_bytes: int = MAX_BYTES,
        max_pixels: int = MAX_PIXELS,
        allow_private: bool = False,
        fetcher: Fetcher | None = None,
    ) -> None:
        self.allow_private = allow_private
        self.root = Path(os.path.abspath(root))
        self.allow_outside = allow_outside
        self.max_bytes = check_int("max_bytes", max_bytes, low=1)
        self.max_pixels = check_int("max_pixels", max_pixels, low=1)
        self._fetcher = fetcher
        self._own_fetcher: Fetcher | None = None

    def open(self, value: str) -> Image.Image:
        """Read and decode the picture of one `image` value; see `read` and `open_picture` for the errors."""
        return open_picture(self.read(value), max_bytes=self.max_bytes, max_pixels=self.max_pixels)

    def read(self, value: str) -> bytes:
        """The bytes of one `image` value. Thread-safe.

        Raises
        ------
        ItemError
            No value, no such file, not a file, outside of `root`, too many bytes, or a URL that `Fetcher`
            cannot read.
        """
        if is_url(value):
            return self._url_reader().get(value.strip())
        path = self._path(value)
        try:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):  # reading a pipe or a device could wait for ever
                raise ItemError("a folder, not a file" if path.is_dir() else "not a regular file")
            if found.st_size > self.max_bytes:
                raise ItemError(f"too many bytes: {found.st_size}, must be <= {self.max_bytes}")
            with path.open("rb") as file:
                return file.read(self.max_bytes + 1)
        except (OSError, ValueError) as error:
            raise ItemError(_os_reason(error)) from error

    def fingerprint(self, value: str) -> str:
        """What a stored vector of `value` depends on; never raises.

        A local file gives its full path, size and time of change, and something else while it is missing; a
        URL gives itself, since asking the server costs as much as fetching.
        """
        if is_url(value):
            return value.strip()
        try:
            path = self._path(value)
            found = path.stat()
        except (OSError, ValueError):
            return f"{value}|missing"
        except ItemError:
            return f"{value}|refused"
        return f"{path}|{found.st_size}|{found.st_mtime_ns}"

    def close(self) -> None:
        """Close the connections of the fetcher made here; one that was passed in stays open."""
        with _lazy:
            if self._own_fetcher is not None:
                self._own_fetcher.close()
                self._own_fetcher = None

    def _path(self, value: str) -> Path:
        if not value.strip():
            raise ItemError("no path")
        if match := re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://|(data):", value.strip()):
            raise ItemError(f"refused: scheme {match[1] or match[2]!r}, must be http, https or a path")
        path = Path(os.path.normpath(self.root / value))
        if not self.allow_outside and not path.is_relative_to(self.root):
            raise ItemError(f"refused: the path leads out of {self.root}")
        return path

    def _url_reader(self) -> Fetcher:
        if self._fetcher is not None:
            return self._fetcher
        with _lazy:  # one lock for all sources, so that a source itself can be sent to another process
            if self._own_fetcher is None:
                self._own_fetcher = Fetcher(max_bytes=self.max_bytes, allow_private=self.allow_private)
            return self._own_fetcher


def is_url(value: str) -> bool:
    """Whether an `image` value is an http(s) URL rather than a path."""
    return value.strip().lower().startswith(("http://", "https://"))


def _os_reason(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "no such file"
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return f"cannot be read: {reason or error}"
