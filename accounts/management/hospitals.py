"""What the commands about one hospital share."""

from django.core.management.base import CommandError

from accounts.models import Hospital
from accounts.selectors import hospital_by_name, hospital_list


def hospital_named(name: str) -> Hospital:
    """Return a hospital by its name. Raises CommandError, which names those that there are."""
    hospital = hospital_by_name(name)
    if hospital is None:
        known = ", ".join(one.name for one in hospital_list()) or "none yet"
        raise CommandError(f"There is no hospital with this name. There are: {known}.")
    return hospital
