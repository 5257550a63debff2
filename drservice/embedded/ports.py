"""Free ports on loopback."""

import socket

from drservice.embedded.errors import ServiceError

LOOPBACK = "127.0.0.1"


def reserve_port() -> socket.socket:
    """Return a socket that holds a free loopback port until it is closed."""
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    holder.bind((LOOPBACK, 0))
    return holder


def free_port() -> int:
    with reserve_port() as holder:
        return holder.getsockname()[1]


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port that only lingers after its last connection counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def require_free(port: int, program: str) -> None:
    """Refuse a taken port before a server starts: whoever has it would answer in its place.

    Raises ServiceError.
    """
    if not is_free(port):
        raise ServiceError(
            f"{program} can't listen on port {port}: another program has it.",
            "Stop that program, or leave the port out: a free one is chosen then.",
        )
