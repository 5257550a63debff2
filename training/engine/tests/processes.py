"""Processes of their own, for tests that kill them or start several.

They are forked from one that has imported everything once: importing torch in each would take
longer than all that they do. The one that runs the tests can't be forked itself, because torch
refuses to learn in the child of a process that has learned.
"""

from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess

FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(["training.engine.tests.processes_preload"])


def started(target: Callable[..., None], *arguments: object) -> BaseProcess:
    """Call a module's function in a new process."""
    process = FORKS.Process(target=target, args=arguments)
    process.start()
    return process
