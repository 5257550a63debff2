"""Is this a photograph of an eye that can be graded? Measures, limits and reasons.

The measures are taken at one working size on the part that is graded, so the camera's resolution
does not move the verdict. The limits were read off the training split, never off the eyes that are
kept for checking: 796 EyePACS eyes with a gradable label and 500 of APTOS.
At these limits none of the 189 good and gradable eyes of the training split is rejected.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from inference.engine.disc import Disc, find_disc
from inference.engine.schemas import Preprocessing, Quality
from inference.engine.transforms import cut_band, field_mask

QUALITY_VERSION = "quality-1"
WORKING = Preprocessing(version=QUALITY_VERSION, size_px=(224, 168), rim=0.93)


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What was measured on one photograph, each independent of its resolution."""

    brightness: float  # median of the brightest channel where the field is lit, 0 to 255
    highlight: float  # 98th percentile of the brightest channel: a dark eye has no bright lines
    burnt: float  # share of the field where red and green are at their end, 0 to 1
    detail: float  # spread of fine structure over the field's light
    seen: float  # share of the field that is lit, 0 to 1
    warmth: float  # (red - blue) / (red + blue) of the field's median colour, -1 to 1
    greenness: float  # (green - red) / (green + red) of the same, -1 to 1
    evenness: float  # spread of coarse light over the field's light
    edges: float  # share of the field with edges harder than a retina's
    round: bool  # a circle fits the edge of the field


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Good, usable with the reasons for doubt, or reject with the reasons for it."""

    quality: Quality
    reasons: tuple[str, ...]
    gradable_probability: float


# (measure, sign, limit of usable, limit of reject, reason); sign 1: too much, -1: too little.
LIMITS = (
    ("brightness", -1, 60.0, 35.0, "dark"),
    ("burnt", 1, 0.06, 0.30, "bright"),
    ("detail", -1, 0.011, 0.008, "blurred"),
    ("seen", -1, 0.90, 0.70, "field_cut"),
)
MAX_EDGES = 0.10
MIN_HIGHLIGHT = 110.0
MAX_GREENNESS = 0.15
MIN_WARMTH = -0.15
MAX_GREYNESS = 0.02  # less colour than any colour photograph of a retina: red-free or scanned
DOUBTFUL_PROBABILITY = 0.5

# Logistic regression on the gradable label of the EyePACS colour training eyes
# (area under the ROC curve in ten-fold cross-validation: 0.80).
INTERCEPT = 6.784
COEFFICIENTS = {
    "log_detail": 2.40,
    "brightness": 9.42,
    "brightness_squared": -3.37,
    "burnt": -3.60,
    "seen": 1.62,
    "evenness": -4.75,
}


def judge_photo(photo: Image.Image, disc: Disc | None = None) -> Verdict:
    """Judge whether an RGB photograph can be graded."""
    return judge(measure(photo, disc))


def judge(measures: Measures) -> Verdict:
    """Turn measures into a verdict; the worst measure decides, every reason is told."""
    rejected = [reason for name, *rest, reason in LIMITS if _beyond(measures, name, *rest) == 2]
    too_dark_to_tell = "dark" in rejected and measures.highlight < MIN_HIGHLIGHT
    if not _looks_like_fundus(measures) and not too_dark_to_tell:
        rejected.append("not_fundus")
    doubted = [reason for name, *rest, reason in LIMITS if _beyond(measures, name, *rest) == 1]
    probability = gradable_probability(measures)
    if rejected:
        return Verdict(
            quality="reject",
            reasons=tuple(rejected),
            gradable_probability=min(probability, 1 - DOUBTFUL_PROBABILITY),
        )
    doubtful = doubted or probability < DOUBTFUL_PROBABILITY or _is_grey(measures)
    return Verdict(
        quality="usable" if doubtful else "good",
        reasons=tuple(doubted),
        gradable_probability=probability,
    )


def gradable_probability(measures: Measures) -> float:
    """Return how probably a reader would call the photograph gradable, 0 to 1."""
    bright = measures.brightness / 255
    values = {
        "log_detail": np.log(measures.detail + 1e-3),
        "brightness": bright,
        "brightness_squared": bright * bright,
        "burnt": min(measures.burnt, 0.5),
        "seen": measures.seen,
        "evenness": measures.evenness,
    }
    score = INTERCEPT + sum(COEFFICIENTS[name] * value for name, value in values.items())
    return float(1 / (1 + np.exp(-score)))


def _beyond(measures: Measures, name: str, sign: int, usable: float, reject: float) -> int:
    value = sign * getattr(measures, name)
    return 2 if value > sign * reject else 1 if value > sign * usable else 0


def _looks_like_fundus(measures: Measures) -> bool:
    """Accept a round field with the colours of a retina; burnt-out light has no colour to judge."""
    if not measures.round or measures.edges > MAX_EDGES:
        return False
    if measures.burnt > 0.3:
        return True
    return measures.greenness < MAX_GREENNESS and measures.warmth > MIN_WARMTH


def _is_grey(measures: Measures) -> bool:
    """Find red-free photographs: they can be graded, but the model learned from colour."""
    return max(abs(measures.warmth), abs(measures.greenness)) < MAX_GREYNESS


def measure(photo: Image.Image, disc: Disc | None = None) -> Measures:
    """Measure an RGB photograph."""
    disc = disc or find_disc(photo)
    band = cut_band(photo, disc, WORKING).astype(np.float32)
    field = field_mask(WORKING).astype(bool)
    top = band.max(axis=2)
    level = max(6.0, 0.12 * float(np.percentile(top[field], 95)))
    lit = field & (ndimage.median_filter(top, 5) > level)
    used = lit if lit.sum() > 0.05 * field.sum() else field
    red, green, blue = (float(np.median(band[:, :, c][used])) + 1 for c in range(3))
    light = ndimage.gaussian_filter(band[:, :, 1], 6)
    core = ndimage.binary_erosion(used, iterations=6)
    core = core if core.sum() > 0.05 * field.sum() else used
    fine = ndimage.gaussian_filter(band[:, :, 1], 0.8) - ndimage.gaussian_filter(band[:, :, 1], 2.4)
    steep = ndimage.gaussian_gradient_magnitude(band.mean(axis=2), 1.0)
    return Measures(
        brightness=float(np.median(top[used])),
        highlight=float(np.percentile(top[field], 98)),
        burnt=float(((band[:, :, 0] > 245) & (band[:, :, 1] > 205))[field].mean()),
        detail=float(np.mean(np.abs(fine[core])) / (np.mean(light[core]) + 8)),
        seen=float(lit.sum() / field.sum()),
        warmth=(red - blue) / (red + blue),
        greenness=(green - red) / (green + red),
        evenness=float(np.std(light[core]) / (np.mean(light[core]) + 8)),
        edges=float((steep[core] > 18).mean()),
        round=disc.round,
    )
