"""From the bytes of an upload to the photograph as it is displayed.

Every format becomes the same thing: PIL RGB, 8 bits a channel, upright, in RGB order.
"""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from inference.engine.errors import UnreadableImage

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP")
MAX_PIXELS = 40_000_000
MIN_EDGE_PX = 64
DRAFT_EDGE_PX = 1536  # a JPEG may be decoded at half or quarter size, but not shorter than this
TURNED = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height


def decode_photo(content: bytes, *, draft: bool = False) -> Image.Image:
    """Decode a photograph as it is displayed: RGB, upright. Raises UnreadableImage.

    With `draft` a big JPEG is decoded at a half or a quarter of its size: several times faster,
    and still several times larger than any network's input.
    """
    photo = _open(content)
    if draft:
        share = DRAFT_EDGE_PX / max(photo.size)
        photo.draft("RGB", (round(photo.width * share), round(photo.height * share)))
    try:
        photo.load()
        upright = ImageOps.exif_transpose(photo)
        return _to_rgb(upright)
    except (OSError, SyntaxError, ValueError, ArithmeticError, MemoryError) as error:
        raise UnreadableImage(
            "The file is damaged or cut short.", "Export the photograph again and upload it."
        ) from error


def displayed_size(content: bytes) -> tuple[int, int]:
    """Read the displayed width and height in pixels from the header. Raises UnreadableImage."""
    photo = _open(content)
    # Pillow turns a TIFF by itself and tells its displayed size.
    turned = photo.format != "TIFF" and photo.getexif().get(0x0112, 1) in TURNED
    return (photo.height, photo.width) if turned else photo.size


def _open(content: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            photo = Image.open(io.BytesIO(content), formats=FORMATS)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        unknown = isinstance(error, UnidentifiedImageError)
        raise UnreadableImage(
            "The file is not a photograph that can be read."
            if unknown
            else "The file's header is damaged or its size is not believable.",
            "Upload a JPEG, PNG, TIFF or WebP photograph.",
        ) from error
    if photo.width * photo.height > MAX_PIXELS:
        raise UnreadableImage(
            f"The photograph has more than {MAX_PIXELS // 1_000_000} megapixels.",
            "Export it smaller and upload it again.",
        )
    if min(photo.size) < MIN_EDGE_PX:
        raise UnreadableImage(
            f"The photograph has fewer than {MIN_EDGE_PX} pixels on a side.",
            "Upload the camera's original.",
        )
    return photo


def _to_rgb(photo: Image.Image) -> Image.Image:
    """Bring any mode to RGB; transparency goes over black, as the frame around a disc is black."""
    if photo.mode in ("I", "F") or photo.mode.startswith("I;16"):
        return _deep_to_rgb(photo)
    if photo.mode in ("RGBA", "LA", "PA") or "transparency" in photo.info:
        layer = photo.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        return Image.alpha_composite(ground, layer).convert("RGB")
    return photo.convert("RGB")


def _deep_to_rgb(photo: Image.Image) -> Image.Image:
    """Bring a 16-bit or 32-bit grey photograph to 8 bits by its nominal range, not its content."""
    deep = np.asarray(photo, dtype=np.float64)
    top = 65535.0 if deep.max() > 255 else 255.0
    grey = np.clip(np.round(deep * (255.0 / top)), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
