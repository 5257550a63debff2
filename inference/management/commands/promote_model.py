"""Make a registered model the champion."""

from django.core.management.base import CommandError

from accounts.audit.commands import ActingCommand
from inference.champion_services import model_promote
from inference.errors import ModelRefused
from inference.selectors import model_by_label


class Command(ActingCommand):
    help = "Make a registered model the champion; workers take it up within seconds."

    def add_arguments(self, parser):
        parser.add_argument("label", metavar="NAME:VERSION")
        parser.add_argument("--reason", default="", help="why, for the history")

    def handle(self, *, label: str, reason: str, **options):
        model = model_by_label(label)
        if model is None:
            raise CommandError(f"No model is registered as {label}. See `manage.py models`.")
        try:
            model_promote(model=model, reason=reason)
        except ModelRefused as fault:
            raise CommandError(fault.message) from fault
        self.stdout.write(f"{model.label} is the champion.")
