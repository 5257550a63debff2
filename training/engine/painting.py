"""Paint lesions on healthy eyes, so that the camera can't tell the grade.

A painted eye and its clean twin come from the same camera; only the lesions differ. Painted eyes
say "some" or "referable", never "severe": the share of severe disease is for real eyes to teach.

band: [h, w, 3] uint8 RGB
"""

import numpy as np

MILD, REFERABLE = 1, 2


def paint_lesions(band: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, int]:
    """Paint a mild or a referable picture of disease. Returns the band and its grade, 1 or 2."""
    light = band.astype(np.float32)
    inside = np.argwhere(band.max(axis=2) > 20)
    if len(inside) < 500:
        return band, 0
    if random.random() < 0.25:
        _spots(light, inside, random, count=int(random.integers(2, 6)))
        return _finished(light, band), MILD
    _spots(light, inside, random, count=int(random.integers(3, 25)))
    kinds = random.random(3) < (0.75, 0.65, 0.35)
    if not kinds.any():
        kinds[0] = True
    if kinds[0]:
        _haemorrhages(light, inside, random, count=int(random.integers(2, 16)))
    if kinds[1]:
        _exudates(light, inside, random, clusters=int(random.integers(1, 5)))
    if kinds[2]:
        _cotton_wool(light, inside, random, count=int(random.integers(1, 5)))
    return _finished(light, band), REFERABLE


def _spots(light: np.ndarray, inside: np.ndarray, random: np.random.Generator, count: int) -> None:
    for y, x in random.permutation(inside)[:count]:
        _stain(light, y, x, random.uniform(0.6, 1.1), random.uniform(0.12, 0.45), _DARK)


def _haemorrhages(
    light: np.ndarray, inside: np.ndarray, random: np.random.Generator, count: int
) -> None:
    for y, x in random.permutation(inside)[:count]:
        depth = random.uniform(0.15, 0.55)
        angle = random.uniform(0, np.pi)
        for step in range(int(random.integers(1, 5))):
            offset = step * random.uniform(0.8, 2.0)
            _stain(
                light,
                y + offset * np.sin(angle),
                x + offset * np.cos(angle),
                random.uniform(1.0, 2.8),
                depth,
                _DARK,
            )


def _exudates(
    light: np.ndarray, inside: np.ndarray, random: np.random.Generator, clusters: int
) -> None:
    for y, x in random.permutation(inside)[:clusters]:
        spread = random.uniform(2, 12)
        for _ in range(int(random.integers(3, 25))):
            dy, dx = random.normal(0, spread, 2)
            _stain(
                light,
                y + dy,
                x + dx,
                random.uniform(0.5, 1.4),
                -random.uniform(0.25, 0.7),
                _YELLOW,
            )


def _cotton_wool(
    light: np.ndarray, inside: np.ndarray, random: np.random.Generator, count: int
) -> None:
    for y, x in random.permutation(inside)[:count]:
        for _ in range(3):
            dy, dx = random.normal(0, 2, 2)
            _stain(light, y + dy, x + dx, random.uniform(2, 4.5), -random.uniform(0.1, 0.3), _PALE)


# How much of a stain reaches red, green and blue.
_DARK = np.array([0.35, 1.0, 0.8], np.float32)
_YELLOW = np.array([0.5, 1.0, 0.6], np.float32)
_PALE = np.array([0.6, 1.0, 1.0], np.float32)


def _stain(
    light: np.ndarray, y: float, x: float, sigma: float, depth: float, channels: np.ndarray
) -> None:
    """Darken (depth > 0) or brighten (depth < 0) a soft-edged spot in place, relative to it."""
    height, width = light.shape[:2]
    reach = int(np.ceil(3 * sigma)) + 1
    top, left = max(0, int(y) - reach), max(0, int(x) - reach)
    bottom, right = min(height, int(y) + reach + 1), min(width, int(x) + reach + 1)
    if top >= bottom or left >= right:
        return
    rows, columns = np.ogrid[top:bottom, left:right]
    distance = ((rows - y) ** 2 + (columns - x) ** 2) / (sigma * sigma)
    weight = np.exp(-0.5 * distance * np.sqrt(distance + 0.1)).astype(np.float32)  # steeper edge
    light[top:bottom, left:right] *= 1 - depth * weight[:, :, None] * channels


def _finished(light: np.ndarray, band: np.ndarray) -> np.ndarray:
    painted = np.clip(np.round(light), 0, 255).astype(np.uint8)
    painted[band.max(axis=2) == 0] = 0
    return painted
