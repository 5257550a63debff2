"""A pytest plugin: every command on a hospital's records says for which hospital, or a test fails.

It listens to what pymongo sends, below every queryset, manager and service; so a query that forgot
its hospital is found however it was written. It is on for the whole suite.

Held to it is what the product sends. What a test itself looks up or clears is the test's affair.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType

import pytest
from bson import ObjectId
from django.apps import apps
from pymongo import monitoring

from accounts.scoping import Scope, TenantModel, _scope
from drservice.testing.scope_exceptions import REASONS

HOSPITAL = "hospital_id"
NOWHERE = ObjectId()
# Reasons that tests give when they look across hospitals themselves.
TEST_REASONS = frozenset({"a test", "a sweep"})
FILES = "images.files"
# Folders of stored files that belong to no hospital: of models, of the doctor's trial, of tests.
SHARED_FOLDERS = frozenset({"models", "doctor", "test"})
# What makes and drops collections and indexes, and goes on with an answer that was begun.
ABOUT_NO_DOCUMENT = frozenset(
    {
        *("create", "drop", "dropDatabase", "listCollections", "collMod", "renameCollection"),
        *("createIndexes", "dropIndexes", "listIndexes", "getMore", "killCursors"),
    }
)
JOINS = ("$lookup", "$graphLookup", "$unionWith", "$out", "$merge")
REPOSITORY = str(Path(__file__).resolve().parent.parent.parent)
OURS = tuple(
    f"{REPOSITORY}/{name}/"
    for name in ("accounts", "workspace", "inference", "training", "drservice")
)
NOT_THE_PRODUCT = ("/tests/", "/drservice/testing/", "/migrations/")


@dataclass(frozen=True)
class Leak:
    """A command that could have touched another hospital's documents."""

    command: str
    collection: str
    why: str
    where: str

    def __str__(self) -> str:
        return f"{self.command} on {self.collection}, sent by {self.where}: {self.why}"


@dataclass
class TenantCommands(monitoring.CommandListener):
    """Hold every command on a tenant collection to the hospital of the open scope."""

    leaks: list[Leak] = field(default_factory=list)
    # How many commands on each tenant collection were held to their hospital.
    held: Counter = field(default_factory=Counter)
    count: int = 0
    _only: Scope | None = None
    _recorded: list | None = None
    _answers: list | None = None
    # What is still unanswered, while answers are collected.
    _asked: dict[int, dict] = field(default_factory=dict)

    @contextmanager
    def only(self, hospital_id: ObjectId | None) -> Iterator[None]:
        """Hold what is sent within the block to this very hospital, whatever scope is open.

        None stands for nobody's hospital: then nothing may be sent to the tenant collections.
        """
        before, self._only = self._only, Scope(hospital_id or NOWHERE)
        try:
            yield
        finally:
            self._only = before

    @contextmanager
    def recording(self) -> Iterator[list[tuple[str, dict]]]:
        """Collect the names and bodies of all commands that are sent within the block."""
        before, self._recorded = self._recorded, []
        try:
            yield self._recorded
        finally:
            self._recorded = before

    @contextmanager
    def recording_answers(self) -> Iterator[list[tuple[dict, dict]]]:
        """Collect each command sent within the block, as a body, with MongoDB's answer to it."""
        before, self._answers = self._answers, []
        try:
            yield self._answers
        finally:
            self._answers = before
            self._asked.clear()

    @contextmanager
    def expecting_leaks(self) -> Iterator[list[Leak]]:
        """Take what leaks within the block as meant, and hand it out."""
        before, self.leaks = self.leaks, []
        try:
            yield self.leaks
        finally:
            self.leaks = before

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.count += 1
        if self._recorded is not None:
            self._recorded.append((event.command_name, dict(event.command)))
        if self._answers is not None:
            self._asked[event.request_id] = dict(event.command)
        self._hold(event.command_name, event.command)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        asked = self._asked.pop(event.request_id, None)
        if asked is not None and self._answers is not None:
            self._answers.append((asked, event.reply))

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing more to learn: what was asked for is known."""

    def _hold(self, name: str, command: dict) -> None:
        collection = command.get(name)
        if name == "explain":
            inner = command["explain"]
            return self._hold(next(iter(inner)), inner)
        if name in ABOUT_NO_DOCUMENT or not isinstance(collection, str):
            return None
        joined = _joined_tenants(command.get("pipeline", []))
        if collection not in tenant_collections() and collection != FILES and not joined:
            return None
        sender = _sender()
        if sender is None:
            return None
        why = _joins_of(joined) or self._fault(name, command, collection)
        if why:
            self.leaks.append(Leak(name, collection, why, sender))
        else:
            self.held[collection] += 1
        return None

    def _fault(self, name: str, command: dict, collection: str) -> str:
        scope = self._only or _scope.get()
        if scope is not None and scope.hospital_id is None:
            listed = scope.reason in REASONS or scope.reason in TEST_REASONS
            return "" if listed else f"every hospital for the reason {scope.reason!r}, not listed"
        platform = collection in platform_collections()
        # The trail's writer is told whose chain it writes; a request may still only mean its own.
        any_one = scope is None or (platform and self._only is None)
        hospital_id = None if any_one else scope.hospital_id
        if collection == FILES:
            return _file_fault(name, command, hospital_id)
        return _document_fault(name, command, hospital_id, platform=platform)


def _document_fault(
    name: str, command: dict, hospital_id: ObjectId | None, *, platform: bool = False
) -> str:
    parts = _parts(name, command)
    if parts is None:
        return "nobody knows what this command carries"
    faults = (_part_fault(part, hospital_id, platform=platform) for part in parts)
    return next(filter(None, faults), "")


def _part_fault(part: dict, hospital_id: ObjectId | None, *, platform: bool) -> str:
    if platform and HOSPITAL in part and part[HOSPITAL] is None:
        return ""
    carried = hospitals_in(part)
    if not carried:
        return "it carries no hospital"
    if hospital_id is not None and carried != {hospital_id}:
        return "it carries another hospital than that of the scope"
    return "it carries several hospitals" if len(carried) > 1 else ""


def _parts(name: str, command: dict) -> list[dict] | None:
    """Return every filter or document of a command, each of which has to carry the hospital."""
    if name == "aggregate":
        first = next(iter(command["pipeline"]), {})
        return [first.get("$match", {})]
    if name == "update":
        return [one["q"] for one in command["updates"]] + _moves(command["updates"])
    if name == "delete":
        return [one["q"] for one in command["deletes"]]
    if name == "insert":
        return list(command["documents"])
    if name == "findAndModify":
        return [command.get("query", {}), *_moves([{"u": command.get("update", {})}])]
    if name in ("find", "distinct", "count"):
        return [command.get("filter", command.get("query", {}))]
    return None


def _moves(updates: list[dict]) -> list[dict]:
    """Return what updates write as the hospital: a document must not move to another one."""
    stages = [stage for one in updates for stage in _stages(one["u"])]
    whole = [stage for stage in stages if not any(key.startswith("$") for key in stage)]
    changes = [stage.get(key, {}) for stage in stages for key in ("$set", "$setOnInsert")]
    return whole + [{HOSPITAL: one[HOSPITAL]} for one in changes if HOSPITAL in one]


def _stages(update: dict | list) -> list[dict]:
    return update if isinstance(update, list) else [update]


def hospitals_in(condition: dict) -> set[ObjectId]:
    """Return the hospitals of which a filter demands that a document has all of them."""
    found = _constant(condition.get(HOSPITAL))
    for part in condition.get("$and", []):
        found |= hospitals_in(part)
    return found | _hospitals_in_expression(condition.get("$expr"))


def _hospitals_in_expression(expression: object) -> set[ObjectId]:
    if not isinstance(expression, dict):
        return set()
    found = set()
    for part in expression.get("$and", []):
        found |= _hospitals_in_expression(part)
    sides = expression.get("$eq", [])
    if f"${HOSPITAL}" in sides:
        found = found.union(*(_constant(side) for side in sides))
    return found


def _constant(value: object) -> set[ObjectId]:
    if isinstance(value, dict) and set(value) in ({"$eq"}, {"$literal"}):
        [value] = value.values()
    return {value} if isinstance(value, ObjectId) else set()


def _joined_tenants(pipeline: list[dict]) -> set[str]:
    found = set()
    for stage in pipeline:
        for join in JOINS:
            target = stage.get(join)
            name = (
                target.get("from", target.get("into", target.get("coll")))
                if isinstance(target, dict)
                else target
            )
            if name in tenant_collections():
                found.add(name)
        inner = stage.get("$lookup", {}).get("pipeline", [])
        found |= _joined_tenants(inner)
    return found


def _joins_of(joined: set[str]) -> str:
    return f"it joins {', '.join(sorted(joined))}, which no filter narrows" if joined else ""


def _file_fault(name: str, command: dict, hospital_id: ObjectId | None) -> str:
    """Say what is wrong with a look at stored files: their names begin with the hospital."""
    faults = (_name_fault(part, hospital_id) for part in _parts(name, command) or [])
    return "" if _asks_whether_empty(command) else next(filter(None, faults), "")


def _name_fault(part: dict, hospital_id: ObjectId | None) -> str:
    stored = part.get("filename")
    if stored is None and "_id" in part:
        return ""  # Deletes what a look by name has found.
    if isinstance(stored, dict):
        # A whole folder: what its names begin with.
        stored = str(stored.get("$regex", "")).removeprefix("^").replace("\\", "")
    if not isinstance(stored, str):
        return "it doesn't say which file"
    folder = stored.partition("/")[0]
    if folder in SHARED_FOLDERS:
        return ""
    if not ObjectId.is_valid(folder):
        return "the file's name doesn't begin with a hospital"
    if hospital_id is not None and folder != str(hospital_id):
        return "the file belongs to another hospital"
    return ""


def _asks_whether_empty(command: dict) -> bool:
    """Tell whether GridFS asks, before its first write, if it has to make its indexes."""
    return command.get("filter") == {} and command.get("projection") == {"_id": 1}


@cache
def tenant_collections() -> frozenset[str]:
    """Return the collections of all hospital records."""
    return frozenset(
        model._meta.db_table for model in apps.get_models() if issubclass(model, TenantModel)
    )


@cache
def platform_collections() -> frozenset[str]:
    """Return those in which a document may belong to the platform itself: its hospital is null."""
    return frozenset(
        model._meta.db_table
        for model in apps.get_models()
        if issubclass(model, TenantModel) and model._meta.get_field("hospital").null
    )


def _sender() -> str | None:
    """Say which line of the product sent the command; None when a test did so itself."""
    frame = _innermost(lambda name: name.startswith(OURS))
    if frame is None or any(part in frame.f_code.co_filename for part in NOT_THE_PRODUCT):
        return None
    return f"{frame.f_code.co_filename.removeprefix(REPOSITORY + '/')}:{frame.f_lineno}"


def _innermost(is_wanted: Callable[[str], bool]) -> FrameType | None:
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name != __file__ and is_wanted(name):
            return frame
        frame = frame.f_back
    return None


LISTENER = TenantCommands()
# Before anything connects: clients take the listeners that there are when they are made.
monitoring.register(LISTENER)


@pytest.fixture
def tenant_commands() -> TenantCommands:
    """What was sent to the tenant collections since the test began."""
    return LISTENER


@pytest.fixture(autouse=True)
def every_command_carries_its_hospital() -> Iterator[None]:
    """Fail a test during which the product sent a command that doesn't say for which hospital."""
    LISTENER.leaks.clear()
    LISTENER.held.clear()
    yield
    leaks = "\n".join(str(leak) for leak in LISTENER.leaks)
    assert not leaks, f"Commands that don't carry the hospital of their scope:\n{leaks}"
