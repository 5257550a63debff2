"""Run the service with demo hospitals, grade a first case through the pages, then serve."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from drservice.embedded import ServiceError
from drservice.supervisor.first_case import (
    Account,
    Submission,
    folder_case,
    submit_cases,
    synthetic_case,
)
from drservice.supervisor.photographs import folder_cases
from drservice.supervisor.programs import (
    beat_program,
    web_address,
    web_program,
    worker_program,
    worker_refusal,
)
from drservice.supervisor.result_table import result_table
from drservice.supervisor.session import READY_TIMEOUT_S, choose_port, service_session
from drservice.supervisor.supervision import Supervisor
from drservice.supervisor.web_session import PageError, Upload

# Long enough for a worker to find the model that was promoted while it started.
REFUSAL_PATIENCE_S = 6.0
LOOK = f"The logs in {settings.VAR_DIR / 'log'} say more."


class Command(BaseCommand):
    help = "Start everything, make the demo, grade a first case over HTTP, and serve until Ctrl-C."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="stop after the first case")
        parser.add_argument("--images", type=Path, help="folder of photographs to submit")
        parser.add_argument("--port", type=int, help="port of the web pages (default: 8000)")

    def handle(self, *args, once: bool, images: Path | None, port: int | None, **options) -> None:
        try:
            self._run(once, images, port)
        except KeyboardInterrupt as interrupt:
            self.stdout.write("Stopped; nothing is left running.")
            if once:
                raise CommandError("Stopped before the first case was graded.") from interrupt

    def _run(self, once: bool, images: Path | None, port: int | None) -> None:
        with service_session(settings.VAR_DIR, self.stdout.write) as supervisor:
            cases = _cases(images)
            port = choose_port(port, self.stdout.write)
            supervisor.start_services()
            account = _prepare_beside_worker(supervisor)
            address = web_address(port)
            self._start_web(supervisor, port)
            self._submit(supervisor, address, account, cases)
            if once:
                return
            self.stdout.write(f"Open {address} and sign in with an account of the demo.")
            self.stdout.write(f"Logs are in {settings.VAR_DIR / 'log'}. Ctrl-C ends everything.")
            supervisor.watch()

    def _start_web(self, supervisor: Supervisor, port: int) -> None:
        web = web_program(port)
        supervisor.start(web)
        # Web alone: a case may be submitted while the worker still loads its model.
        supervisor.wait_ready([web], READY_TIMEOUT_S)
        supervisor.start(beat_program())
        self.stdout.write(f"web answers at {web_address(port)}")

    def _submit(
        self, supervisor: Supervisor, address: str, account: Account, cases: list[list[Upload]]
    ) -> None:
        self.stdout.write(f"Submitting {len(cases)} case(s) as {account.email} ...")
        visit = _Visit(address, account, cases, self.stdout.write)
        visit.start()
        refusal = _LastingRefusal(supervisor.log_of("worker"))
        supervisor.watch(until=lambda: not visit.is_alive() or refusal.lasts())
        if visit.is_alive():
            raise ServiceError(f"The worker grades nothing. {refusal.reason}", LOOK)
        submissions = visit.result()
        self.stdout.write(result_table(submissions))
        if not all(submission.graded for submission in submissions):
            raise ServiceError("Not every case was graded; the table says why.", LOOK)


class _LastingRefusal:
    """A worker's refusal to grade that stays.

    A worker that starts beside the registration of a new model may say for a moment that the one
    before it can't be used.
    """

    def __init__(self, log: Path) -> None:
        self.reason = ""
        self._log = log
        self._since_s = 0.0

    def lasts(self) -> bool:
        reason = worker_refusal(self._log)
        if reason != self.reason:
            self.reason, self._since_s = reason, time.monotonic()
        return bool(reason) and time.monotonic() - self._since_s > REFUSAL_PATIENCE_S


class _Visit(threading.Thread):
    """The visit to the pages, beside the supervisor, which needs the main thread."""

    def __init__(self, *visit) -> None:
        super().__init__(daemon=True)
        self._visit = visit
        self._submissions: list[Submission] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._submissions = submit_cases(*self._visit)
        except BaseException as error:
            self._error = error

    def result(self) -> list[Submission]:
        if isinstance(self._error, PageError):
            raise ServiceError(str(self._error), LOOK) from self._error
        if self._error is not None:
            raise self._error
        return self._submissions


def _cases(images: Path | None) -> list[list[Upload]]:
    if images is None:
        return [synthetic_case()]
    return [folder_case(files) for files in folder_cases(images.expanduser())]


def _prepare_beside_worker(supervisor: Supervisor) -> Account:
    """Make the demo ready and start the worker: together, where a model is known already.

    Loading the model is the longest part of a start. Without one the worker has to wait, or it
    would find nothing to load and look again only later.
    """
    model_known = (settings.VAR_DIR / "models").is_dir()
    if model_known:
        supervisor.start(worker_program())
    account = _prepare(supervisor)
    if not model_known:
        supervisor.start(worker_program())
    return account


def _prepare(supervisor: Supervisor) -> Account:
    """Migrate and make the demo in a process that knows the addresses of the servers."""
    done = subprocess.run(
        [sys.executable, "manage.py", "prepare_demo"],
        # Its events would stand between the lines that a person should read.
        env={**supervisor.environment, "LOG_LEVEL": "WARNING"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServiceError("The demo could not be made.", "What is printed above says why.")
    return Account(**json.loads(done.stdout))
