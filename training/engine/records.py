"""run.json: what a run was made of, so that it can be repeated. It names no machine and no path."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from training.engine.checkpoints import write_whole
from training.engine.config import TrainingConfig
from training.engine.datasets import Eye
from training.engine.initial import Taken

RECORD = "run.json"
FORMAT = 1
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "safetensors")
SOURCE = Path(__file__).resolve().parent


def write_record(
    folder: Path,
    *,
    config: TrainingConfig,
    sources: Mapping[str, Any],
    taken: Taken,
    device: str,
    processes: int,
) -> None:
    """Write down a run at its start. When it goes on with other packages or elsewhere, add that."""
    by = {
        "device": device,
        "processes": processes,
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }
    told = read_record(folder)
    if not told:
        told = {
            "format": FORMAT,
            "config": asdict(config),
            "sources": dict(sources),
            "init": {
                "from": config.init,
                "sha256": sources["init"],
                "tensors_taken": taken.taken,
                "tensors_fresh": list(taken.fresh),
                "frozen": list(config.freeze),
            },
            "made_by": [],
        }
    if by not in told["made_by"]:
        told["made_by"].append(by)
    text = json.dumps(told, indent=2) + "\n"
    write_whole(folder / RECORD, lambda file: file.write(text.encode()))


def read_record(folder: Path) -> dict[str, Any]:
    """Return what is written down of a run; empty when nothing is."""
    path = folder / RECORD
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def split_fingerprint(eyes: Sequence[Eye]) -> str:
    """Name exactly which picture of which patient stands in which split."""
    lines = sorted(f"{eye.image} {eye.patient} {eye.split}" for eye in eyes)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _commit() -> str | None:
    """Name the commit of this code, with -dirty after changes; None outside of a checkout."""
    asked = (
        "git",
        "--no-optional-locks",
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
        "--exclude=*",
    )
    try:
        done = subprocess.run(asked, cwd=SOURCE, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
