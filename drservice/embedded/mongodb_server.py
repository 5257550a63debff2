"""The embedded MongoDB: one mongod that is a replica set of one, so that transactions are real."""

import subprocess
import time
from pathlib import Path

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from drservice.embedded.binaries import find_mongod
from drservice.embedded.children import RunningService, end, spawn, start_new_log
from drservice.embedded.diagnosis import startup_error
from drservice.embedded.ports import LOOPBACK, free_port, require_free

REPLICA_SET = "rs0"
START_TIMEOUT_S = 60
POLL_S = 0.05
NOT_YET_INITIATED = 94
NOT_IN_ITS_OWN_CONFIGURATION = 93


def mongodb_url(port: int) -> str:
    return f"mongodb://{LOOPBACK}:{port}/?replicaSet={REPLICA_SET}"


def start_mongodb(directory: Path, port: int | None = None) -> RunningService:
    """Start a mongod on `directory` and return it once it is primary.

    Raises ServiceError with what happened and the cure.
    """
    directory = directory.resolve()
    port = port or free_port()
    require_free(port, "mongod")
    log = directory / "mongod.log"
    start_new_log(log)
    process = spawn(_command(directory, port), log=log)
    try:
        _wait_until_primary(process, port)
    except (PyMongoError, TimeoutError) as error:
        end(process)
        raise startup_error(
            name="mongod",
            variable="MONGODB_URI",
            directory=directory,
            port=port,
            log=log,
            process=process,
        ) from error
    except BaseException:
        end(process)
        raise
    return RunningService("mongodb", mongodb_url(port), port, log, process)


def _command(directory: Path, port: int) -> list[str]:
    return [
        find_mongod(),
        *("--dbpath", str(directory), "--port", str(port), "--bind_ip", LOOPBACK),
        *("--replSet", REPLICA_SET, "--oplogSize", "128", "--wiredTigerCacheSizeGB", "0.5"),
        *("--nounixsocket", "--quiet"),
        # One node has nobody to hand over to: don't linger on the way out.
        *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    ]


def _wait_until_primary(process: subprocess.Popen, port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    with pymongo.MongoClient(
        LOOPBACK, port, directConnection=True, serverSelectionTimeoutMS=250
    ) as client:
        _wait_until_answering(process, client, deadline)
        _settle_replica_set(client, port)
        while not client.admin.command("hello")["isWritablePrimary"]:
            _check_in_time(process, deadline)
            time.sleep(POLL_S)


def _wait_until_answering(
    process: subprocess.Popen, client: pymongo.MongoClient, deadline: float
) -> None:
    while True:
        try:
            client.admin.command("ping")
            return
        except PyMongoError:
            _check_in_time(process, deadline)
        time.sleep(POLL_S)


def _check_in_time(process: subprocess.Popen, deadline: float) -> None:
    if process.poll() is not None or time.monotonic() > deadline:
        raise TimeoutError


def _settle_replica_set(client: pymongo.MongoClient, port: int) -> None:
    """Make the replica set on a new directory; tell an older one its port of today."""
    member = {"_id": 0, "host": f"{LOOPBACK}:{port}"}
    try:
        client.admin.command("replSetGetStatus")
    except OperationFailure as failure:
        if failure.code == NOT_YET_INITIATED:
            client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
            return
        if failure.code != NOT_IN_ITS_OWN_CONFIGURATION:
            raise
    configuration = client.admin.command("replSetGetConfig")["config"]
    if [one["host"] for one in configuration["members"]] == [member["host"]]:
        return
    configuration["members"] = [member]
    configuration["version"] += 1
    client.admin.command("replSetReconfig", configuration, force=True)
