"""Register models, make one the champion, and take that back."""

import hashlib
import json
import logging
from pathlib import Path

from bson import ObjectId
from django.conf import settings
from django.db import IntegrityError
from django.utils import timezone

from inference.errors import ModelRefused
from inference.model_files import MANIFEST, files_delete, files_read, files_store
from inference.models import CHAMPION, ModelAlias, ModelVersion
from inference.selectors import champion_alias, model_by_label, model_by_pk

log = logging.getLogger(__name__)

MOVED_MEANWHILE = "Somebody else moved the champion meanwhile. Look where it stands, then repeat."


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


def model_promote(*, model: ModelVersion) -> ModelAlias:
    """Make a model the champion, in one conditional update; workers take it up by themselves.

    Raises ModelRefused when somebody else moved the champion at the same time.
    """
    alias = champion_alias()
    if alias is None:
        return _alias_create(model)
    if alias.model_id == model.pk:
        return alias
    return _alias_move(alias, to=model.pk, former=[*alias.former, alias.model_id])


def model_rollback() -> ModelAlias:
    """Give the champion's name back to the model that bore it before.

    Raises ModelRefused when there was none, or when somebody else moved it at the same time.
    """
    alias = champion_alias()
    if alias is None or not alias.former:
        raise ModelRefused("There was no champion before this one. Promote a model by its name.")
    return _alias_move(alias, to=alias.former[-1], former=alias.former[:-1])


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


def _alias_create(model: ModelVersion) -> ModelAlias:
    alias = ModelAlias(name=CHAMPION, model=model)
    try:
        alias.save(force_insert=True)
    except IntegrityError as error:
        raise ModelRefused(MOVED_MEANWHILE) from error
    log.info("champion_moved model=%s revision=%s", model.label, alias.revision)
    return alias


def _alias_move(seen: ModelAlias, *, to: ObjectId, former: list[ObjectId]) -> ModelAlias:
    moved = ModelAlias.objects.filter(pk=seen.pk, revision=seen.revision).update(
        model_id=to, former=former, revision=seen.revision + 1, moved_at=timezone.now()
    )
    if moved != 1:
        raise ModelRefused(MOVED_MEANWHILE)
    model = model_by_pk(to)
    log.info("champion_moved model=%s revision=%s", model.label, seen.revision + 1)
    return champion_alias()
