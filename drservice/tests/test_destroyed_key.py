"""Every door of a hospital whose key was destroyed still gives an answer, and names nobody."""

import pytest

from accounts.key_services import hospital_key_destroy
from drservice.tests.doors import (
    INSIDE,
    ROWS,
    Knocker,
    address_of,
    everything_in,
    fields_of,
    refusal_at_the_door,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_no_door_falls_off_its_hinges_when_the_key_is_gone(
    two_hospitals, objects_of_a, hospital_a, settings
):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    names = [hospital_a.case.patient_copy.name, hospital_a.other_patient.name]
    person = everything_in("A", two_hospitals.a.hospital, tuple(two_hospitals.a.people))
    hospital_key_destroy(hospital=two_hospitals.a.hospital, reason="")
    knocker, wrong, inside = Knocker(raise_request_exception=False), [], 0
    for row in ROWS.values():
        if refusal_at_the_door(row, person):
            continue
        address, fields = address_of(row, objects_of_a[row.what]), fields_of(row, hospital_a)
        for method in sorted(row.methods):
            answer = knocker.knock(person, method, address, fields)
            inside += answer.status_code in INSIDE
            if answer.status_code >= 500:
                wrong.append(f"{method} {row.name}: {answer.status_code}, {answer.exc_info[1]!r}")
            elif not answer.streaming and any(name.encode() in answer.content for name in names):
                wrong.append(f"{method} {row.name} names somebody")
    assert not wrong, "\n".join(wrong)
    assert inside > len(ROWS) / 2
