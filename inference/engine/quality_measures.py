"""What the quality gate measures on a photograph, each independent of the camera's resolution.

Everything is taken at one working size on the part that is graded.

band:  [168, 224, 3] uint8 RGB, black outside the field
small: [84, 112, 3] float32 RGB, 0 to 255, the same at half the size
"""

from dataclasses import dataclass, field, fields
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import ndimage

from inference.engine.disc import Disc, find_disc
from inference.engine.schemas import Preprocessing
from inference.engine.transforms import cut_band, field_mask

WORKING = Preprocessing(version="quality-1", size_px=(224, 168), rim=0.93)
HALF = Preprocessing(version="quality-1-half", size_px=(112, 84), rim=0.93)
CELLS = (4, 4)  # rows and columns in which light and structure are looked at one by one
MIN_CELL_PX = 40
MACULA_REACH = 0.5  # of the disc's radius: the macula lies no farther from the middle
MIN_LIT_SHARE = 0.05  # with less of the field lit, the whole field is measured
OFFSET = 8.0  # grey levels: keeps ratios of nearly black pixels from exploding
TINY = 1e-4


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What was measured on one photograph. `features` are for the learned score, by name."""

    brightness: float  # median of the brightest channel where the field is lit, 0 to 255
    highlight: float  # 98th percentile of the brightest channel: a dark eye has no bright lines
    burnt: float  # share of the field where red and green are at their end, 0 to 1
    detail: float  # spread of fine structure over the field's light
    contrast: float  # spread of coarser structure, such as vessels, over the field's light
    seen: float  # share of the field that is lit, 0 to 1
    filled: float  # share of the lit part's frame that is lit; a disc cut askew fills less
    width: float  # the lit part's width over its height; a disc cut from the side is narrow
    warmth: float  # (red - blue) / (red + blue) of the field's median colour, -1 to 1
    greenness: float  # (green - red) / (green + red) of the same, -1 to 1
    evenness: float  # spread of coarse light over the field's light
    edges: float  # share of the field with edges harder than a retina's
    round: bool  # a circle fits the edge of the field
    features: dict[str, float] = field(default_factory=dict, repr=False)

    @property
    def sharpness(self) -> float:
        """Fine structure over coarser: blur takes the fine first, a veil takes both alike."""
        return self.detail / (self.contrast + TINY)


LIMITED = frozenset(
    each.name for each in fields(Measures) if each.name not in ("round", "features")
)


def measure(photo: Image.Image, disc: Disc | None = None) -> Measures:
    """Measure an RGB photograph."""
    disc = disc or find_disc(photo)
    band = cut_band(photo, disc, WORKING).astype(np.float32)
    inside = field_mask(WORKING).astype(bool)
    top = band.max(axis=2)
    level = max(6.0, 0.12 * float(np.percentile(top[inside], 95)))
    lit = inside & (ndimage.median_filter(top, 5) > level)
    used = lit if lit.sum() > MIN_LIT_SHARE * inside.sum() else inside
    red, green, blue = (float(np.median(band[:, :, c][used])) + 1 for c in range(3))
    light = ndimage.gaussian_filter(band[:, :, 1], 6)
    core = ndimage.binary_erosion(used, iterations=6)
    core = core if core.sum() > MIN_LIT_SHARE * inside.sum() else used
    soft = ndimage.gaussian_filter(band[:, :, 1], 2.4)
    fine = ndimage.gaussian_filter(band[:, :, 1], 0.8) - soft
    steep = ndimage.gaussian_gradient_magnitude(band.mean(axis=2), 1.0)
    base = float(np.mean(light[core])) + OFFSET
    known = {
        "brightness": float(np.median(top[used])),
        "burnt": float(((band[:, :, 0] > 245) & (band[:, :, 1] > 205))[inside].mean()),
        "detail": float(np.mean(np.abs(fine[core]))) / base,
        "seen": float(lit.sum() / inside.sum()),
        "evenness": float(np.std(light[core])) / base,
    }
    return Measures(
        **known,
        highlight=float(np.percentile(top[inside], 98)),
        filled=disc.lit_share
        * photo.width
        * photo.height
        / (4 * disc.half_width * disc.half_height),
        width=disc.half_width / disc.half_height,
        contrast=float(np.mean(np.abs((soft - light)[core]))) / base,
        warmth=(red - blue) / (red + blue),
        greenness=(green - red) / (green + red),
        edges=float((steep[core] > 18).mean()),
        round=disc.round,
        features=_simple_features(known) | _light_features(band) | _structure_features(band),
    )


@lru_cache(maxsize=1)
def feature_names() -> frozenset[str]:
    """Name the features that a learned score may use: those of any photograph."""
    return frozenset(measure(Image.new("RGB", (64, 64))).features)


def _simple_features(known: dict[str, float]) -> dict[str, float]:
    bright = known["brightness"] / 255
    return {
        "log_detail": float(np.log(known["detail"] + 1e-3)),
        "brightness": bright,
        "brightness_squared": bright * bright,
        "burnt": min(known["burnt"], 0.5),
        "seen": known["seen"],
        "evenness": known["evenness"],
    }


def _light_features(band: np.ndarray) -> dict[str, float]:
    """Describe how bright the field is, in which colour, and where."""
    small, inside, rim = _halved(band), _inside(), _rim()
    told = {}
    for place, name in enumerate(("red", "green", "blue")):
        levels = np.percentile(small[:, :, place][inside], (10, 50, 90)) / 255
        told |= dict(zip((f"{name}_10", f"{name}_50", f"{name}_90"), levels, strict=True))
    red, green, blue = (small[:, :, place] for place in range(3))
    told["red_burnt"] = (red[inside] > 250).mean()
    told["red_over_green"] = _log_ratio(np.median(red[inside]), np.median(green[inside]))
    told["green_over_blue"] = _log_ratio(np.median(green[inside]), np.median(blue[inside]))
    for name, light in (("red", red), ("green", green)):
        smooth = ndimage.gaussian_filter(light, 3.5)
        middle = np.median(light[inside])
        told[f"{name}_macula"] = _log_ratio(smooth[_middle()].min(), middle)
        told[f"{name}_brightest"] = _log_ratio(smooth[inside & ~rim].max(), middle)
        told[f"{name}_rim"] = _log_ratio(light[rim].mean(), light[inside & ~rim].mean())
        told[f"{name}_unevenness"] = smooth[inside].std() / (smooth[inside].mean() + OFFSET)
        told[f"{name}_sideways"] = _one_sided(smooth, smooth[:, ::-1])
        told[f"{name}_upward"] = _one_sided(smooth, smooth[::-1])
    return {name: float(value) for name, value in told.items()}


def _structure_features(band: np.ndarray) -> dict[str, float]:
    """Describe how much can be seen: over the field, in its worst parts, and at the macula."""
    green, core = _halved(band)[:, :, 1], _core()
    weight = ndimage.gaussian_filter(_inside().astype(np.float32), 7)
    base = ndimage.gaussian_filter(green, 7) / np.maximum(weight, 0.05) + OFFSET
    maps = {"ridges": _ridges(green) / base}
    softer = [green, *(ndimage.gaussian_filter(green, sigma) for sigma in (0.7, 1.4, 2.8))]
    for name, sharp, soft in zip(("fine", "middle", "coarse"), softer, softer[1:], strict=False):
        maps[name] = np.abs(sharp - soft) / base
    told = {name: _log(strength[core].mean()) for name, strength in maps.items()}
    told["ridges_90"] = _log(np.percentile(maps["ridges"][core], 90))
    for name in ("ridges", "middle"):
        cells = np.sort([_log(maps[name][cell].mean()) for cell in _cells()])
        told |= {f"{name}_worst": cells[0], f"{name}_bad": cells[len(cells) // 4]}
        told |= {f"{name}_best": cells[-1], f"{name}_spread": cells.std()}
    light = np.sort([green[cell].mean() / 255 for cell in _cells()])
    told |= {"light_darkest": light[0], "light_brightest": light[-1]}
    told["macula_seen"] = _log(maps["middle"][_middle() & core].mean())
    return {name: float(value) for name, value in told.items()}


def _ridges(light: np.ndarray) -> np.ndarray:
    """Find dark lines, such as vessels: the larger curvature where it is a valley, [h, w]."""
    found = np.zeros_like(light)
    for sigma in (1.1, 1.8):
        across, mixed, down = (
            ndimage.gaussian_filter(light, sigma, order=order) for order in ((0, 2), (1, 1), (2, 0))
        )
        curved = (across + down) / 2 + np.hypot((across - down) / 2, mixed)
        found = np.maximum(found, curved * sigma * sigma)
    return found


def _one_sided(light: np.ndarray, mirrored: np.ndarray) -> float:
    inside = _inside()
    gap = np.abs(light - mirrored)[inside].mean() / (light[inside].mean() + OFFSET)
    return float(np.log(gap + 1e-3))


def _log(value: float) -> float:
    return float(np.log(value + TINY))


def _log_ratio(value: float, other: float) -> float:
    return float(np.log((value + OFFSET) / (other + OFFSET)))


def _halved(band: np.ndarray) -> np.ndarray:
    height, width = band.shape[:2]
    return band.reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))


@lru_cache(maxsize=1)
def _inside() -> np.ndarray:
    return ndimage.binary_erosion(field_mask(HALF).astype(bool))


@lru_cache(maxsize=1)
def _core() -> np.ndarray:
    return ndimage.binary_erosion(_inside(), iterations=3)


@lru_cache(maxsize=1)
def _rim() -> np.ndarray:
    return _inside() & (_from_centre() > 0.8)


@lru_cache(maxsize=1)
def _middle() -> np.ndarray:
    return _from_centre() < MACULA_REACH


@lru_cache(maxsize=1)
def _cells() -> tuple[np.ndarray, ...]:
    """Cut the field into cells that have enough of it; each [84, 112] bool."""
    rows, columns = (np.arange(edge) * count // edge for edge, count in _edges())
    cells = [
        _core() & (rows[:, None] == row) & (columns[None, :] == column)
        for row in range(CELLS[0])
        for column in range(CELLS[1])
    ]
    return tuple(cell for cell in cells if cell.sum() >= MIN_CELL_PX)


def _edges() -> tuple[tuple[int, int], tuple[int, int]]:
    width, height = HALF.size_px
    return (height, CELLS[0]), (width, CELLS[1])


def _from_centre() -> np.ndarray:
    """Return each pixel's distance from the disc's centre in radii, [84, 112]."""
    width, height = HALF.size_px
    x = (np.arange(width) + 0.5) / (width / 2) - 1
    y = ((np.arange(height) + 0.5) / (height / 2) - 1) * height / width
    return np.hypot(x[None, :], y[:, None])
