"""Bring back the champion before the present one."""

from django.core.management.base import BaseCommand, CommandError

from inference.errors import ModelRefused
from inference.selectors import model_by_pk
from inference.services import model_rollback


class Command(BaseCommand):
    help = "Give the champion's name back to the model that bore it before."

    def handle(self, **options):
        try:
            alias = model_rollback()
        except ModelRefused as fault:
            raise CommandError(fault.message) from fault
        self.stdout.write(f"{model_by_pk(alias.model_id).label} is the champion again.")
