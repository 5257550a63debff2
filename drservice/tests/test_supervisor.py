"""The supervisor on programs of a line or two; the real ones are started once, at the end."""

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from drservice.embedded import ServiceError, running_urls
from drservice.embedded.ports import LOOPBACK, reserve_port
from drservice.supervisor.lock import FILE_NAME, hold_lock
from drservice.supervisor.session import choose_port
from drservice.testing.managed_process import ManagedProcess, is_gone

# Starts a redis and, in this order, worker and web; {worker} and {web} are their code.
SCRIPT = """
    import pathlib, sys, time
    from drservice.supervisor import supervision
    from drservice.supervisor.programs import Program
    from drservice.supervisor.session import service_session

    supervision.FIRST_PAUSE_S = 0.05

    def program(name, code):
        return Program(name, (sys.executable, "-c", code), lambda log: True)

    def say(line):
        print(line, flush=True)

    with service_session(pathlib.Path({var!r}), say) as supervisor:
        supervisor.environment["MONGODB_URI"] = "mongodb://127.0.0.1:1"
        supervisor.environment.pop("REDIS_URL")
        supervisor.start_services()
        supervisor.start(program("worker", {worker!r}))
        supervisor.start(program("web", {web!r}))
        for child in [*supervisor.services, *supervisor.programs]:
            say(f"pid {{child.name}} {{child.process.pid}}")
        supervisor.watch()
"""
# Notes when it was asked to end, in a file that all programs share.
WAITING = """
import os, pathlib, signal, sys, time
def leave(number, frame):
    with open(pathlib.Path(os.environ["VAR_DIR"]) / "ends", "a") as file:
        file.write("NAME ")
    sys.exit()
signal.signal(signal.SIGTERM, leave)
print("up", flush=True)
time.sleep(60)
"""


def supervised(tmp_path: Path, *, worker: str = WAITING, web: str = WAITING) -> ManagedProcess:
    script = textwrap.dedent(SCRIPT).format(
        var=str(tmp_path / "var"),
        worker=worker.replace("NAME", "worker"),
        web=web.replace("NAME", "web"),
    )
    return ManagedProcess([sys.executable, "-c", script], log=tmp_path / "supervisor.log")


def child_pids(process: ManagedProcess) -> dict[str, int]:
    process.wait_for_line("pid web")
    return {name: int(pid) for name, pid in re.findall(r"pid (\w+) (\d+)", process.output)}


def wait_until_up(tmp_path: Path, process: ManagedProcess, name: str) -> None:
    log = tmp_path / "var" / "log" / f"{name}.log"
    process.wait_until(lambda: log.exists() and "up" in log.read_text(), f"{name} up")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_signal_ends_every_child_in_order(tmp_path, number):
    with supervised(tmp_path) as process:
        pids = child_pids(process)
        wait_until_up(tmp_path, process, "worker")
        wait_until_up(tmp_path, process, "web")
        process.process.send_signal(number)
        process.process.send_signal(number)
        process.wait_for_exit()
    assert (tmp_path / "var" / "ends").read_text().split() == ["web", "worker"]
    assert all(is_gone(pid) for pid in pids.values())


def test_killed_supervisor_leaves_no_child_and_no_lock(tmp_path):
    with supervised(tmp_path) as process:
        pids = child_pids(process)
        os.kill(process.pid, signal.SIGKILL)
        assert all(is_gone(pid) for pid in pids.values())
    assert (tmp_path / "var" / FILE_NAME).read_text() == str(process.pid)
    # The next one starts at once, on the files that the killed one left.
    with supervised(tmp_path) as successor:
        successor.wait_until(lambda: successor.output.count("pid web") == 2, "second start")
        assert (tmp_path / "var" / FILE_NAME).read_text() == str(successor.pid)


def test_second_supervisor_is_told_who_holds_the_directory(tmp_path):
    with supervised(tmp_path) as process:
        child_pids(process)
        with (
            pytest.raises(ServiceError, match=f"process {process.pid}") as held,
            hold_lock(tmp_path / "var"),
        ):
            pass
        assert f"kill {process.pid}" in held.value.cure


def test_dead_children_run_again_with_the_same_address(tmp_path):
    with supervised(tmp_path) as process:
        pids = child_pids(process)
        address = running_urls(tmp_path / "var")
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        for name in pids:
            process.wait_for_line(rf"{name} ended with code -9; starting it again in 0 s")
            process.wait_for_line(rf"{name} runs again")
        assert running_urls(tmp_path / "var") == address


def test_child_that_always_ends_at_once_ends_the_run_with_its_last_lines(tmp_path):
    with supervised(tmp_path, web="raise SystemExit('no model here')") as process:
        pids = child_pids(process)
        assert process.wait_for_exit() == 1
    assert "web ended 5 times soon after its start, at last with code 1." in process.output
    assert process.output.rstrip().endswith("no model here")
    assert all(is_gone(pid) for pid in pids.values())


def test_port_that_was_asked_for_is_never_changed(monkeypatch):
    said = []
    with reserve_port() as holder:
        taken = holder.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"Port {taken} is taken.*PORT=\d+"):
            choose_port(taken, said.append)
        monkeypatch.setattr("drservice.supervisor.session.DEFAULT_PORT", taken)
        assert choose_port(None, said.append) != taken
    assert f"port {taken} is taken" in said[0]
    assert choose_port(None, said.append) == taken


def assert_doctor_sees(environment: dict[str, str]) -> None:
    """A service on an empty database: everything runs, and nothing was set up yet."""
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=environment, check=True)
    command = [sys.executable, "manage.py", "doctor", "--no-color"]
    doctor = subprocess.run(command, env=environment, capture_output=True, text=True)
    states = {line[9:23].strip(): line[:8].strip() for line in doctor.stdout.splitlines()}
    problems = {subject for subject, state in states.items() if state == "problem"}
    assert problems == {"model", "worker", "beat"}, doctor.stdout + doctor.stderr
    assert "register_model inference/shipped --promote" in doctor.stdout
    assert "No grading worker is ready" in doctor.stdout
    assert doctor.returncode == 1


@pytest.mark.processes
def test_serve_runs_the_real_programs_and_ends_them(tmp_path):
    with reserve_port() as holder:
        port = holder.getsockname()[1]
    environment = {
        **{k: v for k, v in os.environ.items() if k not in ("MONGODB_URI", "REDIS_URL")},
        "VAR_DIR": str(tmp_path / "var"),
        "DJANGO_SETTINGS_MODULE": "drservice.settings.dev",
    }
    command = [sys.executable, "manage.py", "serve", "--port", str(port)]
    with ManagedProcess(command, log=tmp_path / "log", environment=environment) as process:
        process.wait_for_line(f"Ready at http://127.0.0.1:{port}/")
        assert "worker grades nothing yet: No model has been promoted" in process.output
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 5
        second = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert second.returncode == 1
        assert f"The service runs already on {tmp_path / 'var'}" in second.stderr
        assert_doctor_sees(environment)
        process.interrupt()
        assert process.wait_for_exit() == 0
    assert process.output.rstrip().endswith("nothing is left running.")
    assert all(is_gone(child.pid) for child in children)
    with socket.socket() as probe:
        assert probe.connect_ex((LOOPBACK, port)) != 0
