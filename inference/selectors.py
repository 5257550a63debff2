"""What can be asked about models and grading workers."""

from bson import ObjectId
from django.db.models import QuerySet

from inference.models import CHAMPION, ModelAlias, ModelVersion
from inference.worker_status import WorkerStatus, statuses_read


def model_list() -> QuerySet[ModelVersion]:
    """Return every registered model, the newest first."""
    return ModelVersion.objects.order_by("-registered_at")


def model_by_label(label: str) -> ModelVersion | None:
    """Return the model that NAME:VERSION names, or None."""
    name, _, version = label.rpartition(":")
    return ModelVersion.objects.filter(name=name, version=version).first()


def model_by_pk(pk: ObjectId) -> ModelVersion | None:
    return ModelVersion.objects.filter(pk=pk).first()


def champion_alias() -> ModelAlias | None:
    """Return where the alias `champion` stands, or None before the first promotion."""
    return ModelAlias.objects.filter(pk=CHAMPION).first()


def workers_alive() -> list[WorkerStatus]:
    """Return the grading workers heard of in the last seconds, ready or not, by name."""
    return sorted(statuses_read(), key=lambda status: status.worker)
