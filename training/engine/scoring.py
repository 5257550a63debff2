"""What a network under training scores on eyes that it never learned from."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from inference.engine.architectures import GradingNetwork
from inference.engine.schemas import Preprocessing
from inference.engine.transforms import band_to_images
from training.engine.config import TrainingConfig
from training.engine.datasets import Eye
from training.engine.losses import ordered
from training.engine.metrics import auc, quadratic_kappa


def check_epoch(
    network: GradingNetwork, config: TrainingConfig, eyes: Sequence[Eye], bands: np.ndarray
) -> dict[str, float]:
    """Score the averaged network on eyes it never learned from; figures without a value are left
    out. `figure` is what patience and a search go by."""
    scores = predict_scores(network, config.preprocessing, bands, bf16=config.bf16)
    grades = np.array([eye.grade for eye in eyes])
    figures = {
        "auc": auc(grades >= 2, scores[:, 1]),
        "kappa": quadratic_kappa(grades, (scores > 0).sum(axis=1)),
    }
    for name in ("colour512", "equalised256"):
        part = np.array([eye.variant == name for eye in eyes])
        figures[f"auc_{name}"] = auc(grades[part] >= 2, scores[part, 1])
    mixed = np.array([eye.camera == "1.32" for eye in eyes])
    figures["auc_camera_1.32"] = auc(grades[mixed] >= 2, scores[mixed, 1])
    figures["figure"] = single_figure(eyes, scores)
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def single_figure(eyes: Sequence[Eye], scores: np.ndarray) -> float:
    """Sum up a model in one number: the mean of two, both on true-colour eyes, NaN without any.

    The area for referable disease is what a referral rests on. It is taken source by source and
    then averaged: over all eyes together a network that only knows the camera looks clever, and a
    large source hides a small one. The kappa sees all five grades. scores: [n, 4], ordered.
    """
    rows = np.flatnonzero([eye.true_colour for eye in eyes])
    if not len(rows):
        return float("nan")
    grades = np.array([eyes[row].grade for row in rows])
    sources = np.array([eyes[row].source for row in rows])
    told = scores[rows]
    areas = [
        auc(grades[sources == source] >= 2, told[sources == source, 1])
        for source in sorted(set(sources))
    ]
    parts = [np.mean([area for area in areas if math.isfinite(area)] or [math.nan])]
    parts.append(quadratic_kappa(grades, (told > 0).sum(axis=1)))
    return float(np.mean([part for part in parts if math.isfinite(part)] or [math.nan]))


@torch.inference_mode()
def predict_scores(
    network: GradingNetwork, spec: Preprocessing, bands: np.ndarray, *, bf16: bool = False
) -> np.ndarray:
    """Return the ordered logits [n, 4] float32 of bands [n, h, w, 3] uint8."""
    network.eval()
    device = next(network.parameters()).device
    rows = []
    for start in range(0, len(bands), 32):
        images = band_to_images(np.array(bands[start : start + 32]), spec)
        images = images.to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            scores, _ = network(images)
        rows.append(ordered(scores.float()).cpu().numpy())
    return np.concatenate(rows)
