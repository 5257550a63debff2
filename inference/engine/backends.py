"""Who computes: torch or OpenVINO, in float32 or shorter, behind one small protocol.

Every engine is made from the same weights. A shorter one looks first; where its answer comes near
to a decision, float32 looks again (docs/decisions/why-int8-without-nncf.md).
"""

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
import torch

from inference.engine import head
from inference.engine.architectures import GradingNetwork
from inference.engine.artefact import Artefact, Manifest
from inference.engine.errors import EngineError
from inference.engine.openvino_graph import build_model
from inference.engine.parity import REFERENCE
from inference.engine.runtime import core

Device = Literal["auto", "cpu", "cuda", "torch-cpu"]
Precision = Literal["auto", "fp32", "bf16", "int8"]
PRECISIONS = get_args(Precision)

# The engines of a device, float32 first.
ENGINES: dict[str, tuple[str, ...]] = {
    "torch-cpu": (REFERENCE,),
    "cpu": ("openvino-cpu-fp32", "openvino-cpu-bf16", "openvino-cpu-int8"),
    "cuda": ("torch-cuda-fp32", "torch-cuda-bf16"),
}
# Processor features that make a precision quick, as Linux names them.
CPU_FEATURES = {
    "bf16": frozenset({"avx512_bf16", "amx_bf16"}),
    "int8": frozenset({"avx512_vnni", "avx_vnni", "amx_int8"}),
}
CPU_FACTS = Path("/proc/cpuinfo")


class Classifier(Protocol):
    """Something that turns images into scores and features, the same way every time."""

    name: str

    @property
    def parts(self) -> Mapping[str, "Classifier"]:
        """Name the engines that it is made of; each has a test vector of its own."""
        ...

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return raw scores [b, 4] and features [b, c, h', w'] of images [b, 3, h, w] float32."""
        ...


class TorchClassifier:
    """Run the network in torch, in float32, or on a GPU with its body in bfloat16."""

    def __init__(
        self, network: GradingNetwork, device: str = "cpu", *, precision: Precision = "fp32"
    ) -> None:
        self.name = f"torch-{device}-{precision}"
        self._device = torch.device(device)
        self._network = network.to(self._device, memory_format=torch.channels_last)
        self._short = precision == "bf16"
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = False

    @property
    def parts(self) -> Mapping[str, Classifier]:
        """Name itself."""
        return {self.name: self}

    @torch.inference_mode()
    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return raw scores [b, 4] and features [b, c, h', w'], float32."""
        batch = torch.from_numpy(images).to(self._device, memory_format=torch.channels_last)
        with torch.autocast("cuda", torch.bfloat16) if self._short else nullcontext():
            scores, features = self._network(batch)
        return scores.float().cpu().numpy(), features.float().cpu().numpy()


class OpenVinoClassifier:
    """Run the network in OpenVINO on the CPU."""

    def __init__(
        self,
        network: GradingNetwork,
        size_px: tuple[int, int],
        *,
        precision: Precision = "fp32",
        ranges: Mapping[str, float] | None = None,
    ) -> None:
        self.name = f"openvino-cpu-{precision}"
        model = build_model(network, size_px, ranges if precision == "int8" else None)
        settings = {
            # What is not 8 bits in an 8-bit model is float32.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._model = core().compile_model(model, "CPU", settings)

    @property
    def parts(self) -> Mapping[str, Classifier]:
        """Name itself."""
        return {self.name: self}

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return raw scores [b, 4] and features [b, c, h', w'], float32."""
        # One photograph at a time: what else waits in the batch then can't change a grade, and on
        # a CPU a batch is no faster.
        rows = [self._model([images[place : place + 1]]) for place in range(len(images))]
        scores = np.concatenate([row[0] for row in rows])
        return scores, np.concatenate([row[1] for row in rows])


class DoubleChecked:
    """Ask a quick engine first, and float32 again where the answer lies near a decision.

    Which photographs are asked again depends on each alone, so results repeat.
    """

    def __init__(
        self, quick: Classifier, exact: Classifier, *, edges: np.ndarray, margin: float
    ) -> None:
        self.name = quick.name
        self._quick, self._exact = quick, exact
        self._edges, self._margin = edges, margin
        self.asked = self.asked_again = 0

    @property
    def parts(self) -> Mapping[str, Classifier]:
        """Name the quick engine and the exact one."""
        return {**self._quick.parts, **self._exact.parts}

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return raw scores [b, 4] and features [b, c, h', w'], float32."""
        scores, features = self._quick.predict(images)
        # Also where a score is not a number.
        again = np.flatnonzero(~(head.distances(scores, self._edges) > self._margin))
        self.asked += len(images)
        self.asked_again += len(again)
        if len(again):
            scores[again], features[again] = self._exact.predict(images[again])
        return scores, features


def load_classifier(
    artefact: Artefact, device: Device = "auto", *, precision: Precision = "auto"
) -> Classifier:
    """Build the fastest engine that is proven for this model and machine, or the one asked for.

    `auto` is `cuda` where a GPU is, else `cpu`. `cpu` is OpenVINO; `torch-cpu` is plain torch.
    A precision other than float32 needs to have passed parity. Raises EngineError.
    """
    return build_classifier(artefact, choose_engine(artefact, _device(device), precision))


def choose_engine(artefact: Artefact, device: str, precision: Precision = "auto") -> str:
    """Name the engine that serves on a device. Raises EngineError when it may not or can't."""
    first, *quicker = ENGINES[device]
    if precision not in PRECISIONS:
        raise EngineError(
            f"The precision {precision!r} is unknown.", f"Use one of {', '.join(PRECISIONS)}."
        )
    if precision == "fp32":
        return first
    usable = [each for each in quicker if artefact.parity.passed(each) and is_native(each)]
    if precision == "auto":
        return max([first, *usable], key=artefact.parity.images_per_s)
    asked = [each for each in usable if each.endswith(precision)]
    if not asked:
        raise EngineError(
            f"{precision} can't serve here: this model has not passed parity with it on {device}, "
            "or this machine does not compute it natively.",
            "Use the precision 'auto', or run `manage.py measure_parity` before registering.",
        )
    return asked[0]


def build_classifier(artefact: Artefact, engine: str) -> Classifier:
    """Build an engine by its name; one in a shorter precision comes with its second look."""
    quick = build_quick(artefact, engine, artefact.parity.int8_ranges)
    if engine.endswith("fp32"):
        return quick
    exact = next(each[0] for each in ENGINES.values() if engine in each)
    return DoubleChecked(
        quick,
        build_quick(artefact, exact),
        edges=decision_edges(artefact.manifest),
        margin=artefact.parity.engines[engine].margin,
    )


def build_quick(
    artefact: Artefact, engine: str, ranges: Mapping[str, float] | None = None
) -> Classifier:
    """Build one engine by its name, without a second look."""
    library, device, precision = engine.split("-")
    if library == "torch":
        # Moving to a GPU would take the network away from those who compute here.
        network = artefact.network if device == "cpu" else copy.deepcopy(artefact.network)
        return TorchClassifier(network, device, precision=precision)
    size_px = artefact.manifest.preprocessing.size_px
    return OpenVinoClassifier(artefact.network, size_px, precision=precision, ranges=ranges)


def decision_edges(manifest: Manifest) -> np.ndarray:
    """Say where an ordered logit decides something, [2, 4]: the grade, and a flag or nothing."""
    point = manifest.operating_point
    return head.decision_edges(
        manifest.temperature, point.referable_threshold, point.vision_threatening_threshold
    )


def is_native(engine: str) -> bool:
    """Say whether this machine computes an engine's precision in hardware of its own."""
    _, device, precision = engine.split("-")
    if device == "cuda":
        return torch.cuda.is_available() and (
            precision == "fp32" or torch.cuda.is_bf16_supported(including_emulation=False)
        )
    return precision == "fp32" or bool(CPU_FEATURES[precision] & cpu_features())


def cpu_features() -> frozenset[str]:
    """Read what the processor can do; nothing where the system does not say it as Linux does."""
    try:
        lines = CPU_FACTS.read_text().splitlines()
    except OSError:
        return frozenset()
    told = [line.partition(":")[2].split() for line in lines if line.startswith("flags")]
    return frozenset(told[0]) if told else frozenset()


def _device(device: Device) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device not in ENGINES or (device == "cuda" and not torch.cuda.is_available()):
        raise EngineError(f"This machine can't compute on {device!r}.", "Use the device 'auto'.")
    return device
