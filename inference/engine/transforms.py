"""From a photograph to the network's input: the one path that training and serving share.

photo:  PIL RGB, as displayed
band:   [h, w, 3] uint8 RGB, the disc's middle part at the network's size, black outside
images: [b, 3, h, w] float32, local contrast in units of the photograph's own spread

Everything here is fixed. What training varies lives in `training.engine.augment`.
"""

from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from inference.engine.disc import Disc, find_disc
from inference.engine.errors import SpecInvalid
from inference.engine.schemas import Preprocessing

SERVING_OPERATIONS = Preprocessing().operations
RANDOM_OPERATIONS = frozenset(
    {"rotate", "flip", "zoom", "shift", "brightness", "contrast", "colour", "blur", "noise", "jpeg"}
)
LOCAL_STEP = 4  # background light is smooth: it is estimated on every fourth pixel


def check_spec(spec: Preprocessing) -> None:
    """Refuse a specification that serving can't repeat exactly. Raises SpecInvalid."""
    random = [name for name in spec.operations if name in RANDOM_OPERATIONS]
    if random:
        raise SpecInvalid(
            f"The preprocessing contains random steps: {', '.join(random)}.",
            "Keep augmentation in training and register the model without it.",
        )
    if spec.operations != SERVING_OPERATIONS:
        raise SpecInvalid(
            f"The preprocessing steps {spec.operations} are not those that this engine knows.",
            f"Use {SERVING_OPERATIONS}, or run the engine version that made this model.",
        )
    if min(spec.size_px) < 16 or any(edge % LOCAL_STEP for edge in spec.size_px):
        raise SpecInvalid(
            f"The input size {spec.size_px} is not usable.",
            f"Choose edges of at least 16 pixels that are multiples of {LOCAL_STEP}.",
        )


def band_box(disc: Disc, spec: Preprocessing) -> tuple[float, float, float, float]:
    """Say which part of the photograph is graded: left, top, right, bottom in its pixels."""
    half_height = disc.half_width * spec.size_px[1] / spec.size_px[0]
    return (
        disc.x - disc.half_width,
        disc.y - half_height,
        disc.x + disc.half_width,
        disc.y + half_height,
    )


def cut_band(photo: Image.Image, disc: Disc, spec: Preprocessing) -> np.ndarray:
    """Cut the disc's middle part, bring it to size. Returns [h, w, 3] uint8 RGB.

    Every camera then gives the same outline, so the outline tells nothing about the camera.
    """
    left, top, right, bottom = (round(edge) for edge in band_box(disc, spec))
    cut = photo.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
    band = np.asarray(cut.resize(spec.size_px, Image.Resampling.BICUBIC, reducing_gap=3.0))
    return band * field_mask(spec)[:, :, None]


def photo_to_band(photo: Image.Image, spec: Preprocessing) -> np.ndarray:
    """Find the disc and cut its band. Returns [h, w, 3] uint8 RGB."""
    return cut_band(photo, find_disc(photo), spec)


def band_to_images(bands: np.ndarray, spec: Preprocessing) -> torch.Tensor:
    """Turn bands [b, h, w, 3] uint8 into the network's input [b, 3, h, w] float32."""
    light = torch.from_numpy(np.ascontiguousarray(bands)).permute(0, 3, 1, 2).float()
    return standardise(light, spec)


def standardise(light: torch.Tensor, spec: Preprocessing) -> torch.Tensor:
    """Subtract the local mean and divide by the spread, per photograph and channel.

    light: [b, 3, h, w] float32, 0 to 255. Returns [b, 3, h, w] float32, about -clip to clip,
    0 outside the field. Brightness, white balance and vignetting of the camera cancel out.
    """
    mask = torch.tensor(field_mask(spec), dtype=torch.float32)[None, None]
    detail = (light - _local_mean(light, mask, spec)) * mask
    spread = detail.abs().sum(dim=(2, 3), keepdim=True) / mask.sum()
    scaled = detail / spread.mul(1.25).clamp_min(spec.deviation_floor)
    clipped = scaled.clamp(-spec.clip, spec.clip)
    mean = torch.tensor(spec.mean).view(1, 3, 1, 1)
    std = torch.tensor(spec.std).view(1, 3, 1, 1)
    return (clipped - mean) / std


def _local_mean(light: torch.Tensor, mask: torch.Tensor, spec: Preprocessing) -> torch.Tensor:
    kernel = _gaussian(spec.local_sigma * spec.size_px[0] / LOCAL_STEP)
    blurred = _blur(functional.avg_pool2d(light * mask, LOCAL_STEP), kernel)
    weight = _blur(functional.avg_pool2d(mask, LOCAL_STEP), kernel)
    coarse = blurred / weight.clamp_min(1e-3)
    return functional.interpolate(
        coarse, size=light.shape[-2:], mode="bilinear", align_corners=False
    )


def _blur(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Blur [b, c, h, w] with a separable kernel; outside the frame counts as zero."""
    flat = x.reshape(-1, 1, *x.shape[-2:])
    radius = len(kernel) // 2
    flat = functional.conv2d(flat, kernel.view(1, 1, -1, 1), padding=(radius, 0))
    flat = functional.conv2d(flat, kernel.view(1, 1, 1, -1), padding=(0, radius))
    return flat.reshape(x.shape)


def _gaussian(sigma: float) -> torch.Tensor:
    radius = max(1, round(3 * sigma))
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / max(sigma, 1e-6)) ** 2)
    return weights / weights.sum()


@lru_cache(maxsize=8)
def field_mask(spec: Preprocessing) -> np.ndarray:
    """Mark the part of a band that is inside the disc's rim. Returns [h, w] uint8, 0 or 1."""
    width, height = spec.size_px
    x = (np.arange(width) + 0.5) / (width / 2) - 1
    y = ((np.arange(height) + 0.5) / (height / 2) - 1) * height / width
    mask = (np.hypot(x[None, :], y[:, None]) <= spec.rim).astype(np.uint8)
    mask.setflags(write=False)
    return mask
