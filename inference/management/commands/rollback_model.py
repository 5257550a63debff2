"""Bring back the champion before the present one."""

from django.core.management.base import CommandError

from accounts.audit.commands import ActingCommand
from inference.champion_services import model_rollback
from inference.errors import ModelRefused
from inference.selectors import model_by_pk


class Command(ActingCommand):
    help = "Give the champion's name back to the model that bore it before."

    def add_arguments(self, parser):
        parser.add_argument("--reason", default="", help="why, for the history")

    def handle(self, *, reason: str, **options):
        try:
            alias = model_rollback(reason=reason)
        except ModelRefused as fault:
            raise CommandError(fault.message) from fault
        self.stdout.write(f"{model_by_pk(alias.model_id).label} is the champion again.")
