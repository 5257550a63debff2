"""Keys are locked anew under another master key, and open afterwards without the old one."""

import secrets

import pytest

from accounts.keys.errors import MasterKeyFault
from accounts.keys.key_ring import forget_keys
from accounts.keys.sealing import audit_key, platform_seal, platform_unseal, seal, unseal
from accounts.keys.services import KeysFound, keys_check, keys_rewrap
from accounts.tests.factories import make_hospital

pytestmark = pytest.mark.django_db


def test_rotated_master_key_opens_everything_without_the_old_one(settings):
    sealed = [seal("a name", hospital_id=make_hospital().pk) for _ in range(3)]
    platform, audit = platform_seal("a code"), audit_key()
    old, new = settings.MASTER_KEYS[0], secrets.token_urlsafe(32)

    settings.MASTER_KEYS = [new, old]
    assert keys_check() == KeysFound(opened=4, behind=4, destroyed=0)
    assert keys_rewrap() == 4
    assert keys_rewrap() == 0

    settings.MASTER_KEYS = [new]
    forget_keys()
    assert keys_check() == KeysFound(opened=4, behind=0, destroyed=0)
    assert {unseal(one) for one in sealed} == {"a name"}
    assert (platform_unseal(platform), audit_key()) == ("a code", audit)
    settings.MASTER_KEYS = [old]
    with pytest.raises(MasterKeyFault):
        keys_check()


def test_master_key_rotation_without_the_old_key_changes_nothing(settings):
    sealed = seal("a name", hospital_id=make_hospital().pk)
    old = settings.MASTER_KEYS[0]
    settings.MASTER_KEYS = [secrets.token_urlsafe(32)]
    with pytest.raises(MasterKeyFault, match="Add that one to MASTER_KEY"):
        keys_rewrap()
    settings.MASTER_KEYS = [old]
    forget_keys()
    assert unseal(sealed) == "a name"
