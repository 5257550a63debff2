"""Begin children in order, bring the dead ones back, and end all of them in order."""

import os
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from drservice.embedded import (
    RunningService,
    ServiceError,
    record_running,
    remembered_port,
    running_urls,
    start_mongodb,
    start_redis,
)
from drservice.embedded.children import end, log_tail, spawn, start_new_log
from drservice.embedded.ports import free_port, is_free
from drservice.supervisor.programs import Program, ending_place

POLL_S = 0.1
QUICK_END_S = 10
MAX_QUICK_ENDS = 5
FIRST_PAUSE_S = 1.0
ORPHANS_LEAVE_S = 20
STARTERS = {"mongodb": start_mongodb, "redis": start_redis}
ADDRESS_VARIABLES = {"mongodb": "MONGODB_URI", "redis": "REDIS_URL"}


@dataclass
class Child:
    """Something that should run. `begin` starts it, again after it ended by itself."""

    name: str
    log: Path
    begin: Callable[[], subprocess.Popen]
    process: subprocess.Popen
    begun_at: float = field(default_factory=time.monotonic)
    quick_ends: int = 0
    again_at: float | None = None


class Supervisor:
    """The children of one var/ directory, for the length of a `with` block.

    Everything happens in the calling thread, which must be the main one: `tick` looks at the
    children once, and whoever waits for something calls it while waiting.
    """

    def __init__(self, *, var: Path, environment: dict[str, str], say: Callable) -> None:
        self.var = var
        self.environment = environment
        self.say = say
        self.services: list[Child] = []
        self.programs: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Whoever gives work goes before those who do it, and the servers go last.
        programs = sorted(self.programs, key=lambda child: ending_place(child.name))
        for child in [*programs, *reversed(self.services)]:
            end(child.process)
        self.programs, self.services = [], []

    def start_services(self) -> None:
        """Start the servers whose addresses the environment does not give.

        Post-state: the environment of the programs names both servers. Raises ServiceError.
        """
        self._wait_for_orphans()
        for name, variable in ADDRESS_VARIABLES.items():
            if not self.environment.get(variable):
                self.environment[variable] = self._start_service(name)

    def start(self, program: Program) -> None:
        """Start a program and look after it from now on."""
        log = self.log_of(program.name)
        start_new_log(log)

        def begin() -> subprocess.Popen:
            return spawn(program.command, log=log, environment=self.environment)

        self.programs.append(Child(program.name, log, begin, begin()))

    def wait_ready(self, programs: Iterable[Program], timeout_s: float) -> None:
        """Wait until all programs are ready. Raises ServiceError when one is not in time."""
        waiting = list(programs)
        deadline = time.monotonic() + timeout_s
        while waiting := [one for one in waiting if not one.ready(self.log_of(one.name))]:
            if time.monotonic() > deadline:
                raise self._not_ready_error(waiting[0], timeout_s)
            self.tick()
            time.sleep(POLL_S)

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Look after the children until something is true."""
        while not until():
            self.tick()
            time.sleep(POLL_S)

    def tick(self) -> None:
        """Look at every child once: one that ended begins again after a pause.

        Raises ServiceError when one has ended at once several times in a row.
        """
        now = time.monotonic()
        for child in [*self.services, *self.programs]:
            if child.again_at is not None:
                self._begin_again(child, now)
            elif child.process.poll() is not None:
                self._plan_restart(child, now)

    def _plan_restart(self, child: Child, now: float) -> None:
        quick = now - child.begun_at < QUICK_END_S
        child.quick_ends = child.quick_ends + 1 if quick else 1
        code = end(child.process)
        if child.quick_ends >= MAX_QUICK_ENDS:
            raise _gave_up_error(child, code)
        pause_s = FIRST_PAUSE_S * 2 ** (child.quick_ends - 1)
        child.again_at = now + pause_s
        self.say(f"{child.name} ended with code {code}; starting it again in {pause_s:.0f} s")

    def _begin_again(self, child: Child, now: float) -> None:
        if now < child.again_at:
            return
        child.process = child.begin()
        child.begun_at = time.monotonic()
        child.again_at = None
        self.say(f"{child.name} runs again")

    def _start_service(self, name: str) -> str:
        remembered = remembered_port(self.var, name)
        port = remembered if remembered and is_free(remembered) else free_port()
        began = time.monotonic()

        def begin() -> RunningService:
            service = STARTERS[name](self.var / name, port)
            record_running(self.var, [service])
            return service

        service = begin()
        child = Child(name, service.log, lambda: begin().process, service.process)
        self.services.append(child)
        self.say(f"{name} listens on 127.0.0.1:{port} ({time.monotonic() - began:.1f} s)")
        return service.url

    def _wait_for_orphans(self) -> None:
        """Let servers of a supervisor that was killed finish: they are ending by themselves."""
        deadline = time.monotonic() + ORPHANS_LEAVE_S
        while running_urls(self.var):
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"Servers of an earlier run still work on {self.var}.",
                    f"End the processes that {self.var / 'services.json'} names with `kill`, and "
                    "start again.",
                )
            time.sleep(POLL_S)

    def log_of(self, name: str) -> Path:
        return self.var / "log" / f"{name}.log"

    def _not_ready_error(self, program: Program, timeout_s: float) -> ServiceError:
        log = self.log_of(program.name)
        return ServiceError(
            f"{program.name} was not ready within {timeout_s:.0f} s.",
            f"Read {log}, which ends with:\n{log_tail(log)}",
        )


def _gave_up_error(child: Child, code: int) -> ServiceError:
    return ServiceError(
        f"{child.name} ended {child.quick_ends} times soon after its start, at last with code "
        f"{code}.",
        f"Correct what its log says, {child.log}:\n{log_tail(child.log)}",
    )


def child_environment(var: Path) -> dict[str, str]:
    """Return the environment of the children: ours, unbuffered, with the same var/ directory."""
    return {**os.environ, "VAR_DIR": str(var), "PYTHONUNBUFFERED": "1"}
