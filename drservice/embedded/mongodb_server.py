"""The embedded MongoDB: one mongod that is a replica set of one, so that transactions are real."""

import subprocess
import time
from pathlib import Path

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from drservice.embedded.binaries import find_mongod
from drservice.embedded.children import RunningService
from drservice.embedded.ports import LOOPBACK
from drservice.embedded.starting import Server, require_in_time, start_server

REPLICA_SET = "rs0"
START_TIMEOUT_S = 60
TRANSACTION_LIMIT_S = 15
POLL_S = 0.05
NOT_YET_INITIATED = 94
NOT_IN_ITS_OWN_CONFIGURATION = 93


def start_mongodb(directory: Path, port: int | None = None) -> RunningService:
    """Start a mongod on `directory` and return it once it is primary.

    Raises ServiceError with what happened and the cure.
    """
    return start_server(MONGODB, directory, port)


def mongodb_url(port: int) -> str:
    return f"mongodb://{LOOPBACK}:{port}/?replicaSet={REPLICA_SET}"


def _command(directory: Path, port: int) -> list[str]:
    return [
        find_mongod(),
        *("--dbpath", str(directory), "--port", str(port), "--bind_ip", LOOPBACK),
        *("--replSet", REPLICA_SET, "--oplogSize", "128", "--wiredTigerCacheSizeGB", "0.5"),
        *("--nounixsocket", "--quiet"),
        # One node has nobody to hand over to: don't linger on the way out.
        *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        # What a killed process had locked in a transaction is free again after so long.
        *("--setParameter", f"transactionLifetimeLimitSeconds={TRANSACTION_LIMIT_S}"),
    ]


def _wait_until_primary(process: subprocess.Popen, port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    try:
        with pymongo.MongoClient(
            LOOPBACK, port, directConnection=True, serverSelectionTimeoutMS=250
        ) as client:
            _wait_until_answering(process, client, deadline)
            _settle_replica_set(client, port)
            while not client.admin.command("hello")["isWritablePrimary"]:
                require_in_time(process, deadline)
                time.sleep(POLL_S)
    except PyMongoError as error:
        raise TimeoutError from error


def _wait_until_answering(
    process: subprocess.Popen, client: pymongo.MongoClient, deadline: float
) -> None:
    while True:
        try:
            client.admin.command("ping")
            return
        except PyMongoError:
            require_in_time(process, deadline)
        time.sleep(POLL_S)


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


MONGODB = Server("mongodb", "mongod", "MONGODB_URI", mongodb_url, _command, _wait_until_primary)
