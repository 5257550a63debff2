"""A small valid model for tests: real folder, real checks, milliseconds instead of seconds."""

from pathlib import Path

import torch

from inference.engine.architectures import build_network
from inference.engine.artefact import Manifest, save_artefact
from inference.engine.schemas import OperatingPoint, Preprocessing


def make_tiny_artefact(
    directory: Path, seed: int = 1, *, version: str = "1", architecture: str = "tiny_cnn"
) -> Path:
    """Save a seeded, untrained network as an artefact that says so. Returns its folder."""
    torch.manual_seed(seed)
    network = build_network(architecture).eval()
    network.head.weight.data.mul_(4.0)  # untrained features are alike: spread the scores a little
    manifest = Manifest(
        name="for-tests",
        version=version,
        architecture=architecture,
        preprocessing=Preprocessing(size_px=(64, 48), version="band-1-small"),
        operating_point=OperatingPoint(
            version="for-tests-1",
            referable_threshold=0.5,
            vision_threatening_threshold=0.5,
            referable_sensitivity_target=0.0,
            vision_threatening_sensitivity_target=0.0,
            chosen_on="nothing: this model is untrained",
        ),
        temperature=1.0,
        data_fingerprint="none",
        training={"note": "untrained, for tests"},
        metrics={},
        created="2026-01-01T00:00:00Z",
        stored_dtype="float32",
        purpose="for tests only: untrained weights",
    )
    card = "# For tests\n\nUntrained weights. Says nothing about any eye.\n"
    return save_artefact(directory, network=network, manifest=manifest, card=card)
