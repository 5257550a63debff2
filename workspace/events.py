"""Tell open pages that a case has changed. Ids only: pages fetch what they may see themselves."""

from bson import ObjectId

from accounts.announcements import announce
from workspace.models import Case


def channel_of(hospital_id: ObjectId) -> str:
    """Return the Redis channel on which one hospital's cases are announced."""
    return f"drservice:cases:{hospital_id}"


def case_announce(case: Case) -> None:
    """Publish that a case changed. Nothing hangs on it: pages also look by themselves."""
    message = {"case": str(case.pk), "version": case.version, "state": case.state}
    announce(channel_of(case.hospital_id), message)
