"""The audit trail: events that are written once, the head of each chain, and keys for erasure."""

from django.db import models
from django.utils import timezone
from django_mongodb_backend.fields import ObjectIdField

from accounts.audit.actors import ActorKind
from accounts.audit.errors import AppendOnly
from accounts.scoping import ScopedManager, ScopedQuerySet, TenantModel, current_scope


class AppendOnlyQuerySet(ScopedQuerySet):
    """A queryset that reads within the open scope and refuses every write."""

    def _refuse(self, *args, **kwargs):
        current_scope(self.model.__name__)
        raise AppendOnly(self.model._meta.verbose_name.capitalize())

    update = delete = _update = _raw_delete = _insert = bulk_update = bulk_create = _refuse


class WrittenOnce:
    """A document that only `accounts.audit.store` writes."""

    def save(self, *args, **kwargs):
        self._refuse()

    def delete(self, *args, **kwargs):
        self._refuse()

    def _refuse(self) -> None:
        current_scope(type(self).__name__)
        raise AppendOnly(self._meta.verbose_name.capitalize())


def _owner() -> models.ForeignKey:
    """Return the key of the hospital whose chain it is; empty for the platform's own."""
    return models.ForeignKey(
        "accounts.Hospital", on_delete=models.PROTECT, related_name="+", db_index=False, null=True
    )


class AuditEvent(WrittenOnce, TenantModel):
    """One thing that was done, seen or refused. `hash` covers all other fields."""

    # The chain and the number: so the database itself lets no chain fork.
    id = models.CharField(primary_key=True, max_length=48, db_column="_id")
    hospital = _owner()
    seq = models.BigIntegerField("number")
    at = models.DateTimeField()
    # One of `Action`, which grows without the document changing.
    action = models.CharField(max_length=20)
    subject_kind = models.CharField(max_length=40)
    subject_id = models.CharField(max_length=80, blank=True)
    # Whose record it was: with this patient's key the details were sealed.
    patient_id = ObjectIdField(null=True)
    actor_kind = models.CharField(max_length=10, choices=ActorKind.choices)
    actor_id = models.CharField(max_length=24, blank=True)
    # Sealed: name and address of who acted; what was before, what is after, and the reason.
    who = models.TextField(blank=True)
    details = models.TextField(blank=True)
    previous = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    objects = ScopedManager.from_queryset(AppendOnlyQuerySet)()

    class Meta(TenantModel.Meta):
        verbose_name = "audit event"
        indexes = [
            models.Index(fields=["hospital", "seq"], name="audit_order"),
            models.Index(fields=["hospital", "at"], name="audit_at"),
            models.Index(fields=["hospital", "actor_id", "-seq"], name="audit_actor"),
            models.Index(fields=["hospital", "action", "-seq"], name="audit_action"),
            models.Index(fields=["hospital", "subject_id", "-seq"], name="audit_subject"),
            models.Index(fields=["hospital", "patient_id", "-seq"], name="audit_patient"),
        ]

    def __str__(self) -> str:
        return f"event {self.seq} of {self.hospital_id or 'the platform'}"


class AuditHead(WrittenOnce, TenantModel):
    """Where a chain ends right now; moved with every event, in the same transaction."""

    id = models.CharField(primary_key=True, max_length=24, db_column="_id")
    hospital = _owner()
    seq = models.BigIntegerField("number of the last event")
    hash = models.CharField(max_length=64)
    mac = models.CharField(max_length=64)

    objects = ScopedManager.from_queryset(AppendOnlyQuerySet)()

    class Meta(TenantModel.Meta):
        verbose_name = "audit head"

    def __str__(self) -> str:
        return f"head of {self.id}"


class SubjectKey(TenantModel):
    """One patient's key to what the trail says of them. Without it, nobody can read that again."""

    id = ObjectIdField(primary_key=True, db_column="_id")
    # The key, sealed with the hospital's; empty once the patient was erased.
    wrapped = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    destroyed_at = models.DateTimeField(null=True, default=None)

    def __str__(self) -> str:
        return f"audit key of {self.id}"
