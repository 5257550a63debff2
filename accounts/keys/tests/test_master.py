"""The master key wraps, any listed one unwraps, and each refusal says what to do."""

import secrets

import pytest

from accounts.keys.errors import MasterKeyFault
from accounts.keys.master import is_current, unwrap, wrap

OLD, NEW = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
SECRET = b"s" * 32


@pytest.fixture
def wrapped(settings) -> bytes:
    settings.MASTER_KEYS = [OLD]
    return wrap(SECRET, owner="a hospital")


def test_first_master_key_wraps_and_every_listed_one_unwraps(settings, wrapped):
    assert is_current(wrapped)
    settings.MASTER_KEYS = [NEW, OLD]
    assert unwrap(wrapped, owner="a hospital") == SECRET
    assert not is_current(wrapped)
    assert is_current(wrap(SECRET, owner="a hospital"))


def test_wrapped_key_shows_neither_itself_nor_the_master_key(wrapped):
    assert SECRET not in wrapped
    assert OLD.encode() not in wrapped


def test_missing_master_key_says_where_to_set_one(settings, wrapped):
    settings.MASTER_KEYS = []
    with pytest.raises(MasterKeyFault, match=r"Set MASTER_KEY, or MASTER_KEY_FILE"):
        unwrap(wrapped, owner="a hospital")


def test_other_master_key_is_told_apart_by_its_fingerprint(settings, wrapped):
    settings.MASTER_KEYS = [NEW]
    with pytest.raises(MasterKeyFault) as refused:
        unwrap(wrapped, owner="a hospital")
    assert wrapped[1:9].hex() in refused.value.message
    assert "Add that one to MASTER_KEY" in refused.value.message
    assert OLD not in refused.value.message
    assert NEW not in refused.value.message


@pytest.mark.parametrize("place", [9, 25, -1])
def test_damaged_key_is_told_from_a_wrong_master_key(wrapped, place):
    damaged = bytearray(wrapped)
    damaged[place] ^= 1
    with pytest.raises(MasterKeyFault, match="is damaged"):
        unwrap(bytes(damaged), owner="a hospital")


def test_key_opens_for_nobody_else(wrapped):
    with pytest.raises(MasterKeyFault, match="is damaged"):
        unwrap(wrapped, owner="another hospital")
