"""Photographs: taking them in, saying what they show, and showing them only through the door."""

import hashlib
import logging

from bson import ObjectId
from django.contrib import messages
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_POST, require_safe

from accounts.access import NOT_FOUND, member
from accounts.permissions import Capability
from drservice.common.errors import ServiceFault
from drservice.common.rate_limits import RateLimit, TooOften
from workspace.access import access_case, access_image
from workspace.case_parts import EyeImage
from workspace.forms import ImageLabelForm
from workspace.image_services import PhotographInAnotherCase, thumbnail_name
from workspace.image_services import image_add as add_image
from workspace.image_services import image_label as label_image
from workspace.image_services import image_remove as remove_image
from workspace.intake import field_guess, laterality_guess
from workspace.models import Case
from workspace.schemas import Field, Laterality
from workspace.trail import case_viewed, original_viewed
from workspace.views.case_page import case_context

log = logging.getLogger(__name__)

# Five a second for ten minutes: a folder that is brought over stays below, a runaway program not.
UPLOADS = RateLimit(
    name="uploads",
    most=3000,
    window_s=600,
    refusal="More photographs came than one person can take. This one was not added yet.",
)
UPLOADS_OF_A_HOSPITAL = RateLimit(
    name="hospital-uploads",
    most=12_000,
    window_s=600,
    refusal="More photographs came than one hospital can take. This one was not added yet.",
)
REFUSED_EMPTY = {"name": "", "status": "refused", "message": "Choose at least one photograph."}
CONTENT_TYPES = {
    "JPEG": ("image/jpeg", "jpg"),
    "PNG": ("image/png", "png"),
    "TIFF": ("image/tiff", "tif"),
    "WEBP": ("image/webp", "webp"),
}


@member(Capability.CAPTURE_CASES)
@require_POST
def image_add(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """Take in several files: the good ones are kept, each of the others gets its reason."""
    case = access_case(request, pk)
    results = [_add(request, case, file) for file in request.FILES.getlist("files")]
    case = access_case(request, pk)
    if not results:
        results = [REFUSED_EMPTY]
    if request.accepts("text/html"):
        return _html_answer(request, case, results)
    body = {"results": results, "version": case.version}
    return _json_answer(body, results)


def _json_answer(body: dict, results: list[dict]) -> JsonResponse:
    """Answer 200 when one file at least was taken; 429 when all of them only came too often."""
    if any(result["status"] != "refused" for result in results):
        return JsonResponse(body)
    waits = [result.get("retry_after_s") for result in results]
    if None in waits:
        return JsonResponse(body, status=422)
    return JsonResponse(body, status=429, headers={"Retry-After": str(max(waits))})


def _add(request: HttpRequest, case: Case, file: UploadedFile) -> dict:
    laterality = request.POST.get("laterality") or laterality_guess(file.name)
    field = request.POST.get("field") or field_guess(file.name)
    try:
        UPLOADS.take(request.user.pk)
        UPLOADS_OF_A_HOSPITAL.take(case.hospital_id)
        added = add_image(
            case=case,
            file=file,
            by=request.user.name,
            laterality=laterality if laterality in Laterality else "",
            field=field if field in Field else Field.MACULA,
        )
    except ServiceFault as fault:
        return _refusal(file.name, fault)
    return {
        "name": file.name,
        "status": "known" if added.note else "added",
        "message": added.note,
        "key": added.image.key,
        "laterality": added.image.laterality,
        "field": added.image.field,
        "sha256": added.image.sha256,
    }


def _refusal(name: str, fault: ServiceFault) -> dict:
    """Say why a file was refused. Its name goes back to the sender and nowhere else."""
    code = getattr(fault, "code", "conflict")
    refusal = {"name": name, "status": "refused", "code": code, "message": fault.message}
    if isinstance(fault, TooOften):
        refusal["retry_after_s"] = fault.retry_after_s
        refusal["message"] = f"{fault.message} Add it in {_in_words(fault.retry_after_s)}."
    if isinstance(fault, PhotographInAnotherCase):
        refusal["case_url"] = reverse("workspace:case-detail", args=[fault.other.pk])
    return refusal


def _in_words(seconds: int) -> str:
    minutes = -(-seconds // 60)
    return f"{seconds} seconds" if seconds <= 90 else f"{minutes} minutes"


def _html_answer(request: HttpRequest, case: Case, results: list[dict]) -> HttpResponse:
    if request.htmx:
        return _photographs(request, case, results)
    for result in results:
        if result["message"]:
            told = messages.error if result["status"] == "refused" else messages.info
            told(request, f"{result['name']}: {result['message']}".removeprefix(": "))
    return redirect("workspace:case-detail", case.pk)


@member(Capability.CAPTURE_CASES)
@require_safe
def case_photographs(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """Show the photographs of a case alone, for a page whose uploads have ended."""
    case = access_case(request, pk)
    case_viewed(case, again=True)
    return _photographs(request, case)


def _photographs(request: HttpRequest, case: Case, results: list[dict] = ()) -> HttpResponse:
    context = {**case_context(case), "results": results, "fragment": True}
    return render(request, "workspace/_photographs.html", context)


@member(Capability.CAPTURE_CASES)
@require_POST
def image_label(request: HttpRequest, pk: ObjectId, key: str) -> HttpResponse:
    case, image = access_image(request, pk, key)
    form = ImageLabelForm(request.POST)
    if not form.is_valid():
        return _changed(request, case, "Choose the eye and the centre from the lists.")
    field = form.cleaned_data["field"] or image.field
    laterality = form.cleaned_data["laterality"]
    try:
        case = label_image(case=case, key=key, laterality=laterality, field=field)
    except ServiceFault as fault:
        return _changed(request, case, fault.message)
    return _changed(request, case)


@member(Capability.CAPTURE_CASES)
@require_POST
def image_remove(request: HttpRequest, pk: ObjectId, key: str) -> HttpResponse:
    case, _ = access_image(request, pk, key)
    try:
        case = remove_image(case=case, key=key)
    except ServiceFault as fault:
        return _changed(request, case, fault.message)
    return _changed(request, case)


def _changed(request: HttpRequest, case: Case, refusal: str = "") -> HttpResponse:
    if request.htmx:
        results = [{"name": "", "status": "refused", "message": refusal}] if refusal else []
        return _photographs(request, access_case(request, case.pk), results)
    if refusal:
        messages.error(request, refusal)
    return redirect("workspace:case-detail", case.pk)


@member(Capability.SEE_RECORDS, anonymous=NOT_FOUND)
@require_safe
def image_original(request: HttpRequest, pk: ObjectId, key: str) -> HttpResponse:
    """Hand out the original byte for byte, after checking that it still is the original."""
    case, image = access_image(request, pk, key)
    original_viewed(case, key)
    content_type, suffix = CONTENT_TYPES[image.format]
    response = _stored(request, case, image.original, content_type, image.sha256)
    if response.status_code == 200 and _sha256(response.content) != image.sha256:
        log.error("original_altered case=%s image=%s", case.pk, image.key)
        return render(request, "workspace/original_altered.html", status=500)
    name = f"{case.pk}-{image.laterality or 'eye'}-{image.key[:8]}.{suffix}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@member(Capability.SEE_RECORDS, anonymous=NOT_FOUND)
@require_safe
def image_display(request: HttpRequest, pk: ObjectId, key: str) -> HttpResponse:
    case, image = _shown(request, pk, key)
    return _stored(request, case, image.display, "image/jpeg", f"{image.sha256}-display")


@member(Capability.SEE_RECORDS, anonymous=NOT_FOUND)
@require_safe
def image_thumbnail(request: HttpRequest, pk: ObjectId, key: str) -> HttpResponse:
    case, image = _shown(request, pk, key)
    name = thumbnail_name(image)
    return _stored(request, case, name, "image/jpeg", f"{image.sha256}-thumbnail")


@member(Capability.SEE_RECORDS, anonymous=NOT_FOUND)
@require_safe
def image_heatmap(request: HttpRequest, pk: ObjectId, key: str) -> HttpResponse:
    case, image = _shown(request, pk, key)
    if not _has_heatmap(image):
        raise Http404
    tag = hashlib.sha256(image.grading.heatmap.encode()).hexdigest()
    return _stored(request, case, image.grading.heatmap, "image/png", tag)


def _shown(request: HttpRequest, pk: ObjectId, key: str) -> tuple[Case, EyeImage]:
    """Return a case and a photograph: a part of the case's page, or else a view of the case."""
    case, image = access_image(request, pk, key)
    case_viewed(case, again=True)
    return case, image


def _has_heatmap(image: EyeImage) -> bool:
    return image.grading is not None and bool(image.grading.heatmap)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _stored(
    request: HttpRequest, case: Case, name: str, content_type: str, tag: str
) -> HttpResponse:
    """Answer with a file of a case. Browsers may keep it, but ask at the door before each use.

    A name that leads out of the case's own folder, however it got into the document, is the 404
    of a file that isn't there.
    """
    if not name.startswith(f"{case.hospital_id}/{case.pk}/") or ".." in name:
        log.error("file_outside_its_case case=%s", case.pk)
        raise Http404
    etag = f'"{tag}"'
    response = get_conditional_response(request, etag=etag)
    if response is None:
        try:
            with default_storage.open(name) as file:
                response = HttpResponse(file.read(), content_type=content_type)
        except FileNotFoundError as error:
            raise Http404 from error
    response["ETag"] = etag
    response["Cache-Control"] = "private, no-cache"
    return response
