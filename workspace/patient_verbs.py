"""The verbs that change what a patient's record is: live, merged into another one, or gone.

Raw updates inside the open scope, each a part of the transaction that is open.
"""

import datetime as dt
from typing import TYPE_CHECKING

from bson import ObjectId
from django.db import connection
from pymongo import ReturnDocument

from accounts.scoping import current_scope
from workspace.newest import NewestManager

if TYPE_CHECKING:
    from workspace.models import Patient

# Matches documents that have no such field yet as well.
LIVE = {"merged_into": None}
MOST_CANDIDATES = 200


class PatientManager(NewestManager):
    """Read live records, and move records between live, merged and gone."""

    def secure(self, pk: ObjectId) -> "Patient | None":
        """Return a live record as it is now, and let no other transaction change it meanwhile.

        Whatever hangs a case on a record, or takes records away, secures it first: of two such
        transactions at once MongoDB lets one begin again. None when the record is merged or gone.
        """
        stored = self._collection().find_one_and_update(
            current_scope("Patient").narrow({"_id": pk, **LIVE}),
            {"$inc": {"revision": 1}},
            return_document=ReturnDocument.AFTER,
            session=connection.session,
        )
        return self._from_stored(stored)

    def bury(self, *, pk: ObjectId, survivor_pk: ObjectId) -> None:
        """Let a live record lead to another one from now on. The caller has secured both."""
        self._set(pk, {"merged_into": survivor_pk})

    def revive(self, pk: ObjectId) -> "Patient":
        """Make a merged record live again."""
        return self._set(pk, {"merged_into": None})

    def consent(self, *, pk: ObjectId, consents: dict[str, bool]) -> "Patient":
        """Write what a record says of consent. The caller has secured it."""
        return self._set(pk, consents)

    def tell_apart(self, one: ObjectId, other: ObjectId) -> None:
        """Remember that somebody looked at two records and found two persons."""
        for pk, stranger in ((one, other), (other, one)):
            self._collection().update_one(
                current_scope("Patient").narrow({"_id": pk}),
                {"$addToSet": {"not_same_as": stranger}},
                session=connection.session,
            )

    def tombstones_of(self, survivor_pk: ObjectId) -> list["Patient"]:
        """Return the records that were merged into this one, also by way of others."""
        found = list(self.filter(merged_into=survivor_pk))
        return [one for each in found for one in (each, *self.tombstones_of(each.pk))]

    def candidates(self, *, match_keys: list[str], births: list[dt.date]) -> list["Patient"]:
        """Return live and merged records that share a key or a date of birth, newest first."""
        days = [dt.datetime.combine(born, dt.time.min) for born in births]
        where = {"$or": [{"match_keys": {"$in": match_keys}}, {"birth_date": {"$in": days}}]}
        return self.newest(where=where, start=0, count=MOST_CANDIDATES)

    def shared_match_keys(self, kinds: tuple[str, ...]) -> list[tuple[str, list[ObjectId]]]:
        """Return the keys of these kinds that several live records have, with the records' ids."""
        pipeline = [
            {"$match": current_scope("Patient").narrow(LIVE)},
            {"$project": {"match_keys": 1}},
            {"$unwind": "$match_keys"},
            {"$match": {"match_keys": {"$regex": f"^({'|'.join(kinds)}):"}}},
            {"$group": {"_id": "$match_keys", "patients": {"$push": "$_id"}}},
            {"$match": {"patients.1": {"$exists": True}}},
        ]
        found = self._collection().aggregate(pipeline, allowDiskUse=True)
        return [(one["_id"], one["patients"]) for one in found]

    def told_apart(self) -> list[tuple[ObjectId, ObjectId]]:
        """Return the pairs that somebody found to be two persons, the older record first."""
        told = current_scope("Patient").narrow({"not_same_as.0": {"$exists": True}})
        found = self._collection().find(told, ["not_same_as"])
        return [tuple(sorted((one["_id"], other))) for one in found for other in one["not_same_as"]]

    def erase(self, pks: list[ObjectId]) -> int:
        """Delete records for good, and all memory of them in other records."""
        scope, session = current_scope("Patient"), connection.session
        self._collection().update_many(
            scope.narrow({"not_same_as": {"$in": pks}}),
            {"$pullAll": {"not_same_as": pks}},
            session=session,
        )
        gone = self._collection().delete_many(scope.narrow({"_id": {"$in": pks}}), session=session)
        return gone.deleted_count

    def _set(self, pk: ObjectId, values: dict) -> "Patient":
        stored = self._collection().find_one_and_update(
            current_scope("Patient").narrow({"_id": pk}),
            {"$set": values, "$inc": {"revision": 1}},
            return_document=ReturnDocument.AFTER,
            session=connection.session,
        )
        return self._from_stored(stored)

    def _from_stored(self, stored: dict | None) -> "Patient | None":
        return None if stored is None else self._instance(stored, self.model._meta.concrete_fields)
