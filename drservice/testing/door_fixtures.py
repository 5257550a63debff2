"""A pytest plugin for every walk along the doors: somebody of every kind, something of all.

Loaded by drservice.testing.services once Django is set up, as it needs models.
"""

import pytest

from drservice.tests import door_table
from drservice.tests.door_table import HospitalA
from drservice.tests.doors import Person, everybody


@pytest.fixture
def people(two_hospitals, settings) -> list[Person]:
    # Doors are under test, not sessions: kept in cookies they save a thousand reads.
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    return everybody(two_hospitals)


@pytest.fixture
def hospital_a(two_hospitals) -> HospitalA:
    return HospitalA(two_hospitals.a.hospital)


@pytest.fixture
def objects_of_a(hospital_a) -> dict[str, dict]:
    """The arguments of an address for each kind of object, all of hospital A and all complete."""
    return {kind: arguments(hospital_a) for kind, arguments in door_table.OBJECTS.items()}
