"""What a case's document embeds: photographs and what was found in them, history, outcome."""

import uuid

from django.db import models
from django.utils import timezone
from django_mongodb_backend.fields import ArrayField, EmbeddedModelField
from django_mongodb_backend.models import EmbeddedModel

from accounts.keys.fields import SealedCharField
from workspace.schemas import CaseState, Decision, Field, Laterality, Quality, Sex


def new_key() -> str:
    return uuid.uuid4().hex


class PatientCopy(EmbeddedModel):
    """What a list of cases shows of the patient, copied so that the list needs no join."""

    mrn = SealedCharField(max_length=40)
    name = SealedCharField(max_length=120)
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
    """One step of a case. Why it was taken is said by the service in words of its own (`reason`)
    or by a person in theirs (`words`), which may name the patient.
    """

    at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=CaseState.choices)
    by = models.CharField(max_length=120)
    reason = models.CharField(max_length=300, blank=True, default="")
    words = SealedCharField(max_length=300, blank=True, default="")

    @property
    def why(self) -> str:
        return self.words or self.reason


class CaseOutcome(EmbeddedModel):
    decision = models.CharField(max_length=15, choices=Decision.choices)
    # What decided (EyeState), and the likeliest grade that pages show beside it.
    right_eye = models.IntegerField()
    left_eye = models.IntegerField()
    right_grade = models.IntegerField(null=True, default=None)
    left_grade = models.IntegerField(null=True, default=None)
    reasons = ArrayField(models.CharField(max_length=200), default=list)
    decided_at = models.DateTimeField()
