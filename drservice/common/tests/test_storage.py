"""Photographs in GridFS: every byte back, in pieces, and no way to them but the storage."""

import datetime as dt
import hashlib
import random
from io import BytesIO

import pytest
from bson import ObjectId
from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage, storages
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.db import connection

from drservice.common.storage import CHUNK_BYTES, GridFSStorage, folder_delete

pytestmark = pytest.mark.django_db

NOW = dt.datetime.now(dt.UTC)
# Every stored name begins with the id of a hospital.
HOSPITAL = "5f" * 12
BYTES = random.Random(20).randbytes(8 * CHUNK_BYTES + 3)

BESIDE = [f"{HOSPITAL}/{name}" for name in ("a/b/1", "a/b/c/2", "a/bb/3", "a.b/4")]


def test_storage_is_the_default_one():
    assert isinstance(storages["default"], GridFSStorage)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 8 * CHUNK_BYTES + 3])
def test_file_comes_back_byte_for_byte_whole_and_in_chunks(size):
    content = BYTES[:size]
    name = default_storage.save(f"{HOSPITAL}/sizes/{size}", ContentFile(content))
    assert name == f"{HOSPITAL}/sizes/{size}"
    assert default_storage.exists(name)
    assert default_storage.size(name) == size
    with default_storage.open(name) as stored:
        assert stored.size == len(stored) == size
        assert stored.read() == content
        chunks = list(stored.chunks())
        assert b"".join(chunks) == content
        assert max(map(len, chunks), default=0) <= CHUNK_BYTES
        assert stored.open().read(5) == content[:5]
        stored.seek(size // 2)
        assert stored.read() == content[size // 2 :]


def temporary_upload() -> TemporaryUploadedFile:
    upload = TemporaryUploadedFile("a.jpg", "image/jpeg", len(BYTES), None)
    upload.write(BYTES)
    return upload


@pytest.mark.parametrize(
    "make_upload",
    [
        temporary_upload,
        lambda: SimpleUploadedFile("a.jpg", BYTES),
        lambda: File(BytesIO(BYTES), "a.jpg"),
    ],
)
def test_upload_is_stored_from_its_start(make_upload):
    with make_upload() as upload:
        upload.seek(7)
        default_storage.save(f"{HOSPITAL}/upload", upload)
    with default_storage.open(f"{HOSPITAL}/upload") as stored:
        default_storage.save(f"{HOSPITAL}/copy", stored)
    with default_storage.open(f"{HOSPITAL}/copy") as copy:
        assert hashlib.sha256(copy.read()).digest() == hashlib.sha256(BYTES).digest()


def test_upload_that_breaks_leaves_nothing_behind():
    class Broken(ContentFile):
        def read(self, *args):
            if self.tell() >= 2 * CHUNK_BYTES:
                raise OSError("the line is dead")
            return super().read(*args)

    with pytest.raises(OSError, match="the line is dead"):
        default_storage.save(f"{HOSPITAL}/broken", Broken(BYTES))
    assert not default_storage.exists(f"{HOSPITAL}/broken")
    assert default_storage._bucket()._chunks.find_one() is None


def test_missing_name_is_a_missing_file():
    with pytest.raises(FileNotFoundError, match="No stored file has the name .*nowhere"):
        default_storage.open(f"{HOSPITAL}/nowhere")
    with pytest.raises(FileNotFoundError, match="No stored file has the name .*nowhere"):
        default_storage.size(f"{HOSPITAL}/nowhere")
    assert not default_storage.exists(f"{HOSPITAL}/nowhere")
    default_storage.delete(f"{HOSPITAL}/nowhere")


def test_deleted_file_is_gone_with_all_its_bytes():
    for content in (b"first", b"second, longer"):
        default_storage.save(f"{HOSPITAL}/twice", ContentFile(content))
    assert default_storage.size(f"{HOSPITAL}/twice") == len(b"second, longer")
    assert default_storage.open(f"{HOSPITAL}/twice").read() == b"second, longer"
    default_storage.delete(f"{HOSPITAL}/twice")
    assert not default_storage.exists(f"{HOSPITAL}/twice")
    assert default_storage._bucket()._chunks.find_one() is None


def test_stored_file_is_read_only_and_has_no_address():
    default_storage.save(f"{HOSPITAL}/kept", ContentFile(b"kept"))
    with pytest.raises(ValueError, match="read-only"):
        default_storage.open(f"{HOSPITAL}/kept", "wb")
    with pytest.raises(ValueError, match="read-only"):
        default_storage.open(f"{HOSPITAL}/kept").open("r+b")
    with pytest.raises(NotImplementedError):
        default_storage.url(f"{HOSPITAL}/kept")
    with pytest.raises(NotImplementedError):
        default_storage.listdir("")


def test_folder_delete_takes_what_is_below_and_nothing_beside():
    for name in BESIDE:
        default_storage.save(name, ContentFile(b"x"))
    folder_delete(f"{HOSPITAL}/a/b")
    folder_delete(f"{HOSPITAL}/nothing/here")
    left = [name for name in BESIDE if default_storage.exists(name)]
    assert left == BESIDE[2:]


def test_folder_delete_works_on_a_storage_of_files(settings, tmp_path):
    files = {"BACKEND": "django.core.files.storage.FileSystemStorage"}
    settings.STORAGES = {**settings.STORAGES, "default": files}
    settings.MEDIA_ROOT = tmp_path
    for name in BESIDE[:3]:
        default_storage.save(name, ContentFile(b"x"))
    folder_delete(f"{HOSPITAL}/a/b")
    folder_delete(f"{HOSPITAL}/nothing/here")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["3"]


def test_pieces_of_broken_uploads_are_deleted_once_they_are_old():
    default_storage.save(f"{HOSPITAL}/whole", ContentFile(BYTES))
    chunks = connection.database.get_collection("images.chunks")
    broken = [ObjectId.from_datetime(NOW - dt.timedelta(days=days)) for days in (3, 0)]
    for files_id in broken:
        chunks.insert_many([{"files_id": files_id, "n": n, "data": b"x"} for n in range(2)])

    assert default_storage.delete_orphans(NOW - dt.timedelta(days=1)) == 1

    assert chunks.count_documents({"files_id": broken[0]}) == 0
    assert chunks.count_documents({"files_id": broken[1]}) == 2
    with default_storage.open(f"{HOSPITAL}/whole") as stored:
        assert stored.read() == BYTES
