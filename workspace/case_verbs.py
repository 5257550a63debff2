"""The verbs that move a case.

Each is one conditional update that names the states it may come from. Whoever loses a race gets
None and has changed nothing. Inside a transaction each is a part of it.
"""

import datetime as dt
from typing import TYPE_CHECKING

from bson import ObjectId
from django.db import connection
from django.utils import timezone
from pymongo import ReturnDocument

from accounts.scoping import current_scope
from workspace.case_parts import CaseOutcome, EyeImage, PatientCopy, StateChange
from workspace.newest import NewestManager
from workspace.schemas import NEVER_A_VISIT, CaseState, Decision

if TYPE_CHECKING:
    from workspace.models import Case

CANCELLABLE = [CaseState.DRAFT, CaseState.QUEUED, CaseState.FAILED]
# With an outcome: what was graded stays as evidence, whatever becomes of it.
VOIDABLE = [CaseState.GRADED, CaseState.FAILED]

# A case that the clinic may still change: a draft, a failed one, or one that wants a retake.
EDITABLE = {
    "$or": [
        {"state": {"$in": [CaseState.DRAFT, CaseState.FAILED]}},
        {"state": CaseState.GRADED, "outcome.decision": Decision.RETAKE},
    ]
}


class CaseManager(NewestManager):
    """The verbs that move a case. Each is one conditional update; the loser of a race gets None."""

    def transition(
        self,
        *,
        pk: ObjectId,
        where: dict,
        to: CaseState,
        by: str,
        reason: str = "",
        words: str = "",
        values: dict | None = None,
        mongo: dict | None = None,
    ) -> "Case | None":
        """Move one case to `to` if `where` still holds, and write the step into its history.

        Why it moves stands in `reason` when the service says so, in `words` when a person does.
        `values` are fields of `Case` in Python terms; `mongo` holds further update operators.
        Returns the case as it is after the update, or None when no case matched.
        """
        step = StateChange(at=timezone.now(), state=to, by=by, reason=reason, words=words)
        update = {
            "$set": self._as_stored({**(values or {}), "state": to}),
            "$push": {"history": self._as_stored({"history": [step]})["history"][0]},
            "$inc": {"version": 1},
        }
        for operator, changes in (mongo or {}).items():
            update.setdefault(operator, {}).update(changes)
        return self._update_one({"_id": pk, **where}, update)

    def submit(
        self,
        *,
        case: "Case",
        images: list[EyeImage],
        by: str,
        now: dt.datetime,
        due_at: dt.datetime,
        max_attempts: int,
    ) -> "Case | None":
        """Put a case that the clinic has finished into the queue.

        Pre-state: editable, at the version that the caller has seen. Post-state: QUEUED, with
        `images` and `max_attempts` further attempts. Attempts never start again at 0: a worker
        that comes back from the dead must not find its old number in use.
        """
        retry = case.state == CaseState.FAILED
        return self.transition(
            pk=case.pk,
            where={**EDITABLE, "version": case.version},
            to=CaseState.QUEUED,
            by=by,
            reason="Tried again" if retry else "",
            values={
                "images": images,
                "due_at": due_at,
                "hints": 0,
                "failure": "",
                "submitted_at": now,
                "tries": case.tries + (0 if retry else 1),
                "attempt_limit": case.attempt + max_attempts,
            },
        )

    def claim(self, *, pk: ObjectId, by: str, now: dt.datetime, lease_s: int) -> "Case | None":
        """Give a queued case, or one whose lease has run out, to exactly one worker.

        Pre-state: QUEUED, or GRADING with a lease that is over; attempts left.
        Post-state: GRADING with a new attempt and a lease of `lease_s` seconds.
        """
        free = [
            {"state": CaseState.QUEUED},
            {"state": CaseState.GRADING, "due_at": {"$lte": _stored_time(now)}},
        ]
        return self.transition(
            pk=pk,
            where={"$or": free, "$expr": {"$lt": ["$attempt", "$attempt_limit"]}},
            to=CaseState.GRADING,
            by=by,
            values={"due_at": now + dt.timedelta(seconds=lease_s)},
            mongo={"$inc": {"attempt": 1}},
        )

    def renew(self, *, pk: ObjectId, attempt: int, now: dt.datetime, lease_s: int) -> bool:
        """Prolong the lease of the attempt that still owns the case; False when it owns it no more.

        Not a step in the history, and no new version: nothing has changed for a reader.
        """
        due_at = _stored_time(now + dt.timedelta(seconds=lease_s))
        mine = current_scope("Case").narrow(
            {"_id": pk, "state": CaseState.GRADING, "attempt": attempt}
        )
        renewed = self._collection().update_one(
            mine, {"$set": {"due_at": due_at}}, session=connection.session
        )
        return renewed.matched_count == 1

    def complete(
        self, *, pk: ObjectId, attempt: int, images: list[EyeImage], outcome: CaseOutcome
    ) -> "Case | None":
        """Write the result of the attempt that still owns the case; None when it owns it no more.

        Pre-state: GRADING at `attempt`. Post-state: GRADED, for good.
        """
        return self.transition(
            pk=pk,
            where={"state": CaseState.GRADING, "attempt": attempt},
            to=CaseState.GRADED,
            by="grading worker",
            values={"images": images, "outcome": outcome, "due_at": None, "failure": ""},
        )

    def release(
        self,
        *,
        pk: ObjectId,
        attempt: int,
        reason: str,
        due_at: dt.datetime,
        seen_due_at: dt.datetime | None = None,
    ) -> "Case | None":
        """Hand a case back after a try that failed, to be tried again when due.

        Pre-state: GRADING at `attempt`, and still due when it was at `seen_due_at`, if given.
        Post-state: QUEUED.
        """
        return self.transition(
            pk=pk,
            where={"state": CaseState.GRADING, "attempt": attempt, **_still_due(seen_due_at)},
            to=CaseState.QUEUED,
            by="grading worker",
            reason=reason,
            values={"due_at": due_at},
        )

    def give_up(
        self,
        *,
        pk: ObjectId,
        attempt: int,
        state: CaseState,
        reason: str,
        by: str,
        seen_due_at: dt.datetime | None = None,
    ) -> "Case | None":
        """Stop trying, loudly, with a reason that the clinic can read.

        Pre-state: `state` (QUEUED or GRADING) at `attempt`, and still due when it was at
        `seen_due_at`, if given. Post-state: FAILED.
        """
        return self.transition(
            pk=pk,
            where={"state": state, "attempt": attempt, **_still_due(seen_due_at)},
            to=CaseState.FAILED,
            by=by,
            reason=reason,
            values={"due_at": None, "failure": reason},
        )

    def cancel(self, *, pk: ObjectId, by: str, words: str) -> "Case | None":
        """Take a case out for good.

        Pre-state: nothing was graded yet, not even before a retake: who could not be graded must
        not drop out of sight. Post-state: CANCELLED.
        """
        return self.transition(
            pk=pk,
            where={"state": {"$in": CANCELLABLE}, "outcome": None},
            to=CaseState.CANCELLED,
            by=by,
            words=words,
            values={"due_at": None},
        )

    def void(self, *, pk: ObjectId, version: int, by: str, words: str) -> "Case | None":
        """Mark a case as entered in error, for instance with photographs of somebody else.

        Pre-state: graded at least once and not waiting, at the version that the caller has seen.
        Post-state: VOIDED, with everything that was found.
        """
        return self.transition(
            pk=pk,
            where={
                "state": {"$in": VOIDABLE},
                "outcome": {"$ne": None},
                "version": version,
            },
            to=CaseState.VOIDED,
            by=by,
            words=words,
        )

    def reinstate(
        self, *, pk: ObjectId, version: int, to: CaseState, by: str, words: str
    ) -> "Case | None":
        """Let a case count again that was marked as entered in error.

        Pre-state: VOIDED, at the version that the caller has seen. Post-state: `to`, the state
        that it had before; nothing else was changed by marking it.
        """
        return self.transition(
            pk=pk,
            where={"state": CaseState.VOIDED, "version": version},
            to=to,
            by=by,
            words=words,
        )

    def settle(self, *, case: "Case", outcome: CaseOutcome, by: str, words: str) -> "Case | None":
        """Put a final outcome in place of the wish for a retake.

        Pre-state: GRADED and wanting a retake, or FAILED at grading one, at the version that the
        caller has seen. Post-state: GRADED.
        """
        return self.transition(
            pk=case.pk,
            where={
                "state": {"$in": [CaseState.GRADED, CaseState.FAILED]},
                "outcome.decision": Decision.RETAKE,
                "version": case.version,
            },
            to=CaseState.GRADED,
            by=by,
            words=words,
            values={"outcome": outcome, "failure": ""},
        )

    def postpone_hint(
        self, *, pk: ObjectId, seen_due_at: dt.datetime, due_at: dt.datetime
    ) -> "Case | None":
        """Take the right to send one case's hint again; None when another sweep was quicker."""
        update = {"$set": {"due_at": _stored_time(due_at)}, "$inc": {"hints": 1}}
        where = {"_id": pk, "state": CaseState.QUEUED, "due_at": _stored_time(seen_due_at)}
        return self._update_one(where, update)

    def amend(self, *, pk: ObjectId, version: int, values: dict) -> "Case | None":
        """Change details of an editable case, at the version that the caller has seen."""
        update = {"$set": self._as_stored(values), "$inc": {"version": 1}}
        return self._update_one({"_id": pk, "version": version, **EDITABLE}, update)

    def add_image(self, *, pk: ObjectId, image: EyeImage) -> "Case | None":
        """Append a photograph, unless its very bytes are in the case or it is not editable."""
        stored = self._as_stored({"images": [image]})["images"][0]
        update = {"$push": {"images": stored}, "$inc": {"version": 1}}
        return self._update_one(
            {"_id": pk, "images.sha256": {"$ne": image.sha256}, **EDITABLE}, update
        )

    def remove_image(self, *, pk: ObjectId, key: str) -> "Case | None":
        """Take out a photograph that was never graded."""
        update = {"$pull": {"images": {"key": key, "grading": None}}, "$inc": {"version": 1}}
        return self._update_one({"_id": pk, "images.key": key, **EDITABLE}, update)

    def label_image(self, *, pk: ObjectId, key: str, laterality: str, field: str) -> "Case | None":
        """Say which eye and field a photograph shows, while it has no grading."""
        update = {
            "$set": {"images.$.laterality": laterality, "images.$.field": field},
            "$inc": {"version": 1},
        }
        ungraded = {"$elemMatch": {"key": key, "grading": None}}
        return self._update_one({"_id": pk, "images": ungraded, **EDITABLE}, update)

    def with_image(self, *, sha256s: list[str], other_than: ObjectId) -> "Case | None":
        """Return another case of the hospital that holds a photograph of any of these bytes.

        Cases that count as no visit hold none.
        """
        found = self._collection().find_one(
            current_scope("Case").narrow(
                {
                    "images.sha256": {"$in": sha256s},
                    "_id": {"$ne": other_than},
                    "state": {"$nin": NEVER_A_VISIT},
                }
            ),
            session=connection.session,
        )
        return self._from_stored(found)

    def refresh_patient_copy(self, *, patient_pk: ObjectId, patient_copy: PatientCopy) -> int:
        """Write a corrected patient into all their cases; no new version, as no case changed."""
        stored = self._as_stored({"patient_copy": patient_copy})
        of_patient = current_scope("Case").narrow({"patient_id": patient_pk})
        refreshed = self._collection().update_many(
            of_patient, {"$set": stored}, session=connection.session
        )
        return refreshed.matched_count

    def move(
        self,
        *,
        pks: list[ObjectId],
        patient_pk: ObjectId,
        patient_copy: PatientCopy,
        by: str,
        reason: str,
    ) -> int:
        """Hang cases on another record, whatever their state, and write so into their history.

        A new version each: whoever had one of them open sees whose it is now before they go on.
        """
        # The state is only a stand-in: each case takes its own.
        step = StateChange(at=timezone.now(), state=CaseState.DRAFT, by=by, reason=reason)
        stored = self._as_stored({"patient_copy": patient_copy, "history": [step]})
        own = {name: {"$literal": value} for name, value in stored["history"][0].items()}
        update = {
            "patient_id": patient_pk,
            "patient_copy": {"$literal": stored["patient_copy"]},
            "history": {"$concatArrays": ["$history", [{**own, "state": "$state"}]]},
            "version": {"$add": ["$version", 1]},
        }
        moved = self._collection().update_many(
            current_scope("Case").narrow({"_id": {"$in": pks}}),
            [{"$set": update}],
            session=connection.session,
        )
        return moved.matched_count

    def pks_of(self, patient_pks: list[ObjectId]) -> list[ObjectId]:
        """Return the ids of all cases of these patients, oldest first."""
        of_patients = current_scope("Case").narrow({"patient_id": {"$in": patient_pks}})
        found = self._collection().find(of_patients, ["_id"], session=connection.session)
        return [stored["_id"] for stored in found.sort("_id")]

    def erase(self, pks: list[ObjectId]) -> int:
        """Delete cases for good. Their files are the caller's to delete."""
        gone = self._collection().delete_many(
            current_scope("Case").narrow({"_id": {"$in": pks}}), session=connection.session
        )
        return gone.deleted_count

    def _update_one(self, where: dict, update: dict) -> "Case | None":
        stored = self._collection().find_one_and_update(
            current_scope("Case").narrow(where),
            update,
            return_document=ReturnDocument.AFTER,
            session=connection.session,
        )
        return self._from_stored(stored)

    def _as_stored(self, values: dict) -> dict:
        fields = {name: self.model._meta.get_field(name) for name in values}
        return {
            field.column: field.get_db_prep_save(values[name], connection)
            for name, field in fields.items()
        }

    def _from_stored(self, stored: dict | None) -> "Case | None":
        return None if stored is None else self._instance(stored, self.model._meta.concrete_fields)


def _still_due(seen: dt.datetime | None) -> dict:
    """Hold a sweep to what it saw: a lease that was renewed since then is not over."""
    return {} if seen is None else {"due_at": _stored_time(seen)}


def _stored_time(moment: dt.datetime) -> dt.datetime:
    """Return an aware time as MongoDB keeps it under Django: naive, in UTC."""
    return moment.astimezone(dt.UTC).replace(tzinfo=None)
