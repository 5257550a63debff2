"""Image bytes in MongoDB GridFS behind Django's Storage API: replicated with the records."""

import datetime as dt
import re

import gridfs
from bson import ObjectId
from django.core.files.base import File
from django.core.files.storage import Storage, default_storage
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

    def names_in(self, folder: str) -> list[str]:
        """Return what is stored in a folder and below it. For deleting alone: nothing lists."""
        within = {"filename": {"$regex": f"^{re.escape(folder)}/"}}
        return [found.filename for found in self._bucket().find(within)]

    def delete_orphans(self, before: dt.datetime) -> int:
        """Delete the pieces of uploads that were broken off before a time; return how many were.

        A file's pieces are written before its name: until that comes, nothing leads to them.
        """
        chunks = connection.database.get_collection(f"{self.bucket_name}.chunks")
        old = {"files_id": {"$lt": ObjectId.from_datetime(before)}, "n": 0}
        began = [piece["files_id"] for piece in chunks.find(old, {"files_id": 1, "_id": 0})]
        orphans = set(began) - self._named(began)
        for orphan in orphans:
            chunks.delete_many({"files_id": orphan})
        return len(orphans)

    def _named(self, files_ids: list) -> set:
        files = connection.database.get_collection(f"{self.bucket_name}.files")
        return {found["_id"] for found in files.find({"_id": {"$in": files_ids}}, {"_id": 1})}

    def _files(self, name: str) -> list[gridfs.GridOut]:
        """Return what is stored under a name, newest first: as reading by name sees it."""
        return list(self._bucket().find({"filename": name}).sort("uploadDate", -1))


def _require_reading(mode: str) -> None:
    if mode != "rb":
        raise ValueError("Stored images are read-only; open them with mode 'rb'.")


def folder_delete(folder: str) -> None:
    """Delete every stored file in a folder and below it; an empty or absent one is no error."""
    for name in _names_in(folder):
        default_storage.delete(name)


def _names_in(folder: str) -> list[str]:
    if hasattr(default_storage, "names_in"):
        return default_storage.names_in(folder)
    try:
        folders, files = default_storage.listdir(folder)
    except FileNotFoundError:
        return []
    below = [name for inner in folders for name in _names_in(f"{folder}/{inner}")]
    return [*(f"{folder}/{name}" for name in files), *below]
