"""Read what a hospital has added and how much more it may."""

from dataclasses import dataclass

from bson import ObjectId
from django.utils import timezone

from accounts.limits.models import HospitalQuota
from accounts.limits.services import COUNTS, LIMITS, NO_LIMIT, default_limits
from accounts.scoping import hospital_scope

WORDS = {
    "photographs_a_day": "Photographs today",
    "bytes_a_day": "Size of today's photographs",
    "photographs_in_all": "Photographs in all",
    "bytes_in_all": "Size of all photographs",
}


@dataclass(frozen=True)
class Usage:
    """One count of a hospital with its limit; `most` is None when there is none."""

    limit: str
    used: int
    most: int | None
    is_default: bool

    @property
    def words(self) -> str:
        return WORDS[self.limit]

    @property
    def percent(self) -> int | None:
        if self.most is None:
            return None
        return 100 if self.most == 0 else min(100, self.used * 100 // self.most)

    @property
    def in_bytes(self) -> bool:
        return self.limit.startswith("bytes")

    @property
    def is_reached(self) -> bool:
        return self.most is not None and self.used >= self.most


def usage_of(hospital_id: ObjectId) -> list[Usage]:
    """Return a hospital's counts beside its limits, in the order of `LIMITS`."""
    with hospital_scope(hospital_id):
        quota = HospitalQuota.objects.filter(pk=hospital_id).first()
    quota = quota or HospitalQuota(pk=hospital_id)
    return [_usage(quota, limit) for limit in LIMITS]


def _usage(quota: HospitalQuota, limit: str) -> Usage:
    own = getattr(quota, limit)
    most = default_limits()[limit] if own is None else own
    used = getattr(quota, COUNTS[limit])
    if limit.endswith("a_day") and quota.day != timezone.localdate().isoformat():
        used = 0
    return Usage(limit, used, None if most >= NO_LIMIT else most, is_default=own is None)
