"""A hospital's quota: counted in one update, told apart by day, changed only with its event."""

import threading

import pytest
from bson import ObjectId
from django.core.exceptions import ValidationError
from django.db import connection

from accounts.audit.models import AuditEvent
from accounts.limits.models import HospitalQuota
from accounts.limits.selectors import usage_of
from accounts.limits.services import (
    QuotaReached,
    Stored,
    quota_set,
    upload_give_back,
    upload_reserve,
    usage_set,
)
from accounts.scoping import ScopeError, hospital_scope
from accounts.tests.factories import make_hospital

pytestmark = pytest.mark.django_db


def counts(hospital) -> list[int]:
    return [usage.used for usage in usage_of(hospital.pk)]


def reserve(hospital, size_bytes=10, **options) -> None:
    with hospital_scope(hospital.pk):
        upload_reserve(hospital_id=hospital.pk, size_bytes=size_bytes, **options)


def test_photographs_count_for_their_hospital_alone_and_can_be_given_back():
    ours, theirs = make_hospital(), make_hospital()
    assert counts(ours) == [0, 0, 0, 0]
    reserve(ours, 7)
    reserve(ours, 5)
    reserve(theirs, 1)
    assert counts(ours) == [2, 12, 2, 12]
    with hospital_scope(ours.pk):
        upload_give_back(hospital_id=ours.pk, size_bytes=5)
        upload_give_back(hospital_id=ours.pk, size_bytes=7, same_day=True)
        upload_give_back(hospital_id=ours.pk, size_bytes=7, same_day=True)
    assert counts(ours) == [0, 0, 0, 0]
    assert counts(theirs) == [1, 1, 1, 1]
    with hospital_scope(ours.pk), pytest.raises(ScopeError):
        upload_reserve(hospital_id=theirs.pk, size_bytes=1)


@pytest.mark.parametrize(
    ("limits", "limit", "words"),
    [
        ({"photographs_a_day": 2}, "photographs_a_day", "tomorrow"),
        ({"bytes_a_day": 25}, "photographs_a_day", "tomorrow"),
        ({"photographs_in_all": 2}, "photographs_in_all", "room for photographs is used up"),
        ({"bytes_in_all": 25}, "bytes_in_all", "room for photographs is used up"),
    ],
)
def test_what_goes_beyond_a_limit_is_refused_and_counts_nothing(limits, limit, words):
    hospital = make_hospital()
    quota_set(hospital_id=hospital.pk, limits=limits)
    reserve(hospital)
    reserve(hospital)
    with pytest.raises(QuotaReached, match=words) as refused:
        reserve(hospital)
    assert refused.value.limit == limit
    assert counts(hospital) == [2, 20, 2, 20]
    quota_set(hospital_id=hospital.pk, limits=dict.fromkeys(limits))
    reserve(hospital)
    assert counts(hospital) == [3, 30, 3, 30]


def test_a_new_day_begins_at_nothing_and_the_store_goes_on():
    hospital = make_hospital()
    quota_set(hospital_id=hospital.pk, limits={"photographs_a_day": 1})
    reserve(hospital)
    with hospital_scope(hospital.pk):
        HospitalQuota.objects.filter(pk=hospital.pk).update(day="2020-01-01")
    assert counts(hospital) == [0, 0, 1, 10]
    reserve(hospital)
    assert counts(hospital) == [1, 10, 2, 20]


def test_what_was_stored_before_is_counted_once(settings):
    settings.QUOTA_BYTES = 1000
    hospital, asked = make_hospital(), []

    def stored() -> Stored:
        asked.append(1)
        return Stored(3, 985)

    reserve(hospital, stored=stored)
    with pytest.raises(QuotaReached):
        reserve(hospital, stored=stored)
    assert asked == [1]
    assert counts(hospital) == [1, 10, 4, 995]
    with hospital_scope(hospital.pk):
        usage_set(hospital_id=hospital.pk, stored=Stored(1, 10))
    assert counts(hospital)[2:] == [1, 10]


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_exactly_as_many_pass_as_may():
    hospital, passed = make_hospital(), []
    quota_set(hospital_id=hospital.pk, limits={"photographs_in_all": 5})

    def add() -> None:
        try:
            reserve(hospital)
            passed.append(True)
        except QuotaReached:
            passed.append(False)
        finally:
            connection.close()

    threads = [threading.Thread(target=add) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(passed) == [False] * 11 + [True] * 5
    assert counts(hospital)[2] == 5


def test_a_change_of_limits_is_an_event_and_nonsense_is_refused():
    hospital = make_hospital()
    quota_set(hospital_id=hospital.pk, limits={"bytes_in_all": 5}, reason="Asked by mail")
    with hospital_scope(hospital.pk):
        [event] = AuditEvent.objects.filter(subject_kind="quota")
    assert event.subject_id == str(hospital.pk)
    for wrong in ({"bytes": 5}, {"bytes_in_all": -1}):
        with pytest.raises(ValidationError):
            quota_set(hospital_id=hospital.pk, limits=wrong)
    [in_all] = [usage for usage in usage_of(hospital.pk) if usage.limit == "bytes_in_all"]
    assert (in_all.most, in_all.percent, in_all.is_default) == (5, 0, False)


def test_usage_of_a_hospital_without_any_shows_the_defaults(settings):
    usages = {usage.limit: usage for usage in usage_of(ObjectId())}
    assert usages["photographs_a_day"].most == settings.QUOTA_PHOTOGRAPHS_A_DAY
    assert usages["bytes_in_all"].most == settings.QUOTA_BYTES
    assert usages["bytes_a_day"].most is None
    assert usages["bytes_a_day"].percent is None
    assert not any(usage.is_reached for usage in usages.values())
