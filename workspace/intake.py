"""Look at an uploaded file before it is believed, and make what pages show of it.

Pure Pillow: no request, no database. The original is only read; its bytes are kept as they came.
"""

import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps

from drservice.common.errors import ServiceFault
from workspace.file_parts import has_too_many_parts
from workspace.schemas import Field, Laterality

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP")
MIN_EDGE_PX = 64
DISPLAY_EDGE_PX = 2048
THUMBNAIL_EDGE_PX = 480
DISPLAY_QUALITY = 88
ORIENTATION_TAG = 0x0112
SIDEWAYS = (5, 6, 7, 8)
SNIFFED_BYTES = 512

USE_THESE = "Export the photograph from the camera as JPEG, PNG, TIFF or WebP."
DAMAGED = (
    "The file is damaged or was cut short on its way. Copy it from the camera again and upload "
    "the new copy."
)
# Everything that Pillow's decoders raise on files that are not what they say they are.
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    ArithmeticError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    MemoryError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


class PhotographRefused(ServiceFault):
    """A file can't be taken in as a photograph; `code` names the reason for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Photograph:
    """What is known of a good file. Width and height are those of the upright picture.

    `display` and `thumbnail` are JPEG, RGB, 8 bits, upright, and carry nothing but pixels.
    """

    format: str
    width_px: int
    height_px: int
    size_bytes: int
    sha256: str
    display: bytes
    thumbnail: bytes


def photograph_read(file: BinaryIO, *, max_bytes: int, max_pixels: int) -> Photograph:
    """Check a file from header to last pixel and derive what is shown. Raises PhotographRefused.

    Parts and header are judged before anything is decoded, so a small file can neither unfold into
    a huge one nor keep the decoder busy.
    """
    size_bytes = _require_size(file, max_bytes)
    _require_few_parts(file)
    picture = _open(file)
    _require_pixels(picture, max_pixels)
    width_px, height_px = _upright_size(picture)
    display = _derive(picture)
    file.seek(0)
    return Photograph(
        format="JPEG" if picture.format == "MPO" else picture.format,
        width_px=width_px,
        height_px=height_px,
        size_bytes=size_bytes,
        sha256=hashlib.file_digest(file, "sha256").hexdigest(),
        display=_jpeg(display),
        thumbnail=_jpeg(_shrunk(display, THUMBNAIL_EDGE_PX)),
    )


def _require_size(file: BinaryIO, max_bytes: int) -> int:
    size_bytes = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size_bytes == 0:
        raise PhotographRefused(
            "empty", "The file is empty. Copy it from the camera again and upload the new copy."
        )
    if size_bytes > max_bytes:
        raise PhotographRefused(
            "too_many_bytes",
            f"The file has {size_bytes / 1e6:.0f} MB; at most {max_bytes / 1e6:.0f} MB are "
            "accepted. Export it as JPEG.",
        )
    return size_bytes


def _require_few_parts(file: BinaryIO) -> None:
    if has_too_many_parts(file):
        raise PhotographRefused(
            "too_many_parts",
            "The file is put together from far more parts than a camera makes. Open the photograph "
            "in a picture program, and export it anew as JPEG or PNG.",
        )


def _open(file: BinaryIO) -> Image.Image:
    """Read the header by our list of formats alone; everything else gets a reason."""
    start = file.read(SNIFFED_BYTES)
    file.seek(0)
    foreign = _foreign_format(start)
    if foreign is not None:
        raise PhotographRefused("wrong_format", f"{foreign} {USE_THESE}")
    try:
        return Image.open(file, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotographRefused(
            "too_many_pixels",
            "The file says it has far more pixels than a photograph. Export it smaller.",
        ) from error
    except DECODE_ERRORS as error:
        if _looks_like_ours(start):
            raise PhotographRefused("damaged", DAMAGED) from error
        raise PhotographRefused(
            "not_a_photograph",
            f"This is not a photograph, whatever its name says. {USE_THESE}",
        ) from error


def _foreign_format(start: bytes) -> str | None:
    """Name a format that is refused on purpose, in words that tell what to do about it."""
    if start[4:8] == b"ftyp":
        return "This is a HEIC or video file, as telephones make them; it can't be read here."
    if start[128:132] == b"DICM":
        return "This is a DICOM file; they are not accepted yet."
    signatures = {
        b"%PDF": "This is a PDF document.",
        b"PK\x03\x04": "This is a ZIP archive. Unpack it and upload the photographs in it.",
        b"GIF8": "This is a GIF, whose few colours hide small lesions.",
        b"BM": "This is a BMP file.",
    }
    for signature, words in signatures.items():
        if start.startswith(signature):
            return words
    if b"<svg" in start.lower():
        return "This is an SVG drawing, not a photograph."
    return None


def _looks_like_ours(start: bytes) -> bool:
    riff_webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    return riff_webp or start.startswith((b"\xff\xd8\xff", b"\x89PNG", b"II*\x00", b"MM\x00*"))


def _require_pixels(picture: Image.Image, max_pixels: int) -> None:
    width, height = picture.size
    if width * height > max_pixels:
        raise PhotographRefused(
            "too_many_pixels",
            f"The photograph has {width * height / 1e6:.0f} megapixels; at most "
            f"{max_pixels / 1e6:.0f} are accepted. Export it smaller.",
        )
    if min(width, height) < MIN_EDGE_PX:
        raise PhotographRefused(
            "too_few_pixels",
            f"The picture is only {width} by {height} pixels. Upload the camera's original.",
        )
    # A camera's JPEG may carry its own preview (MPO); in all other formats a second picture
    # leaves open which one the clinic means.
    if picture.format != "MPO" and _has_several(picture):
        raise PhotographRefused(
            "several_pictures",
            "This file holds several pictures. Save each as a file of its own and upload those.",
        )


def _has_several(picture: Image.Image) -> bool:
    """Tell whether a file holds another picture. Counting them all may take hours for a TIFF."""
    try:
        return getattr(picture, "is_animated", False)
    except DECODE_ERRORS as error:
        raise PhotographRefused("damaged", DAMAGED) from error


def _upright_size(picture: Image.Image) -> tuple[int, int]:
    try:
        # Pillow turns a TIFF by itself, and tells the size it has then.
        turned = picture.format != "TIFF" and picture.getexif().get(ORIENTATION_TAG, 1) in SIDEWAYS
    except DECODE_ERRORS as error:
        raise PhotographRefused("damaged", DAMAGED) from error
    return (picture.height, picture.width) if turned else picture.size


def _derive(picture: Image.Image) -> Image.Image:
    """Decode every pixel, so that a cut file is found out, and return the displayed picture.

    Shrinks before anything else: each further step on 40 megapixels would be a copy of 160 MB.
    """
    profile = picture.info.get("icc_profile")
    try:
        # A JPEG may be decoded at a half or a quarter: less memory, and still every byte is read.
        picture.draft(None, (DISPLAY_EDGE_PX, DISPLAY_EDGE_PX))
        picture.load()
        small = picture.convert(_mode_to_shrink(picture)) if _has_indices(picture) else picture
        small.thumbnail((DISPLAY_EDGE_PX, DISPLAY_EDGE_PX), Image.Resampling.LANCZOS)
        ImageOps.exif_transpose(small, in_place=True)
        display = _to_rgb(small)
    except DECODE_ERRORS as error:
        raise PhotographRefused("damaged", DAMAGED) from error
    return _in_srgb(display, profile) if picture.mode == "RGB" else display


def _has_indices(picture: Image.Image) -> bool:
    """Tell whether the values are numbers of colours, which can't be mixed as pixels are."""
    if _is_deep(picture):
        return False
    return picture.mode in ("1", "P", "PA") or "transparency" in picture.info


def _is_deep(picture: Image.Image) -> bool:
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16")


def _mode_to_shrink(picture: Image.Image) -> str:
    transparent = picture.mode == "PA" or "transparency" in picture.info
    return "RGBA" if transparent else "RGB"


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Bring any mode to RGB; transparency goes over black, as the frame around a disc is black."""
    if _is_deep(picture):
        return _deep_to_rgb(picture)
    if picture.mode in ("RGBA", "LA", "RGBa", "La"):
        layer = picture.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        return Image.alpha_composite(ground, layer).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _deep_to_rgb(picture: Image.Image) -> Image.Image:
    """Bring a deep grey photograph to 8 bits by its nominal range, not by its content."""
    deep = np.asarray(picture)
    top = 65535 if deep.max() > 255 else 255
    grey = np.round(deep * np.float32(255 / top)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Translate a camera's own colours to those of a screen; a broken profile changes nothing."""
    if not profile:
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        screen = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(picture, source, screen, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture


def _shrunk(picture: Image.Image, edge_px: int) -> Image.Image:
    small = picture.copy()
    small.thumbnail((edge_px, edge_px), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return small


def _jpeg(picture: Image.Image) -> bytes:
    """Write the pixels and nothing else: no EXIF, no GPS, no profile, no comment."""
    bare = Image.frombytes("RGB", picture.size, picture.tobytes())
    file = io.BytesIO()
    bare.save(file, "JPEG", quality=DISPLAY_QUALITY)
    return file.getvalue()


RIGHT_WORDS = frozenset({"od", "right", "r", "re", "righteye"})
LEFT_WORDS = frozenset({"os", "left", "l", "le", "lefteye"})
DISC_WORDS = frozenset({"disc", "disk", "onh", "papilla", "optic", "opticdisc"})


def laterality_guess(file_name: str) -> str:
    """Guess the eye from a file's name (`_left`, `OD`, `12-R`); empty when it doesn't tell."""
    words = _words(file_name)
    right, left = bool(words & RIGHT_WORDS), bool(words & LEFT_WORDS)
    if right == left:
        return ""
    return Laterality.OD if right else Laterality.OS


def field_guess(file_name: str) -> str:
    """Guess what a photograph is centred on; the macula unless the name speaks of the disc."""
    return Field.DISC if _words(file_name) & DISC_WORDS else Field.MACULA


def _words(file_name: str) -> set[str]:
    """Split a name at signs, digits and capitals: `IMG12_RightDisc.jpg` says right and disc."""
    stem = PurePath(file_name.replace("\\", "/")).stem
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", stem)}
