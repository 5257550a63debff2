"""Compare every engine that this machine computes natively with torch in float32, on val eyes.

What 8 bits need to know of the network is taken from training eyes, so val only checks. All
engines get the same batch one after the other: whatever else the machine does, the ratios hold.
"""

import copy
import datetime
import importlib.metadata
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from inference.engine import head
from inference.engine.artefact import Artefact, load_artefact, record_parity, test_images
from inference.engine.backends import (
    CPU_FEATURES,
    ENGINES,
    Classifier,
    DoubleChecked,
    build_quick,
    cpu_features,
    decision_edges,
    is_native,
)
from inference.engine.parity import REFERENCE, parse_parity
from inference.engine.transforms import band_to_images
from training.engine.card import write_card
from training.engine.datasets import Eye, eyes_to_learn_from, graded, load_bands, read_eyes
from training.engine.errors import DataInvalid

CHECKED_ON = "val"
CALIBRATION_EYES = 150
BATCH_SIZE = 8
LATENCY_EYES = 20
SEED = 1


@dataclass(kw_only=True)
class Taken:
    """What one engine gave and how long it took, over the eyes seen so far."""

    scores: list[np.ndarray] = field(default_factory=list)
    seconds: float = 0.0
    alone_s: list[float] = field(default_factory=list)


def measure_parity(
    artefact: Artefact, *, data: Path, cache: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Return what a manifest says under `parity`. Raises DataInvalid when eyes are missing."""
    eyes = read_eyes(data)
    checked, calibrated_on = graded(eyes, CHECKED_ON), _calibration_eyes(eyes)
    if not checked or not calibrated_on:
        raise DataInvalid(
            "There are no graded eyes in train and val to compare engines on.",
            "Give --data a folder with both splits.",
        )
    artefact = replace(artefact, network=copy.deepcopy(artefact.network))
    engines = [name for each in ENGINES.values() for name in each]
    native = [name for name in engines if is_native(name)]
    say(f"{len(calibrated_on)} training eyes tell ranges and margins")
    bands = load_bands(calibrated_on, data=data, cache=cache, spec=artefact.manifest.preprocessing)
    batches = list(_batches(artefact, bands))
    ranges = input_ranges(artefact, batches)
    classifiers, margins = {}, {}
    for name in native:
        classifiers[name], margins[name] = _with_margin(artefact, name, ranges, batches)
    say(f"{len(checked)} {CHECKED_ON} eyes, engines: {', '.join(native)}")
    bands = load_bands(checked, data=data, cache=cache, spec=artefact.manifest.preprocessing)
    taken = _take(classifiers, _batches(artefact, bands))
    return {
        "reference": REFERENCE,
        "eyes": f"{len(checked)} graded eyes of {CHECKED_ON}",
        "calibrated_on": f"{len(calibrated_on)} eyes of train",
        "measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "not_available_here": [name for name in engines if name not in native],
        "engines": {
            name: {
                **compare_with_reference(artefact, taken[name].scores, taken[REFERENCE].scores),
                "images_per_s": _short(len(checked) / taken[name].seconds),
                "latency_ms": _short(1000 * statistics.median(taken[name].alone_s)),
                "asked_again": _asked_again(classifiers[name]),
                "margin": margins[name],
                "test_scores": _test_scores(artefact, classifiers[name]),
            }
            for name in native
        },
        "int8_ranges": ranges,
    }


def write_parity(directory: Path, parity: dict[str, Any]) -> None:
    """Put a measurement into a model's manifest and onto its card."""
    manifest = replace(load_artefact(directory).manifest, parity=parity)
    record_parity(directory, parity, card=write_card(manifest))


def parity_lines(parity: dict[str, Any]) -> Iterator[str]:
    """Tell a measurement in a line for each engine."""
    known = parse_parity(parity)
    for name, each in parity["engines"].items():
        verdict = "passed" if known.passed(name) else "FAILED"
        yield (
            f"{name:<18} {each['images_per_s']:8.2f} images/s  {each['latency_ms']:8.1f} ms alone  "
            f"equal grades {each['equal_grades']}/{each['eyes']}  "
            f"referable flips {each['referable_flips']}, lost {each['referable_lost']}  "
            f"largest change {each['max_probability_change']:.4f}  "
            f"asked again {each['asked_again']:.0%}  {verdict}"
        )
    for name in parity["not_available_here"]:
        yield f"{name:<18} not available on this machine"


def input_ranges(artefact: Artefact, batches: Sequence[np.ndarray]) -> dict[str, float]:
    """Return the largest input of each convolution whose input is never negative."""
    largest: dict[str, float] = {}
    smallest: dict[str, float] = {}

    def watch(name: str) -> Callable[..., None]:
        def look(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            largest[name] = max(largest.get(name, 0.0), float(given[0].max()))
            smallest[name] = min(smallest.get(name, 0.0), float(given[0].min()))

        return look

    hooks = [
        module.register_forward_pre_hook(watch(name))
        for name, module in artefact.network.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    try:
        reference = build_quick(artefact, REFERENCE)
        for batch in batches:
            reference.predict(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        name: _short(value) for name, value in largest.items() if smallest[name] >= 0 and value > 0
    }


def compare_with_reference(
    artefact: Artefact, given: Sequence[np.ndarray], expected: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Count what an engine's raw scores change against the reference's; both [b, 4] each."""
    manifest = artefact.manifest
    there, here = (
        head.cumulative_probabilities(
            head.ordered_logits(np.concatenate(scores)), manifest.temperature
        )
        for scores in (expected, given)
    )
    threshold = manifest.operating_point.referable_threshold
    was, now = (head.referable_of(each) >= threshold for each in (there, here))
    return {
        "eyes": len(there),
        "equal_grades": int((head.grades_of(there) == head.grades_of(here)).sum()),
        "referable_flips": int((was != now).sum()),
        "referable_lost": int((was & ~now).sum()),
        "max_probability_change": _short(float(np.abs(there - here).max())),
    }


def _calibration_eyes(eyes: Sequence[Eye]) -> list[Eye]:
    learned_from = eyes_to_learn_from(eyes)
    count = min(CALIBRATION_EYES, len(learned_from))
    return random.Random(SEED).sample(learned_from, count)


def _batches(artefact: Artefact, bands: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(bands), BATCH_SIZE):
        batch = np.array(bands[start : start + BATCH_SIZE])
        yield band_to_images(batch, artefact.manifest.preprocessing).numpy()


def _with_margin(
    artefact: Artefact, name: str, ranges: Mapping[str, float], batches: Sequence[np.ndarray]
) -> tuple[Classifier, float]:
    """Build an engine as it would serve, with the largest difference seen as its margin."""
    quick = build_quick(artefact, name, ranges)
    if name.endswith("fp32"):
        return quick, 0.0
    exact = build_quick(artefact, next(each[0] for each in ENGINES.values() if name in each))
    gaps = [
        np.abs(
            head.ordered_logits(quick.predict(batch)[0])
            - head.ordered_logits(exact.predict(batch)[0])
        ).max()
        for batch in batches
    ]
    margin = _short(float(max(gaps)))
    edges = decision_edges(artefact.manifest)
    return DoubleChecked(quick, exact, edges=edges, margin=margin), margin


def _take(classifiers: Mapping[str, Classifier], batches: Iterator[np.ndarray]) -> dict[str, Taken]:
    taken = {name: Taken() for name in classifiers}
    for batch in batches:
        for name, classifier in classifiers.items():
            each = taken[name]
            started = time.perf_counter()
            each.scores.append(classifier.predict(batch)[0])
            each.seconds += time.perf_counter() - started
            if len(each.alone_s) < LATENCY_EYES:
                started = time.perf_counter()
                classifier.predict(batch[:1])
                each.alone_s.append(time.perf_counter() - started)
    return taken


def _asked_again(classifier: Classifier) -> float:
    if not isinstance(classifier, DoubleChecked):
        return 0.0
    return _short(classifier.asked_again / classifier.asked)


def _test_scores(artefact: Artefact, classifier: Classifier) -> list[float]:
    images = test_images(artefact.test_vector.seed, artefact.manifest.preprocessing)
    scores, _ = classifier.parts[classifier.name].predict(images)
    return [round(float(score), 6) for score in scores[0]]


def _machine() -> dict[str, Any]:
    short = frozenset().union(*CPU_FEATURES.values())
    return {
        "processor": platform.machine(),
        "features": sorted(short & cpu_features()),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "torch": torch.__version__,
        "openvino": importlib.metadata.version("openvino"),
    }


def _short(value: float) -> float:
    return float(f"{value:.6g}")
