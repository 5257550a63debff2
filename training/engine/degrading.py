"""Spoil good photographs in known ways, so that the quality gate can be counted on each of them.

photo: PIL RGB, as displayed. Lengths are shares of the disc's radius, so that a spoilt photograph
looks the same at every resolution.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

from inference.engine.disc import Disc, find_disc, lit_mask

Degradation = Callable[[Image.Image, Disc, np.random.Generator], Image.Image]


def degrade(photo: Image.Image, name: str, *, seed: int) -> Image.Image:
    """Spoil an RGB photograph in one of the ways of DEGRADATIONS; the seed decides how far."""
    return DEGRADATIONS[name](photo, find_disc(photo), np.random.default_rng(seed))


def _dark(photo: Image.Image, _disc: Disc, random: np.random.Generator) -> Image.Image:
    """Expose it down to a median of 12 to 26 grey levels, with the sensor's noise."""
    light = np.asarray(photo, np.float32)
    level = float(np.median(light.max(axis=2)[_field(photo)])) + 1
    noise = random.normal(0, 1.5, light.shape)
    return _picture(light * min(1.0, random.uniform(12, 26) / level) + noise)


def _bright(photo: Image.Image, _disc: Disc, random: np.random.Generator) -> Image.Image:
    """Overexpose it until half to nearly all of the field has no red and green left to tell."""
    light, field = np.asarray(photo, np.float32), _field(photo)
    share = random.uniform(0.05, 0.5)
    gains = [250 / (float(np.quantile(light[:, :, c][field], share)) + 1) for c in range(2)]
    gain = np.array([max(1.0, gains[0]), max(1.0, gains[1]), max(1.0, min(gains))])
    return _picture(np.where(field[:, :, None], light * gain, light))


def _blurred(photo: Image.Image, disc: Disc, random: np.random.Generator) -> Image.Image:
    """Take it out of focus by 3.5 to 6 % of the radius."""
    sigma = disc.half_width * random.uniform(0.035, 0.06)
    return _inside_field(photo, photo.filter(ImageFilter.GaussianBlur(sigma)))


def _moved(photo: Image.Image, disc: Disc, random: np.random.Generator) -> Image.Image:
    """Move the eye during the exposure: back and forth along a line, trembling across it."""
    light = np.asarray(photo, np.float32)
    turned = ndimage.rotate(light, random.uniform(0, 180), axes=(0, 1), reshape=False, order=1)
    reach = disc.half_width * random.uniform(0.2, 0.3)
    smeared = ndimage.uniform_filter1d(turned, max(3, round(reach)), axis=1)
    smeared = ndimage.gaussian_filter1d(smeared, disc.half_width * 0.03, axis=0)
    return _picture(np.where(_field(Image.fromarray(np.uint8(turned)))[:, :, None], smeared, 0))


def _cut(photo: Image.Image, disc: Disc, random: np.random.Generator) -> Image.Image:
    """Let a lid cover 40 to 55 % of the field, from any side."""
    angle, offset = random.uniform(0, 2 * np.pi), random.uniform(-0.06, 0.12)
    x, y = np.cos(angle), np.sin(angle)
    far = 3 * disc.half_width
    start = (disc.x + x * offset * disc.half_width, disc.y + y * offset * disc.half_width)
    corners = [
        (start[0] - y * far, start[1] + x * far),
        (start[0] + y * far, start[1] - x * far),
        (start[0] + y * far + x * far, start[1] - x * far + y * far),
        (start[0] - y * far + x * far, start[1] + x * far + y * far),
    ]
    spoilt = photo.copy()
    ImageDraw.Draw(spoilt).polygon(corners, fill=(0, 0, 0))
    return spoilt


def _hazy(photo: Image.Image, disc: Disc, random: np.random.Generator) -> Image.Image:
    """Lay a cataract's veil over it: scattered light that leaves 10 to 18 % of the contrast."""
    light, field = np.asarray(photo, np.float32), _field(photo)
    left = random.uniform(0.10, 0.18)
    sigma = 0.3 * disc.half_width / 4
    small = np.asarray(photo.reduce(4), np.float32)
    veil = ndimage.gaussian_filter(small, (sigma, sigma, 0))
    veil = np.asarray(_picture(veil).resize(photo.size, Image.Resampling.BICUBIC), np.float32)
    veil = 0.7 * veil + 0.3 * np.array([150.0, 140.0, 130.0])
    noise = random.normal(0, 1.0, light.shape)
    return _picture(np.where(field[:, :, None], left * light + (1 - left) * veil + noise, light))


DEGRADATIONS: dict[str, Degradation] = {
    "dark": _dark,
    "bright": _bright,
    "blurred": _blurred,
    "moved": _moved,
    "field_cut": _cut,
    "hazy": _hazy,
}
EXPECTED_REASON = {name: name for name in DEGRADATIONS} | {"moved": "blurred"}


def _field(photo: Image.Image) -> np.ndarray:
    """Mark the exposed field of a photograph, [h, w] bool."""
    return lit_mask(np.asarray(photo))


def _inside_field(photo: Image.Image, spoilt: Image.Image) -> Image.Image:
    """Keep the aperture of the photograph: its edge is sharp whatever the eye does."""
    return _picture(np.asarray(spoilt, np.float32) * _field(photo)[:, :, None])


def _picture(light: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(light, 0, 255).round().astype(np.uint8))
