"""The pages as staff use them, from an empty hospital to a result, and closed to everybody else."""

import hashlib
import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.limits.services import quota_set
from accounts.scoping import hospital_scope
from accounts.tests.factories import make_member
from drservice.common.list_pages import PAGE_SIZE
from drservice.testing.pages import searched
from workspace.models import Case, Patient
from workspace.schemas import CaseState
from workspace.selectors import CASE_FILTERS
from workspace.services import GAVE_UP, case_claim, case_complete
from workspace.tests.factories import (
    graded_case_with_files,
    make_case,
    make_graded_case,
    make_patient,
    make_queued_case,
    make_result,
)
from workspace.tests.pictures import picture_bytes, upload
from workspace.views.case_page import PATIENCE, SLOW, case_progress
from workspace.views.cases import FILTER_LABELS
from workspace.views.images import UPLOADS, UPLOADS_OF_A_HOSPITAL

pytestmark = pytest.mark.django_db(transaction=True)

PATIENT = {
    "mrn": "N-100",
    "name": "Amara Diallo",
    "birth_date": "1961-04-02",
    "sex": "F",
    "diabetes_type": "2",
    "diabetes_since_year": "2010",
    "phone": "",
    "email": "",
}
DETAILS = {
    "camera": "Canon CR-2",
    "dilated": "on",
    "acuity_right": "6/9",
    "acuity_left": "6/6",
    "absent_eye": "",
    "absent_eye_reason": "",
    "notes": "Cloudy left lens",
}


def url(name: str, *args) -> str:
    return reverse(f"workspace:{name}", args=args)


def only(model, hospital):
    with hospital_scope(hospital.pk):
        return model.objects.get()


def grade(case: Case, right: int | None, left: int | None, **fields) -> Case:
    claimed = case_claim(case_pk=str(case.pk), worker="test")
    grades = {"OD": right, "OS": left}
    results = [
        make_result(image, grades[image.laterality], **fields)
        for image in claimed.current_images
        if image.needs_grading
    ]
    return case_complete(case=claimed, results=results)


def text_of(response) -> str:
    return " ".join(response.content.decode().split())


def without_token(response) -> str:
    return re.sub(r'value="\w{64}"', "", response.content.decode())


def test_a_visit_goes_from_registration_to_result(two_hospitals, client_of):
    hospital, client = two_hospitals.a.hospital, client_of(two_hospitals.a.staff)

    assert "Register the first patient" in text_of(client.get(url("patient-list")))
    refused = client.post(url("patient-create"), {**PATIENT, "birth_date": "2961-04-02"})
    assert refused.status_code == 422
    assert "still to come" in text_of(refused)
    registered = client.post(url("patient-create"), PATIENT, follow=True)
    assert "Amara Diallo" in text_of(registered)
    taken = client.post(url("patient-create"), {**PATIENT, "name": "Another"})
    assert (taken.status_code, "registered already" in text_of(taken)) == (422, True)
    patient = only(Patient, hospital)

    assert "both eyes of" in text_of(client.get(url("case-create", patient.pk)))
    client.post(url("case-create", patient.pk))
    started = client.post(url("case-create", patient.pk))
    case = only(Case, hospital)
    assert started.url == url("case-detail", case.pk)
    assert "no photograph of the right eye" in text_of(client.get(started.url))

    files = [upload("a_right.jpg"), upload("a_unknown.jpg"), upload("c.png", b"patients\n" * 99)]
    added = client.post(url("case-image-add", case.pk), {"files": files}, follow=True)
    assert "c.png: This is not a photograph" in text_of(added)
    assert "Which eye is it?" in text_of(added)
    case = only(Case, hospital)
    assert [image.laterality for image in case.images] == ["OD", ""]
    refused = client.post(url("case-submit", case.pk), DETAILS, follow=True)
    assert "Say for every photograph which eye" in text_of(refused)
    pushed = client.get(url("case-detail", case.pk), headers={"HX-Request": "true"})
    assert "hx-swap-oob" not in pushed.content.decode()

    label = {"laterality": "OS", "field": "disc"}
    fragment = client.post(
        url("image-label", case.pk, case.images[1].key), label, headers={"HX-Request": "true"}
    )
    assert "<html" not in fragment.content.decode()
    assert "hx-swap-oob" in fragment.content.decode()
    assert "Everything needed is there" in text_of(fragment)
    submitted = client.post(url("case-submit", case.pk), {**DETAILS, "notes": ""}, follow=True)
    assert "accepted and waits for its turn" in text_of(submitted)
    assert f"{url('case-events', case.pk)}?seen=" in text_of(submitted)
    assert client.post(url("case-submit", case.pk)).status_code == 302

    case = only(Case, hospital)
    assert (case.camera, case.dilated, case.state) == ("Canon CR-2", True, CaseState.QUEUED)
    heatmap = f"{hospital.pk}/{case.pk}/heatmap"
    default_storage.save(heatmap, ContentFile(picture_bytes("PNG")))
    grade(case, 4, 2, heatmap=heatmap)
    page = text_of(client.get(url("case-detail", case.pk)))
    assert page.index("Refer urgently") < page.index("Proliferative retinopathy")
    assert "sight may be at risk" in page
    assert "not yet reviewed by a clinician" in page
    assert "attention map, not a lesion map" in page.lower()
    assert case.images[0].sha256 in page
    assert "sse-connect" not in page
    assert "not a certified medical device" in page.lower()

    status = client.get(url("case-status", case.pk)).json()
    assert status["outcome"]["decision"] == "refer_urgent"
    assert [image["grade"] for image in status["images"]] == [4, 2]
    assert client.get(url("image-heatmap", case.pk, case.images[0].key)).status_code == 200


def test_photographs_come_back_as_they_went_in_or_not_at_all(two_hospitals, client_of):
    client = client_of(two_hospitals.a.staff)
    patient = make_patient(two_hospitals.a.hospital)
    client.post(url("case-create", patient.pk))
    case = only(Case, two_hospitals.a.hospital)
    content = picture_bytes("TIFF")
    answer = client.post(
        url("case-image-add", case.pk),
        {"files": [upload("x_OD.tif", content), upload("x_OD.tif", content), upload("y", b"")]},
        headers={"Accept": "application/json"},
    )
    results = answer.json()["results"]
    assert [result["status"] for result in results] == ["added", "known", "refused"]
    key = results[0]["key"]
    client.post(url("case-create", make_patient(two_hospitals.a.hospital).pk))
    with hospital_scope(two_hospitals.a.hospital.pk):
        other = Case.objects.exclude(pk=case.pk).get()
    answer = client.post(
        url("case-image-add", other.pk),
        {"files": [upload("x_OD.tif", content)]},
        headers={"Accept": "application/json"},
    )
    assert answer.status_code == 422
    refusal = answer.json()["results"][0]
    assert (refusal["code"], refusal["case_url"]) == (
        "in_another_case",
        url("case-detail", case.pk),
    )

    original = client.get(url("image-original", case.pk, key))
    assert original.content == content
    assert original["Content-Type"] == "image/tiff"
    assert original["Content-Disposition"].startswith(f'attachment; filename="{case.pk}-OD-')
    assert original["Cache-Control"] == "private, no-cache"
    assert original["X-Content-Type-Options"] == "nosniff"
    tag = f'"{hashlib.sha256(content).hexdigest()}"'
    assert original["ETag"] == tag
    again = client.get(url("image-original", case.pk, key), headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("image-display", "image-thumbnail"):
        assert client.get(url(name, case.pk, key)).content.startswith(b"\xff\xd8")
    assert client.get(url("image-heatmap", case.pk, key)).status_code == 404

    with hospital_scope(two_hospitals.a.hospital.pk):
        image = Case.objects.get(pk=case.pk).images[0]
    default_storage.delete(image.original)
    default_storage.save(image.original, ContentFile(content + b"altered"))
    altered = client.get(url("image-original", case.pk, key))
    assert altered.status_code == 500
    assert b"altered" not in altered.content
    default_storage.delete(image.original)
    assert client.get(url("image-original", case.pk, key)).status_code == 404


def test_photographs_come_no_faster_than_a_person_takes_them(two_hospitals, client_of, monkeypatch):
    cache.clear()
    monkeypatch.setattr("workspace.views.images.UPLOADS", replace(UPLOADS, most=3))
    staff, colleague = two_hospitals.a.staff, make_member(two_hospitals.a.hospital, "staff")
    case = make_case(make_patient(two_hospitals.a.hospital), lateralities=())
    add, as_json = url("case-image-add", case.pk), {"Accept": "application/json"}

    def sent(person) -> list[str]:
        files = [upload(f"{number}_OD.jpg") for number in range(2)]
        answer = client_of(person).post(add, {"files": files}, headers=as_json)
        return [result.get("code", "added") for result in answer.json()["results"]]

    assert sent(staff) == ["added", "added"]
    assert sent(staff) == ["added", "too_often"]
    assert sent(staff) == ["too_often", "too_often"]
    refused = client_of(staff).post(add, {"files": [upload("9_OD.jpg")]}, headers=as_json)
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= UPLOADS.window_s
    [told] = refused.json()["results"]
    assert told["retry_after_s"] == int(refused["Retry-After"])
    assert "Add it in 10 minutes" in told["message"]
    assert sent(colleague) == ["added", "added"]
    assert len(only(Case, two_hospitals.a.hospital).images) == 5


def test_a_stored_name_of_another_hospital_leads_nowhere(two_hospitals, client_of):
    """Not even a document of one's own that names a file of another hospital shows it."""
    ours = graded_case_with_files(make_patient(two_hospitals.a.hospital))
    theirs = graded_case_with_files(make_patient(two_hospitals.b.hospital))
    foreign, own = theirs.images[0], ours.images[0]
    cases = connection.get_collection(Case._meta.db_table)
    names = {"original": foreign.original, "display": foreign.display}
    planted = {f"images.0.{name}": stored for name, stored in names.items()}
    planted["images.0.grading.heatmap"] = foreign.grading.heatmap
    doors = [url(f"image-{kind}", ours.pk, own.key) for kind in (*names, "thumbnail", "heatmap")]
    staff = client_of(two_hospitals.a.staff)
    assert [staff.get(door).status_code for door in doors] == [200] * 4
    cases.update_one({"_id": ours.pk}, {"$set": planted})
    assert [staff.get(door).status_code for door in doors] == [404] * 4
    for kind in ("original", "display", "thumbnail", "heatmap"):
        mixed = url(f"image-{kind}", ours.pk, foreign.key)
        assert staff.get(mixed).status_code == 404


def test_a_hospitals_photographs_are_counted_together(two_hospitals, client_of, monkeypatch):
    cache.clear()
    fewer = replace(UPLOADS_OF_A_HOSPITAL, most=1)
    monkeypatch.setattr("workspace.views.images.UPLOADS_OF_A_HOSPITAL", fewer)
    people = [two_hospitals.a.staff, make_member(two_hospitals.a.hospital, "staff")]
    people.append(two_hospitals.b.staff)
    statuses = []
    for person, side in zip(people, "aab", strict=True):
        case = make_case(make_patient(getattr(two_hospitals, side).hospital), lateralities=())
        address, file = url("case-image-add", case.pk), upload(f"{side}{len(statuses)}_OD.jpg")
        answer = client_of(person).post(address, {"files": file}, headers={"Accept": "text/json"})
        statuses.append(answer.status_code)
    assert statuses == [200, 429, 200]


def test_a_hospital_at_its_quota_is_told_so_and_keeps_what_it_has(two_hospitals, client_of):
    hospital = two_hospitals.a.hospital
    quota_set(hospital_id=hospital.pk, limits={"photographs_in_all": 1})
    case = make_case(make_patient(hospital), lateralities=())
    staff, add = client_of(two_hospitals.a.staff), url("case-image-add", case.pk)
    as_json = {"Accept": "application/json"}
    first = staff.post(add, {"files": upload("1_OD.jpg")}, headers=as_json)
    assert first.status_code == 200
    again = staff.post(add, {"files": upload("2_OD.jpg")}, headers=as_json)
    assert again.status_code == 422
    assert again.json()["results"][0]["code"] == "quota_reached"
    assert "nothing that is stored is lost" in again.json()["results"][0]["message"]
    page = client_of(two_hospitals.a.admin).get("/accounts/usage/")
    assert "Reached" in page.text

    key = first.json()["results"][0]["key"]
    staff.post(url("image-remove", case.pk, key))
    refused = staff.post(add, {"files": upload("3.jpg", b"no photograph")}, headers=as_json)
    assert refused.json()["results"][0]["code"] != "quota_reached"
    assert staff.post(add, {"files": upload("2_OD.jpg")}, headers=as_json).status_code == 200
    assert len(only(Case, hospital).images) == 1


def test_another_hospital_sees_that_nothing_exists(two_hospitals, client_of):
    patient = make_patient(two_hospitals.a.hospital, name="Secret Name")
    case = make_graded_case(patient)
    key = case.images[0].key
    pages = [url("patient-detail", patient.pk), url("patient-update", patient.pk)]
    pages += [url(name, case.pk) for name in ("case-detail", "case-photographs")]
    unseen = [url(name, case.pk) for name in ("case-status", "case-events")]
    for name in ("image-original", "image-display", "image-thumbnail", "image-heatmap"):
        unseen.append(url(name, case.pk, key))
    acts = [url(name, case.pk) for name in ("case-submit", "case-cancel", "case-details")]
    acts += [url("case-image-add", case.pk), url("case-create", patient.pk)]
    acts += [url(name, case.pk, key) for name in ("image-label", "image-remove")]

    foreign = client_of(two_hospitals.b.staff)
    absent = foreign.get(url("case-detail", "f" * 24))
    for address in pages + unseen:
        response = foreign.get(address)
        assert response.status_code == 404, address
        assert without_token(response) == without_token(absent)
    for address in acts:
        assert foreign.post(address).status_code == 404, address
    for address in unseen:
        assert Client().get(address).status_code == 404, address
    for address in pages:
        assert Client().get(address).url.startswith("/accounts/sign-in/"), address
    for listing in (url("patient-list"), url("case-list")):
        assert "Secret" not in text_of(foreign.get(listing))
        assert "Secret" in text_of(client_of(two_hospitals.a.staff).get(listing))
    assert "Nobody found" in text_of(searched(foreign, url("patient-list"), "secret"))
    assert client_of(two_hospitals.a.auditor).get(pages[2]).status_code == 200
    assert client_of(two_hospitals.a.auditor).post(acts[0]).status_code == 403
    assert client_of(two_hospitals.a.admin).get(pages[2]).status_code == 403


def test_lists_are_searched_filtered_and_paged(two_hospitals, client_of):
    hospital, client = two_hospitals.a.hospital, client_of(two_hospitals.a.staff)
    for number in range(PAGE_SIZE + 2):
        make_patient(hospital, name=f"Ordinary {number:02d}", mrn=f"O-{number:02d}")
    special = make_patient(hospital, name="Zoë O'Brien", mrn="X.7")

    first = text_of(client.get(url("patient-list")))
    assert "Zoë" in first
    assert "page=2" in first
    second = text_of(client.get(url("patient-list") + "?page=2"))
    assert second.count("Ordinary") == 3
    assert 'rel="next"' not in second
    for found in ("zoë", "o'brien", "x.7", "ZOË O"):
        assert "Zoë" in text_of(searched(client, url("patient-list"), found))
    # A search is text, never a pattern.
    assert "Nobody found" in text_of(searched(client, url("patient-list"), ".*"))
    assert client.get(url("patient-list") + "?page=minus").status_code == 200

    draft = make_case(special)
    waiting = make_queued_case(special)
    urgent = make_graded_case(special, right=4)
    retake = make_graded_case(special, right=None)
    failing = make_queued_case(special)
    with hospital_scope(hospital.pk):
        failed = Case.objects.give_up(
            pk=failing.pk, attempt=0, state=failing.state, reason=GAVE_UP, by="grading service"
        )
    expected = {
        "": {draft, waiting, urgent, retake, failed},
        "draft": {draft},
        "waiting": {waiting},
        "urgent": {urgent},
        "retake": {retake},
        "failed": {failed},
        "graded": {urgent, retake},
    }
    assert set(expected) == set(FILTER_LABELS) == set(CASE_FILTERS)
    for state, cases in expected.items():
        page = text_of(client.get(url("case-list"), {"state": state}))
        shown = {case for case in expected[""] if f">{case.reference}<" in page}
        assert shown == cases, state
    assert "Refer urgently" in text_of(client.get(url("patient-detail", special.pk)))


def test_odd_requests_get_an_answer_and_never_an_error(two_hospitals, client_of):
    client = client_of(two_hospitals.a.staff)
    patient = make_patient(two_hospitals.a.hospital)
    case = make_case(patient)
    key = case.images[0].key
    asked = ["\x00", "a" * 5000, "$where", "{}", "9" * 30, "-1"]
    for text in asked:
        assert searched(client, url("patient-list"), text).status_code == 200
        assert client.get(url("patient-list"), {"search": text, "page": text}).status_code == 200
        assert client.get(url("case-list"), {"state": text, "page": text}).status_code == 200
        patched = {**PATIENT, "mrn": text, "diabetes_since_year": text}
        assert client.post(url("patient-create"), patched).status_code == 422
        label = {"laterality": text, "field": text}
        assert client.post(url("image-label", case.pk, key), label).status_code == 302
        details = {**DETAILS, "version": text, "absent_eye": text, "camera": text}
        assert client.post(url("case-details", case.pk), details).status_code == 422
        added = client.post(url("case-image-add", case.pk), {"files": text, "laterality": text})
        assert added.status_code == 302
    crowd = [upload(content=b"x") for _ in range(41)]
    refused = client.post(url("case-image-add", case.pk), {"files": crowd})
    assert (refused.status_code, "at most 40 photographs" in text_of(refused)) == (400, True)
    for address in ("/cases/x/", f"/cases/{'F' * 24}/", f"{url('case-detail', case.pk)}images/$/"):
        assert client.get(address).status_code == 404
    unchanged = only(Case, two_hospitals.a.hospital)
    assert (unchanged.version, unchanged.images[0].laterality) == (case.version, "OD")


def test_a_failed_case_and_a_retake_say_what_to_do_next(two_hospitals, client_of):
    hospital, client = two_hospitals.a.hospital, client_of(two_hospitals.a.staff)
    failing = make_queued_case(make_patient(hospital))
    with hospital_scope(hospital.pk):
        Case.objects.give_up(
            pk=failing.pk, attempt=0, state=failing.state, reason=GAVE_UP, by="grading service"
        )
    failed = text_of(client.get(url("case-detail", failing.pk)))
    assert GAVE_UP in failed
    assert "Try again" in failed
    status = client.get(url("case-status", failing.pk)).json()
    assert (status["state"], status["reason"]) == ("failed", GAVE_UP)
    tried = client.post(url("case-submit", failing.pk), follow=True)
    assert "waits for its turn" in text_of(tried)

    retake = make_graded_case(make_patient(hospital), right=None, left=1)
    page = text_of(client.get(url("case-detail", retake.pk)))
    assert "Take the marked photographs again while the patient is here" in page
    assert "Not gradable: blurred" in page
    assert "2 more tries" in page
    added = client.post(
        url("case-image-add", retake.pk),
        {"files": [upload("again.jpg")], "laterality": "OD", "field": "macula"},
        follow=True,
    )
    assert "Everything needed is there" in text_of(added)
    client.post(url("case-submit", retake.pk))
    graded = grade(retake, 0, None)
    page = text_of(client.get(url("case-detail", retake.pk)))
    assert graded.outcome.decision == "early"
    assert "Photographs replaced by retakes (1)" in page


def test_the_worklist_shows_the_grades_that_the_case_shows(two_hospitals, client_of):
    hospital, client = two_hospitals.a.hospital, client_of(two_hospitals.a.staff)
    claimed = case_claim(case_pk=str(make_queued_case(make_patient(hospital)).pk), worker="test")
    right, left = claimed.images
    flagged = make_result(right, 1, referable=True)
    case = case_complete(case=claimed, results=[flagged, make_result(left, None)])
    assert case.outcome.decision == "refer"
    grades = re.findall(
        r'<span class="eye-mini">(O[DS]) <strong[^>]*>(.)<', text_of(client.get(url("case-list")))
    )
    assert grades == [("OD", "1"), ("OS", "?")]
    page = text_of(client.get(url("case-detail", case.pk)))
    assert "ICDR 1</strong> is likeliest" in page


def test_a_patient_who_can_not_be_photographed_again_is_referred(two_hospitals, client_of):
    hospital, client = two_hospitals.a.hospital, client_of(two_hospitals.a.staff)
    case = make_graded_case(make_patient(hospital), right=None, left=0)
    refused = client.post(url("case-end-retakes", case.pk), {"reason": " "}, follow=True)
    assert "can't be taken again" in text_of(refused)
    assert only(Case, hospital).wants_retake
    settled = client.post(
        url("case-end-retakes", case.pk), {"reason": "the patient has left"}, follow=True
    )
    assert "Refer to an eye doctor" in text_of(settled)
    assert "the patient has left" in text_of(settled)
    case = only(Case, hospital)
    assert (case.outcome.decision, case.editable) == ("refer", False)
    again = client.post(url("case-end-retakes", case.pk), {"reason": "again"}, follow=True)
    assert "changed this case" in text_of(again)
    assert only(Case, hospital).version == case.version


def test_new_photographs_are_graded_before_retakes_end(two_hospitals, client_of):
    hospital, client = two_hospitals.a.hospital, client_of(two_hospitals.a.staff)
    case = make_graded_case(make_patient(hospital), right=None, left=0)
    client.post(url("case-image-add", case.pk), {"files": [upload()], "laterality": "OD"})
    page = client.post(url("case-end-retakes", case.pk), {"reason": "left"}, follow=True)
    assert "There are new photographs" in text_of(page)
    assert only(Case, hospital).wants_retake


def test_a_retake_that_can_not_be_graded_is_removed_and_the_patient_referred(
    two_hospitals, client_of
):
    hospital, client = two_hospitals.a.hospital, client_of(two_hospitals.a.staff)
    case = make_graded_case(make_patient(hospital), right=None, left=0)
    client.post(url("case-image-add", case.pk), {"files": [upload()], "laterality": "OD"})
    waiting = text_of(client.post(url("case-submit", case.pk), follow=True))
    assert "Cancel this visit" not in waiting, "an eye that could not be graded stays in sight"
    claimed = case_claim(case_pk=str(case.pk), worker="test")
    with hospital_scope(hospital.pk):
        Case.objects.give_up(
            pk=case.pk,
            attempt=claimed.attempt,
            state=claimed.state,
            reason=GAVE_UP,
            by="grading service",
        )
    client.post(url("case-cancel", case.pk), {"reason": "no more of this"})
    client.post(url("image-remove", case.pk, claimed.images[-1].key))

    settled = client.post(url("case-end-retakes", case.pk), {"reason": "has left"}, follow=True)

    assert "Refer to an eye doctor" in text_of(settled)
    case = only(Case, hospital)
    assert (case.outcome.decision, case.outcome.right_eye, case.failure) == ("refer", 5, "")


def test_a_cancelled_visit_needs_a_reason_and_stays_cancelled(two_hospitals, client_of):
    hospital, client = two_hospitals.a.hospital, client_of(two_hospitals.a.staff)
    case = make_case(make_patient(hospital))
    refused = client.post(url("case-cancel", case.pk), {"reason": " "}, follow=True)
    assert "in a few words why" in text_of(refused)
    cancelled = client.post(url("case-cancel", case.pk), {"reason": "wrong patient"}, follow=True)
    assert "This visit was cancelled" in text_of(cancelled)
    assert "wrong patient" in text_of(cancelled)
    refused = client.post(url("case-submit", case.pk), DETAILS, follow=True)
    assert only(Case, hospital).state == CaseState.CANCELLED
    late = client.post(
        url("case-image-add", case.pk),
        {"files": [upload()]},
        headers={"Accept": "application/json"},
    )
    assert late.status_code == 422
    assert "takes no changes" in json.dumps(late.json())


def test_details_of_two_tabs_do_not_overwrite_each_other(two_hospitals, client_of):
    client = client_of(two_hospitals.a.staff)
    case = make_case(make_patient(two_hospitals.a.hospital))
    seen = {"version": case.version}
    client.post(url("case-details", case.pk), {**DETAILS, **seen})

    second = client.post(url("case-details", case.pk), {**DETAILS, **seen, "notes": "Other"})

    assert second.status_code == 409
    assert "Somebody else changed this case" in text_of(second)
    assert only(Case, two_hospitals.a.hospital).notes == "Cloudy left lens"
    odd = client.post(
        url("case-details", case.pk),
        {**DETAILS, "absent_eye": "OD", "absent_eye_reason": "artificial eye"},
    )
    assert (odd.status_code, "There is a photograph of this eye" in text_of(odd)) == (422, True)


def test_words_of_a_second_window_are_not_lost_in_silence(two_hospitals, client_of):
    client = client_of(two_hospitals.a.staff)
    case = make_case(make_patient(two_hospitals.a.hospital))
    client.post(url("case-submit", case.pk), DETAILS)
    words = {**DETAILS, "notes": "Typed in another window"}

    for address in (url("case-submit", case.pk), url("case-details", case.pk)):
        assert "was not saved" in text_of(client.post(address, words, follow=True))
        assert "was not saved" not in text_of(client.post(address, DETAILS, follow=True))
        assert client.get(address).url == url("case-detail", case.pk)
    assert only(Case, two_hospitals.a.hospital).notes == DETAILS["notes"]


def test_a_correction_of_a_patient_shows_in_their_cases(two_hospitals, client_of):
    client = client_of(two_hospitals.a.staff)
    patient = make_patient(two_hospitals.a.hospital, name="Misspelt")
    make_case(patient)

    refused = client.post(url("patient-update", patient.pk), {**PATIENT, "name": ""})
    assert (refused.status_code, "Misspelt" in text_of(refused)) == (422, True)
    saved = client.post(url("patient-update", patient.pk), PATIENT, follow=True)

    assert "The changes are saved" in text_of(saved)
    assert "Amara Diallo" in text_of(client.get(url("case-list")))


def test_a_waiting_case_says_why_in_words_that_a_nurse_understands(two_hospitals):
    queued = make_queued_case(make_patient(two_hospitals.a.hospital))
    soon = queued.submitted_at + PATIENCE / 2

    assert "waits for its turn" in case_progress(queued, soon)
    late = case_progress(queued, queued.submitted_at + PATIENCE + timedelta(seconds=1))
    assert "No grading worker has answered yet. Your case is safe" in late
    claimed = case_claim(case_pk=str(queued.pk), worker="test")
    assert "being graded now" in case_progress(claimed, claimed.history[-1].at)
    assert "another one takes it" in case_progress(claimed, claimed.history[-1].at + 2 * SLOW)
