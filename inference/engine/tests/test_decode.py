import io

import numpy as np
import pytest
from PIL import Image

from inference.engine.decode import MAX_PIXELS, decode_photo, displayed_size
from inference.engine.errors import UnreadableImage
from inference.engine.synthetic import draw_fundus


def _cmyk(photo, encode):
    return encode(photo.convert("CMYK"), "TIFF")


def _rgba(photo, encode):
    layer = photo.convert("RGBA")
    # What is outside the disc is see-through over white: it must come out black, not white.
    alpha = photo.convert("L").point(lambda level: 255 if level > 8 else 0)
    layer.putalpha(alpha)
    return encode(layer)


def _palette(photo, encode):
    return encode(photo.quantize(256, dither=Image.Dither.NONE))


def _turned(photo, encode, form="PNG"):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    return encode(photo.transpose(Image.Transpose.ROTATE_90), form, exif=exif)


def _turned_tiff(photo, encode):
    return _turned(photo, encode, "TIFF")


FORMATS = {
    "png": (lambda photo, encode: encode(photo), 0),
    "tiff": (lambda photo, encode: encode(photo, "TIFF"), 0),
    "tiff, compressed": (lambda photo, encode: encode(photo, "TIFF", compression="tiff_lzw"), 0),
    "webp, lossless": (lambda photo, encode: encode(photo, "WEBP", lossless=True), 0),
    "webp": (lambda photo, encode: encode(photo, "WEBP", quality=95), 3),
    "jpeg": (lambda photo, encode: encode(photo, "JPEG", quality=95), 3),
    "jpeg, progressive": (
        lambda photo, encode: encode(photo, "JPEG", quality=95, progressive=True),
        3,
    ),
    "jpeg, cmyk": (lambda photo, encode: encode(photo.convert("CMYK"), "JPEG", quality=95), 4),
    "rgba": (_rgba, 2),
    "cmyk": (_cmyk, 2),
    "palette": (_palette, 12),
    "turned by exif": (_turned, 0),
    "tiff, turned by exif": (_turned_tiff, 0),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_decodes_like_its_rgb_twin(name, eye, encode):
    write, tolerance = FORMATS[name]
    photo = decode_photo(write(eye, encode))
    assert photo.mode == "RGB"
    assert photo.size == eye.size
    gap = np.abs(np.asarray(photo, int) - np.asarray(eye, int)).mean()
    assert gap <= tolerance


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_grades_like_its_rgb_twin(name, eye, encode, grader):
    write, _ = FORMATS[name]
    twin, other = grader.grade([grader.prepare(encode(eye)), grader.prepare(write(eye, encode))])
    assert other.grade == twin.grade
    assert other.quality == twin.quality
    assert other.probabilities == pytest.approx(twin.probabilities, abs=0.05)
    assert (other.width_px, other.height_px) == eye.size


def test_sixteen_bit_grey_decodes_by_its_range_not_its_content(eye, encode):
    grey = np.asarray(eye.convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert np.array_equal(np.asarray(decode_photo(encode(deep)))[:, :, 1], grey)


def test_channels_come_in_rgb_order(encode):
    red = Image.new("RGB", (80, 80), (200, 10, 20))
    assert decode_photo(encode(red)).getpixel((5, 5)) == (200, 10, 20)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_displayed_size_follows_the_exif_turn(form, eye, encode):
    content = _turned(eye, encode, form)
    assert displayed_size(content) == decode_photo(content).size == eye.size


def test_draft_decoding_is_smaller_and_grades_the_same(encode, grader):
    big = encode(draw_fundus(4, grade=3, size_px=(3200, 2400)), "JPEG", quality=92)
    assert decode_photo(big, draft=True).width < decode_photo(big).width
    full = encode(decode_photo(big))
    fast, slow = grader.grade([grader.prepare(big), grader.prepare(full)])
    assert fast.grade == slow.grade
    assert fast.probabilities == pytest.approx(slow.probabilities, abs=0.01)
    assert (fast.width_px, fast.height_px) == (slow.width_px, slow.height_px) == (3200, 2400)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello, I am text renamed to .png",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"GIF89a" + b"\0" * 60,
        b"\x89PNG\r\n\x1a\n" + b"\0" * 30,
    ],
)
def test_what_is_no_photograph_is_refused_with_a_cure(content):
    with pytest.raises(UnreadableImage) as caught:
        decode_photo(content)
    assert "upload" in caught.value.cure.lower()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_truncated_file_is_refused(form, eye, encode):
    content = encode(eye, form)
    with pytest.raises(UnreadableImage):
        decode_photo(content[: len(content) // 2])


def test_too_many_pixels_are_refused_before_decoding(encode):
    file = io.BytesIO()
    Image.new("1", (8000, MAX_PIXELS // 8000 + 1)).save(file, "PNG")
    with pytest.raises(UnreadableImage, match="megapixels"):
        decode_photo(file.getvalue())


def test_tiny_picture_is_refused(encode):
    with pytest.raises(UnreadableImage, match="pixels on a side"):
        decode_photo(encode(Image.new("RGB", (300, 20))))
