"""The form of a line in the log: time in UTC, level, logger, event word and fields."""

import logging
import time

from django.http import HttpRequest

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s"
# Control characters, and the separators that some programs take for the end of a line.
BREAKS = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (*range(32), 127, 0x85, 0x2028, 0x2029)
}


class RouteFilter(logging.Filter):
    """Let Django's lines name the route of a request that went wrong, never its path.

    A path says whose record was asked for, and may be a link that was mailed.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        path = getattr(getattr(record, "request", None), "path", None)
        if path is not None and isinstance(record.args, tuple):
            written = path.encode("unicode_escape").decode("ascii")  # as Django escapes it
            route = _route_of(record.request)
            record.args = tuple(route if one in (path, written) else one for one in record.args)
        return True


def _route_of(request: HttpRequest) -> str:
    match = getattr(request, "resolver_match", None)
    return f"/{match.route}" if match else "an address that leads nowhere"


class LineFormatter(logging.Formatter):
    """Write one event on one line, whatever stands in its fields; tracebacks follow below it."""

    converter = time.gmtime

    def __init__(self) -> None:
        super().__init__(FORMAT, "%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        return super().formatMessage(record).translate(BREAKS)
