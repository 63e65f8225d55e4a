from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from trimodal.encoders.pictures import PictureSource, open_picture
from trimodal.errors import ItemError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(width: int = 48, height: int = 32) -> Image.Image:
    """Red and green above, blue and white below."""
    picture = Image.new("RGB", (width, height))
    half = (width // 2, height // 2)
    for colour, corner in ((RED, (0, 0)), (GREEN, (half[0], 0)), (BLUE, (0, half[1])), (WHITE, half)):
        picture.paste(colour, (*corner, corner[0] + half[0], corner[1] + half[1]))
    return picture


def saved(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def corners(picture: Image.Image) -> list[tuple[int, ...]]:
    width, height = picture.size
    at = ((2, 2), (width - 3, 2), (2, height - 3), (width - 3, height - 3))
    return [picture.getpixel(spot) for spot in at]


def assert_quarters(picture: Image.Image, tolerance: int = 0) -> None:
    assert picture.mode == "RGB"
    assert picture.size == (48, 32)
    got = np.array(corners(picture), int)
    assert np.abs(got - np.array([RED, GREEN, BLUE, WHITE])).max() <= tolerance, got


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("GIF", {}, 0),
        ("TIFF", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95}, 4),
        ("AVIF", {"quality": 95}, 16),
    ],
)
def test_formats(kind, options, tolerance):
    if kind == "AVIF":
        from PIL import features

        if not features.check("avif"):
            pytest.skip("this Pillow reads no AVIF")
    data = saved(quarters(), kind, **options)
    assert_quarters(open_picture(data), tolerance)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind, orientation):
    undo = {
        2: 0,
        3: 3,
        4: 1,
        5: 5,
        6: 2,
        7: 6,
        8: 4,
    }  # the transposition whose result, turned back, is upright
    stored = quarters()
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    data = saved(stored, kind, exif=exif, **options)
    assert_quarters(open_picture(data), 4)


def test_damaged_exif_is_ignored():
    assert_quarters(open_picture(saved(quarters(), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\xff\xff\xff")), 4)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGBA", "PNG"), ("RGBA", "TIFF"), ("RGBA", "WEBP"), ("LA", "PNG"), ("LA", "TIFF"), ("PA", "TIFF")],
)
def test_transparent_pixels_are_white(mode, kind):
    picture = Image.new("RGBA", (20, 10), (0, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (10, 0, 20, 10))
    picture.paste((0, 0, 0, 128), (0, 0, 5, 10))
    if mode == "PA":
        palette = picture.convert("RGB").convert("P")
        palette.putalpha(picture.getchannel("A"))
        assert palette.mode == "PA"
        picture = palette
    else:
        picture = picture.convert(mode)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    upright = open_picture(saved(picture, kind, **options))
    assert upright.mode == "RGB"
    assert upright.getpixel((7, 5)) == (0, 0, 0)
    assert upright.getpixel((15, 5)) == WHITE
    assert abs(upright.getpixel((2, 5))[0] - 127) <= 1


def test_palette_with_transparency():
    picture = Image.new("P", (20, 10), 0)
    picture.putpalette([*RED, *BLUE, *GREEN])
    picture.paste(1, (10, 0, 20, 10))
    for kind in ("PNG", "GIF"):
        upright = open_picture(saved(picture, kind, transparency=1))
        assert upright.getpixel((5, 5)) == RED
        assert upright.getpixel((15, 5)) == WHITE
    assert open_picture(saved(picture)).getpixel((15, 5)) == BLUE
    partly = open_picture(saved(picture, transparency=bytes([255, 0])))
    assert [partly.getpixel((x, 5)) for x in (5, 15)] == [RED, WHITE]


def test_colour_key_transparency():
    upright = open_picture(saved(quarters(), transparency=RED))
    assert corners(upright) == [WHITE, GREEN, BLUE, WHITE]


def test_grey_and_one_bit():
    grey = Image.new("L", (20, 10), 40)
    assert open_picture(saved(grey)).getpixel((5, 5)) == (40, 40, 40)
    bits = Image.new("1", (20, 10), 0)
    bits.paste(1, (10, 0, 20, 10))
    upright = open_picture(saved(bits))
    assert [upright.getpixel((x, 5))[0] for x in (5, 15)] == [0, 255]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled(kind):
    ramp = np.tile(np.array([0, 257 * 64, 257 * 128, 65535], np.uint16), (4, 1))
    upright = open_picture(saved(Image.fromarray(ramp), kind))
    assert np.asarray(upright)[0, :, 0].tolist() == [0, 64, 128, 255]


def test_sixteen_bit_grey_that_is_dark_stays_dark():
    dark = np.full((4, 4), 200, np.uint16)
    assert np.asarray(open_picture(saved(Image.fromarray(dark)))).max() == 1


def test_sixteen_bit_grey_with_a_transparent_level():
    picture = Image.fromarray(np.tile(np.array([7, 30000], np.uint16), (2, 1)))
    upright = open_picture(saved(picture, transparency=7))
    assert np.asarray(upright)[0, :, 0].tolist() == [255, 117]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (np.array([0, 100, 255], np.int32), [0, 100, 255]),
        (np.array([0, 25700, 65535], np.int32), [0, 100, 255]),
        (np.array([0, 2**30, 2**31 - 1], np.int32), [0, 128, 255]),
        (np.array([0, 0.5, 1], np.float32), [0, 128, 255]),
        (np.array([-1, np.nan, 255], np.float32), [0, 0, 255]),
    ],
)
def test_thirty_two_bit_grey_is_scaled_by_its_range(levels, expected):
    upright = open_picture(saved(Image.fromarray(np.tile(levels, (3, 1))), "TIFF"))
    assert np.asarray(upright)[0, :, 0].tolist() == expected


def adobe_marked(data: bytes, transform: int) -> bytes:
    """Put Adobe's APP14 marker behind the start of a JPEG."""
    marker = b"\xff\xee" + struct.pack(">H", 14) + b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform)
    assert data[:2] == b"\xff\xd8"
    return data[:2] + marker + data[2:]


@pytest.mark.parametrize("marked", [False, True])
def test_cmyk_jpeg(marked):
    data = saved(quarters().convert("CMYK"), "JPEG", quality=95, subsampling=0)
    if b"Adobe" not in data and marked:
        data = adobe_marked(data, 0)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    assert_quarters(open_picture(data), 6)


def test_cmyk_tiff():
    assert_quarters(open_picture(saved(quarters().convert("CMYK"), "TIFF")), 0)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_gives_the_first_frame(kind):
    frames = [quarters(), Image.new("RGB", (48, 32), BLUE), Image.new("RGB", (48, 32), RED)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 3
    assert_quarters(open_picture(data))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", size), chunk(b"IDAT", zlib.compress(b"\0" * 64)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"this is text, whatever its name says\n" * 9, "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"\x00" * 4096, "not a picture"),
        (saved(NOISE, "JPEG")[:-900], "truncated"),
        (saved(NOISE, "PNG")[:-900], "truncated"),
        (saved(NOISE, "JPEG")[:30], "picture"),
        (saved(NOISE, "PNG")[:20], "picture"),
        (saved(NOISE, "GIF")[:-900], "truncated"),
        (saved(NOISE, "WEBP")[:-900], "picture"),
        (saved(NOISE, "BMP")[:-900], "truncated"),
        (saved(NOISE, "TIFF")[:-900], "picture"),
        (saved(NOISE, "PPM"), "not a picture"),  # a format that is left out on purpose
        (png_header(100_000, 100_000), "too many pixels"),
        (png_header(10_000, 10_000), "too many pixels"),
        (png_header(0, 10), "picture"),
        (png_header(64, 64), "picture"),
        (saved(Image.new("RGB", (1, 1))), "too small: 1 x 1"),
        (saved(Image.new("RGB", (300, 1))), "too small: 300 x 1"),
        (saved(Image.new("RGB", (900, 2))), "too narrow: 900 x 2"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_cannot_be_read_says_why(data, reason):
    with pytest.raises(ItemError, match=reason) as caught:
        open_picture(data)
    message = str(caught.value)
    assert len(message) < 100
    assert "\n" not in message
    assert "0x" not in message  # no object's address


def test_limits_are_parameters():
    data = saved(quarters())
    with pytest.raises(ItemError, match=r"too many pixels: 48 x 32, must be <= 1000"):
        open_picture(data, max_pixels=1000)
    with pytest.raises(ItemError, match=rf"too many bytes: {len(data)}, must be <= 50"):
        open_picture(data, max_bytes=50)
    assert_quarters(open_picture(data, max_pixels=48 * 32, max_bytes=len(data)))


def test_size_is_checked_before_decoding(monkeypatch):
    def never(self):
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    with pytest.raises(ItemError, match="too many pixels"):
        open_picture(png_header(9000, 9000))


def test_bomb_warning_as_an_error_is_an_item_error():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ItemError, match="too many pixels"):
            open_picture(png_header(10_000, 10_000))


def test_pillow_state_is_left_alone():
    before = Image.MAX_IMAGE_PIXELS
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    open_picture(saved(quarters()), max_pixels=10**9)
    assert before == Image.MAX_IMAGE_PIXELS
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.png").write_bytes(saved(quarters()))
    (tmp_path / "secret.png").write_bytes(saved(quarters()))
    return folder


def test_source_reads_below_its_root(root, monkeypatch):
    monkeypatch.chdir("/")
    source = PictureSource(root)
    for value in ("images/a.png", "./images/a.png", "images/../images/a.png", str(root / "images" / "a.png")):
        assert_quarters(source.open(value))


@pytest.mark.parametrize("value", ["../secret.png", "images/../../secret.png", "/etc/hostname", "//etc/hostname"])
def test_source_refuses_paths_that_lead_out(root, value):
    with pytest.raises(ItemError, match="leads out of"):
        PictureSource(root).read(value)
    assert PictureSource(root).fingerprint(value).endswith("|refused")


def test_a_folder_whose_name_begins_alike_is_outside(root):
    other = root.parent / "shop2"
    other.mkdir()
    (other / "a.png").write_bytes(saved(quarters()))
    with pytest.raises(ItemError, match="leads out of"):
        PictureSource(root).read("../shop2/a.png")


def test_allow_outside(root):
    source = PictureSource(root, allow_outside=True)
    assert_quarters(source.open("../secret.png"))
    assert_quarters(source.open(str(root.parent / "secret.png")))


def test_links_inside_the_root_are_followed(root):
    elsewhere = root.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b.png").write_bytes(saved(quarters()))
    (root / "linked").symlink_to(elsewhere)
    source = PictureSource(root)
    assert_quarters(source.open("linked/b.png"))
    with pytest.raises(ItemError, match="no such file"):  # `..` is the root, not the link target's parent
        source.read("linked/../secret.png")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("images/none.png", "no such file"),
        ("images/a.png/b", "no such file"),
        ("images", "a folder, not a file"),
        ("", "no path"),
        ("  ", "no path"),
        ("ftp://example.org/a.png", "scheme 'ftp'"),
        ("file:///etc/passwd", "scheme 'file'"),
        ("data:image/png;base64,AAAA", "scheme 'data'"),
        ("a\0b.png", "cannot be read"),
        ("x" * 300 + ".png", "cannot be read"),
    ],
)
def test_source_says_why(root, value, reason):
    source = PictureSource(root)
    with pytest.raises(ItemError, match=reason):
        source.read(value)
    assert isinstance(source.fingerprint(value), str)


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
def test_source_does_not_wait_at_a_pipe(root):
    os.mkfifo(root / "pipe.png")
    with pytest.raises(ItemError, match="not a regular file"):
        PictureSource(root).read("pipe.png")


def test_source_limits_bytes_before_reading(root):
    with open(root / "huge.png", "wb") as file:
        file.truncate(10**9)
    with pytest.raises(ItemError, match="too many bytes: 1000000000"):
        PictureSource(root).read("huge.png")
    with pytest.raises(ItemError, match="too many bytes"):
        PictureSource(root, max_bytes=20).read("images/a.png")
    with pytest.raises(ItemError, match="too many pixels"):
        PictureSource(root, max_pixels=20).open("images/a.png")


def test_fingerprint_follows_the_file(root):
    source = PictureSource(root)
    missing = source.fingerprint("images/new.png")
    path = root / "images" / "new.png"
    path.write_bytes(b"1234")
    appeared = source.fingerprint("images/new.png")
    assert appeared != missing
    assert appeared == source.fingerprint("images/new.png")
    stat = path.stat()
    path.write_bytes(b"12345")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    longer = source.fingerprint("images/new.png")
    assert longer != appeared
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert source.fingerprint("images/new.png") not in (longer, appeared)
    path.unlink()
    assert source.fingerprint("images/new.png") == missing


def test_fingerprint_of_a_url_is_the_url():
    assert PictureSource().fingerprint("https://example.org/a.jpg") == "https://example.org/a.jpg"


def test_urls_go_to_the_fetcher():
    asked = []

    class Fake:
        def get(self, url):
            asked.append(url)
            return saved(quarters())

    source = PictureSource(fetcher=Fake())
    assert_quarters(source.open(" HTTPS://example.org/a.png "))
    assert asked == ["HTTPS://example.org/a.png"]


def test_own_fetcher_refuses_this_machine():
    source = PictureSource()
    with pytest.raises(ItemError, match="refused"):
        source.read("http://127.0.0.1:1/a.png")
    source.close()


def test_source_can_be_sent_to_another_process(root):
    assert_quarters(pickle.loads(pickle.dumps(PictureSource(root))).open("images/a.png"))


def test_decoding_in_threads():
    data = [saved(Image.new("RGB", (30, 30), (n, 0, 0))) for n in range(40)]
    seen: dict[int, int] = {}

    def work(n: int) -> None:
        seen[n] = open_picture(data[n]).getpixel((5, 5))[0]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {n: n for n in range(40)}
