"""Who computes: torch or OpenVINO, behind one small protocol and from the same weights."""

from typing import Literal, Protocol

import numpy as np
import torch

from inference.engine.architectures import GradingNetwork
from inference.engine.artefact import Artefact
from inference.engine.errors import EngineError
from inference.engine.runtime import openvino

Device = Literal["auto", "cpu", "cuda", "torch-cpu"]


class Classifier(Protocol):
    """Something that turns images into scores and features, the same way every time."""

    name: str

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return raw scores [b, 4] and features [b, c, h', w'] of images [b, 3, h, w] float32."""
        ...


class TorchClassifier:
    """Run the network in torch, in float32 on a GPU too.

    Shorter numbers would be faster there, but they may move a grade: they serve only once they
    have been compared with float32 on real eyes.
    """

    def __init__(self, network: GradingNetwork, device: str = "cpu") -> None:
        self.name = f"torch-{device}"
        self._device = torch.device(device)
        self._network = network.to(self._device, memory_format=torch.channels_last)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = False

    @torch.inference_mode()
    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return raw scores [b, 4] and features [b, c, h', w'], float32."""
        batch = torch.from_numpy(images).to(self._device, memory_format=torch.channels_last)
        scores, features = self._network(batch)
        return scores.cpu().numpy(), features.cpu().numpy()


class OpenVinoClassifier:
    """Run the network in OpenVINO on the CPU, in float32."""

    name = "openvino-cpu"

    def __init__(self, network: GradingNetwork, size_px: tuple[int, int]) -> None:
        example = torch.zeros(1, 3, size_px[1], size_px[0])
        model = openvino.convert_model(torch.export.export(network, (example,)))
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        self._model = openvino.Core().compile_model(model, "CPU", settings)

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return raw scores [b, 4] and features [b, c, h', w'], float32."""
        # One photograph at a time: what else waits in the batch then can't change a grade, and on
        # a CPU a batch is no faster.
        rows = [self._model([images[place : place + 1]]) for place in range(len(images))]
        scores = np.concatenate([row[0] for row in rows])
        return scores, np.concatenate([row[1] for row in rows])


def load_classifier(artefact: Artefact, device: Device = "auto") -> Classifier:
    """Build the classifier that suits this machine, or the named one. Raises EngineError.

    `auto` is `cuda` where a GPU is, else `cpu`. `cpu` is OpenVINO, the fastest here; `torch-cpu`
    is plain torch, which loads sooner.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return OpenVinoClassifier(artefact.network, artefact.manifest.preprocessing.size_px)
    if device == "torch-cpu":
        return TorchClassifier(artefact.network, "cpu")
    if device == "cuda" and torch.cuda.is_available():
        return TorchClassifier(artefact.network, "cuda")
    raise EngineError(f"This machine can't compute on {device!r}.", "Use the device 'auto'.")
