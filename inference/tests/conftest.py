"""Real workers for the tests that need them."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from drservice.testing.managed_process import ManagedProcess


@pytest.fixture
def worker_process(
    process_environment: dict[str, str], tmp_path: Path
) -> Callable[..., AbstractContextManager[ManagedProcess]]:
    """Return a function that starts a grading worker; its keywords are environment variables."""

    def start(name: str = "one", paced: bool = True, threads: int = 2, **variables):
        command = (
            *(sys.executable, "-m", "celery", "-A", "drservice", "worker", "-Q", "inference"),
            *(("-I", "inference.tests.paced") if paced else ()),
            *("--pool=threads", "--concurrency", str(threads), "--hostname", f"{name}@test"),
            *("--without-gossip", "--without-mingle", "--loglevel", "INFO"),
        )
        environment = {**process_environment, "INFERENCE_DEVICE": "torch-cpu", **variables}
        return ManagedProcess(command, log=tmp_path / f"{name}.log", environment=environment)

    return start
