"""Networks by name. Each gives features and four raw scores from one linear head.

images:   [b, 3, h, w] float32
features: [b, c, h', w'] float32, before pooling
scores:   [b, 4] float32, one per threshold (grade >= 1 … >= 4), not yet ordered

The head is linear on the mean of the features, so a class-activation map of a score is exact:
the mean of the map plus the bias *is* the score.
"""

from collections.abc import Callable

import torch
from torch import nn
from torchvision import models

from inference.engine.errors import ArtefactInvalid
from inference.engine.schemas import THRESHOLDS


class GradingNetwork(nn.Module):
    """A convolutional body, mean pooling, and a linear head with one score per threshold."""

    def __init__(self, body: nn.Module, channels: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = body
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, THRESHOLDS)
        self.head.bias.data.copy_(torch.tensor([0.0, -0.5, -1.5, -2.0]))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores [b, 4] and features [b, c, h', w']."""
        features = self.body(images)
        pooled = features.mean(dim=(2, 3))
        return self.head(self.dropout(pooled)), features


def build_network(name: str, *, dropout: float = 0.0) -> GradingNetwork:
    """Build a network with fresh weights. Raises ArtefactInvalid on an unknown name."""
    if name not in ARCHITECTURES:
        raise ArtefactInvalid(
            f"The architecture {name!r} is unknown.", f"Use one of {', '.join(ARCHITECTURES)}."
        )
    body, channels = ARCHITECTURES[name]()
    return GradingNetwork(body, channels, dropout=dropout)


def _resnet(make: Callable[..., nn.Module], channels: int) -> tuple[nn.Module, int]:
    # Each residual branch starts silent: deep networks learn sooner, and fresh weights give
    # scores of a sensible size.
    network = make(weights=None, zero_init_residual=True)
    return nn.Sequential(*list(network.children())[:-2]), channels


def _vgg16() -> tuple[nn.Module, int]:
    return models.vgg16(weights=None).features, 512


def _tiny_cnn() -> tuple[nn.Module, int]:
    layers = [
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers), 16


DEFAULT_ARCHITECTURE = "resnet101"
ARCHITECTURES: dict[str, Callable[[], tuple[nn.Module, int]]] = {
    "resnet101": lambda: _resnet(models.resnet101, 2048),
    "resnet50": lambda: _resnet(models.resnet50, 2048),
    "resnet152": lambda: _resnet(models.resnet152, 2048),
    "resnet18": lambda: _resnet(models.resnet18, 512),
    "vgg16": _vgg16,
    "tiny_cnn": _tiny_cnn,
}
