"""Take photographs into a case, say what they show, and take them out again.

Files go to the storage first and into the document second: a document never names a file that
is not there. When the document refuses, the files are deleted again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from django.conf import settings
from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage

from accounts.audit.actions import Action
from accounts.audit.errors import AuditUnavailable
from accounts.audit.services import audited
from accounts.limits.services import upload_give_back, upload_reserve
from workspace.case_parts import EyeImage, new_key
from workspace.intake import Photograph, PhotographRefused, photograph_read
from workspace.models import Case
from workspace.schemas import Field, Laterality
from workspace.selectors import photographs_stored
from workspace.services import CaseConflict
from workspace.trail import image_facts, image_record

MAX_IMAGES = 40
ALREADY_THERE = "This very photograph is in the case already; it was not added twice."
NOT_EDITABLE = "This case takes no changes any more. Reload the page to see where it stands."


class PhotographInAnotherCase(PhotographRefused):
    """Another case of the hospital has these very bytes: most likely this is the wrong patient."""

    def __init__(self, other: Case, sha256: str) -> None:
        way_out = _way_out(other, _image_with(other, sha256))
        super().__init__(
            "in_another_case",
            f"This very photograph is in case {other.reference} already. Check that you have the "
            f"right patient; if that case is the wrong one, {way_out}.",
        )
        self.other = other


def _way_out(other: Case, image: EyeImage) -> str:
    """Say what can still be done about a photograph that went into the wrong case."""
    if other.editable and image.grading is None:
        return "take it out there first"
    if other.cancellable:
        return "cancel that case first"
    if other.voidable:
        return "mark that case as entered in error first"
    return "wait until that case is graded, and then mark it as entered in error"


@dataclass(frozen=True)
class AddedImage:
    """A photograph that is in the case now. `note` is empty unless there is something to say."""

    case: Case
    image: EyeImage
    note: str = ""


def image_add(
    *,
    case: Case,
    file: BinaryIO,
    by: str,
    laterality: str = "",
    field: str = Field.MACULA,
) -> AddedImage:
    """Take one photograph into an editable case, its bytes exactly as they came.

    Bytes that the case has already are recognised. Raises PhotographRefused with the reason, also
    when another case of the hospital has them; CaseConflict when the case takes no photographs;
    QuotaReached when the hospital may add no more.
    """
    if not case.editable:
        raise CaseConflict(NOT_EDITABLE)
    photograph = photograph_read(
        file, max_bytes=settings.UPLOAD_MAX_BYTES, max_pixels=settings.UPLOAD_MAX_PIXELS
    )
    known = _image_with(case, photograph.sha256)
    if known is not None:
        return AddedImage(case, known, ALREADY_THERE)
    _refuse_foreign_bytes(case, photograph.sha256)
    _refuse_too_many(case)
    with _counted(case, photograph.size_bytes) as count:
        image = _image_store(case, file, photograph)
        image.laterality, image.field, image.added_by = laterality, field, by
        added = _image_record(case, image)
        count.stands = not added.note
    return added


def image_label(*, case: Case, key: str, laterality: str, field: str) -> Case:
    """Say which eye and field a photograph shows. Raises CaseConflict once it is graded."""
    laterality = Laterality(laterality) if laterality else ""
    return _image_label(case, key, laterality=laterality, field=field)


@audited
def _image_label(case: Case, key: str, **label: str) -> Case:
    before = image_facts(_stored(case).image_by_key(key))
    labelled = _changed(Case.objects.label_image(pk=case.pk, key=key, **label))
    after = image_facts(labelled.image_by_key(key))
    image_record(Action.CHANGE, labelled, key, before=before, after=after)
    return labelled


def image_remove(*, case: Case, key: str) -> Case:
    """Take out a photograph that was never graded, and its files. Raises CaseConflict."""
    image = case.image_by_key(key)
    removed = _image_remove(case, image)
    _files_delete(image)
    upload_give_back(hospital_id=case.hospital_id, size_bytes=image.size_bytes)
    return removed


@audited
def _image_remove(case: Case, image: EyeImage) -> Case:
    removed = _changed(Case.objects.remove_image(pk=case.pk, key=image.key))
    if removed.image_by_key(image.key) is not None:
        raise CaseConflict("A graded photograph stays in the case as evidence.")
    image_record(Action.DELETE, removed, image.key, before=image_facts(image))
    return removed


def thumbnail_name(image: EyeImage) -> str:
    """Return the stored name of the small picture, which lies beside the displayed one."""
    return f"{image.display.rpartition('/')[0]}/thumbnail"


def _stored(case: Case) -> Case:
    return _changed(Case.objects.filter(pk=case.pk).first())


def _changed(case: Case | None) -> Case:
    if case is None:
        raise CaseConflict(NOT_EDITABLE)
    return case


def _image_with(case: Case, sha256: str) -> EyeImage | None:
    return next((image for image in case.images if image.sha256 == sha256), None)


def _refuse_foreign_bytes(case: Case, sha256: str) -> None:
    other = Case.objects.with_image(sha256s=[sha256], other_than=case.pk)
    if other is not None:
        raise PhotographInAnotherCase(other, sha256)


def _refuse_too_many(case: Case) -> None:
    if len(case.images) >= MAX_IMAGES:
        raise PhotographRefused(
            "too_many_images",
            f"The case has {MAX_IMAGES} photographs, as many as it can hold. Remove one first.",
        )


def _image_store(case: Case, file: BinaryIO, photograph: Photograph) -> EyeImage:
    key = new_key()
    folder = f"{case.hospital_id}/{case.pk}/{key}"
    image = EyeImage(
        key=key,
        original=f"{folder}/original",
        display=f"{folder}/display",
        sha256=photograph.sha256,
        size_bytes=photograph.size_bytes,
        width_px=photograph.width_px,
        height_px=photograph.height_px,
        format=photograph.format,
    )
    file.seek(0)
    original = file if isinstance(file, File) else File(file)
    with _files_or_none(image):
        default_storage.save(image.original, original)
        default_storage.save(image.display, ContentFile(photograph.display))
        default_storage.save(thumbnail_name(image), ContentFile(photograph.thumbnail))
    return image


def _image_record(case: Case, image: EyeImage) -> AddedImage:
    # An error here may come after the write: files stay, or the document would name none.
    try:
        added = _image_insert(case, image)
    except (AuditUnavailable, PhotographInAnotherCase):
        _files_delete(image)
        raise
    if added is not None:
        return AddedImage(added, image)
    _files_delete(image)
    found = Case.objects.filter(pk=case.pk).first()
    known = found and _image_with(found, image.sha256)
    if known:
        return AddedImage(found, known, ALREADY_THERE)
    raise CaseConflict(NOT_EDITABLE)


@audited
def _image_insert(case: Case, image: EyeImage) -> Case | None:
    added = Case.objects.add_image(pk=case.pk, image=image)
    if added is not None:
        # Once more: another case may have got it, or got it back, while the files were stored.
        _refuse_foreign_bytes(added, image.sha256)
        image_record(Action.CREATE, added, image.key, after=image_facts(image))
    return added


@contextmanager
def _files_or_none(image: EyeImage) -> Iterator[None]:
    """Leave no file behind when a step fails."""
    try:
        yield
    except BaseException:
        _files_delete(image)
        raise


@dataclass
class _Count:
    stands: bool = False


@contextmanager
def _counted(case: Case, size_bytes: int) -> Iterator[_Count]:
    """Count a photograph against the hospital's limits, unless the block doesn't keep it.

    Raises QuotaReached before anything is stored.
    """
    place = {"hospital_id": case.hospital_id, "size_bytes": size_bytes}
    upload_reserve(**place, stored=photographs_stored)
    count = _Count()
    try:
        yield count
    finally:
        if not count.stands:
            upload_give_back(**place, same_day=True)


def _files_delete(image: EyeImage) -> None:
    for name in (image.original, image.display, thumbnail_name(image)):
        default_storage.delete(name)
