"""Image bytes in MongoDB GridFS behind Django's Storage API: replicated with the records."""

import gridfs
from django.core.files.base import File
from django.core.files.storage import Storage
from django.db import connection
from django.utils.deconstruct import deconstructible

CHUNK_BYTES = 1 << 20


class StoredFile(File):
    """A stored file that is fetched chunk by chunk while it is read, and can't be written."""

    DEFAULT_CHUNK_SIZE = CHUNK_BYTES

    @property
    def size(self) -> int:
        return self.file.length

    def open(self, mode: str | None = None, *args, **kwargs) -> "StoredFile":
        _require_reading(mode or "rb")
        self.seek(0)
        return self


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

    def _open(self, name: str, mode: str = "rb") -> StoredFile:
        _require_reading(mode)
        try:
            return StoredFile(self._bucket().open_download_stream_by_name(name), name)
        except gridfs.NoFile as error:
            raise FileNotFoundError(f"No stored file has the name {name}.") from error

    def _save(self, name: str, content: File) -> str:
        content.seek(0)
        self._bucket().upload_from_stream(name, content)
        return name

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        # Names carry a random id, so they are free; asking would cost a round trip a file.
        return name

    def exists(self, name: str) -> bool:
        return bool(self._files(name))

    def size(self, name: str) -> int:
        files = self._files(name)
        if not files:
            raise FileNotFoundError(f"No stored file has the name {name}.")
        return files[0].length

    def delete(self, name: str) -> None:
        bucket = self._bucket()
        for found in self._files(name):
            bucket.delete(found._id)

    def _files(self, name: str) -> list[gridfs.GridOut]:
        """Return what is stored under a name, newest first: as reading by name sees it."""
        return list(self._bucket().find({"filename": name}).sort("uploadDate", -1))


def _require_reading(mode: str) -> None:
    if mode != "rb":
        raise ValueError("Stored images are read-only; open them with mode 'rb'.")
