"""The form of a line in the log: time in UTC, level, logger, event word and fields."""

import logging
import time

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s"
# Control characters, and the separators that some programs take for the end of a line.
BREAKS = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (*range(32), 127, 0x85, 0x2028, 0x2029)
}


class LineFormatter(logging.Formatter):
    """Write one event on one line, whatever stands in its fields; tracebacks follow below it."""

    converter = time.gmtime

    def __init__(self) -> None:
        super().__init__(FORMAT, "%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        return super().formatMessage(record).translate(BREAKS)
