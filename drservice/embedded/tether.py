"""Run a command that ends when its parent does: `tether.py PARENT_PID COMMAND [ARGUMENT ...]`.

A script of its own, started by path, because `preexec_fn` is unsafe in a process with threads.
The kernel keeps the parent-death signal across exec, so the command itself needs to know nothing.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent_pid, *command = sys.argv[1:]
    # SIGTERM and not SIGKILL: mongod and redis then write everything down before they end.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent_pid):
        raise SystemExit("The parent ended before its child began.")
    try:
        os.execvp(command[0], command)  # noqa: S606  (a list, never a shell line)
    except OSError as error:
        raise SystemExit(f"{command[0]}: {error.strerror}") from error


main()
