"""What a transaction that failed leaves behind: nothing, also nothing that was to follow on it."""

import pytest
from django.db import connection
from django_mongodb_backend.transaction import on_commit
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure

from drservice.common.transactions import TRIES, _pause_s, in_one_transaction

pytestmark = pytest.mark.django_db


def test_what_was_to_follow_on_a_failed_commit_never_follows(monkeypatch):
    followed, commit, tries = [], ClientSession.commit_transaction, []

    def fail_once(session: ClientSession) -> None:
        tries.append(session)
        if len(tries) == 1:
            raise OperationFailure("lost", details={"errorLabels": ["TransientTransactionError"]})
        commit(session)

    monkeypatch.setattr(ClientSession, "commit_transaction", fail_once)
    in_one_transaction(lambda: on_commit(lambda: followed.append(len(tries))))
    assert followed == [2]
    assert connection.run_on_commit == []


def test_what_was_to_follow_on_a_commit_that_failed_for_good_never_follows(monkeypatch):
    def fail(session: ClientSession) -> None:
        raise OperationFailure("the disk is full")

    followed = []
    with monkeypatch.context() as patch:
        patch.setattr(ClientSession, "commit_transaction", fail)
        with pytest.raises(OperationFailure):
            in_one_transaction(lambda: on_commit(lambda: followed.append("failed")))
    in_one_transaction(lambda: on_commit(lambda: followed.append("stands")))
    assert followed == ["stands"]


def test_pauses_grow_and_last_long_enough_for_all_tries():
    longest_s = [max(_pause_s(failed) for _ in range(300)) for failed in range(1, TRIES)]
    assert longest_s[0] < 0.005
    assert longest_s[3] > longest_s[0]
    assert max(longest_s) < 0.3
    assert sum(longest_s) > 3
