"""A destroyed key stops working in a web process that nobody told."""

import sys
import time
import urllib.request

import pytest
from django.core.management import call_command

from accounts.keys.key_ring import KEY_CACHE_S
from accounts.keys.sealing import UNREADABLE
from drservice.embedded.ports import free_port
from drservice.testing.managed_process import ManagedProcess
from workspace.tests.factories import make_case, make_patient

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


def test_destroyed_key_stops_in_another_process_within_seconds(
    two_hospitals, client_of, process_environment, tmp_path
):
    hospital = two_hospitals.a.hospital
    make_case(make_patient(hospital, name="Wilhelmina Known"))
    session = client_of(two_hospitals.a.staff).cookies["sessionid"].value
    port = free_port()
    address = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "uvicorn", "drservice.asgi:application", "--port", str(port)]

    def worklist() -> str:
        request = urllib.request.Request(  # noqa: S310
            f"{address}cases/", headers={"Cookie": f"sessionid={session}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.read().decode()

    with ManagedProcess(command, log=tmp_path / "web", environment=process_environment) as web:
        web.wait_for_url(f"{address}healthz")
        assert "Wilhelmina Known" in worklist()

        words = {"confirm": hospital.name, "reason": "The contract has ended"}
        call_command("hospital_key_destroy", hospital.name, **words)
        destroyed = time.monotonic()
        web.wait_until(lambda: UNREADABLE in worklist(), "a name that can't be read", 30)
        # The time of one look is the test's, not the key's.
        assert time.monotonic() - destroyed < KEY_CACHE_S + 5
        assert "Wilhelmina" not in worklist()
