"""Register models: only what proves itself gets in."""

import hashlib
import json
import logging
from pathlib import Path

from bson import ObjectId
from django.conf import settings
from django.db import IntegrityError

from inference.errors import ModelRefused
from inference.model_files import MANIFEST, files_delete, files_read, files_store
from inference.models import ModelVersion
from inference.selectors import model_by_label

log = logging.getLogger(__name__)


def model_register(*, directory: Path) -> ModelVersion:
    """Take a model into the registry; the very same one again changes nothing.

    Needs the engine, so commands call it and pages don't. Raises ModelRefused when the artefact
    is not what its manifest says, or when name and version belong to another one.
    """
    content = files_read(directory)
    _require_valid(directory)
    manifest = json.loads(content[MANIFEST])
    digest = hashlib.sha256(content[MANIFEST]).hexdigest()
    label = f"{manifest['name']}:{manifest['version']}"
    known = model_by_label(label)
    if known is not None:
        return _require_same(known, digest)
    return _model_create(manifest, digest, content)


def _require_valid(directory: Path) -> None:
    """Load the model and see it reproduce its test vector, as every worker will."""
    # Only here: the registry itself must load where torch is not installed.
    from inference.engine.errors import EngineError  # noqa: PLC0415
    from inference.engine.grader import load_grader  # noqa: PLC0415

    try:
        load_grader(
            directory, device=settings.INFERENCE_DEVICE, precision=settings.INFERENCE_PRECISION
        ).self_check()
    except EngineError as error:
        raise ModelRefused(f"{error.problem} {error.cure}") from error


def _require_same(known: ModelVersion, digest: str) -> ModelVersion:
    if known.digest != digest:
        raise ModelRefused(
            f"Another model is registered as {known.label}. Give this one a new version."
        )
    return known


def _model_create(manifest: dict, digest: str, content: dict[str, bytes]) -> ModelVersion:
    model = ModelVersion(
        pk=ObjectId(),
        name=manifest["name"],
        version=manifest["version"],
        architecture=manifest["architecture"],
        sha256=manifest["weights_sha256"],
        digest=digest,
        manifest=manifest,
    )
    model.full_clean(exclude=["files"], validate_unique=False, validate_constraints=False)
    model.files = files_store(model.pk, content)
    try:
        model.save(force_insert=True)
    except IntegrityError:
        # Somebody registered the same name and version between our look and our write.
        files_delete(model.files)
        return _require_same(model_by_label(model.label), digest)
    log.info("model_registered model=%s sha256=%s", model.label, model.sha256)
    return model
