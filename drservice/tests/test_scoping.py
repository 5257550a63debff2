"""The tenant scope: queries without one raise, and an open one never reaches another hospital."""

import asyncio
import threading

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from bson import ObjectId
from django.db.models import ProtectedError
from django.http import HttpResponse
from django.test import RequestFactory

from accounts.middleware import HospitalScopeMiddleware
from accounts.models import Membership
from accounts.scoping import (
    Scope,
    ScopeError,
    TenantModel,
    current_scope,
    every_hospital,
    hospital_scope,
)
from accounts.tests.factories import make_hospital
from workspace.models import Case, Patient
from workspace.tests.factories import make_case, make_patient

A, B = ObjectId(), ObjectId()


def test_no_scope_is_open_by_itself():
    with pytest.raises(ScopeError, match=r"Patient .*hospital_scope\(hospital_id\)"):
        current_scope("Patient")


@pytest.mark.parametrize("model", TenantModel.__subclasses__())
def test_every_query_without_a_scope_raises(model):
    queries = [
        lambda: model.objects.all(),
        lambda: model.objects.count(),
        lambda: model.objects.filter(pk=ObjectId()).update(),
        lambda: model.objects.filter(pk=ObjectId()).delete(),
        lambda: model.objects.create(hospital_id=A),
        lambda: model.objects.bulk_create([model(hospital_id=A)]),
        lambda: model.objects.raw_aggregate([]),
        lambda: model._base_manager.all(),
        lambda: model(hospital_id=A).save(),
        lambda: model(pk=ObjectId(), hospital_id=A).save(force_update=True),
        lambda: model(pk=ObjectId(), hospital_id=A).refresh_from_db(),
    ]
    for query in queries:
        with pytest.raises(ScopeError, match=model.__name__):
            query()


@pytest.mark.parametrize("wrong", [None, "", str(A), 7], ids=["none", "empty", "text", "number"])
def test_scope_of_nothing_is_refused(wrong):
    with pytest.raises(TypeError, match="takes an ObjectId"):
        hospital_scope(wrong)


def test_scopes_nest_and_close_even_after_an_error():
    with hospital_scope(A):
        with hospital_scope(B):
            assert current_scope().hospital_id == B
        with pytest.raises(ZeroDivisionError), hospital_scope(B):
            _ = 1 / 0
        assert current_scope().hospital_id == A
        with every_hospital("a sweep"):
            assert current_scope() == Scope(None, "a sweep")
        assert current_scope().narrow({"_id": 1}) == {"hospital_id": A, "_id": 1}
    with pytest.raises(ScopeError):
        current_scope()


@pytest.mark.django_db
def test_filter_and_new_record_can_not_leave_the_scope():
    with pytest.raises(ScopeError, match="another hospital"):
        Scope(A).narrow({"hospital_id": B})
    leaving = [
        lambda: Patient.objects.create(hospital_id=B),
        lambda: Patient.objects.bulk_create([Patient(hospital_id=A), Patient(hospital_id=B)]),
        lambda: Patient(hospital_id=B).save(),
    ]
    for insert in leaving:
        with hospital_scope(A), pytest.raises(ScopeError, match="Patient of another hospital"):
            insert()


@pytest.mark.django_db
def test_a_record_can_not_move_to_another_hospital():
    ours, other = make_patient(make_hospital()), make_hospital()
    moved = Patient(pk=ours.pk, hospital=other, mrn=ours.mrn, birth_date=ours.birth_date)
    moving = [
        lambda: moved.save(force_update=True),
        lambda: moved.save(update_fields=["hospital"]),
        lambda: Patient.objects.filter(pk=ours.pk).update(hospital=other),
        lambda: Patient.objects.filter(pk=ours.pk).update(hospital_id=other.pk),
        lambda: Patient.objects.update_or_create(pk=ours.pk, defaults={"hospital": other}),
        lambda: Patient.objects.bulk_update([moved], ["hospital"]),
    ]
    for move in moving:
        with hospital_scope(ours.hospital_id):
            with pytest.raises(ScopeError, match="Patient of another hospital"):
                move()
            assert Patient.objects.get().hospital_id == ours.hospital_id


@pytest.mark.django_db
def test_a_record_that_another_one_needs_is_not_deleted():
    patient = make_patient(make_hospital())
    make_case(patient)
    with hospital_scope(patient.hospital_id):
        for delete in (patient.delete, Patient.objects.filter(pk=patient.pk).delete):
            with pytest.raises(ProtectedError):
                delete()
        assert Case.objects.all().delete() == (1, {"workspace.Case": 1})
        assert patient.delete() == (1, {"workspace.Patient": 1})
        assert not Patient.objects.exists()


@pytest.mark.django_db
def test_scope_hides_the_other_hospital_from_reads_and_writes():
    ours, theirs = make_patient(make_hospital()), make_patient(make_hospital())
    their_case = make_case(theirs)
    with hospital_scope(ours.hospital_id):
        assert [patient.pk for patient in Patient.objects.all()] == [ours.pk]
        assert [patient.pk for patient in Patient.objects.raw_aggregate([])] == [ours.pk]
        assert Patient.objects.filter(hospital_id=theirs.hospital_id).count() == 0
        assert not Patient.objects.filter(pk=theirs.pk).exists()
        assert Patient.objects.filter(pk=theirs.pk).update(name="Changed") == 0
        assert Patient.objects.filter(pk=theirs.pk).delete()[0] == 0
        assert Case.objects.cancel(pk=their_case.pk, by="us", words="ours") is None
        assert Case.objects.amend(pk=their_case.pk, version=their_case.version, values={}) is None
        with pytest.raises(Patient.DoesNotExist):
            Patient.objects.get(pk=theirs.pk)
        with pytest.raises(Patient.DoesNotExist):
            _ = their_case.patient
    with hospital_scope(theirs.hospital_id):
        assert Patient.objects.get().name == theirs.name
        assert Case.objects.get().version == their_case.version
    with every_hospital("a test"):
        assert Patient.objects.count() == 2


def test_scope_stays_in_its_thread():
    seen = []

    def look() -> None:
        try:
            seen.append(current_scope())
        except ScopeError as error:
            seen.append(error)

    with hospital_scope(A):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert isinstance(seen[0], ScopeError)


async def test_scope_follows_into_sync_code_and_stays_out_of_other_tasks():
    async def work(hospital_id: ObjectId) -> list:
        seen = []
        with hospital_scope(hospital_id):
            for _ in range(5):
                await asyncio.sleep(0)
                seen.append(await sync_to_async(lambda: current_scope().hospital_id)())
        return seen

    assert await asyncio.gather(work(A), work(B)) == [[A] * 5, [B] * 5]
    with pytest.raises(ScopeError):
        current_scope()


@pytest.mark.django_db
def test_request_has_the_scope_of_its_member_and_leaves_none_behind(two_hospitals):
    def handle(user):
        request = RequestFactory().get("/")
        request.user, request.session = user, {}

        def view(request):
            return HttpResponse(str(current_scope().hospital_id))

        return HospitalScopeMiddleware(view)(request).text

    for side in (two_hospitals.a, two_hospitals.b):
        assert handle(side.staff) == str(side.hospital.pk)
        with pytest.raises(ScopeError):
            current_scope()
    with pytest.raises(ScopeError):
        handle(two_hospitals.stranger)
    with pytest.raises(ScopeError):
        handle(two_hospitals.operator)


@pytest.mark.django_db
async def test_requests_at_once_keep_their_scopes_apart(two_hospitals, async_client_of):
    def names_on(page) -> set[str]:
        return {name for name in ("Hospital A", "Hospital B") if name in page.text}

    sides = [two_hospitals.a, two_hospitals.b] * 4
    clients = [await sync_to_async(async_client_of)(side.admin) for side in sides]
    pages = await asyncio.gather(*(client.get("/accounts/people/") for client in clients))
    assert [names_on(page) for page in pages] == [{side.hospital.name} for side in sides]
    with pytest.raises(ScopeError):
        current_scope()


def test_scope_of_a_sync_call_inside_async_code_ends_with_it():
    async def inner() -> ObjectId:
        with hospital_scope(B):
            return current_scope().hospital_id

    with hospital_scope(A):
        assert async_to_sync(inner)() == B
        assert current_scope().hospital_id == A


def test_memberships_are_not_scoped_but_only_read_through_people_and_doors():
    """A membership says who may open a scope, so it can't need one."""
    assert not issubclass(Membership, TenantModel)
