"""Patients and cases. One case is one document: its photographs, grades, outcome and history."""

from itertools import takewhile

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django_mongodb_backend.fields import (
    ArrayField,
    EmbeddedModelArrayField,
    EmbeddedModelField,
    ObjectIdField,
)

from accounts.keys.errors import KeyDestroyed
from accounts.keys.fields import SealedCharField, SealedEmailField, SealedTextField
from accounts.scoping import TenantModel, current_scope
from drservice.common.lines import one_line
from workspace.case_parts import CaseOutcome, EyeImage, PatientCopy, StateChange
from workspace.case_verbs import CANCELLABLE, VOIDABLE, CaseManager
from workspace.patient_search import HASH_LETTERS, mrn_hash, search_hashes
from workspace.patient_verbs import PatientManager
from workspace.record_keeping import Erasure, PatientMerge, RetentionPolicy
from workspace.schemas import (
    CaseState,
    Decision,
    DiabetesType,
    EyeState,
    Laterality,
    PhotographFinding,
    Sex,
    eye_state,
)

__all__ = ["Case", "Erasure", "Patient", "PatientMerge", "RetentionPolicy"]

# Tries at a gradable photograph of an eye before the patient is referred as ungradable.
MAX_TRIES = 3


class Patient(TenantModel):
    mrn = SealedCharField("medical record number", max_length=40)
    # Stands in for the sealed number where two must be compared.
    mrn_hash = models.CharField(max_length=22, editable=False)
    name = SealedCharField(max_length=120)
    # Stand in for name and number where they are searched: see workspace.patient_search.
    search_hashes = ArrayField(
        models.CharField(max_length=HASH_LETTERS), default=list, editable=False
    )
    birth_date = models.DateField("date of birth")
    sex = models.CharField(max_length=1, choices=Sex.choices, default=Sex.UNKNOWN)
    diabetes_type = models.CharField(
        max_length=1, choices=DiabetesType.choices, default=DiabetesType.UNKNOWN
    )
    diabetes_since_year = models.PositiveIntegerField(
        "year of diagnosis", null=True, blank=True, help_text="Leave empty when not known."
    )
    phone = SealedCharField(max_length=30, blank=True)
    email = SealedEmailField("e-mail", blank=True)
    consent_messages = models.BooleanField("agrees to messages (SMS, e-mail)", default=False)
    consent_training = models.BooleanField(
        "agrees that photographs help to improve the grading", default=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    # Keyed hashes by which records of one person are found: see workspace.patients.duplicates.
    match_keys = ArrayField(
        models.CharField(max_length=60), default=list, blank=True, editable=False
    )
    # Records that somebody compared with this one, and found to be of another person.
    not_same_as = ArrayField(ObjectIdField(), default=list, blank=True, editable=False)
    # The record of the same person that took this one's cases; None for a live record.
    merged_into = ObjectIdField(null=True, default=None, blank=True, editable=False)
    # Counted up by whatever changes which cases hang on the record: see PatientManager.secure.
    revision = models.IntegerField(default=0, editable=False)
    # A legal hold: the record is not erased while it stands.
    hold_reason = SealedCharField(max_length=300, blank=True, default="", editable=False)
    held_by = models.CharField(max_length=120, blank=True, default="", editable=False)
    held_at = models.DateTimeField(null=True, default=None, blank=True, editable=False)

    objects = PatientManager()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["hospital", "mrn_hash"],
                name="patient_mrn_hash_once_per_hospital",
                violation_error_message="A patient with this record number is registered already.",
            )
        ]
        indexes = [
            models.Index(
                fields=["hospital", "search_hashes", "-created_at"], name="patient_search_newest"
            ),
            models.Index(fields=["hospital", "-created_at"], name="patient_hospital_newest"),
            models.Index(fields=["hospital", "match_keys"], name="patient_hospital_match"),
            models.Index(fields=["hospital", "birth_date"], name="patient_hospital_birth"),
            models.Index(fields=["hospital", "merged_into"], name="patient_hospital_merged"),
        ]

    def __str__(self) -> str:
        return f"patient {self.pk}"

    def clean(self) -> None:
        super().clean()
        written = {"mrn": self.mrn, "name": self.name}
        self.mrn, self.name = one_line(self.mrn), one_line(self.name)
        unseen = [name for name, text in written.items() if text and not getattr(self, name)]
        if unseen:
            raise ValidationError(dict.fromkeys(unseen, "Nothing of this can be seen."))
        self._hash_what_is_sealed()

    def _hash_what_is_sealed(self) -> None:
        hospital_id = self.hospital_id or current_scope("Patient").hospital_id
        try:
            self.mrn_hash = mrn_hash(self.mrn, hospital_id)
            self.search_hashes = search_hashes(self.name, self.mrn, hospital_id)
        except KeyDestroyed as fault:
            raise ValidationError(fault.message) from fault

    @property
    def reference(self) -> str:
        """The short form of the id, for where the name must not stand."""
        return str(self.pk)[-6:].upper()

    @property
    def merged(self) -> bool:
        return self.merged_into is not None

    @property
    def held(self) -> bool:
        return self.held_at is not None


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
    absent_eye_reason = SealedCharField("reason", max_length=200, blank=True)
    notes = SealedTextField(max_length=2000, blank=True)

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
    def voidable(self) -> bool:
        """Whether the clinic may say that what was graded is of somebody else."""
        return self.state in VOIDABLE and self.outcome is not None

    @property
    def void_step(self) -> StateChange | None:
        """The step that marked the case as entered in error; None for any other case.

        What was written into the history since then, as the record moved, says VOIDED as well.
        """
        marked = list(takewhile(lambda step: step.state == CaseState.VOIDED, self.history[::-1]))
        return marked[-1] if marked else None

    @property
    def state_before_void(self) -> CaseState:
        """The state that a case had when it was marked as entered in error."""
        states = [step.state for step in self.history if step.state != CaseState.VOIDED]
        return CaseState(states[-1]) if states else CaseState.GRADED

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
