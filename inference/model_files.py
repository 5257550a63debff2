"""Where an artefact's files are: in the storage for every node, and in a local copy to load from.

A local copy is only ever seen whole: it is made under a temporary name and moved into place.
"""

import hashlib
import logging
import shutil
import tempfile
from pathlib import Path

from bson import ObjectId
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from inference.errors import ModelRefused, ModelUnavailable
from inference.models import ModelFile, ModelVersion

log = logging.getLogger(__name__)

WEIGHTS, MANIFEST, CARD = "weights.safetensors", "manifest.json", "MODEL_CARD.md"
ARTEFACT_FILES = (WEIGHTS, MANIFEST, CARD)


def files_read(directory: Path) -> dict[str, bytes]:
    """Read an artefact's files. Raises ModelRefused naming the one that is missing."""
    try:
        return {name: (directory / name).read_bytes() for name in ARTEFACT_FILES}
    except OSError as error:
        raise ModelRefused(
            f"{Path(error.filename).name} is missing or can't be read. Give the directory of a "
            f"whole model: {', '.join(ARTEFACT_FILES)}."
        ) from error


def files_store(pk: ObjectId, content: dict[str, bytes]) -> list[ModelFile]:
    """Write an artefact's files to the storage and return where they are."""
    return [_file_store(f"models/{pk}/{name}", name, body) for name, body in content.items()]


def files_delete(files: list[ModelFile]) -> None:
    for file in files:
        default_storage.delete(file.stored)


def local_directory(model: ModelVersion) -> Path:
    """Return this machine's copy of a model's files, fetching them when it has none.

    A copy that is no longer what was registered is fetched again. Raises ModelUnavailable when
    the stored files themselves are missing or changed.
    """
    directory = settings.VAR_DIR / "models" / model.digest
    if directory.is_dir():
        if _is_whole(directory, model.files):
            return directory
        log.warning("model_copy_damaged model=%s", model.label)
        shutil.rmtree(directory)
    _fetch(model, directory)
    return directory


def _file_store(stored: str, name: str, body: bytes) -> ModelFile:
    return ModelFile(
        name=name,
        stored=default_storage.save(stored, ContentFile(body)),
        sha256=hashlib.sha256(body).hexdigest(),
        size_bytes=len(body),
    )


def _is_whole(directory: Path, files: list[ModelFile]) -> bool:
    return all(_sha256_of(directory / file.name) == file.sha256 for file in files)


def _sha256_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _fetch(model: ModelVersion, directory: Path) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{model.digest[:12]}-", dir=directory.parent))
    try:
        for file in model.files:
            (partial / file.name).write_bytes(_stored_bytes(model, file))
        _move_into_place(partial, directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _stored_bytes(model: ModelVersion, file: ModelFile) -> bytes:
    try:
        with default_storage.open(file.stored) as stored:
            body = stored.read()
    except FileNotFoundError as error:
        raise _changed(model, file, "is missing from the store") from error
    if hashlib.sha256(body).hexdigest() != file.sha256:
        raise _changed(model, file, "differs from what was registered")
    return body


def _changed(model: ModelVersion, file: ModelFile, what: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"{file.name} of the model {model.label} {what}. Promote another model, or register this "
        "one again under a new version."
    )


def _move_into_place(partial: Path, directory: Path) -> None:
    """Rename the whole copy; a worker beside us that was quicker has made the same one."""
    try:
        partial.rename(directory)
    except OSError:
        if not directory.is_dir():
            raise
