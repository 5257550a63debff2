"""Alive asks nobody; ready asks MongoDB, Redis and the keys, and says which is not well."""

from collections.abc import Iterator

import pytest
from django.contrib.sessions.backends.db import SessionStore
from pymongo import MongoClient

from accounts.keys.sealing import platform_seal
from drservice import health

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def new_client() -> Iterator[None]:
    """Let Redis be asked at the address that the test sets, and at the old one afterwards."""
    health.redis_client.cache_clear()
    yield
    health.redis_client.cache_clear()


def test_alive_answers_without_a_database(client):
    answer = client.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "alive\n")
    assert client.post("/healthz").status_code == 405


def test_a_probe_with_a_session_reads_no_session(client, monkeypatch):
    def load(session):
        raise AssertionError("a session was read")

    monkeypatch.setattr(SessionStore, "load", load)
    client.cookies["sessionid"] = "a" * 32
    assert client.get("/healthz").status_code == 200


@pytest.mark.django_db
def test_ready_says_so_part_by_part(client):
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"mongo": "ok", "redis": "ok", "keys": "ok"}
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.django_db
def test_ready_names_the_part_that_does_not_answer(client, settings, monkeypatch, new_client):
    settings.REDIS_URL = f"redis://:hush@{NOWHERE}/0"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"mongo": "ok", "redis": "not ok", "keys": "ok"}

    with MongoClient(NOWHERE, serverSelectionTimeoutMS=200) as nowhere:
        monkeypatch.setattr(health, "_ping_mongo", lambda: nowhere.admin.command("ping"))
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["mongo"] == "not ok"


@pytest.mark.django_db
def test_ready_says_when_the_master_key_is_a_wrong_one(client, settings, caplog):
    platform_seal("something")
    settings.MASTER_KEYS = ["another-master-key-0123456789-abcdefghijklmnop"]
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"mongo": "ok", "redis": "ok", "keys": "not ok"}
    assert "Add that one to MASTER_KEY" in caplog.text
