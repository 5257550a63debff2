"""The tenant scope: no query on a hospital's records runs without saying for which hospital.

With no scope open every query of a `TenantModel` raises `ScopeError`; it never returns too much.
A request opens the scope of the member's hospital, a worker that of the case it grades.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from bson import ObjectId
from django.db import models
from django.db.models.deletion import Collector
from django.db.models.manager import BaseManager
from django_mongodb_backend.queryset import MongoQuerySet

from drservice.common.errors import ServiceFault


class ScopeError(ServiceFault):
    """A query on hospital records was made while no hospital's scope was open."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} was asked for outside any hospital's scope. "
            "Open one with accounts.scoping.hospital_scope(hospital_id)."
        )


@dataclass(frozen=True)
class Scope:
    """One hospital, or every hospital for a named reason (`hospital_id` is None)."""

    hospital_id: ObjectId | None
    reason: str = ""

    def narrow(self, mongo_filter: dict) -> dict:
        """Return a MongoDB filter that can only match documents of this scope.

        Raises ScopeError when the filter asks for another hospital.
        """
        if self.hospital_id is None:
            return mongo_filter
        if not self.holds(mongo_filter.get("hospital_id", self.hospital_id)):
            raise ScopeError("A record of another hospital")
        return {**mongo_filter, "hospital_id": self.hospital_id}

    def holds(self, hospital_id: ObjectId) -> bool:
        return self.hospital_id is None or self.hospital_id == hospital_id


_scope: ContextVar[Scope | None] = ContextVar("hospital_scope", default=None)


@contextmanager
def _open_scope(scope: Scope) -> Iterator[Scope]:
    token = _scope.set(scope)
    try:
        yield scope
    finally:
        _scope.reset(token)


def hospital_scope(hospital_id: ObjectId):
    """Open the scope of one hospital for the length of a `with` block."""
    if not isinstance(hospital_id, ObjectId):
        raise TypeError(f"hospital_scope takes an ObjectId, not {type(hospital_id).__name__}.")
    return _open_scope(Scope(hospital_id))


def every_hospital(reason: str):
    """Open the scope of all hospitals: for sweeps and workers, never for a request."""
    return _open_scope(Scope(None, reason))


def open_scope() -> Scope | None:
    """Return the open scope, or None. To ask a query's scope is `current_scope`'s business."""
    return _scope.get()


def current_scope(what: str = "A record") -> Scope:
    """Return the open scope. Raises ScopeError when there is none."""
    scope = open_scope()
    if scope is None:
        raise ScopeError(what)
    return scope


class ScopedQuerySet(MongoQuerySet):
    def _insert(self, objs, *args, **kwargs):
        """Insert documents, of which none may belong to a hospital outside the open scope."""
        scope = current_scope(self.model.__name__)
        if not all(scope.holds(one.hospital_id) for one in objs):
            raise ScopeError(f"{self.model.__name__} of another hospital")
        return super()._insert(objs, *args, **kwargs)

    _insert.alters_data = True
    _insert.queryset_only = False

    def update(self, **values) -> int:
        """Change documents of the open scope; none may move to another hospital."""
        _refuse_moving(self.model, values.get("hospital", values.get("hospital_id")))
        return super().update(**values)

    update.alters_data = True

    def _update(self, values: list[tuple]) -> int:
        """Save one document that is there already; it may not move to another hospital either."""
        moved_to = [value for field, _, value in values if field.name == "hospital"]
        _refuse_moving(self.model, moved_to[0] if moved_to else None)
        return super()._update(values)

    _update.alters_data = True
    _update.queryset_only = False

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the documents that the queryset finds, in one command that carries the hospital.

        Django's own would look up their ids in the scope, and then delete by the ids alone.
        Raises ProtectedError when another document needs one of them.
        """
        Collector(using=self.db, origin=self).collect(self._chain())
        deleted = self._chain()._raw_delete(self.db)
        return deleted, {self.model._meta.label: deleted}

    delete.alters_data = True
    delete.queryset_only = True

    def raw_aggregate(self, pipeline: list[dict], using: str | None = None):
        """Run an aggregation that begins with the documents of the open scope alone."""
        scope = current_scope(self.model.__name__)
        return super().raw_aggregate([{"$match": scope.narrow({})}, *pipeline], using=using)


def _refuse_moving(model: type[models.Model], hospital: "models.Model | ObjectId | None") -> None:
    hospital_id = getattr(hospital, "pk", hospital)
    if hospital_id is not None and not current_scope(model.__name__).holds(hospital_id):
        raise ScopeError(f"{model.__name__} of another hospital")


class ScopedManager(BaseManager.from_queryset(ScopedQuerySet)):
    """A manager whose every queryset is narrowed to the open scope."""

    def get_queryset(self):
        scope = current_scope(self.model.__name__)
        queryset = super().get_queryset()
        if scope.hospital_id is None:
            return queryset
        return queryset.filter(hospital_id=scope.hospital_id)


class TenantModel(models.Model):
    """A document that belongs to one hospital and carries its key."""

    # No index of its own: the hospital comes first in every compound index instead.
    hospital = models.ForeignKey(
        "accounts.Hospital", on_delete=models.PROTECT, related_name="+", db_index=False
    )

    objects = ScopedManager()

    class Meta:
        abstract = True
        # Saves and relation look-ups go through the same narrow manager as everything else.
        base_manager_name = "objects"

    def delete(self, using: str | None = None, keep_parents: bool = False):
        """Delete this document within the open scope. Raises ProtectedError when it is needed."""
        return type(self)._base_manager.using(using).filter(pk=self.pk).delete()
