"""Bring the database up to date and make the demo; part of `run_demo`."""

import json
import sys

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand

from inference.selectors import champion_alias, model_by_label
from workspace.demo import demo_start_check_account

SHIPPED_MODEL = settings.BASE_DIR / "inference" / "shipped"


class Command(BaseCommand):
    help = (
        "Migrate, make what is missing of the demo and of the model registry, and print the "
        "account of the start check on standard output as JSON. Words go to standard error."
    )
    requires_system_checks = []

    def handle(self, *args, **options) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("demo", stdout=sys.stderr)
        if champion_alias() is None or model_by_label(_shipped_label()) is None:
            call_command("register_model", SHIPPED_MODEL, promote=True, stdout=sys.stderr)
        email, password = demo_start_check_account()
        self.stdout.write(json.dumps({"email": email, "password": password}))


def _shipped_label() -> str:
    """Return name and version of the model that came with this release of the code."""
    manifest = json.loads((SHIPPED_MODEL / "manifest.json").read_text())
    return f"{manifest['name']}:{manifest['version']}"
