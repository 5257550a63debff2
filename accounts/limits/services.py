"""Count photographs against a hospital's limits, and change the limits.

A photograph is counted before it is stored, in one conditional update: of two at once that would
both be the last allowed, one is refused. Whoever can't store it after all gives it back.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bson import ObjectId
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone

from accounts.audit.actions import Action
from accounts.audit.services import audit_record, audited
from accounts.limits.models import HospitalQuota
from accounts.scoping import current_scope, hospital_scope
from drservice.common.errors import ServiceFault

# Higher than anything that could be counted: stands for a limit that isn't there.
NO_LIMIT = 1 << 62
LIMITS = ("photographs_a_day", "bytes_a_day", "photographs_in_all", "bytes_in_all")
# Which count each limit holds down.
COUNTS = {
    "photographs_a_day": "day_photographs",
    "bytes_a_day": "day_bytes",
    "photographs_in_all": "photographs",
    "bytes_in_all": "bytes",
}
UNTIL_TOMORROW = (
    "Your hospital has added as many photographs today as it may. This one was not added; add it "
    "tomorrow, or ask an admin of your hospital to have the limit raised."
)
UNTIL_RAISED = (
    "Your hospital's room for photographs is used up. This one was not added, and nothing that is "
    "stored is lost. Ask an admin of your hospital to have the limit raised."
)


class QuotaReached(ServiceFault):
    """A photograph would go beyond what the hospital may add."""

    code = "quota_reached"

    def __init__(self, limit: str) -> None:
        super().__init__(UNTIL_TOMORROW if limit.endswith("a_day") else UNTIL_RAISED)
        self.limit = limit


@dataclass(frozen=True)
class Stored:
    """What a hospital has stored."""

    photographs: int
    bytes: int


def default_limits() -> dict[str, int]:
    return {
        "photographs_a_day": settings.QUOTA_PHOTOGRAPHS_A_DAY,
        "bytes_a_day": NO_LIMIT,
        "photographs_in_all": NO_LIMIT,
        "bytes_in_all": settings.QUOTA_BYTES,
    }


def upload_reserve(
    *, hospital_id: ObjectId, size_bytes: int, stored: Callable[[], Stored] = lambda: Stored(0, 0)
) -> None:
    """Count one photograph of the open hospital. Raises QuotaReached, and then counts nothing.

    `stored` is asked once, when the hospital has never been counted: for what was there before.
    """
    if _take(hospital_id, size_bytes):
        return
    if not HospitalQuota.objects.filter(pk=hospital_id).exists():
        _begin(hospital_id, stored())
        if _take(hospital_id, size_bytes):
            return
    raise QuotaReached(_limit_reached(hospital_id, size_bytes))


def upload_give_back(*, hospital_id: ObjectId, size_bytes: int, same_day: bool = False) -> None:
    """Take back the count of a photograph that was removed or, `same_day`, never got stored."""
    changes = {"photographs": -1, "bytes": -size_bytes}
    if same_day:
        changes |= {"day_photographs": -1, "day_bytes": -size_bytes}
    below = {name: {"$max": [0, {"$add": [f"${name}", by]}]} for name, by in changes.items()}
    _collection().update_one(_place(hospital_id), [{"$set": below}])


def usage_set(*, hospital_id: ObjectId, stored: Stored) -> None:
    """Put what was counted afresh in place of the running count."""
    _begin(hospital_id, stored)
    counted = {"photographs": stored.photographs, "bytes": stored.bytes}
    _collection().update_one(_place(hospital_id), {"$set": counted})


def quota_set(*, hospital_id: ObjectId, limits: dict[str, int | None], reason: str = "") -> None:
    """Change a hospital's limits; None means the service's default. For platform operators.

    Raises ValidationError for a name that is no limit, or a number that is none.
    """
    wrong = [name for name in limits if name not in LIMITS]
    if wrong or any(value is not None and value < 0 for value in limits.values()):
        raise ValidationError("A limit is a whole number from 0 on, or empty for the default.")
    with hospital_scope(hospital_id):
        _quota_write(hospital_id, limits, reason)


@audited
def _quota_write(hospital_id: ObjectId, limits: dict[str, int | None], reason: str) -> None:
    before = HospitalQuota.objects.filter(pk=hospital_id).values(*LIMITS).first() or {}
    zeros = dict.fromkeys(COUNTS.values(), 0) | {"day": ""}
    unset = {name: None for name in LIMITS if name not in limits}
    _collection().update_one(
        _place(hospital_id),
        {"$set": limits, "$setOnInsert": zeros | unset} if not before else {"$set": limits},
        upsert=True,
        session=connection.session,
    )
    audit_record(
        action=Action.CHANGE,
        subject_kind="quota",
        subject_id=hospital_id,
        hospital_id=hospital_id,
        before=dict(before),
        after=dict(before) | limits,
        reason=reason,
    )


def _take(hospital_id: ObjectId, size_bytes: int) -> bool:
    defaults = default_limits()
    today = timezone.localdate().isoformat()
    adding = {"day_photographs": 1, "day_bytes": size_bytes, "photographs": 1, "bytes": size_bytes}
    then = {name: {"$add": [_count_of(name, today), by]} for name, by in adding.items()}
    fits = [
        {"$lte": [then[count], {"$ifNull": [f"${limit}", defaults[limit]]}]}
        for limit, count in COUNTS.items()
    ]
    taken = _collection().update_one(
        {**_place(hospital_id), "$expr": {"$and": fits}}, [{"$set": {**then, "day": today}}]
    )
    return taken.matched_count == 1


def _count_of(name: str, today: str) -> dict | str:
    """Return a count as it stands today: yesterday's is over."""
    if not name.startswith("day_"):
        return f"${name}"
    return {"$cond": [{"$eq": ["$day", today]}, f"${name}", 0]}


def _begin(hospital_id: ObjectId, stored: Stored) -> None:
    fresh = dict.fromkeys(COUNTS.values(), 0) | dict.fromkeys(LIMITS)
    fresh |= {"day": "", "photographs": stored.photographs, "bytes": stored.bytes}
    _collection().update_one(_place(hospital_id), {"$setOnInsert": fresh}, upsert=True)


def _limit_reached(hospital_id: ObjectId, size_bytes: int) -> str:
    """Name the limit that is in the way; one for good counts before one until tomorrow."""
    quota = HospitalQuota.objects.get(pk=hospital_id)
    defaults = default_limits()
    adding = {"photographs_in_all": 1, "bytes_in_all": size_bytes}
    for limit, by in adding.items():
        most = getattr(quota, limit)
        if getattr(quota, COUNTS[limit]) + by > (defaults[limit] if most is None else most):
            return limit
    return "photographs_a_day"


def _place(hospital_id: ObjectId) -> dict:
    return current_scope("A quota").narrow({"_id": hospital_id, "hospital_id": hospital_id})


def _collection():
    return connection.get_collection(HospitalQuota._meta.db_table)
