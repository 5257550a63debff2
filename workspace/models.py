"""Patients and cases. One case is one document: its photographs, grades, outcome and history.

A case moves by one conditional update that names the states it may come from. Whoever loses a
race gets None and has changed nothing.
"""

import datetime as dt
import uuid

from bson import ObjectId
from django.db import connection, models
from django.utils import timezone
from django_mongodb_backend.fields import (
    ArrayField,
    EmbeddedModelArrayField,
    EmbeddedModelField,
)
from django_mongodb_backend.models import EmbeddedModel
from pymongo import DESCENDING, ReturnDocument

from accounts.scoping import ScopedManager, TenantModel, current_scope
from workspace.schemas import (
    CaseState,
    Decision,
    EyeState,
    Field,
    Laterality,
    PhotographFinding,
    Quality,
    eye_state,
)

# Tries at a gradable photograph of an eye before the patient is referred as ungradable.
MAX_TRIES = 3


def new_key() -> str:
    return uuid.uuid4().hex


class NewestManager(ScopedManager):
    """Read the newest documents in the order of an index.

    The backend puts a stage between `$match` and `$sort`, so a queryset sorts the whole hospital
    for every page; a plain `find` walks the index and stops.
    """

    def newest(self, *, where: dict, start: int, count: int, without: tuple[str, ...] = ()) -> list:
        """Return `count` documents from the `start`-th newest on; `without` are left unread.

        `where` is a MongoDB filter. It needs an index of hospital, the filter's fields, and
        descending `created_at`.
        """
        fields = [field for field in self.model._meta.concrete_fields if field.name not in without]
        found = (
            self._collection()
            .find(current_scope(self.model.__name__).narrow(where), [one.column for one in fields])
            .sort("created_at", DESCENDING)
            .skip(start)
            .limit(count)
        )
        return [self._instance(stored, fields) for stored in found]

    def _collection(self):
        return connection.get_collection(self.model._meta.db_table)

    def _instance(self, stored: dict, fields: list[models.Field]):
        """Build the model instance from a document, through the fields' own converters."""
        values = [_from_db(field, stored.get(field.column)) for field in fields]
        return self.model.from_db(connection.alias, [field.attname for field in fields], values)


class Sex(models.TextChoices):
    FEMALE = "F", "Female"
    MALE = "M", "Male"
    OTHER = "O", "Other"
    UNKNOWN = "U", "Not stated"


class DiabetesType(models.TextChoices):
    TYPE_1 = "1", "Type 1"
    TYPE_2 = "2", "Type 2"
    GESTATIONAL = "G", "Gestational"
    OTHER = "O", "Other"
    UNKNOWN = "U", "Not known"


class Patient(TenantModel):
    mrn = models.CharField("medical record number", max_length=40)
    name = models.CharField(max_length=120)
    # Name and number folded for search: lower case, single spaces.
    search_text = models.CharField(max_length=200, editable=False)
    birth_date = models.DateField("date of birth")
    sex = models.CharField(max_length=1, choices=Sex.choices, default=Sex.UNKNOWN)
    diabetes_type = models.CharField(
        max_length=1, choices=DiabetesType.choices, default=DiabetesType.UNKNOWN
    )
    diabetes_since_year = models.PositiveIntegerField(
        "year of diagnosis", null=True, blank=True, help_text="Leave empty when not known."
    )
    phone = models.CharField(max_length=30, blank=True)
    email = models.EmailField("e-mail", blank=True)
    consent_messages = models.BooleanField("agrees to messages (SMS, e-mail)", default=False)
    consent_training = models.BooleanField(
        "agrees that photographs help to improve the grading", default=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = NewestManager()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["hospital", "mrn"],
                name="patient_mrn_once_per_hospital",
                violation_error_message="A patient with this record number is registered already.",
            )
        ]
        indexes = [
            models.Index(fields=["hospital", "search_text"], name="patient_hospital_search"),
            models.Index(fields=["hospital", "-created_at"], name="patient_hospital_newest"),
        ]

    def __str__(self) -> str:
        return f"patient {self.pk}"

    def clean(self) -> None:
        super().clean()
        self.mrn = " ".join(self.mrn.split())
        self.name = " ".join(self.name.split())
        self.search_text = f"{self.name} {self.mrn}".casefold()


class PatientCopy(EmbeddedModel):
    """What a list of cases shows of the patient, copied so that the list needs no join."""

    mrn = models.CharField(max_length=40)
    name = models.CharField(max_length=120)
    birth_date = models.DateField()
    sex = models.CharField(max_length=1, choices=Sex.choices)


class EyeGrading(EmbeddedModel):
    """What one model version found in one photograph. Never changed once written."""

    model_version = models.CharField(max_length=80)
    graded_at = models.DateTimeField()
    quality = models.CharField(max_length=10, choices=Quality.choices)
    quality_reasons = ArrayField(models.CharField(max_length=20), default=list)
    gradable_probability = models.FloatField(default=0.0)
    grade = models.IntegerField(null=True)
    probabilities = ArrayField(models.FloatField(), default=list)
    referable = models.BooleanField(default=False)
    vision_threatening = models.BooleanField(default=False)
    referable_probability = models.FloatField(null=True)
    vision_threatening_probability = models.FloatField(null=True)
    heatmap = models.CharField(max_length=200, blank=True, default="")


class EyeImage(EmbeddedModel):
    """One photograph: where its bytes are, which eye it shows, and what was found in it."""

    key = models.CharField(max_length=32, default=new_key)
    laterality = models.CharField(max_length=2, choices=Laterality.choices, blank=True)
    field = models.CharField(max_length=10, choices=Field.choices, default=Field.MACULA)
    # Stored names are made of ids alone; what the file was called at the clinic is not kept.
    original = models.CharField(max_length=200)
    display = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    size_bytes = models.IntegerField()
    width_px = models.IntegerField()
    height_px = models.IntegerField()
    format = models.CharField(max_length=10)
    added_at = models.DateTimeField(default=timezone.now)
    added_by = models.CharField(max_length=120, blank=True, default="")
    # Set when a retake took its place: kept as evidence, left out of the outcome.
    replaced_at = models.DateTimeField(null=True, default=None)
    grading = EmbeddedModelField(EyeGrading, null=True, default=None)

    @property
    def needs_grading(self) -> bool:
        return self.grading is None and self.replaced_at is None

    @property
    def rejected(self) -> bool:
        return self.grading is not None and self.grading.grade is None


class StateChange(EmbeddedModel):
    at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=CaseState.choices)
    by = models.CharField(max_length=120)
    reason = models.CharField(max_length=300, blank=True, default="")


class CaseOutcome(EmbeddedModel):
    decision = models.CharField(max_length=15, choices=Decision.choices)
    # What decided (EyeState), and the likeliest grade that pages show beside it.
    right_eye = models.IntegerField()
    left_eye = models.IntegerField()
    right_grade = models.IntegerField(null=True, default=None)
    left_grade = models.IntegerField(null=True, default=None)
    reasons = ArrayField(models.CharField(max_length=200), default=list)
    decided_at = models.DateTimeField()


class CaseManager(NewestManager):
    """The verbs that move a case. Each is one conditional update; the loser of a race gets None."""

    def transition(
        self,
        *,
        pk: ObjectId,
        where: dict,
        to: CaseState,
        by: str,
        reason: str = "",
        values: dict | None = None,
        mongo: dict | None = None,
    ) -> "Case | None":
        """Move one case to `to` if `where` still holds, and write the step into its history.

        `values` are fields of `Case` in Python terms; `mongo` holds further update operators.
        Returns the case as it is after the update, or None when no case matched.
        """
        step = StateChange(at=timezone.now(), state=to, by=by, reason=reason)
        update = {
            "$set": self._as_stored({**(values or {}), "state": to}),
            "$push": {"history": self._as_stored({"history": [step]})["history"][0]},
            "$inc": {"version": 1},
        }
        for operator, changes in (mongo or {}).items():
            update.setdefault(operator, {}).update(changes)
        return self._update_one({"_id": pk, **where}, update)

    def submit(
        self,
        *,
        case: "Case",
        images: list[EyeImage],
        by: str,
        now: dt.datetime,
        due_at: dt.datetime,
        max_attempts: int,
    ) -> "Case | None":
        """Put a case that the clinic has finished into the queue.

        Pre-state: editable, at the version that the caller has seen. Post-state: QUEUED, with
        `images` and `max_attempts` further attempts. Attempts never start again at 0: a worker
        that comes back from the dead must not find its old number in use.
        """
        retry = case.state == CaseState.FAILED
        return self.transition(
            pk=case.pk,
            where={**EDITABLE, "version": case.version},
            to=CaseState.QUEUED,
            by=by,
            reason="Tried again" if retry else "",
            values={
                "images": images,
                "due_at": due_at,
                "hints": 0,
                "failure": "",
                "submitted_at": now,
                "tries": case.tries + (0 if retry else 1),
                "attempt_limit": case.attempt + max_attempts,
            },
        )

    def claim(self, *, pk: ObjectId, by: str, now: dt.datetime, lease_s: int) -> "Case | None":
        """Give a queued case, or one whose lease has run out, to exactly one worker.

        Pre-state: QUEUED, or GRADING with a lease that is over; attempts left.
        Post-state: GRADING with a new attempt and a lease of `lease_s` seconds.
        """
        free = [
            {"state": CaseState.QUEUED},
            {"state": CaseState.GRADING, "due_at": {"$lte": _stored_time(now)}},
        ]
        return self.transition(
            pk=pk,
            where={"$or": free, "$expr": {"$lt": ["$attempt", "$attempt_limit"]}},
            to=CaseState.GRADING,
            by=by,
            values={"due_at": now + dt.timedelta(seconds=lease_s)},
            mongo={"$inc": {"attempt": 1}},
        )

    def renew(self, *, pk: ObjectId, attempt: int, now: dt.datetime, lease_s: int) -> bool:
        """Prolong the lease of the attempt that still owns the case; False when it owns it no more.

        Not a step in the history, and no new version: nothing has changed for a reader.
        """
        due_at = _stored_time(now + dt.timedelta(seconds=lease_s))
        mine = current_scope("Case").narrow(
            {"_id": pk, "state": CaseState.GRADING, "attempt": attempt}
        )
        return self._collection().update_one(mine, {"$set": {"due_at": due_at}}).matched_count == 1

    def complete(
        self, *, pk: ObjectId, attempt: int, images: list[EyeImage], outcome: CaseOutcome
    ) -> "Case | None":
        """Write the result of the attempt that still owns the case; None when it owns it no more.

        Pre-state: GRADING at `attempt`. Post-state: GRADED, for good.
        """
        return self.transition(
            pk=pk,
            where={"state": CaseState.GRADING, "attempt": attempt},
            to=CaseState.GRADED,
            by="grading worker",
            values={"images": images, "outcome": outcome, "due_at": None, "failure": ""},
        )

    def release(
        self,
        *,
        pk: ObjectId,
        attempt: int,
        reason: str,
        due_at: dt.datetime,
        seen_due_at: dt.datetime | None = None,
    ) -> "Case | None":
        """Hand a case back after a try that failed, to be tried again when due.

        Pre-state: GRADING at `attempt`, and still due when it was at `seen_due_at`, if given.
        Post-state: QUEUED.
        """
        return self.transition(
            pk=pk,
            where={"state": CaseState.GRADING, "attempt": attempt, **_still_due(seen_due_at)},
            to=CaseState.QUEUED,
            by="grading worker",
            reason=reason,
            values={"due_at": due_at},
        )

    def give_up(
        self,
        *,
        pk: ObjectId,
        attempt: int,
        state: CaseState,
        reason: str,
        by: str,
        seen_due_at: dt.datetime | None = None,
    ) -> "Case | None":
        """Stop trying, loudly, with a reason that the clinic can read.

        Pre-state: `state` (QUEUED or GRADING) at `attempt`, and still due when it was at
        `seen_due_at`, if given. Post-state: FAILED.
        """
        return self.transition(
            pk=pk,
            where={"state": state, "attempt": attempt, **_still_due(seen_due_at)},
            to=CaseState.FAILED,
            by=by,
            reason=reason,
            values={"due_at": None, "failure": reason},
        )

    def cancel(self, *, pk: ObjectId, by: str, reason: str) -> "Case | None":
        """Take a case out for good.

        Pre-state: nothing was graded yet, not even before a retake: who could not be graded must
        not drop out of sight. Post-state: CANCELLED.
        """
        return self.transition(
            pk=pk,
            where={"state": {"$in": CANCELLABLE}, "outcome": None},
            to=CaseState.CANCELLED,
            by=by,
            reason=reason,
            values={"due_at": None},
        )

    def settle(self, *, case: "Case", outcome: CaseOutcome, by: str, reason: str) -> "Case | None":
        """Put a final outcome in place of the wish for a retake.

        Pre-state: GRADED and wanting a retake, or FAILED at grading one, at the version that the
        caller has seen. Post-state: GRADED.
        """
        return self.transition(
            pk=case.pk,
            where={
                "state": {"$in": [CaseState.GRADED, CaseState.FAILED]},
                "outcome.decision": Decision.RETAKE,
                "version": case.version,
            },
            to=CaseState.GRADED,
            by=by,
            reason=reason,
            values={"outcome": outcome, "failure": ""},
        )

    def postpone_hint(
        self, *, pk: ObjectId, seen_due_at: dt.datetime, due_at: dt.datetime
    ) -> "Case | None":
        """Take the right to send one case's hint again; None when another sweep was quicker."""
        update = {"$set": {"due_at": _stored_time(due_at)}, "$inc": {"hints": 1}}
        where = {"_id": pk, "state": CaseState.QUEUED, "due_at": _stored_time(seen_due_at)}
        return self._update_one(where, update)

    def amend(self, *, pk: ObjectId, version: int, values: dict) -> "Case | None":
        """Change details of an editable case, at the version that the caller has seen."""
        update = {"$set": self._as_stored(values), "$inc": {"version": 1}}
        return self._update_one({"_id": pk, "version": version, **EDITABLE}, update)

    def add_image(self, *, pk: ObjectId, image: EyeImage) -> "Case | None":
        """Append a photograph, unless its very bytes are in the case or it is not editable."""
        stored = self._as_stored({"images": [image]})["images"][0]
        update = {"$push": {"images": stored}, "$inc": {"version": 1}}
        return self._update_one(
            {"_id": pk, "images.sha256": {"$ne": image.sha256}, **EDITABLE}, update
        )

    def remove_image(self, *, pk: ObjectId, key: str) -> "Case | None":
        """Take out a photograph that was never graded."""
        update = {"$pull": {"images": {"key": key, "grading": None}}, "$inc": {"version": 1}}
        return self._update_one({"_id": pk, "images.key": key, **EDITABLE}, update)

    def label_image(self, *, pk: ObjectId, key: str, laterality: str, field: str) -> "Case | None":
        """Say which eye and field a photograph shows, while it has no grading."""
        update = {
            "$set": {"images.$.laterality": laterality, "images.$.field": field},
            "$inc": {"version": 1},
        }
        ungraded = {"$elemMatch": {"key": key, "grading": None}}
        return self._update_one({"_id": pk, "images": ungraded, **EDITABLE}, update)

    def with_image(self, *, sha256: str, other_than: ObjectId) -> "Case | None":
        """Return another case of the hospital that holds a photograph of these very bytes."""
        found = self._collection().find_one(
            current_scope("Case").narrow(
                {
                    "images.sha256": sha256,
                    "_id": {"$ne": other_than},
                    "state": {"$ne": CaseState.CANCELLED},
                }
            )
        )
        return self._from_stored(found)

    def refresh_patient_copy(self, *, patient_pk: ObjectId, patient_copy: PatientCopy) -> int:
        """Write a corrected patient into all their cases; no new version, as no case changed."""
        stored = self._as_stored({"patient_copy": patient_copy})
        of_patient = current_scope("Case").narrow({"patient_id": patient_pk})
        return self._collection().update_many(of_patient, {"$set": stored}).matched_count

    def _update_one(self, where: dict, update: dict) -> "Case | None":
        stored = self._collection().find_one_and_update(
            current_scope("Case").narrow(where), update, return_document=ReturnDocument.AFTER
        )
        return self._from_stored(stored)

    def _as_stored(self, values: dict) -> dict:
        fields = {name: self.model._meta.get_field(name) for name in values}
        return {
            field.column: field.get_db_prep_save(values[name], connection)
            for name, field in fields.items()
        }

    def _from_stored(self, stored: dict | None) -> "Case | None":
        return None if stored is None else self._instance(stored, self.model._meta.concrete_fields)


CANCELLABLE = [CaseState.DRAFT, CaseState.QUEUED, CaseState.FAILED]

# A case that the clinic may still change: a draft, a failed one, or one that wants a retake.
EDITABLE = {
    "$or": [
        {"state": {"$in": [CaseState.DRAFT, CaseState.FAILED]}},
        {"state": CaseState.GRADED, "outcome.decision": Decision.RETAKE},
    ]
}


def _from_db(field: models.Field, value):
    column = field.get_col(field.model._meta.db_table)
    converters = connection.ops.get_db_converters(column) + column.get_db_converters(connection)
    for converter in converters:
        value = converter(value, column, connection)
    return value


def _still_due(seen: dt.datetime | None) -> dict:
    """Hold a sweep to what it saw: a lease that was renewed since then is not over."""
    return {} if seen is None else {"due_at": _stored_time(seen)}


def _stored_time(moment: dt.datetime) -> dt.datetime:
    """Return an aware time as MongoDB keeps it under Django: naive, in UTC."""
    return moment.astimezone(dt.UTC).replace(tzinfo=None)


class Case(TenantModel):
    """One visit of one patient, from the first photograph to the outcome."""

    patient = models.ForeignKey(
        Patient, on_delete=models.PROTECT, related_name="cases", db_index=False
    )
    patient_copy = EmbeddedModelField(PatientCopy)
    state = models.CharField(max_length=10, choices=CaseState.choices, default=CaseState.DRAFT)
    images = EmbeddedModelArrayField(EyeImage, default=list)
    outcome = EmbeddedModelField(CaseOutcome, null=True, default=None)
    history = EmbeddedModelArrayField(StateChange, default=list)

    camera = models.CharField(max_length=80, blank=True)
    dilated = models.BooleanField("pupils dilated", default=False)
    acuity_right = models.CharField("visual acuity, right eye", max_length=20, blank=True)
    acuity_left = models.CharField("visual acuity, left eye", max_length=20, blank=True)
    absent_eye = models.CharField(
        "eye that can't be photographed", max_length=2, choices=Laterality.choices, blank=True
    )
    absent_eye_reason = models.CharField("reason", max_length=200, blank=True)
    notes = models.TextField(max_length=2000, blank=True)

    # How often the clinic has submitted photographs: after MAX_TRIES ungradable means refer.
    tries = models.IntegerField(default=0)
    # How often a worker has claimed the case; the number owns the result. Up to attempt_limit.
    attempt = models.IntegerField(default=0)
    attempt_limit = models.IntegerField(default=0)
    # Hints sent since the case was last submitted: they thin out while no worker answers.
    hints = models.IntegerField(default=0)
    # When somebody must look at it again: the next hint (QUEUED), the lease's end (GRADING).
    due_at = models.DateTimeField(null=True, default=None)
    failure = models.CharField(max_length=300, blank=True, default="")
    # Grows with every change, so that two tabs can't overwrite each other.
    version = models.IntegerField(default=0)

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.CharField(max_length=120, blank=True, default="")
    submitted_at = models.DateTimeField(null=True, default=None)

    objects = CaseManager()

    class Meta(TenantModel.Meta):
        indexes = [
            models.Index(fields=["hospital", "-created_at"], name="case_hospital_newest"),
            models.Index(fields=["hospital", "state", "-created_at"], name="case_hospital_state"),
            models.Index(fields=["hospital", "patient", "-created_at"], name="case_patient_newest"),
            models.Index(fields=["state", "due_at"], name="case_due"),
        ]

    def __str__(self) -> str:
        return f"case {self.pk}"

    @property
    def reference(self) -> str:
        """The short form of the id that people read to each other."""
        return str(self.pk)[-6:].upper()

    @property
    def current_images(self) -> list[EyeImage]:
        return [image for image in self.images if image.replaced_at is None]

    def images_of(self, laterality: str) -> list[EyeImage]:
        return [image for image in self.current_images if image.laterality == laterality]

    def image_by_key(self, key: str) -> EyeImage | None:
        return next((image for image in self.images if image.key == key), None)

    def eye_state(self, laterality: str) -> EyeState:
        """Return what this case's current photographs say of one eye, once they are graded.

        Without a photograph an eye is absent only when the clinic said so and why.
        """
        state = eye_state([_finding(image) for image in self.images_of(laterality)])
        if state == EyeState.ABSENT and laterality != self.absent_eye:
            return EyeState.UNGRADABLE
        return state

    def likeliest_grade(self, laterality: str) -> int | None:
        """Return the worst of the likeliest grades of one eye, or None when it has none."""
        findings = [_finding(image) for image in self.images_of(laterality)]
        return max((found.grade for found in findings if found.grade is not None), default=None)

    @property
    def retakes_left(self) -> int:
        return max(0, MAX_TRIES - self.tries)

    @property
    def wants_retake(self) -> bool:
        return self.state == CaseState.GRADED and self.retakes_can_end

    @property
    def retakes_can_end(self) -> bool:
        """Whether the clinic may say that there will be no retake, also after one that failed."""
        awaited = self.outcome is not None and self.outcome.decision == Decision.RETAKE
        return awaited and self.state in (CaseState.GRADED, CaseState.FAILED)

    @property
    def cancellable(self) -> bool:
        return self.state in CANCELLABLE and self.outcome is None

    @property
    def editable(self) -> bool:
        """Whether the clinic may still change photographs and details."""
        return self.state in (CaseState.DRAFT, CaseState.FAILED) or self.wants_retake

    @property
    def waiting(self) -> bool:
        return self.state in (CaseState.QUEUED, CaseState.GRADING)


def _finding(image: EyeImage) -> PhotographFinding:
    if image.grading is None:
        return PhotographFinding(field=image.field)
    return PhotographFinding(
        field=image.field,
        grade=image.grading.grade,
        referable=image.grading.referable,
        vision_threatening=image.grading.vision_threatening,
    )
