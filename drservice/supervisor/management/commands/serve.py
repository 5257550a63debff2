"""Run the service on this machine until Ctrl-C."""

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from drservice.supervisor.programs import (
    beat_program,
    web_address,
    web_program,
    worker_program,
    worker_refusal,
)
from drservice.supervisor.session import READY_TIMEOUT_S, choose_port, service_session


class Command(BaseCommand):
    help = (
        "Run web, a grading worker and beat, and MongoDB and Redis unless MONGODB_URI and "
        "REDIS_URL say where they are. Ctrl-C ends all of them."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, help="port of the web pages (default: 8000)")

    def handle(self, *args, port: int | None, **options) -> None:
        try:
            self._serve(port)
        except KeyboardInterrupt:
            self.stdout.write("Stopped; nothing is left running.")

    def _serve(self, port: int | None) -> None:
        with service_session(settings.VAR_DIR, self.stdout.write) as supervisor:
            port = choose_port(port, self.stdout.write)
            supervisor.start_services()
            programs = [web_program(port), worker_program(), beat_program()]
            for program in programs:
                supervisor.start(program)
            supervisor.wait_ready(programs, READY_TIMEOUT_S)
            if refusal := worker_refusal(supervisor.log_of("worker")):
                self.stdout.write(f"worker grades nothing yet: {refusal}")
            self.stdout.write(f"Ready at {web_address(port)}, logs in {settings.VAR_DIR / 'log'}.")
            self.stdout.write("Ctrl-C ends everything.")
            supervisor.watch()
