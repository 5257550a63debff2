"""What training varies, and serving never does. Every step keeps small lesions visible.

light:  [b, 3, h, w] float32, 0 to 255, bands before `standardise`
images: [b, 3, h, w] float32, after it
"""

import io
import math

import numpy as np
import torch
from PIL import Image
from torch.nn import functional


def vary_camera(light: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Vary what cameras differ in: brightness, contrast, colour, sharpness, noise, compression."""
    light = _gamma(light, random)
    light = _colour(light, random)
    light = _blur_or_sharpen(light, random)
    light = _noise(light, random)
    return _jpeg(light, random)


def vary_pose(images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Flip, turn, zoom and shift; what comes in from outside is 0, the mean."""
    b = len(images)
    angle = _uniform(b, -20, 20, random) * (math.pi / 180)
    zoom = 1 / _uniform(b, 0.92, 1.25, random)
    flip_x, flip_y = _sign(b, random), _sign(b, random)
    aspect = images.shape[2] / images.shape[3]
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    shift_x, shift_y = _uniform(b, -0.06, 0.06, random), _uniform(b, -0.06, 0.06, random)
    top = torch.stack([cos * flip_x, -sin * aspect * flip_x, shift_x], dim=1)
    bottom = torch.stack([sin / aspect * flip_y, cos * flip_y, shift_y], dim=1)
    grid = functional.affine_grid(torch.stack([top, bottom], 1), images.shape, align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", align_corners=False)


def vary_contrast(images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Scale each channel's contrast, and now and then mix the channels towards grey."""
    b = len(images)
    gain = torch.exp(0.2 * torch.randn((b, 3, 1, 1), generator=random))
    share = (_uniform(b, -0.5, 0.7, random).clamp_min(0)).view(b, 1, 1, 1)
    grey = images.mean(dim=1, keepdim=True)
    return (images * (1 - share) + grey * share) * gain


def _gamma(light: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    power = torch.exp(_uniform(len(light), -0.35, 0.35, random)).view(-1, 1, 1, 1)
    return 255 * (light / 255).clamp(0, 1) ** power


def _colour(light: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    gain = 1 + 0.1 * torch.randn((len(light), 3, 1, 1), generator=random)
    return (light * gain).clamp(0, 255)


def _blur_or_sharpen(light: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Mix each picture with a blurred copy: share 1 is blurred, a negative share sharpens."""
    share = _uniform(len(light), -0.7, 0.9, random).view(-1, 1, 1, 1)
    soft = functional.pad(light, (1, 1, 1, 1), mode="replicate")
    soft = (soft[:, :, :-2] + soft[:, :, 1:-1] + soft[:, :, 2:]) / 3
    soft = (soft[..., :-2] + soft[..., 1:-1] + soft[..., 2:]) / 3
    return (light + share * (soft - light)).clamp(0, 255)


def _noise(light: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    strength = _uniform(len(light), -3, 5, random).clamp_min(0).view(-1, 1, 1, 1)
    grain = torch.randn(light.shape, generator=random)
    return (light + strength * grain).clamp(0, 255)


def _jpeg(light: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Compress a quarter of the pictures, quality 50 to 90."""
    chosen = torch.rand(len(light), generator=random) < 0.25
    quality = torch.randint(50, 91, (len(light),), generator=random)
    light = light.clone()
    for place in chosen.nonzero().flatten().tolist():
        picture = light[place].permute(1, 2, 0).round().byte().numpy()
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=int(quality[place]))
        again = np.array(Image.open(file), dtype=np.float32)
        light[place] = torch.from_numpy(again).permute(2, 0, 1)
    return light


def _uniform(b: int, low: float, high: float, random: torch.Generator) -> torch.Tensor:
    return torch.rand(b, generator=random) * (high - low) + low


def _sign(b: int, random: torch.Generator) -> torch.Tensor:
    return torch.randint(0, 2, (b,), generator=random).float() * 2 - 1
