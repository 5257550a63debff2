"""What is kept about records themselves: which were merged, which are to be erased, and for how
long a hospital keeps them.

Patients are named by their id alone, without a foreign key: these documents outlive them.
"""

import secrets

from bson import ObjectId
from django.db import connection, models
from django.utils import timezone
from django_mongodb_backend.fields import ArrayField, ObjectIdField

from accounts.keys.fields import SealedCharField
from accounts.scoping import ScopedManager, TenantModel, current_scope
from workspace.newest import NewestManager
from workspace.schemas import ErasureReason, ErasureState


class PatientMerge(TenantModel):
    """Two records found to be of one person, and what has to be undone if they weren't."""

    survivor_id = ObjectIdField()
    merged_id = ObjectIdField()
    # The cases that moved: undoing moves these back, and none that came later.
    case_ids = ArrayField(ObjectIdField(), default=list)
    # Consents of the survivor that ended by the merge, as the other record did not agree.
    consents_lowered = ArrayField(models.CharField(max_length=30), default=list)
    # Consents that somebody withdrew from the one record afterwards.
    consents_withdrawn = ArrayField(models.CharField(max_length=30), default=list)
    reason = SealedCharField(max_length=300)
    merged_by = models.CharField(max_length=120)
    merged_at = models.DateTimeField(default=timezone.now)
    undone_at = models.DateTimeField(null=True, default=None)
    undone_by = models.CharField(max_length=120, blank=True, default="")
    undo_reason = SealedCharField(max_length=300, blank=True, default="")

    class Meta(TenantModel.Meta):
        indexes = [
            models.Index(fields=["hospital", "merged_id"], name="merge_hospital_merged"),
            models.Index(fields=["hospital", "survivor_id"], name="merge_hospital_survivor"),
        ]

    def __str__(self) -> str:
        return f"merge {self.pk}"


# No letter or digit that could be taken for another one when it is read out.
REFERENCE_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
REFERENCE_LENGTH = 6


def new_reference() -> str:
    return "".join(secrets.choice(REFERENCE_LETTERS) for _ in range(REFERENCE_LENGTH))


# What a policy says until somebody changes it.
KEEPS_EVERYTHING = {
    "keep_years": None,
    "erase_when_due": False,
    "hold_reason": "",
    "held_by": "",
    "held_at": None,
}


class RetentionPolicyManager(ScopedManager):
    def secure(self, hospital_id: ObjectId) -> "RetentionPolicy":
        """Return a hospital's policy, made if need be, which no other transaction changes now."""
        connection.get_collection(self.model._meta.db_table).update_one(
            current_scope("RetentionPolicy").narrow({"hospital_id": hospital_id}),
            {"$inc": {"revision": 1}, "$setOnInsert": KEEPS_EVERYTHING},
            upsert=True,
            session=connection.session,
        )
        return self.get(hospital_id=hospital_id)


class RetentionPolicy(TenantModel):
    """How long one hospital keeps records, and whether everything there is on hold."""

    keep_years = models.PositiveIntegerField(
        "years to keep a record after the last visit", null=True, blank=True
    )
    erase_when_due = models.BooleanField("erase records by themselves when due", default=False)
    # A hold on the whole hospital: nothing is erased while its reason stands.
    hold_reason = SealedCharField(max_length=300, blank=True, default="")
    held_by = models.CharField(max_length=120, blank=True, default="")
    held_at = models.DateTimeField(null=True, blank=True, default=None)
    # Counted up by every erasure and every hold, so that of the two at once one begins again.
    revision = models.IntegerField(default=0, editable=False)

    objects = RetentionPolicyManager()

    class Meta(TenantModel.Meta):
        verbose_name_plural = "retention policies"
        constraints = [
            models.UniqueConstraint(fields=["hospital"], name="retention_policy_once_per_hospital")
        ]

    def __str__(self) -> str:
        return f"retention policy of {self.hospital_id}"

    @property
    def held(self) -> bool:
        return self.held_at is not None


class Erasure(TenantModel):
    """One wish to erase a patient: asked for by one person, decided by another one.

    Says nothing about the patient but an id that nothing has any more.
    """

    patient_id = ObjectIdField()
    # What the two people read to each other. The asker sees it, the confirmer has to hear it.
    reference = models.CharField(max_length=6, default=new_reference, editable=False)
    state = models.CharField(
        max_length=10, choices=ErasureState.choices, default=ErasureState.ASKED
    )
    reason = models.CharField(max_length=20, choices=ErasureReason.choices)
    asked_by = models.CharField(max_length=120)
    # Empty when the hospital's own rule asked.
    asked_by_id = models.CharField(max_length=24, blank=True, default="")
    asked_at = models.DateTimeField(default=timezone.now)
    decided_by = models.CharField(max_length=120, blank=True, default="")
    decided_at = models.DateTimeField(null=True, default=None)
    # What the erased cases stored lies in these folders; emptied, and looked into once more later.
    folders = ArrayField(models.CharField(max_length=80), default=list)
    files_gone_at = models.DateTimeField(null=True, default=None)

    objects = NewestManager()

    class Meta(TenantModel.Meta):
        indexes = [
            models.Index(fields=["hospital", "-asked_at"], name="erasure_hospital_newest"),
            models.Index(fields=["state", "files_gone_at"], name="erasure_files"),
        ]

    def __str__(self) -> str:
        return f"erasure {self.pk}"
