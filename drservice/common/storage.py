"""Image bytes in MongoDB GridFS behind Django's Storage API: replicated with the records."""

from collections.abc import Iterator
from io import BytesIO

import gridfs
from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage
from django.db import connection
from django.utils.deconstruct import deconstructible

CHUNK_BYTES = 1 << 20


@deconstructible
class GridFSStorage(Storage):
    """Store a file under a name that is written once and never changed.

    Names are made by the callers from ids alone, so they say nothing about a patient. A write is
    not part of a MongoDB transaction: write the file first, then the document that names it.
    """

    bucket_name = "images"

    def _bucket(self) -> gridfs.GridFSBucket:
        return gridfs.GridFSBucket(
            connection.database, bucket_name=self.bucket_name, chunk_size_bytes=CHUNK_BYTES
        )

    def _open(self, name: str, mode: str = "rb") -> File:
        if mode != "rb":
            raise ValueError("Stored images are read-only; open them with mode 'rb'.")
        try:
            stream = self._bucket().open_download_stream_by_name(name)
        except gridfs.NoFile as error:
            raise FileNotFoundError(f"No stored file has the name {name}.") from error
        return ContentFile(stream.read(), name=name)

    def _save(self, name: str, content: File) -> str:
        source = content.file if hasattr(content, "file") else BytesIO(content.read())
        source.seek(0)
        self._bucket().upload_from_stream(name, source)
        return name

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        # Names carry a random id, so they are free; asking would cost a round trip a file.
        return name

    def exists(self, name: str) -> bool:
        return next(self._files(name), None) is not None

    def size(self, name: str) -> int:
        found = next(self._files(name), None)
        if found is None:
            raise FileNotFoundError(f"No stored file has the name {name}.")
        return found.length

    def delete(self, name: str) -> None:
        bucket = self._bucket()
        for found in self._files(name):
            bucket.delete(found._id)

    def _files(self, name: str) -> Iterator[gridfs.GridOut]:
        return iter(self._bucket().find({"filename": name}))
