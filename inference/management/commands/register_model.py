"""Take a model directory into the registry, and make it the champion if asked to."""

from pathlib import Path

from django.core.management.base import CommandError

from accounts.audit.commands import ActingCommand
from inference.champion_services import model_promote
from inference.errors import ModelRefused
from inference.services import model_register


class Command(ActingCommand):
    help = "Verify a model's directory and register it; --promote makes workers grade with it."

    def add_arguments(self, parser):
        parser.add_argument("directory", type=Path, metavar="DIRECTORY")
        parser.add_argument("--promote", action="store_true", help="make it the champion as well")

    def handle(self, *, directory: Path, promote: bool, **options):
        try:
            model = model_register(directory=directory)
            self.stdout.write(f"Registered {model.label}, weights {model.sha256[:12]}.")
            if promote:
                model_promote(model=model)
                self.stdout.write(f"{model.label} is the champion.")
        except ModelRefused as fault:
            raise CommandError(fault.message) from fault
