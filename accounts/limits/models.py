"""How many photographs a hospital may add, and how many it has added."""

from django.db import models
from django_mongodb_backend.fields import ObjectIdField

from accounts.scoping import TenantModel


class HospitalQuota(TenantModel):
    """Limits and counts of one hospital in one document, so that both meet in one update.

    A limit that is empty is the service's default; see `accounts.limits.services`.
    """

    # The hospital's own key: there can't be two.
    id = ObjectIdField(primary_key=True, db_column="_id")
    photographs_a_day = models.BigIntegerField(null=True, default=None)
    bytes_a_day = models.BigIntegerField(null=True, default=None)
    photographs_in_all = models.BigIntegerField(null=True, default=None)
    bytes_in_all = models.BigIntegerField(null=True, default=None)

    # The day that is being counted, in the service's time zone.
    day = models.CharField(max_length=10, blank=True, default="")
    day_photographs = models.BigIntegerField(default=0)
    day_bytes = models.BigIntegerField(default=0)
    photographs = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"quota of {self.hospital_id}"
