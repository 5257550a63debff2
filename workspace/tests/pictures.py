"""Small pictures for uploads: every call draws other bytes."""

import io
import random

from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image, ImageDraw


def picture_bytes(file_format: str = "JPEG", size: tuple[int, int] = (320, 240)) -> bytes:
    picture = Image.new("RGB", size)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((40, 10, 270, 230), fill=(170, 80, 40))
    for _ in range(30):
        x, y = random.randrange(60, 240), random.randrange(30, 200)
        draw.ellipse((x, y, x + 9, y + 9), fill=tuple(random.randbytes(3)))
    file = io.BytesIO()
    picture.save(file, file_format, quality=95)
    return file.getvalue()


def upload(name: str = "photo_right.jpg", content: bytes | None = None) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, picture_bytes() if content is None else content)
