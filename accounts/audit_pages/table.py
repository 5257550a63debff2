"""Audit events as a table for spreadsheets, batch by batch."""

import csv
import json
from collections.abc import AsyncIterator
from io import StringIO

from asgiref.sync import sync_to_async
from bson import ObjectId

from accounts.audit import store
from accounts.audit.selectors import ToldEvent, events_told
from accounts.scoping import hospital_scope

BATCH = 500
COLUMNS = (
    "number",
    "time (UTC)",
    "action",
    "record",
    "record id",
    "patient id",
    "actor",
    "actor id",
    "name",
    "address",
    "before",
    "after",
    "reason",
    "erased",
    "previous hash",
    "hash",
)
# What a spreadsheet takes for the beginning of a formula.
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001


async def event_rows(hospital_id: ObjectId, where: dict, *, up_to: int) -> AsyncIterator[bytes]:
    """Give the table of all matching events up to a number, oldest first."""
    # The sign by which spreadsheets know that the text is UTF-8.
    yield "\ufeff".encode() + _lines([COLUMNS])
    last = 0
    while batch := await sync_to_async(_batch)(hospital_id, where, (last, up_to)):
        yield _lines([_row(told) for told in batch])
        last = batch[-1].event.seq


def _batch(hospital_id: ObjectId, where: dict, between: tuple[int, int]) -> list[ToldEvent]:
    # The request's own scope is over by the time an answer streams.
    with hospital_scope(hospital_id):
        events = store.events_oldest(hospital_id, where, between=between, count=BATCH)
        return events_told(events, hospital_id=hospital_id)


def _row(told: ToldEvent) -> list[str]:
    event = told.event
    values = (
        event.seq,
        event.at.isoformat(timespec="milliseconds") if event.at else "",
        event.action,
        event.subject_kind,
        event.subject_id,
        event.patient_id or "",
        event.actor_kind,
        event.actor_id,
        told.name,
        told.address,
        _json(told.before),
        _json(told.after),
        told.reason,
        "yes" if told.erased else "",
        event.previous,
        event.hash,
    )
    return [harmless(str(value)) for value in values]


def harmless(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA_SIGNS) else text


def _json(words: dict) -> str:
    return json.dumps(words, ensure_ascii=False) if words else ""


def _lines(rows: list) -> bytes:
    text = StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
