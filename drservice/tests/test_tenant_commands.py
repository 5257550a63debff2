"""Every command carries its hospital: what is held to it, what is noticed, and what is excepted."""

import ast
from collections.abc import Iterator

import pytest
from bson import ObjectId
from django.apps import apps
from django.db import connection

from accounts.scoping import TenantModel, every_hospital, hospital_scope
from accounts.tests.factories import make_hospital
from drservice.testing.scope_exceptions import REASONS, UNSCOPED_MODELS
from drservice.testing.tenant_commands import REPOSITORY, hospitals_in, tenant_collections
from drservice.tests.scope_guards import product_modules
from workspace.models import Case, Patient
from workspace.tests.factories import make_case, make_patient

A, B = ObjectId(), ObjectId()


@pytest.mark.parametrize(
    ("condition", "hospitals"),
    [
        ({"hospital_id": A}, {A}),
        ({"hospital_id": {"$eq": A}, "state": "draft"}, {A}),
        ({"$and": [{"_id": B}, {"hospital_id": A}]}, {A}),
        ({"$and": [{"$and": [{"hospital_id": A}]}]}, {A}),
        ({"$expr": {"$eq": ["$hospital_id", A]}}, {A}),
        ({"$expr": {"$and": [{"$eq": [{"$literal": A}, "$hospital_id"]}]}}, {A}),
        ({"$and": [{"hospital_id": A}, {"hospital_id": B}]}, {A, B}),
        ({}, set()),
        ({"_id": A}, set()),
        ({"hospital_id": {"$ne": A}}, set()),
        ({"hospital_id": {"$in": [A, B]}}, set()),
        ({"hospital_id": {"$exists": True}}, set()),
        ({"$or": [{"hospital_id": A}, {"state": "draft"}]}, set()),
        ({"$nor": [{"hospital_id": A}]}, set()),
        ({"$expr": {"$or": [{"$eq": ["$hospital_id", A]}]}}, set()),
    ],
)
def test_a_filter_carries_the_hospital_only_when_every_match_must_have_it(condition, hospitals):
    assert hospitals_in(condition) == hospitals


def as_product_code(source: str, **names):
    """Run an expression as if it stood in a module of the product."""
    code = compile(source, f"{REPOSITORY}/workspace/made_up.py", "eval")
    return eval(code, names)  # noqa: S307


LEAKS = {
    "cases.find_one({'_id': pk})": "carries no hospital",
    "cases.find_one({'hospital_id': other})": "another hospital",
    "cases.count_documents({})": "carries no hospital",
    "cases.distinct('state')": "carries no hospital",
    "cases.estimated_document_count()": "carries no hospital",
    "list(cases.aggregate([{'$sort': {'_id': 1}}, {'$match': {'hospital_id': own}}]))": (
        "carries no hospital"
    ),
    "list(cases.aggregate([{'$match': {'hospital_id': own}}, {'$lookup': {'from': "
    "'workspace_patient', 'localField': 'patient_id', 'foreignField': '_id', 'as': 'p'}}]))": (
        "joins workspace_patient"
    ),
    "list(hospitals.aggregate([{'$lookup': {'from': 'workspace_patient', 'pipeline': [], "
    "'as': 'p'}}]))": "joins workspace_patient",
    "cases.update_one({'_id': pk}, {'$set': {'notes': 'x'}})": "carries no hospital",
    "cases.update_one({'hospital_id': own, '_id': pk}, {'$set': {'hospital_id': other}})": (
        "another hospital"
    ),
    "cases.replace_one({'hospital_id': own, '_id': pk}, {'notes': 'x'})": "carries no hospital",
    "cases.find_one({'hospital_id': None})": "carries no hospital",
    "cases.find_one_and_update({'_id': pk}, {'$set': {'notes': 'x'}})": "carries no hospital",
    "cases.delete_one({'_id': pk})": "carries no hospital",
    "cases.insert_one({'notes': 'x'})": "carries no hospital",
    "cases.insert_many([{'hospital_id': own}, {'hospital_id': other}])": "another hospital",
    "files.find_one({'filename': f'{other}/1/2/original'})": "another hospital",
    "files.find_one({'length': 7})": "which file",
    "files.find_one({'filename': 'photograph.jpg'})": "begin with a hospital",
}


@pytest.mark.django_db
@pytest.mark.parametrize("source", LEAKS)
def test_a_command_without_its_hospital_is_noticed(source, tenant_commands):
    hospital = make_hospital()
    names = {
        "cases": connection.get_collection(Case._meta.db_table),
        "hospitals": connection.get_collection("accounts_hospital"),
        "files": connection.database["images.files"],
        "own": hospital.pk,
        "other": ObjectId(),
        "pk": make_case(make_patient(hospital)).pk,
    }
    with hospital_scope(hospital.pk), tenant_commands.expecting_leaks() as leaks:
        as_product_code(source, **names)
    assert [LEAKS[source] in leak.why for leak in leaks] == [True], leaks
    assert leaks[0].where == "workspace/made_up.py:1"


@pytest.mark.django_db
def test_every_hospital_needs_a_listed_reason_and_no_scope_at_all_a_hospital(tenant_commands):
    cases = connection.get_collection(Case._meta.db_table)
    with tenant_commands.expecting_leaks() as leaks:
        with every_hospital("curiosity"):
            as_product_code("cases.find_one({})", cases=cases)
        as_product_code("cases.find_one({})", cases=cases)
        with tenant_commands.only(None), hospital_scope(A):
            as_product_code("cases.find_one({'hospital_id': a})", cases=cases, a=A)
    assert ["curiosity" in leaks[0].why, "no hospital" in leaks[1].why] == [True, True]
    assert "another hospital" in leaks[2].why
    with every_hospital("reconcile due cases"):
        as_product_code("cases.find_one({})", cases=cases)
    as_product_code("cases.find_one({'hospital_id': a})", cases=cases, a=A)


@pytest.mark.django_db
def test_every_way_of_the_managers_carries_the_hospital(tenant_commands):
    """Told from product code, where each of these is held to the open scope."""
    patient = make_patient(make_hospital())
    ways = [
        "patients.filter(pk=p.pk).first()",
        "patients.count()",
        "patients.filter(pk=p.pk).exists()",
        "patients.in_bulk([p.pk])",
        "list(patients.values_list('sex').distinct())",
        "list(patients.raw_aggregate([]))",
        "patients.filter(pk=p.pk).update(sex='F')",
        "p.save()",
        "p.save(update_fields=['sex'])",
        "p.refresh_from_db()",
        "patients.newest(where={}, start=0, count=5)",
        "patients.bulk_create([type(p)(hospital_id=p.hospital_id, mrn_hash='1', "
        "birth_date=p.birth_date)])",
        "patients.bulk_update([p], ['sex'])",
        "patients.get_or_create(mrn_hash='2', defaults={'hospital_id': p.hospital_id, "
        "'birth_date': p.birth_date})",
        "p.delete()",
        "patients.filter(mrn_hash='1').delete()",
    ]
    with hospital_scope(patient.hospital_id):
        for way in ways:
            before = tenant_commands.held[Patient._meta.db_table]
            as_product_code(way, patients=Patient.objects, p=patient)
            assert tenant_commands.held[Patient._meta.db_table] > before, way
        assert not tenant_commands.leaks, f"{way}: {tenant_commands.leaks}"
        assert [one.mrn_hash for one in Patient.objects.all()] == ["2"]


def test_every_model_with_a_hospital_is_scoped_or_excepted():
    with_hospital = {
        model._meta.label
        for model in apps.get_models()
        if any(field.name == "hospital" for field in model._meta.get_fields())
        and not issubclass(model, TenantModel)
    }
    assert with_hospital == set(UNSCOPED_MODELS)
    assert {Case._meta.db_table, Patient._meta.db_table} <= tenant_collections()


def test_reasons_for_every_hospital_are_those_of_the_code():
    assert sorted(reasons_in_code()) == sorted(REASONS)


def reasons_in_code() -> Iterator[str]:
    """Find what is given to `every_hospital`: a text, or the name of one in the same module."""
    for path in product_modules():
        module = ast.parse(path.read_text())
        named = {
            node.targets[0].id: node.value.value
            for node in module.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "every_hospital":
                [reason] = node.args
                yield named[reason.id] if isinstance(reason, ast.Name) else reason.value
