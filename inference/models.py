"""The model registry: every version there is, and which one is the champion.

Models belong to the platform, not to a hospital, so nothing here is scoped.
"""

from django.db import models
from django.utils import timezone
from django_mongodb_backend.fields import ArrayField, EmbeddedModelArrayField, ObjectIdField
from django_mongodb_backend.models import EmbeddedModel

CHAMPION = "champion"


class ModelFile(EmbeddedModel):
    """One file of an artefact, as it lies in the storage that every node can reach."""

    name = models.CharField(max_length=80)
    stored = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    size_bytes = models.IntegerField()


class ModelVersion(models.Model):
    """A model that has proved to be what its manifest says. Never changed once written."""

    name = models.CharField(max_length=60)
    version = models.CharField(max_length=30)
    architecture = models.CharField(max_length=40)
    # Of the weights alone: what results and cards quote.
    sha256 = models.CharField("SHA-256 of the weights", max_length=64)
    # Of the manifest, which names the weights' hash: two operating points are two digests.
    digest = models.CharField("SHA-256 of the manifest", max_length=64)
    manifest = models.JSONField()
    files = EmbeddedModelArrayField(ModelFile, default=list)
    registered_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["name", "version"],
                name="model_version_once",
                violation_error_message="A model of this name and version is registered already.",
            )
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def label(self) -> str:
        """The name that commands take."""
        return f"{self.name}:{self.version}"


class ModelMove(EmbeddedModel):
    """One step of an alias: to which model, when, by whom, and why."""

    model_id = ObjectIdField()
    at = models.DateTimeField()
    by = models.CharField(max_length=120)
    reason = models.CharField(max_length=300, blank=True, default="")


class ModelAlias(models.Model):
    """A name that moves from one version to the next, and remembers where it has been."""

    name = models.CharField(primary_key=True, max_length=20)
    model = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    # Versions that bore the name before, the last one at the end.
    former = ArrayField(ObjectIdField(), default=list)
    # Every step it ever took, forward and back, the last one at the end.
    moves = EmbeddedModelArrayField(ModelMove, default=list)
    # Grows with every move: who moves the alias must have seen where it stands.
    revision = models.IntegerField(default=1)
    moved_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "model aliases"

    def __str__(self) -> str:
        return f"{self.name}: {self.model_id}"
