"""Find the round field of view that the camera exposed, whatever the frame around it."""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

WORKING_PX = 256  # the search runs at one size, so the answer does not depend on the camera's
LIT_SHARE = 0.18  # of the brightest parts: below this a pixel belongs to the surround
LIT_RANGE = (8.0, 45.0)
MIN_ARC_POINTS = 30
MAX_ROUGHNESS = 0.03  # of the radius: mean distance of the edge from the fitted circle


@dataclass(frozen=True, kw_only=True)
class Disc:
    """The exposed field in pixels of the photograph it was found in.

    `radius` is of the fitted circle; `half_width` is how far the field really reaches sideways.
    `lit_share` is the share of the frame that is exposed, 0 to 1; `round` says whether a circle
    fits the edge.
    """

    x: float
    y: float
    radius: float
    half_width: float
    half_height: float
    lit_share: float
    round: bool


def find_disc(photo: Image.Image) -> Disc:
    """Find the exposed field of an RGB photograph.

    Never fails: without a visible edge the field is the whole frame.
    """
    scale = WORKING_PX / max(photo.size)
    size = (max(8, round(photo.width * scale)), max(8, round(photo.height * scale)))
    small = np.asarray(photo.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0))
    return _scaled(_disc_of(lit_mask(small)), size[0] / photo.width)


def lit_mask(small: np.ndarray) -> np.ndarray:
    """Mark what the camera exposed. small: [h, w, 3] uint8 RGB; returns [h, w] bool."""
    light = ndimage.median_filter(small.max(axis=2).astype(np.float32), 5)
    level = float(np.clip(LIT_SHARE * np.percentile(light, 95), *LIT_RANGE))
    lit = ndimage.binary_opening(np.pad(light > level, 4, mode="edge"), iterations=3)[4:-4, 4:-4]
    labels, count = ndimage.label(lit)
    if count == 0:
        return np.zeros(light.shape, bool)
    sizes = np.bincount(labels.ravel())[1:]
    return ndimage.binary_fill_holes(labels == 1 + int(sizes.argmax()))


def _disc_of(lit: np.ndarray) -> Disc:
    height, width = lit.shape
    if lit.mean() < 0.02:
        return _whole_frame(width, height, lit_share=float(lit.mean()))
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    half_width, half_height = float(right - left) / 2, float(bottom - top) / 2
    circle = _fit_circle(_arc_points(lit))
    fits = bool(circle is not None and 0.9 * half_width <= circle[2] <= 1.4 * half_width)
    x, y, radius = circle if fits else ((left + right) / 2, (top + bottom) / 2, half_width)
    return Disc(
        x=(left + right) / 2 if radius > half_width else x,
        y=y,
        radius=radius,
        half_width=min(half_width, radius),
        half_height=half_height,
        lit_share=float(lit.mean()),
        round=fits,
    )


def _arc_points(lit: np.ndarray) -> np.ndarray:
    """Take the outermost lit pixels of each row, but none that the frame itself cut off."""
    rows = np.flatnonzero(lit.any(axis=1))
    left = lit[rows].argmax(axis=1)
    right = lit.shape[1] - lit[rows, ::-1].argmax(axis=1)
    points = [(x, y + 0.5) for x, y in zip(left, rows, strict=True) if x > 0]
    points += [(x, y + 0.5) for x, y in zip(right, rows, strict=True) if x < lit.shape[1]]
    return np.array(points, dtype=np.float64).reshape(-1, 2)


def _fit_circle(points: np.ndarray) -> tuple[float, float, float] | None:
    """Fit a circle by least squares, three times, each time without the worst sixth."""
    for _ in range(3):
        if len(points) < MIN_ARC_POINTS:
            return None
        design = np.c_[2 * points, np.ones(len(points))]
        (x, y, rest), *_ = np.linalg.lstsq(design, (points**2).sum(axis=1), rcond=None)
        radius = float(np.sqrt(max(rest + x * x + y * y, 1e-6)))
        distance = np.abs(np.hypot(points[:, 0] - x, points[:, 1] - y) - radius)
        points = points[distance <= np.quantile(distance, 5 / 6)]
    if np.sort(distance)[: len(points)].mean() > MAX_ROUGHNESS * radius:
        return None
    return float(x), float(y), radius


def _whole_frame(width: int, height: int, *, lit_share: float) -> Disc:
    return Disc(
        x=width / 2,
        y=height / 2,
        radius=width / 2,
        half_width=width / 2,
        half_height=height / 2,
        lit_share=lit_share,
        round=False,
    )


def _scaled(disc: Disc, scale: float) -> Disc:
    return Disc(
        x=disc.x / scale,
        y=disc.y / scale,
        radius=disc.radius / scale,
        half_width=disc.half_width / scale,
        half_height=disc.half_height / scale,
        lit_share=disc.lit_share,
        round=disc.round,
    )
