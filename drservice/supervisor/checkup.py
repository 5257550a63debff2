"""The doctor's questions: one for each part of the service, each with its cure."""

import datetime as dt
import importlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pymongo
import redis
from django.conf import settings
from django.core.checks import ERROR, run_checks
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from packaging.requirements import Requirement
from pymongo.errors import PyMongoError

from accounts.keys.errors import KeyFault
from accounts.keys.master import current_fingerprint
from accounts.keys.services import keys_check
from drservice.celery import app
from drservice.embedded import ServiceError
from drservice.embedded.binaries import find_chromium, find_mongod, find_redis_server
from drservice.settings import env
from inference.engine.errors import EngineError
from inference.errors import ModelUnavailable
from inference.model_files import local_directory
from inference.selectors import champion_alias, workers_alive

ROOT = Path(__file__).resolve().parents[2]
MIN_PYTHON = (3, 11)
MIN_MONGODB = (6, 0)
MIN_FREE_BYTES = 2_000_000_000
SERVER_TIMEOUT_MS = 3000
PING_TIMEOUT_S = 3.0
MAX_CLOCK_GAP_S = 5.0
RECONCILE_TASK = "workspace.reconcile_cases"
FINDERS = {"mongod": find_mongod, "redis-server": find_redis_server}
LIBRARIES = "Debian, Ubuntu: apt-get install libssl3 libcurl4. Or put another one on PATH."
REGISTER = "Run `manage.py register_model inference/shipped --promote`."
START = "Start the service: `make run`, or `manage.py serve`."


class State(StrEnum):
    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What is known of one part; `cure` is empty when nothing needs doing."""

    subject: str
    state: State
    text: str
    cure: str = ""


class Problem(Exception):
    """A part is broken: what is wrong, and the cure."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(what)
        self.what = what
        self.cure = cure


class Note(Problem):
    """Something worth knowing that stops nobody."""


@dataclass(frozen=True)
class Question:
    """`ask` returns what is well, or raises. `needs` names what must be well for it to be asked."""

    subject: str
    ask: Callable[[], str]
    needs: str = ""


def check_up(subjects: frozenset[str] | None = None) -> Iterator[Finding]:
    """Ask every part how it is, or only the parts named, one after the other."""
    broken = set()
    for question in QUESTIONS:
        if subjects is not None and question.subject not in subjects:
            continue
        finding = _not_asked(question) if question.needs in broken else _asked(question)
        if finding.state == State.PROBLEM:
            broken.add(question.subject)
        yield finding


def _asked(question: Question) -> Finding:
    try:
        return Finding(question.subject, State.OK, question.ask())
    except Note as note:
        return Finding(question.subject, State.NOTE, note.what, note.cure)
    except Problem as problem:
        return Finding(question.subject, State.PROBLEM, problem.what, problem.cure)
    except Exception as error:
        # A doctor who falls over helps nobody: whatever it is, name it and go on.
        what = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
        return Finding(question.subject, State.PROBLEM, what, START)


def _not_asked(question: Question) -> Finding:
    return Finding(question.subject, State.PROBLEM, f"Not asked: needs {question.needs}.")


def python_version() -> str:
    if sys.version_info < MIN_PYTHON:
        raise Problem(
            f"Python {sys.version.split()[0]} is too old.",
            "Install Python 3.11 or newer, remove .venv, and run `make run`.",
        )
    return sys.version.split()[0]


def packages() -> str:
    """Compare what is installed with the lock: the whole service's, or a web machine's."""
    name = "run" if _installed("torch") else "web"
    pins = _pins((ROOT / "requirements" / f"{name}.txt").read_text())
    wrong = [name for name, version in pins.items() if _installed(name) != version]
    if wrong:
        raise Problem(
            f"{len(wrong)} packages are missing or of another version: {', '.join(wrong[:5])}.",
            "Run `make run`, or install requirements.txt with --require-hashes.",
        )
    return f"{len(pins)} as locked in requirements/{name}.txt"


def _pins(lock: str) -> dict[str, str]:
    lines = re.findall(r"^([A-Za-z0-9][^\\\n]*)\\$", lock, re.MULTILINE)
    wanted = [Requirement(line) for line in lines]
    return {
        one.name: str(one.specifier).removeprefix("==")
        for one in wanted
        if one.marker is None or one.marker.evaluate()
    }


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def configuration() -> str:
    errors = [message for message in run_checks() if message.level >= ERROR]
    if errors:
        raise Problem(f"{len(errors)} errors; first: {errors[0].msg}", "Run `manage.py check`.")
    return settings.SETTINGS_MODULE


def mongodb() -> str:
    try:
        with _mongo() as client:
            version = client.server_info()["versionArray"]
    except PyMongoError as error:
        raise _not_reached("MONGODB_URI", "mongod") from error
    if tuple(version) < MIN_MONGODB:
        raise Problem(
            f"MongoDB is {version[0]}.{version[1]}.", "Use 6.0 or newer; 8.0 in production."
        )
    return f"version {version[0]}.{version[1]}.{version[2]}"


def replica_set() -> str:
    with _mongo() as client:
        hello = client.admin.command("hello")
    if "setName" not in hello:
        raise Problem(
            "The MongoDB server is not part of a replica set: there are no real transactions.",
            "Start mongod with --replSet rs0, run rs.initiate() once, and name the set in "
            "MONGODB_URI (?replicaSet=rs0).",
        )
    return f"{hello['setName']}, {len(hello['hosts'])} member(s), primary {hello['primary']}"


def clock() -> str:
    """Compare this machine's clock with MongoDB's: leases and hints expire by the clock."""
    with _mongo() as client:
        there = client.admin.command("hello")["localTime"]
    gap_s = abs((dt.datetime.now(dt.UTC).replace(tzinfo=None) - there).total_seconds())
    if gap_s > MAX_CLOCK_GAP_S:
        raise Problem(
            f"The clock here and the one of MongoDB's machine are {gap_s:.0f} s apart: cases would "
            "be taken from workers that are at work on them.",
            "Set both clocks by NTP (for instance systemd-timesyncd or chrony).",
        )
    return f"{gap_s:.1f} s from MongoDB's"


def write_concern() -> str:
    """Write a record as the service does, and see a majority confirm it."""
    with _mongo() as client:
        concern = client[settings.DATABASES["default"]["NAME"]].doctor.write_concern
        if concern.document.get("w") != "majority" or not concern.document.get("j"):
            raise Problem(
                f"Writes count as done at {concern.document}: one lost node may lose a case.",
                "Remove w and journal from MONGODB_URI: settings ask for majority and journal.",
            )
        began = time.monotonic()
        client[settings.DATABASES["default"]["NAME"]].doctor.replace_one(
            {"_id": "doctor"}, {"_id": "doctor"}, upsert=True
        )
    return f"majority and journal, {1000 * (time.monotonic() - began):.0f} ms"


def _not_reached(variable: str, program: str) -> Problem:
    """Say that a server is away, and for an embedded one also whether its program would run."""
    if env.read(variable):
        return Problem(
            f"The server that {variable} names does not answer, or refuses us.",
            f"Start it, or correct address, user and password in {variable}.",
        )
    try:
        path = FINDERS[program]()
    except ServiceError as error:
        return Problem(error.what, error.cure)
    tried = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        return Problem(f"{path} does not run: {tried.stderr.strip()[:200]}", LIBRARIES)
    return Problem(f"The embedded {program} is not running.", START)


def _mongo() -> pymongo.MongoClient:
    options = {**settings.DATABASES["default"]["OPTIONS"]}
    options["serverSelectionTimeoutMS"] = SERVER_TIMEOUT_MS
    return pymongo.MongoClient(settings.MONGODB_URI, **options)


def migrations() -> str:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        raise Problem(f"{len(plan)} migrations are not applied.", "Run `manage.py migrate`.")
    return "all applied"


def redis_server() -> str:
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=3) as client:
            about = client.info()
    except redis.RedisError as error:
        raise _not_reached("REDIS_URL", "redis-server") from error
    if not about.get("aof_enabled"):
        raise Note(
            f"Version {about['redis_version']}, without an append-only file: hints are lost when "
            "it restarts, and sent again by the reconciler.",
            "Start redis-server with --appendonly yes.",
        )
    return f"version {about['redis_version']}, append-only file"


def keys() -> str:
    """Open every hospital's keys with the master key that is set, and the platform's."""
    try:
        found = keys_check()
    except KeyFault as fault:
        raise Problem(
            fault.message,
            "Set the master key that this database was used with; docs/keys.md says how.",
        ) from fault
    if found.behind:
        raise Note(
            f"{found.behind} of {found.opened} keys are locked by an older master key.",
            "Run `manage.py rotate_master_key`, then remove the older one from MASTER_KEY.",
        )
    destroyed = f", {found.destroyed} destroyed" if found.destroyed else ""
    return f"{found.opened} open with the master key {current_fingerprint()}{destroyed}"


def image_storage() -> str:
    """Write, read and delete a small file where photographs are kept."""
    content = b"doctor"
    name = default_storage.save("doctor/check", ContentFile(content))
    with default_storage.open(name) as file:
        read = file.read()
    default_storage.delete(name)
    if read != content:
        raise Problem("A stored file came back changed.", "Check the disk and the storage.")
    return f"written, read and deleted in {settings.STORAGES['default']['BACKEND']}"


def model() -> str:
    """Load the model that workers grade with, and see it reproduce its test vector."""
    alias = champion_alias()
    if alias is None:
        raise Problem("No model is the champion, so nothing is graded.", REGISTER)
    try:
        directory = local_directory(alias.model)
        # Here and not above: on a web machine there is no torch, and no need of it.
        engine = importlib.import_module("inference.engine.grader")
        grader = engine.load_grader(
            directory, device=settings.INFERENCE_DEVICE, precision=settings.INFERENCE_PRECISION
        )
        grader.self_check()
    except ModuleNotFoundError:
        return f"{alias.model.label}, its files are whole (no torch here to try it)"
    except ModelUnavailable as error:
        raise Problem(error.message, REGISTER) from error
    except EngineError as error:
        raise Problem(error.problem, error.cure) from error
    return f"{alias.model.label} on {grader.backend} reproduces its test vector"


def worker() -> str:
    workers = workers_alive()
    ready = [one for one in workers if one.ready]
    if not workers:
        raise Problem("No grading worker is running.", START)
    if not ready:
        raise Problem(f"No grading worker is ready: {workers[0].reason}", "Look into its log.")
    return f"{len(ready)} ready of {len(workers)}, grading with {ready[0].model_version}"


def beat() -> str:
    """Wait for a worker to have done another sweep: only beat asks for them."""
    every_s = env.read("RECONCILE_EVERY_S")
    before = _sweeps()
    deadline = time.monotonic() + 2 * every_s + PING_TIMEOUT_S
    while _sweeps() <= before:
        if time.monotonic() > deadline:
            raise Problem("No sweep for due cases was asked for: beat is not running.", START)
    return f"asks for a sweep every {every_s} s"


def _sweeps() -> int:
    stats = app.control.inspect(timeout=1.0).stats() or {}
    if not stats:
        raise Problem("Beat can't be seen without a worker that answers.", START)
    return sum(one["total"].get(RECONCILE_TASK, 0) for one in stats.values())


def disk() -> str:
    settings.VAR_DIR.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.VAR_DIR).free
    if free < MIN_FREE_BYTES:
        raise Problem(
            f"{free / 1e9:.1f} GB are free under {settings.VAR_DIR}.",
            "Free some space, or point VAR_DIR at a larger disk.",
        )
    return f"{free / 1e9:.0f} GB free"


def chromium() -> str:
    path = find_chromium()
    if path is None:
        raise Note(
            "Not found: browser tests will be skipped.", "Debian, Ubuntu: apt-get install chromium"
        )
    return path


QUESTIONS = (
    Question("python", python_version),
    Question("packages", packages),
    Question("settings", configuration),
    Question("disk", disk),
    Question("mongodb", mongodb),
    Question("replica set", replica_set, needs="mongodb"),
    Question("clock", clock, needs="mongodb"),
    Question("write concern", write_concern, needs="replica set"),
    Question("migrations", migrations, needs="mongodb"),
    Question("keys", keys, needs="mongodb"),
    Question("photographs", image_storage, needs="mongodb"),
    Question("redis", redis_server),
    Question("model", model, needs="mongodb"),
    Question("worker", worker, needs="redis"),
    Question("beat", beat, needs="worker"),
    Question("chromium", chromium),
)
