"""Files that say they are made of very many parts, next to such as cameras and programs write."""

import io
import struct

import pytest
from PIL import Image

from workspace.file_parts import MAX_PARTS, MAX_SCANS, has_too_many_parts

SCAN = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"


def written(file_format: str, **options) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (96, 640), (120, 60, 30)).save(file, file_format, **options)
    return file.getvalue()


def jpeg(*pieces: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(pieces) + b"\xff\xd9"


def png(chunks: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunks * (struct.pack(">I", 2) + b"teXt" + b"ab" + b"\0" * 4)


def tiff(values: int, *, tag: int = 273, kind: int = 4, order: str = "<", big: bool = False):
    """Return a TIFF whose only entry says that it has so many values."""
    mark = b"II" if order == "<" else b"MM"
    if big:
        head = struct.pack(order + "HHHQ", 43, 8, 0, 16)
        return mark + head + struct.pack(order + "QHHQQ", 1, tag, kind, values, 8)
    return mark + struct.pack(order + "HIHHHII", 42, 8, 1, tag, kind, values, 8)


MORE = MAX_PARTS + 1
TOO_MANY = {
    "scans": jpeg(*[SCAN + b"data\xff\x00"] * (MAX_SCANS + 1)),
    "scans after much padding": jpeg(b"\xff" * 100_000, *[SCAN] * (MAX_SCANS + 1)),
    "segments": jpeg(b"\xff\xfe\x00\x02" * MORE),
    "chunks": png(MORE),
    "strips": tiff(MORE),
    "tiles by the byte": tiff(MORE, tag=324, kind=1),
    "samples": tiff(MORE, tag=258, kind=3),
    "strips, the other way round": tiff(MORE, order=">"),
    "strips of a big file": tiff(MORE, big=True),
}
FEW = {
    "a photograph": written("JPEG"),
    "a progressive one": written("JPEG", progressive=True),
    "restarts are no parts": jpeg(SCAN, b"\xff\xd0data" * MORE),
    "a preview inside": jpeg(b"\xff\xe1\x03\xea" + SCAN * 100, SCAN),
    "a film behind the end": jpeg(SCAN) + SCAN * 100,
    "a drawing": written("PNG"),
    "chunks": png(2000),
    "strips": written("TIFF"),
    "a thousand strips": tiff(1000),
    "a profile": tiff(1_000_000, tag=34675, kind=7),
    "another kind": written("WEBP"),
}
BROKEN = [b"", b"\xff\xd8", b"\xff\xd8\xff", jpeg(b"\xff\xe0\x00\x00"), b"\x89PNG\r\n\x1a\n\0"]
BROKEN += [b"II", b"II*\0", tiff(5)[:12], tiff(5)[:20], tiff(5, big=True)[:20]]


@pytest.mark.parametrize("kind", TOO_MANY)
def test_file_of_very_many_parts_is_found_out(kind):
    assert has_too_many_parts(io.BytesIO(TOO_MANY[kind]))


@pytest.mark.parametrize("kind", FEW)
def test_file_as_cameras_and_programs_write_it_is_not(kind):
    file = io.BytesIO(FEW[kind])
    assert not has_too_many_parts(file)
    assert file.tell() == 0


@pytest.mark.parametrize("content", BROKEN)
def test_broken_file_is_left_to_the_decoder(content):
    assert not has_too_many_parts(io.BytesIO(content))
