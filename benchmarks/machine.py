"""Say what machine a figure was taken on, and sum up samples."""

import os
import platform
from collections.abc import Sequence


def describe() -> str:
    """Return one line: processor, cores that this process may use, system, Python."""
    cores = len(os.sched_getaffinity(0))
    return f"{_processor()}, {cores} cores, {platform.system()}, Python {platform.python_version()}"


def _processor() -> str:
    with open("/proc/cpuinfo") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least `share` (0 to 1) of the samples don't exceed."""
    ordered = sorted(samples)
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]


def row(name: str, samples_s: Sequence[float], goal_ms: float | None = None) -> str:
    """Return one line with p50 and p95 in milliseconds, and whether p95 meets the goal."""
    p50, p95 = (percentile(samples_s, share) * 1000 for share in (0.50, 0.95))
    verdict = (
        "" if goal_ms is None else f"  goal {goal_ms:g}: {'met' if p95 <= goal_ms else 'MISSED'}"
    )
    return f"{name:<28} n={len(samples_s):<5} p50 {p50:8.1f} ms  p95 {p95:8.1f} ms{verdict}"
