"""Make a model the champion, and take that back. Apart from registering: pages may load this."""

import logging

from bson import ObjectId
from django.db import IntegrityError
from django.utils import timezone

from accounts.audit.actions import Action
from accounts.audit.actors import current_actor
from accounts.audit.chain import PLATFORM
from accounts.audit.services import audit_record, audited
from inference.errors import ModelRefused
from inference.models import CHAMPION, ModelAlias, ModelMove, ModelVersion
from inference.selectors import champion_alias, model_by_pk

log = logging.getLogger(__name__)

MOVED_MEANWHILE = "Somebody else moved the champion meanwhile. Look where it stands, then repeat."
NONE_BEFORE = "There was no champion before this one. Promote a model by its name."


def model_promote(
    *, model: ModelVersion, reason: str = "", seen_revision: int | None = None
) -> ModelAlias:
    """Make a model the champion, in one conditional update; workers take it up by themselves.

    `seen_revision` is where the caller saw the alias stand, 0 where there was none. Raises
    ModelRefused when somebody else moved the champion since.
    """
    return _told(_promoted(model, reason, seen_revision))


def model_rollback(*, reason: str = "", seen_revision: int | None = None) -> ModelAlias:
    """Give the champion's name back to the model that bore it before.

    Raises ModelRefused when there was none, or when somebody else moved it since it was seen.
    """
    return _told(_rolled_back(reason, seen_revision))


@audited
def _promoted(model: ModelVersion, reason: str, seen_revision: int | None) -> ModelAlias:
    alias = champion_alias()
    _require_seen(alias, seen_revision)
    if alias is None:
        return _alias_create(model, reason)
    if alias.model_id == model.pk:
        return alias
    former = [*alias.former, alias.model_id]
    return _alias_move(alias, to=model, former=former, action=Action.PROMOTE, reason=reason)


@audited
def _rolled_back(reason: str, seen_revision: int | None) -> ModelAlias:
    alias = champion_alias()
    if alias is None or not alias.former:
        raise ModelRefused(NONE_BEFORE)
    _require_seen(alias, seen_revision)
    to, former = model_by_pk(alias.former[-1]), alias.former[:-1]
    return _alias_move(alias, to=to, former=former, action=Action.ROLL_BACK, reason=reason)


def _told(alias: ModelAlias) -> ModelAlias:
    # Once it is committed: a transaction may run several times.
    log.info("champion_stands model=%s revision=%s", alias.model.label, alias.revision)
    return alias


def _require_seen(alias: ModelAlias | None, seen_revision: int | None) -> None:
    stands = 0 if alias is None else alias.revision
    if seen_revision not in (None, stands):
        raise ModelRefused(MOVED_MEANWHILE)


def _alias_create(model: ModelVersion, reason: str) -> ModelAlias:
    alias = ModelAlias(name=CHAMPION, model=model, moves=[_move(model, reason)])
    try:
        alias.save(force_insert=True)
    except IntegrityError as error:
        raise ModelRefused(MOVED_MEANWHILE) from error
    _record(model, Action.PROMOTE, reason=reason)
    return alias


def _alias_move(
    seen: ModelAlias, *, to: ModelVersion, former: list[ObjectId], action: Action, reason: str
) -> ModelAlias:
    moved = ModelAlias.objects.filter(pk=seen.pk, revision=seen.revision).update(
        model_id=to.pk,
        former=former,
        moves=[*seen.moves, _move(to, reason)],
        revision=seen.revision + 1,
        moved_at=timezone.now(),
    )
    if moved != 1:
        raise ModelRefused(MOVED_MEANWHILE)
    _record(to, action, before={"champion": seen.model.label}, reason=reason)
    return champion_alias()


def _record(model: ModelVersion, action: Action, **told) -> None:
    audit_record(
        action=action,
        subject_kind="model",
        subject_id=model.pk,
        hospital_id=PLATFORM,
        after={"champion": model.label},
        **told,
    )


def _move(to: ModelVersion, reason: str) -> ModelMove:
    actor = current_actor()
    by = actor.name or actor.kind.label
    return ModelMove(model_id=to.pk, at=timezone.now(), by=by, reason=reason)
