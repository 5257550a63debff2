"""The only ways in which a view gets hold of a patient, a case or a photograph.

Foreign and absent give the same 404: nobody learns that another hospital's record exists.
"""

from bson import ObjectId
from django.http import Http404, HttpRequest

from accounts.access import access_membership
from workspace.case_parts import EyeImage
from workspace.models import Case, Erasure, Patient


def access_patient(request: HttpRequest, pk: ObjectId) -> Patient:
    """Return a patient of the caller's hospital. Raises Http404."""
    return _access(request, Patient, pk)


def access_erasure(request: HttpRequest, pk: ObjectId) -> Erasure:
    """Return an erasure at the caller's hospital. Raises Http404."""
    return _access(request, Erasure, pk)


def access_case(request: HttpRequest, pk: ObjectId) -> Case:
    """Return a case of the caller's hospital. Raises Http404."""
    return _access(request, Case, pk)


def access_image(request: HttpRequest, pk: ObjectId, key: str) -> tuple[Case, EyeImage]:
    """Return a case of the caller's hospital and one of its photographs. Raises Http404."""
    case = access_case(request, pk)
    image = case.image_by_key(key)
    if image is None:
        raise Http404
    return case, image


def _access(request: HttpRequest, model, pk: ObjectId):
    hospital_id = access_membership(request).hospital_id
    found = model.objects.filter(hospital_id=hospital_id, pk=pk).first()
    if found is None:
        raise Http404
    return found
