"""Count what a picture file is put together from, before a decoder works through all of it.

Size and pixels don't bound what decoding costs. A JPEG may go over the whole picture once more for
every 60 bytes, a TIFF may cut it into a piece for every byte: a few megabytes would keep a process
busy for hours, or fill its memory. Cameras make tens of parts, and programs some thousands.
"""

import re
import struct
from typing import BinaryIO

# Progressive files have about ten; each may cost as much as decoding the picture.
MAX_SCANS = 64
# Segments of JPEG, chunks of PNG, strips and tiles of TIFF: a second's work for the decoder.
MAX_PARTS = 50_000
JPEG_START, PNG_START = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
TIFF_STARTS = (b"II", b"MM")
# As decoders look for the next one: whatever stands between is passed over, restarts too.
JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
SCAN, END = 0xDA, 0xD9
# Where strips and tiles begin; and the kinds of value that nobody takes apart: bytes and text.
TIFF_PLACES = frozenset({273, 324})
TIFF_WHOLE = frozenset({1, 2, 7})
BIG_TIFF = b"+"


def has_too_many_parts(file: BinaryIO) -> bool:
    """Tell whether a file is made of more parts than a photograph is; leaves it at its start.

    Says nothing about a file that is broken otherwise: that is for the decoder to find.
    """
    file.seek(0)
    content = file.read()
    file.seek(0)
    try:
        if content.startswith(JPEG_START):
            return _jpeg_has(content)
        if content.startswith(PNG_START):
            return _png_has(content)
        return content.startswith(TIFF_STARTS) and _tiff_has(content)
    except struct.error:
        return False


def _jpeg_has(content: bytes) -> bool:
    place = len(JPEG_START)
    scans = parts = 0
    while (found := JPEG_MARKER.search(content, place)) and content[found.end() - 1] != END:
        parts += 1
        scans += content[found.end() - 1] == SCAN
        if scans > MAX_SCANS or parts > MAX_PARTS:
            return True
        (length,) = struct.unpack_from(">H", content, found.end())
        place = found.end() + length
    return False


def _png_has(content: bytes) -> bool:
    place = len(PNG_START)
    for _ in range(MAX_PARTS):
        if place >= len(content):
            return False
        (length,) = struct.unpack_from(">I", content, place)
        # Beside its data a chunk has its length, its name and its checksum.
        place += 12 + length
    return True


def _tiff_has(content: bytes) -> bool:
    """Look at the first directory alone: a second one makes a file of several pictures."""
    order = "<" if content.startswith(b"II") else ">"
    big = content[2:3] == BIG_TIFF
    start, count, entry = ("Q", "Q", "HHQQ") if big else ("I", "H", "HHII")
    (place,) = struct.unpack_from(order + start, content, 8 if big else 4)
    (entries,) = struct.unpack_from(order + count, content, place)
    if entries > MAX_PARTS:
        return True
    place += struct.calcsize(order + count)
    for number in range(entries):
        at = place + number * struct.calcsize(order + entry)
        tag, kind, values, _ = struct.unpack_from(order + entry, content, at)
        if values > MAX_PARTS and (tag in TIFF_PLACES or kind not in TIFF_WHOLE):
            return True
    return False
