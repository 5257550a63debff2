"""How long one case of four camera-size photographs takes a CPU worker, from bytes to results.

Run: .venv/bin/python -m benchmarks.case_on_cpu

Measures the shipped model, and a ResNet-101 of random weights at 512 px, the size of network that a
clinic's CPU node must be able to carry. Photographs are synthetic JPEGs of 8 megapixels; decoding,
quality gate, network and attention maps all count. Goal: p95 of at most 10 s a case.
"""

import argparse
import dataclasses
import io
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.machine import describe, row
from inference.engine.architectures import build_network
from inference.engine.artefact import load_artefact, save_artefact
from inference.engine.grader import Grader, load_grader
from inference.engine.synthetic import draw_fundus
from inference.engine.testing import make_tiny_artefact

SHIPPED = Path(__file__).resolve().parent.parent / "inference" / "shipped"
GOAL_MS = 10_000
CAMERA_SIZE_PX = (3456, 2304)
PREPARE_THREADS = 2


def main() -> None:
    options = _options()
    print(describe())
    photographs = [_photograph(seed) for seed in range(4)]
    sizes = ", ".join(f"{len(content) / 1e6:.1f} MB" for content in photographs)
    print(f"a case of 4 photographs of {CAMERA_SIZE_PX[0]} x {CAMERA_SIZE_PX[1]} px: {sizes}\n")
    for artefact in sorted(path.parent for path in SHIPPED.rglob("manifest.json")):
        _measure(load_grader(artefact), photographs, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        _measure(_random_resnet101(Path(folder)), photographs, options.rounds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    return parser.parse_args()


def _photograph(seed: int) -> bytes:
    buffer = io.BytesIO()
    picture = draw_fundus(seed, grade=seed % 5, size_px=CAMERA_SIZE_PX)
    picture.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def _random_resnet101(folder: Path) -> Grader:
    """Save and load a ResNet-101 as if it had been trained at 512 px."""
    tiny = load_artefact(make_tiny_artefact(folder / "tiny")).manifest
    manifest = dataclasses.replace(
        tiny,
        name="resnet101-random",
        architecture="resnet101",
        preprocessing=dataclasses.replace(tiny.preprocessing, size_px=(512, 384)),
    )
    network = build_network("resnet101").eval()
    return load_grader(
        save_artefact(folder / "resnet101", network=network, manifest=manifest, card="random")
    )


def _measure(grader: Grader, photographs: list[bytes], rounds: int) -> None:
    cases_s, prepare_s, network_s = [], [], []
    with ThreadPoolExecutor(PREPARE_THREADS) as threads:
        for _ in range(rounds + 1):
            started = time.perf_counter()
            prepared = list(threads.map(grader.prepare, photographs))
            waiting = time.perf_counter()
            gradings = grader.grade(prepared)
            done = time.perf_counter()
            cases_s.append(done - started)
            prepare_s.append(waiting - started)
            network_s.append(done - waiting)
    rejected = sum(grading.grade is None for grading in gradings)
    print(f"{grader.version} on {grader.backend}, {rejected} of 4 rejected by the quality gate")
    print("  " + row("decode, gate, prepare", prepare_s[1:]))
    print("  " + row("network, attention maps", network_s[1:]))
    print("  " + row("whole case", cases_s[1:], GOAL_MS))


if __name__ == "__main__":
    main()
