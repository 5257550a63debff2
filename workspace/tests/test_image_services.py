"""Photographs on their way into a case, on a real database and a real store."""

import hashlib

import pytest
from django.core.files.storage import default_storage
from django.db import connection
from django_mongodb_backend.base import DatabaseWrapper
from pymongo.errors import AutoReconnect

from accounts.scoping import hospital_scope
from accounts.tests.factories import make_hospital
from workspace.image_services import image_add, image_label, image_remove, thumbnail_name
from workspace.intake import PhotographRefused
from workspace.models import Case
from workspace.schemas import CaseState, Decision, Field, Laterality
from workspace.services import (
    CaseConflict,
    case_amend,
    case_cancel,
    case_claim,
    case_complete,
    case_create,
    case_submit,
)
from workspace.tests.factories import make_graded_case, make_patient, make_result
from workspace.tests.pictures import picture_bytes, upload

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hospital(db):
    hospital = make_hospital()
    with hospital_scope(hospital.pk):
        yield hospital


def add(case: Case, content: bytes, laterality: str = Laterality.OD, field: str = Field.MACULA):
    file = upload(content=content)
    return image_add(case=case, file=file, by="A nurse", laterality=laterality, field=field)


def stored_names() -> set[str]:
    return set(connection.database["images.files"].distinct("filename"))


def test_image_is_kept_byte_for_byte_under_names_made_of_ids(hospital):
    case = case_create(patient=make_patient(hospital), by="A nurse")
    content = picture_bytes("PNG")

    added = add(case, content)

    image = added.image
    with default_storage.open(image.original) as file:
        assert file.read() == content
    assert image.sha256 == hashlib.sha256(content).hexdigest()
    assert (image.format, image.size_bytes) == ("PNG", len(content))
    folder = f"{hospital.pk}/{case.pk}/{image.key}"
    names = {f"{folder}/original", f"{folder}/display", f"{folder}/thumbnail"}
    assert stored_names() == names == {image.original, image.display, thumbnail_name(image)}
    assert added.case.images[0].added_by == "A nurse"


def test_image_of_known_bytes_is_recognised_and_never_crosses_to_another_patient(hospital):
    content = picture_bytes()
    case = case_create(patient=make_patient(hospital), by="A nurse")
    case = add(case, content).case

    again = add(case, content)
    assert "not added twice" in again.note
    assert len(again.case.images) == 1
    assert len(stored_names()) == 3

    # The case as another tab saw it, before the photograph came.
    blank = Case.objects.get(pk=case.pk)
    blank.images = []
    assert "not added twice" in add(blank, content).note
    assert len(stored_names()) == 3

    other = case_create(patient=make_patient(hospital), by="A nurse")
    with pytest.raises(PhotographRefused) as refusal:
        add(other, content)
    assert refusal.value.code == "in_another_case"
    assert case.reference in refusal.value.message
    assert "take it out there first" in refusal.value.message
    Case.objects.filter(pk=case.pk).update(state=CaseState.QUEUED)
    with pytest.raises(PhotographRefused, match="cancel that case first"):
        add(other, content)
    Case.objects.filter(pk=case.pk).update(state=CaseState.GRADING)
    with pytest.raises(PhotographRefused, match="wait until that case is graded"):
        add(other, content)
    Case.objects.filter(pk=case.pk).update(state=CaseState.DRAFT)

    elsewhere = make_hospital()
    with hospital_scope(elsewhere.pk):
        foreign = case_create(patient=make_patient(elsewhere), by="Somebody")
        assert add(foreign, content).note == ""

    case_cancel(case=case, by="A nurse", reason="wrong patient")
    assert add(other, content).note == ""


def test_image_leaves_no_file_behind_when_the_case_takes_it_no_more(hospital):
    case = case_create(patient=make_patient(hospital), by="A nurse")
    case_cancel(case=case, by="A nurse", reason="a mistake")

    with pytest.raises(CaseConflict):
        add(case, picture_bytes())

    assert stored_names() == set()
    with pytest.raises(PhotographRefused):
        add(case_create(patient=make_patient(hospital), by="A nurse"), b"no photograph")
    assert stored_names() == set()


def test_image_can_be_corrected_and_removed_until_it_is_graded(hospital):
    case = case_create(patient=make_patient(hospital), by="A nurse")
    added = add(case, picture_bytes(), laterality="")

    case = image_label(case=added.case, key=added.image.key, laterality="OS", field="disc")
    assert (case.images[0].laterality, case.images[0].field) == ("OS", "disc")

    case = image_remove(case=case, key=added.image.key)
    assert case.images == []
    assert stored_names() == set()

    graded = make_graded_case(make_patient(hospital), right=None)
    with pytest.raises(CaseConflict):
        image_remove(case=graded, key=graded.images[0].key)
    with pytest.raises(CaseConflict):
        image_label(case=graded, key=graded.images[0].key, laterality="OS", field="disc")
    assert len(Case.objects.get(pk=graded.pk).images) == 2


def grade(case: Case, right: int | None) -> Case:
    claimed = case_claim(case_pk=str(case.pk), worker="test")
    fresh = [image for image in claimed.current_images if image.needs_grading]
    return case_complete(case=claimed, results=[make_result(image, right) for image in fresh])


def test_retake_replaces_the_rejected_photograph_and_after_the_last_try_refers(hospital):
    case = make_graded_case(make_patient(hospital), right=None, left=1)
    rejected = case.images_of(Laterality.OD)[0]
    assert case.wants_retake

    case = add(case, picture_bytes()).case
    assert case.image_by_key(rejected.key).replaced_at is None
    case = grade(case_submit(case=case, by="A nurse"), right=None)

    assert case.image_by_key(rejected.key).replaced_at is not None
    assert case.image_by_key(rejected.key).grading.grade is None
    assert len(case.images_of(Laterality.OD)) == 1
    assert case.outcome.decision == Decision.RETAKE

    case = grade(case_submit(case=add(case, picture_bytes()).case, by="A nurse"), right=None)
    assert (case.state, case.outcome.decision) == (CaseState.GRADED, Decision.REFER)
    assert (case.tries, len(case.images), case.editable) == (3, 4, False)


def test_rejected_photograph_stays_in_its_place_when_the_submit_is_refused(hospital):
    case = make_graded_case(make_patient(hospital), right=None, left=0)
    rejected = case.images_of(Laterality.OD)[0]
    case = add(case, picture_bytes()).case
    case_amend(case=case, version=case.version, values={"camera": "from another tab"})

    with pytest.raises(CaseConflict):
        case_submit(case=case, by="A nurse")

    assert Case.objects.get(pk=case.pk).image_by_key(rejected.key).replaced_at is None


def test_image_files_stay_when_nobody_knows_whether_the_document_names_them(hospital, monkeypatch):
    case = case_create(patient=make_patient(hospital), by="A nurse")
    commit = DatabaseWrapper.commit_mongo

    def commit_and_lose_the_answer(database):
        commit(database)
        raise AutoReconnect("the primary stepped down")

    monkeypatch.setattr(DatabaseWrapper, "commit_mongo", commit_and_lose_the_answer)
    with pytest.raises(AutoReconnect):
        add(case, picture_bytes())

    (image,) = Case.objects.get(pk=case.pk).images
    assert stored_names() == {image.original, image.display, thumbnail_name(image)}


def test_retake_that_shows_something_decides_the_case(hospital):
    case = make_graded_case(make_patient(hospital), right=None, left=0)

    case = grade(case_submit(case=add(case, picture_bytes()).case, by="A nurse"), right=3)

    assert case.outcome.decision == Decision.REFER_URGENT
    assert case.outcome.reasons[0] == "Right eye: severe retinopathy"
