"""Two records as one agree to what both agree to, and as two again to what each said."""

import re
from itertools import permutations

import pytest
from django.urls import reverse

from accounts.audit.actions import Action
from accounts.audit.models import AuditEvent
from accounts.audit.selectors import events_told
from accounts.scoping import hospital_scope
from workspace.models import Patient
from workspace.patients.consenting import CONSENTS, GIVEN_BACK, STRICTER, WITHDRAWN
from workspace.patients.merging import patient_merge, patient_unmerge
from workspace.patients.registering import patient_update
from workspace.tests.factories import make_patient
from workspace.trail import PATIENT_FACTS

pytestmark = pytest.mark.django_db(transaction=True)

WHY = {"by": "A nurse", "reason": "Asked the patient"}
TRAINING = "consent_training"


@pytest.fixture
def hospital(two_hospitals):
    with hospital_scope(two_hospitals.a.hospital.pk):
        yield two_hospitals.a.hospital


@pytest.fixture
def nurse(two_hospitals, client_of):
    return client_of(two_hospitals.a.staff)


@pytest.fixture
def record(hospital):
    """Return a function that registers somebody who agrees to training, or doesn't."""

    def registered(training: bool, *, messages: bool = False) -> Patient:
        return make_patient(hospital, consent_training=training, consent_messages=messages)

    return registered


def agrees(*patients: Patient, to: str = TRAINING) -> list[bool]:
    found = Patient.objects.in_bulk([one.pk for one in patients])
    return [getattr(found[one.pk], to) for one in patients]


def merge(stays: Patient, goes: Patient) -> None:
    patient_merge(survivor=stays, merged=goes, **WHY)


def undo(merged: Patient) -> None:
    patient_unmerge(merged=merged, **WHY)


def say(patient: Patient, training: bool) -> None:
    patient_update(patient=Patient.objects.get(pk=patient.pk), consent_training=training)


@pytest.mark.parametrize("goes_agrees", [True, False])
@pytest.mark.parametrize("stays_agrees", [True, False])
@pytest.mark.parametrize("to", CONSENTS)
def test_stricter_of_both_counts_and_each_has_its_own_back(hospital, to, stays_agrees, goes_agrees):
    stays = make_patient(hospital, **{to: stays_agrees})
    goes = make_patient(hospital, **{to: goes_agrees})
    merge(stays, goes)
    assert agrees(stays, goes, to=to) == [stays_agrees and goes_agrees, goes_agrees]
    undo(goes)
    assert agrees(stays, goes, to=to) == [stays_agrees, goes_agrees]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_merges_are_undone_in_any_order_and_the_strictest_that_is_left_counts(record, order):
    stays = record(True)
    others = [record(False), record(True), record(False)]
    for other in others:
        merge(stays, other)
    assert agrees(stays) == [False]
    left = [one for one in others if not agrees(one)[0]]
    for place in order:
        undo(others[place])
        left = [one for one in left if one.pk != others[place].pk]
        assert agrees(stays) == [not left]
    assert agrees(*others) == [False, True, False]


def test_merges_on_merges_hand_consent_back_layer_by_layer(record):
    first, second, third = record(False), record(True), record(True)
    merge(second, first)
    merge(third, second)
    assert agrees(third) == [False]
    undo(second)
    assert agrees(third, second) == [True, False]
    undo(first)
    assert agrees(third, second, first) == [True, True, False]


def test_consent_given_after_a_merge_counts_and_stays(record):
    stays, goes = record(True), record(False)
    merge(stays, goes)
    say(stays, True)
    assert agrees(stays) == [True]
    say(stays, False)
    undo(goes)
    # What was said last of the record that stayed is what it goes on saying.
    assert agrees(stays, goes) == [False, False]


def test_consent_withdrawn_from_the_one_record_is_withdrawn_from_both(record, nurse):
    nested, stays, goes = record(True), record(True), record(True)
    merge(goes, nested)
    merge(stays, goes)
    say(stays, False)
    asked = " ".join(nurse.get(reverse("workspace:patient-unmerge", args=[goes.pk])).text.split())
    assert "Photographs for training</strong>: neither agrees" in asked
    assert "Messages</strong>" not in asked
    undo(goes)
    assert agrees(stays, goes) == [False, False]
    undo(nested)
    assert agrees(goes, nested) == [False, False]


def test_consent_withdrawn_and_given_again_is_nobody_s_loss(record):
    stays, goes = record(True), record(True)
    merge(stays, goes)
    say(stays, False)
    say(stays, True)
    undo(goes)
    assert agrees(stays, goes) == [True, True]


def test_other_corrections_touch_no_consent(record):
    stays, goes = record(True), record(False)
    merge(stays, goes)
    # Whoever corrects a name holds the record as it was before the merge.
    patient_update(patient=stays, name="Another Name")
    assert agrees(stays) == [False]
    undo(goes)
    assert agrees(stays) == [True]


def test_form_opened_before_a_merge_does_not_bring_a_consent_back(record, nurse):
    stays, goes = record(True), record(False)
    address = reverse("workspace:patient-update", args=[stays.pk])
    opened = nurse.get(address)
    sent = {name: opened.context["form"][name].value() or "" for name in PATIENT_FACTS}
    sent |= {"consent_messages": "", TRAINING: "on", "consents_seen": seen_on(opened)}
    merge(stays, goes)

    refused = nurse.post(address, sent)

    assert refused.status_code == 422
    assert "consent changed while the page was open" in refused.text
    assert agrees(stays) == [False]
    # Whoever has read that and saves again has decided it.
    assert nurse.post(address, {**sent, "consents_seen": seen_on(refused)}).status_code == 302
    assert agrees(stays) == [True]


def seen_on(page) -> str:
    [seen] = re.findall(r'name="consents_seen" value="(\d+)"', page.text)
    return seen


def test_page_says_before_what_the_one_record_will_agree_to(record, nurse):
    stays, goes = record(True, messages=True), record(False, messages=True)
    page = nurse.get(reverse("workspace:patient-merge", args=[stays.pk, goes.pk]))
    assert [(one.label, one.agreed) for one in page.context["consents"]] == [
        ("Messages", True),
        ("Photographs for training", False),
    ]
    shown = " ".join(page.text.split())
    assert "agrees only to what both records agree to" in shown
    assert f'<span class="muted">on <span class="number">{goes.mrn}</span></span>' in shown


def test_page_says_what_stays_withheld_for_another_merged_record(record, nurse):
    stays, one, other = record(True), record(False), record(False)
    merge(stays, one)
    merge(stays, other)
    asked = " ".join(nurse.get(reverse("workspace:patient-unmerge", args=[one.pk])).text.split())
    assert f"Photographs for training</strong>: {stays.mrn} does not agree, as long as" in asked
    undo(one)
    asked = " ".join(nurse.get(reverse("workspace:patient-unmerge", args=[other.pk])).text.split())
    assert "as long as" not in asked


def test_trail_of_each_record_tells_its_own_consent(record, hospital):
    stays, goes = record(True), record(True, messages=True)
    refuses = record(False)
    merge(stays, refuses)
    undo(refuses)
    merge(stays, goes)
    say(stays, False)
    undo(goes)
    assert told_of(stays, hospital) == [
        (True, False, STRICTER),
        (False, True, GIVEN_BACK),
        (True, False, ""),
    ]
    assert told_of(goes, hospital) == [(True, False, WITHDRAWN)]
    assert told_of(refuses, hospital) == []


def told_of(patient: Patient, hospital) -> list[tuple[bool, bool, str]]:
    events = AuditEvent.objects.filter(subject_id=str(patient.pk), action=Action.CHANGE)
    told = events_told(events.order_by("seq"), hospital_id=hospital.pk)
    return [(one.before[TRAINING], one.after[TRAINING], one.reason) for one in told]
