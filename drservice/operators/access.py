"""The doors of the operators' pages: what doesn't exist is a 404."""

from bson import ObjectId
from django.http import Http404

from accounts.models import Hospital, User
from inference.models import ModelVersion
from inference.selectors import model_by_pk


def access_hospital(pk: ObjectId) -> Hospital:
    return _found(Hospital.objects.filter(pk=pk).first())


def access_model(pk: ObjectId) -> ModelVersion:
    return _found(model_by_pk(pk))


def access_operator(pk: ObjectId) -> User:
    """Return a platform operator. Whoever works in a hospital is a 404, like nobody at all."""
    return _found(User.objects.filter(pk=pk, is_operator=True).first())


def _found(record):
    if record is None:
        raise Http404
    return record
