"""Sealed values open with their own key for their own purpose, and show nothing before that."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from bson import ObjectId
from django.db import connection
from django_mongodb_backend.transaction import atomic

from accounts.keys import key_ring
from accounts.keys.errors import KeyDestroyed, MasterKeyFault, SealBroken, UnreadableRefused
from accounts.keys.key_ring import HOSPITAL_KEYS, forget_keys
from accounts.keys.models import HospitalKey, PlatformKey
from accounts.keys.sealing import (
    UNREADABLE,
    audit_key,
    keyed_hash,
    keyed_hashes,
    platform_hash,
    platform_seal,
    platform_unseal,
    seal,
    seal_bytes,
    sealed_with,
    unseal,
    unseal_bytes,
)
from accounts.scoping import ScopeError, every_hospital, hospital_scope
from accounts.tests.factories import make_hospital

pytestmark = pytest.mark.django_db(transaction=True)

NAME = "Zoë O'Brien"
OTHER_MASTER = "another-master-key-0123456789-abcdefghijklmnop"


@pytest.fixture
def hospital_id() -> ObjectId:
    return make_hospital().pk


def destroy(hospital_id: ObjectId) -> None:
    connection.database[HOSPITAL_KEYS].update_one(
        {"hospital_id": hospital_id},
        {"$set": {"versions.$[].wrapped": b"", "destroyed_at": key_ring.timezone.now()}},
    )


def test_sealed_text_opens_again_and_never_looks_the_same(hospital_id):
    first, second = (seal(NAME, hospital_id=hospital_id) for _ in range(2))
    assert unseal(first) == unseal(second) == NAME
    assert first != second
    assert seal("", hospital_id=hospital_id)
    assert unseal(seal("", hospital_id=hospital_id)) == ""
    assert unseal_bytes(seal_bytes(b"\x00\xff", hospital_id=hospital_id)) == b"\x00\xff"


def test_sealed_value_says_with_which_key_and_nothing_else(hospital_id):
    sealed = seal_bytes(NAME.encode(), hospital_id=hospital_id)
    assert sealed_with(sealed) == (hospital_id, 1)
    assert b"Brien" not in sealed


@pytest.mark.parametrize("place", range(-1, 43, 4))
def test_altered_value_is_refused(hospital_id, place):
    sealed = bytearray(seal_bytes(b"text", hospital_id=hospital_id))
    sealed[place] ^= 1
    with pytest.raises((SealBroken, KeyDestroyed)):
        unseal_bytes(bytes(sealed))


@pytest.mark.parametrize("text", ["", "plain", "é" * 60, "AAAA" * 20, "*" * 80])
def test_what_was_never_sealed_is_refused(text):
    with pytest.raises(SealBroken):
        unseal(text)
    assert HospitalKey.objects.count() == 0


def test_value_opens_for_its_purpose_alone(hospital_id):
    sealed = seal(NAME, hospital_id=hospital_id, purpose="name")
    assert unseal(sealed, purpose="name") == NAME
    with pytest.raises(SealBroken):
        unseal(sealed, purpose="phone")


def test_value_does_not_open_with_another_hospitals_key(hospital_id):
    other = make_hospital().pk
    seal(NAME, hospital_id=other)
    sealed = seal_bytes(NAME.encode(), hospital_id=hospital_id)
    with pytest.raises(SealBroken):
        unseal_bytes(sealed.replace(hospital_id.binary, other.binary))


def test_value_does_not_open_in_another_hospitals_scope(hospital_id):
    sealed = seal(NAME, hospital_id=hospital_id)
    with hospital_scope(ObjectId()), pytest.raises(ScopeError, match="another hospital"):
        unseal(sealed)
    with hospital_scope(hospital_id):
        assert unseal(sealed) == NAME
    with every_hospital("a test"):
        assert unseal(sealed) == NAME


def test_key_at_rest_holds_no_open_key(hospital_id):
    ring = key_ring.sealing_ring(hospital_id)
    stored = connection.database[HOSPITAL_KEYS].find_one({"hospital_id": hospital_id})
    (version,) = stored["versions"]
    assert ring.index_key not in version["wrapped"]
    assert len(version["wrapped"]) == 1 + 8 + 12 + 64 + 16


def test_first_use_by_many_at_once_makes_one_key(hospital_id):
    def use(number: int) -> str:
        try:
            forget_keys()
            return seal(str(number), hospital_id=hospital_id)
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=8) as pool:
        sealed = list(pool.map(use, range(24)))
    forget_keys()
    assert [unseal(one) for one in sealed] == [str(number) for number in range(24)]
    assert HospitalKey.objects.count() == 1


def test_key_made_inside_a_transaction_outlives_its_end(hospital_id):
    class Undone(Exception):
        pass

    def seal_and_undo() -> None:
        with atomic():
            kept.append(seal(NAME, hospital_id=hospital_id))
            raise Undone

    kept = []
    with pytest.raises(Undone):
        seal_and_undo()
    forget_keys()
    assert unseal(kept[0]) == NAME


def test_destroyed_key_stops_within_seconds(hospital_id, monkeypatch):
    monkeypatch.setattr(key_ring, "KEY_CACHE_S", 0.3)
    sealed, secret = seal(NAME, hospital_id=hospital_id), seal_bytes(b"x", hospital_id=hospital_id)
    destroy(hospital_id)
    time.sleep(0.35)
    assert unseal(sealed) == UNREADABLE
    refused = [
        lambda: unseal_bytes(secret),
        lambda: seal(NAME, hospital_id=hospital_id),
        lambda: keyed_hash(NAME, hospital_id=hospital_id, purpose="x"),
    ]
    for act in refused:
        with pytest.raises(KeyDestroyed, match="has been destroyed"):
            act()
    assert HospitalKey.objects.count() == 1


def test_keys_are_kept_for_seconds_and_not_longer(hospital_id):
    seal(NAME, hospital_id=hospital_id)
    audit_key()
    assert 1 <= key_ring.KEY_CACHE_S <= 10
    assert {hospital_id, key_ring.PLATFORM} <= set(key_ring._open)
    forget_keys()
    assert not key_ring._open


def test_wrong_master_key_is_an_error_and_never_unreadable(hospital_id, settings):
    sealed, platform = seal(NAME, hospital_id=hospital_id), platform_seal("x")
    settings.MASTER_KEYS = [OTHER_MASTER]
    forget_keys()
    for act in (lambda: unseal(sealed), lambda: platform_unseal(platform), audit_key):
        with pytest.raises(MasterKeyFault, match="not among those set"):
            act()


def test_stand_in_for_what_is_unreadable_is_never_sealed(hospital_id):
    with pytest.raises(UnreadableRefused):
        seal(UNREADABLE, hospital_id=hospital_id)


def test_keyed_hash_differs_by_text_hospital_and_purpose(hospital_id):
    other = make_hospital().pk
    first = keyed_hash("n-1", hospital_id=hospital_id, purpose="mrn")
    assert first == keyed_hash("n-1", hospital_id=hospital_id, purpose="mrn")
    assert len(first) == 22
    different = {
        first,
        keyed_hash("n-2", hospital_id=hospital_id, purpose="mrn"),
        keyed_hash("n-1", hospital_id=other, purpose="mrn"),
        keyed_hash("n-1", hospital_id=hospital_id, purpose="name"),
        platform_hash("n-1", "mrn"),
        platform_hash("n-1", "name"),
    }
    assert len(different) == 6
    many = keyed_hashes(["n-1", "n-2"], hospital_id=hospital_id, purpose="mrn")
    assert many[0] == first
    assert many[1] in different


def test_platform_seal_belongs_to_no_hospital(hospital_id):
    sealed = platform_seal("JBSWY3DPEHPK3PXP", "totp")
    assert platform_unseal(sealed, "totp") == "JBSWY3DPEHPK3PXP"
    for act in (
        lambda: platform_unseal(sealed, "codes"),
        lambda: platform_unseal(seal(NAME, hospital_id=hospital_id)),
    ):
        with pytest.raises(SealBroken):
            act()
    assert unseal(sealed, purpose="totp") == UNREADABLE
    assert PlatformKey.objects.count() == 1


def test_audit_key_outlives_hospital_keys(hospital_id):
    before = audit_key()
    seal(NAME, hospital_id=hospital_id)
    destroy(hospital_id)
    forget_keys()
    assert audit_key() == before
    assert len(before) == 32
