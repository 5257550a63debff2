"""Every format that is taken in, and every file that is refused with its reason."""

import hashlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw, TiffImagePlugin

from workspace.intake import PhotographRefused, field_guess, laterality_guess, photograph_read

LIMITS = {"max_bytes": 2_000_000, "max_pixels": 1_000_000}
SIZE = (240, 160)


def eye(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    """Draw a disc that is bright on the left, so that a turned picture is found out."""
    picture = Image.new("RGB", size)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((40, 10, 200, 150), fill=(180, 80, 40))
    draw.ellipse((55, 60, 90, 100), fill=(250, 220, 140))
    return picture.convert(mode)


def written(picture: Image.Image, file_format: str, **options) -> io.BytesIO:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    file.seek(0)
    return file


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010F] = "A camera maker"
    tags.get_ifd(0x8825)[1] = "N"
    return tags


def shown(photograph) -> Image.Image:
    return Image.open(io.BytesIO(photograph.display))


def deep_grey() -> Image.Image:
    grey = np.asarray(eye("L"), np.uint16) * 257
    return Image.fromarray(grey)


def palette() -> Image.Image:
    return eye().convert("P", palette=Image.Palette.ADAPTIVE, colors=200)


GOOD_FILES = {
    "jpeg": lambda: written(eye(), "JPEG", quality=95),
    "jpeg-grey": lambda: written(eye("L"), "JPEG"),
    "jpeg-progressive": lambda: written(eye(), "JPEG", quality=95, progressive=True),
    "jpeg-cmyk": lambda: written(eye("CMYK"), "JPEG", quality=95),
    "png": lambda: written(eye(), "PNG"),
    "png-rgba": lambda: written(eye("RGBA"), "PNG"),
    "png-palette": lambda: written(palette(), "PNG"),
    "png-16-bit": lambda: written(deep_grey(), "PNG"),
    "png-16-bit-transparent": lambda: written(deep_grey(), "PNG", transparency=65535),
    "png-palette-transparent": lambda: written(palette(), "PNG", transparency=255),
    "png-1-bit": lambda: written(eye("1"), "PNG"),
    "tiff": lambda: written(eye(), "TIFF"),
    "tiff-lzw": lambda: written(eye(), "TIFF", compression="tiff_lzw"),
    "tiff-cmyk": lambda: written(eye("CMYK"), "TIFF"),
    "tiff-16-bit": lambda: written(deep_grey(), "TIFF"),
    "webp": lambda: written(eye(), "WEBP", quality=95),
    "webp-alpha": lambda: written(eye("RGBA"), "WEBP", lossless=True),
}


@pytest.mark.parametrize("kind", GOOD_FILES)
def test_a_good_file_of_every_kind_is_read_and_shown_alike(kind):
    file = GOOD_FILES[kind]()

    photograph = photograph_read(file, **LIMITS)

    assert photograph.format == kind.split("-")[0].upper()
    assert (photograph.width_px, photograph.height_px) == SIZE
    assert photograph.sha256 == hashlib.sha256(file.getvalue()).hexdigest()
    assert photograph.size_bytes == len(file.getvalue())
    display = shown(photograph)
    assert (display.format, display.mode, display.size) == ("JPEG", "RGB", SIZE)
    reference = eye("1" if "1-bit" in kind else "L" if "16" in kind or "grey" in kind else "RGB")
    difference = np.asarray(display, float) - np.asarray(reference.convert("RGB"), float)
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_shown_upright_and_says_nothing_about_where_it_was(
    orientation, file_format
):
    upright = eye()
    file = written(_turned(upright, orientation), file_format, quality=95, exif=exif(orientation))

    photograph = photograph_read(file, **LIMITS)

    display = shown(photograph)
    assert (photograph.width_px, photograph.height_px) == display.size == SIZE
    difference = np.asarray(display, float) - np.asarray(upright, float)
    assert np.abs(difference).mean() < 4
    assert not display.getexif()
    assert not {"exif", "icc_profile", "comment", "gps"} & set(display.info)
    assert b"camera maker" not in photograph.display + photograph.thumbnail


def _turned(upright: Image.Image, orientation: int) -> Image.Image:
    """Undo what EXIF will do again: the stored pixels of a camera held that way."""
    ways = Image.Transpose
    undo = {
        2: ways.FLIP_LEFT_RIGHT,
        3: ways.ROTATE_180,
        4: ways.FLIP_TOP_BOTTOM,
        5: ways.TRANSPOSE,
        6: ways.ROTATE_90,
        7: ways.TRANSVERSE,
        8: ways.ROTATE_270,
    }
    return upright.transpose(undo[orientation]) if orientation in undo else upright


def test_a_big_photograph_is_shown_smaller_and_kept_in_its_true_size():
    file = written(Image.new("RGB", (4200, 2100), (120, 60, 30)), "JPEG")

    photograph = photograph_read(file, max_bytes=2_000_000, max_pixels=40_000_000)

    assert (photograph.width_px, photograph.height_px) == (4200, 2100)
    assert shown(photograph).size == (2048, 1024)
    assert max(Image.open(io.BytesIO(photograph.thumbnail)).size) == 480


def test_a_colour_profile_is_applied_or_ignored_but_never_passed_on():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for stored in (profile, b"not a profile"):
        photograph = photograph_read(written(eye(), "PNG", icc_profile=stored), **LIMITS)
        assert "icc_profile" not in shown(photograph).info


def _bomb_png(width: int, height: int) -> io.BytesIO:
    """Return a PNG of a few bytes whose header promises millions of pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b""))


def _cut(file_format: str, share: float = 0.6) -> io.BytesIO:
    noise = np.random.default_rng(1).integers(0, 255, (160, 240, 3), np.uint8)
    whole = written(Image.fromarray(noise), file_format).getvalue()
    return io.BytesIO(whole[: int(len(whole) * share)])


def _animated() -> io.BytesIO:
    return written(eye(), "WEBP", save_all=True, append_images=[eye().rotate(90)])


def _two_pages() -> io.BytesIO:
    return written(eye(), "TIFF", save_all=True, append_images=[eye().rotate(90)])


def _many_scans() -> io.BytesIO:
    """Return a JPEG that goes over its whole picture again and again, for 60 bytes each time."""
    whole = written(eye("L"), "JPEG", progressive=True).getvalue()
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    return io.BytesIO(whole[:-2] + 100 * scan + whole[-2:])


BAD_FILES = {
    "empty": (lambda: io.BytesIO(b""), "empty", "is empty"),
    "too many bytes": (lambda: io.BytesIO(b"x" * 2_000_001), "too_many_bytes", "at most 2 MB"),
    "too many pixels": (lambda: _bomb_png(1001, 1000), "too_many_pixels", "at most 1 are"),
    "a bomb": (lambda: _bomb_png(60_000, 60_000), "too_many_pixels", "smaller"),
    "a bomb that only warns": (lambda: _bomb_png(10_000, 10_000), "too_many_pixels", "smaller"),
    "an icon": (lambda: written(eye(size=(32, 32)), "PNG"), "too_few_pixels", "32 by 32"),
    "cut jpeg": (lambda: _cut("JPEG"), "damaged", "cut short"),
    "cut png": (lambda: _cut("PNG"), "damaged", "cut short"),
    "cut tiff": (lambda: _cut("TIFF"), "damaged", "cut short"),
    "cut webp": (lambda: _cut("WEBP"), "damaged", "cut short"),
    "header alone": (lambda: io.BytesIO(b"\xff\xd8\xff\xe0"), "damaged", "cut short"),
    "text": (lambda: io.BytesIO(b"patient list\n" * 50), "not_a_photograph", "its name says"),
    "html": (lambda: io.BytesIO(b"<html></html>"), "not_a_photograph", "its name says"),
    "svg": (lambda: io.BytesIO(b"<?xml version='1.0'?><svg/>"), "wrong_format", "SVG"),
    "gif": (lambda: written(eye("P"), "GIF"), "wrong_format", "GIF"),
    "bmp": (lambda: written(eye(), "BMP"), "wrong_format", "BMP"),
    "heic": (lambda: io.BytesIO(b"\0\0\0\x18ftypheic" + b"\0" * 50), "wrong_format", "HEIC"),
    "dicom": (lambda: io.BytesIO(b"\0" * 128 + b"DICM" + b"\0" * 9), "wrong_format", "DICOM"),
    "pdf": (lambda: io.BytesIO(b"%PDF-1.7 " + b"\0" * 50), "wrong_format", "PDF"),
    "zip": (lambda: io.BytesIO(b"PK\x03\x04" + b"\0" * 50), "wrong_format", "Unpack"),
    "scan upon scan": (_many_scans, "too_many_parts", "export it anew"),
    "animation": (_animated, "several_pictures", "Save each"),
    "two pages": (_two_pages, "several_pictures", "Save each"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_refused_with_a_reason_that_tells_what_to_do(kind):
    make, code, words = BAD_FILES[kind]

    with pytest.raises(PhotographRefused) as refusal:
        photograph_read(make(), **LIMITS)

    assert refusal.value.code == code
    assert words in refusal.value.message


def test_pages_of_a_tiff_are_not_counted(monkeypatch):
    # Each one takes longer than the one before: a file of 30 MB would take hours.
    counted = property(lambda picture: pytest.fail("counted"))
    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "n_frames", counted)
    with pytest.raises(PhotographRefused) as refusal:
        photograph_read(_two_pages(), **LIMITS)
    assert refusal.value.code == "several_pictures"


def test_a_bomb_is_refused_where_warnings_are_only_shown():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(PhotographRefused) as refusal:
            photograph_read(_bomb_png(10_000, 10_000), **LIMITS)
    assert refusal.value.code == "too_many_pixels"


@pytest.mark.parametrize(
    ("name", "eye_guessed"),
    [
        ("13_left.jpg", "OS"),
        ("13_right.jpg", "OD"),
        ("ABC-OD.png", "OD"),
        ("abc os 2.tif", "OS"),
        ("IMG_0012_L.JPG", "OS"),
        ("IMG0012R.JPG", "OD"),
        ("RightEyeMacula.webp", "OD"),
        ("scan-LE-1.png", "OS"),
        (r"C:\left\photo.jpg", ""),
        ("bright.jpg", ""),
        ("left-and-right.jpg", ""),
        ("photo.jpg", ""),
        ("", ""),
    ],
)
def test_the_eye_is_guessed_from_the_file_name_alone(name, eye_guessed):
    assert laterality_guess(name) == eye_guessed


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("OD_disc.jpg", "disc"),
        ("LeftDisc1.jpg", "disc"),
        ("OD_macula.jpg", "macula"),
        ("", "macula"),
    ],
)
def test_the_field_is_the_macula_unless_the_name_speaks_of_the_disc(name, field):
    assert field_guess(name) == field
