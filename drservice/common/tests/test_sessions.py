"""Sessions are JSON, and know nothing that code could be made from."""

import pytest
from bson import ObjectId

from drservice.common.sessions import SessionSerializer


def test_session_comes_back_as_it_was_but_for_object_ids():
    key = ObjectId()
    written = SessionSerializer().dumps({"key": key, "name": "Zoë", "codes": [1, None, True]})
    assert isinstance(written, bytes)
    assert SessionSerializer().loads(written) == {
        "key": str(key),
        "name": "Zoë",
        "codes": [1, None, True],
    }


def test_session_refuses_what_json_can_not_say():
    with pytest.raises(TypeError, match="can't keep a set"):
        SessionSerializer().dumps({"roles": {"staff"}})
