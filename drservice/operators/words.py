"""How the pages say how long ago something was, and how much."""

import datetime as dt

UNITS = (("day", 86_400), ("h", 3600), ("min", 60))


def age_in_words(since: dt.datetime, now: dt.datetime) -> str:
    """Return an age in its largest unit, as somebody on call would say it: 12 s, 5 min, 3 days."""
    seconds = max(0, int((now - since).total_seconds()))
    for unit, length_s in UNITS:
        if seconds >= length_s:
            count = seconds // length_s
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{seconds} s"


def bytes_in_words(size_bytes: int) -> str:
    """Return a size in units of a thousand, as limits are set: 0 bytes, 3.9 kB, 500 GB."""
    size, unit = float(size_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}" if size < 1000 else f"{size:.0f} {unit}"
