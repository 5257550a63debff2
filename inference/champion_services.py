"""Make a model the champion, and take that back. Apart from registering: pages may load this."""

import logging
from dataclasses import dataclass

from bson import ObjectId
from django.db import IntegrityError
from django.utils import timezone

from inference.errors import ModelRefused
from inference.models import CHAMPION, ModelAlias, ModelMove, ModelVersion
from inference.selectors import champion_alias, model_by_pk

log = logging.getLogger(__name__)

MOVED_MEANWHILE = "Somebody else moved the champion meanwhile. Look where it stands, then repeat."
NONE_BEFORE = "There was no champion before this one. Promote a model by its name."


@dataclass(frozen=True)
class Mover:
    """Who moves the champion and why; `seen_revision` is where they saw the alias stand."""

    name: str = "command line"
    reason: str = ""
    seen_revision: int | None = None


BY_COMMAND = Mover()


def model_promote(*, model: ModelVersion, mover: Mover = BY_COMMAND) -> ModelAlias:
    """Make a model the champion, in one conditional update; workers take it up by themselves.

    Raises ModelRefused when somebody else moved the champion since it was looked at.
    """
    alias = champion_alias()
    _require_seen(alias, mover)
    if alias is None:
        return _alias_create(model, mover)
    if alias.model_id == model.pk:
        return alias
    return _alias_move(alias, to=model.pk, former=[*alias.former, alias.model_id], mover=mover)


def model_rollback(*, mover: Mover = BY_COMMAND) -> ModelAlias:
    """Give the champion's name back to the model that bore it before.

    Raises ModelRefused when there was none, or when somebody else moved it since it was looked at.
    """
    alias = champion_alias()
    if alias is None or not alias.former:
        raise ModelRefused(NONE_BEFORE)
    _require_seen(alias, mover)
    return _alias_move(alias, to=alias.former[-1], former=alias.former[:-1], mover=mover)


def _require_seen(alias: ModelAlias | None, mover: Mover) -> None:
    stands = 0 if alias is None else alias.revision
    if mover.seen_revision not in (None, stands):
        raise ModelRefused(MOVED_MEANWHILE)


def _alias_create(model: ModelVersion, mover: Mover) -> ModelAlias:
    alias = ModelAlias(name=CHAMPION, model=model, moves=[_move(model.pk, mover)])
    try:
        alias.save(force_insert=True)
    except IntegrityError as error:
        raise ModelRefused(MOVED_MEANWHILE) from error
    log.info("champion_moved model=%s revision=%s", model.label, alias.revision)
    return alias


def _alias_move(
    seen: ModelAlias, *, to: ObjectId, former: list[ObjectId], mover: Mover
) -> ModelAlias:
    moved = ModelAlias.objects.filter(pk=seen.pk, revision=seen.revision).update(
        model_id=to,
        former=former,
        moves=[*seen.moves, _move(to, mover)],
        revision=seen.revision + 1,
        moved_at=timezone.now(),
    )
    if moved != 1:
        raise ModelRefused(MOVED_MEANWHILE)
    model = model_by_pk(to)
    log.info("champion_moved model=%s revision=%s", model.label, seen.revision + 1)
    return champion_alias()


def _move(to: ObjectId, mover: Mover) -> ModelMove:
    return ModelMove(model_id=to, at=timezone.now(), by=mover.name, reason=mover.reason)
