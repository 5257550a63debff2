"""Soft targets from models that are finished: one may stand for several, or for a larger one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from inference.engine.artefact import Artefact, load_artefact
from inference.engine.errors import EngineError
from inference.engine.schemas import Preprocessing
from training.engine.errors import TrainingError
from training.engine.losses import ordered


class Teachers:
    """What finished models say of a batch, on average. They never learn."""

    def __init__(self, artefacts: Sequence[Artefact], device: torch.device) -> None:
        self.sha256 = tuple(artefact.sha256 for artefact in artefacts)
        self._temperatures = [artefact.manifest.temperature for artefact in artefacts]
        self._networks = [
            artefact.network.to(device, memory_format=torch.channels_last) for artefact in artefacts
        ]

    @torch.no_grad()
    def teach(self, images: torch.Tensor) -> torch.Tensor:
        """Return calibrated P(grade >= 1 … >= 4) of images [b, 3, h, w], [b, 4] float32."""
        told = [
            torch.sigmoid(ordered(network(images)[0].float()) / temperature)
            for network, temperature in zip(self._networks, self._temperatures, strict=True)
        ]
        return torch.stack(told).mean(dim=0)


def read_teachers(
    folders: Sequence[Path], spec: Preprocessing, device: torch.device
) -> Teachers | None:
    """Load the teachers; None without any. Raises TrainingError when one can't teach this run.

    A teacher sees the very batch that its pupil sees, so both must prepare pictures alike; only
    the size may differ.
    """
    artefacts = []
    for folder in folders:
        try:
            artefact = load_artefact(folder)
        except EngineError as error:
            raise TrainingError(
                f"The teacher {folder.name}: {error.problem}", "Name the folder of a whole model."
            ) from error
        told = artefact.manifest.preprocessing
        if replace(told, size_px=spec.size_px, version=spec.version) != spec:
            raise TrainingError(
                f"The teacher {folder.name} prepares pictures in another way.",
                "Name a teacher with this run's preprocessing.",
            )
        artefacts.append(artefact)
    return Teachers(artefacts, device) if artefacts else None
