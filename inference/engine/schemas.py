"""The engine's border: plain frozen values, free of torch, Django and Celery."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Quality = Literal["good", "usable", "reject"]

GRADES = ("no DR", "mild", "moderate", "severe", "proliferative")
THRESHOLDS = 4  # cumulative logits: grade >= 1, >= 2, >= 3, >= 4
REFERABLE_GRADE = 2
VISION_THREATENING_GRADE = 3
QUALITY_REASONS = ("dark", "bright", "blurred", "hazy", "field_cut", "not_fundus", "grey")


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a photograph becomes the network's input. Travels with the weights, never apart.

    `operations` names the steps in order; only fixed steps may stand here.
    """

    version: str = "band-1"
    operations: tuple[str, ...] = ("find_disc", "cut_band", "local_contrast", "standardise")
    size_px: tuple[int, int] = (256, 192)  # width, height
    keep_height: float = 0.75  # share of the disc's height that is kept
    rim: float = 0.95  # share of the disc's radius that is kept
    local_sigma: float = 0.0625  # of the width: what counts as background light
    deviation_floor: float = 1.5  # grey levels: below this a channel is noise, not signal
    clip: float = 5.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """Where a probability becomes a yes. Versioned: the same numbers mean the same for years."""

    version: str
    referable_threshold: float
    vision_threatening_threshold: float
    referable_sensitivity_target: float
    vision_threatening_sensitivity_target: float
    chosen_on: str


@dataclass(frozen=True, kw_only=True)
class QualityLimit:
    """Where a measure gives cause for doubt, and where it is no use to go on."""

    measure: str
    sign: int  # 1: too much is wrong, -1: too little
    usable: float
    reject: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class FeatureWeight:
    """What one feature adds to the learned score, of its distance from the centre in spreads."""

    centre: float = 0.0
    spread: float = 1.0
    linear: float
    square: float = 0.0


@dataclass(frozen=True, kw_only=True)
class QualityGate:
    """The limits and the learned score by which photographs are judged. Travels with the weights.

    The presets are the first gate's: models that were saved without one are served with it. Its
    limits were read off the training split: 796 EyePACS eyes with a gradable label, 500 of APTOS.
    """

    version: str = "quality-1"
    limits: tuple[QualityLimit, ...] = (
        QualityLimit(measure="brightness", sign=-1, usable=60.0, reject=35.0, reason="dark"),
        QualityLimit(measure="burnt", sign=1, usable=0.06, reject=0.30, reason="bright"),
        QualityLimit(measure="detail", sign=-1, usable=0.011, reject=0.008, reason="blurred"),
        QualityLimit(measure="seen", sign=-1, usable=0.90, reject=0.70, reason="field_cut"),
    )
    hazy_sharpness: float | None = None  # without detail but sharper than this: hazy, not blurred
    intercept: float = 6.784
    weights: Mapping[str, FeatureWeight] = field(
        default_factory=lambda: {
            "log_detail": FeatureWeight(linear=2.40),
            "brightness": FeatureWeight(linear=9.42),
            "brightness_squared": FeatureWeight(linear=-3.37),
            "burnt": FeatureWeight(linear=-3.60),
            "seen": FeatureWeight(linear=1.62),
            "evenness": FeatureWeight(linear=-4.75),
        }
    )
    feature_reach: float | None = None  # a feature farther from its centre counts as this far
    doubtful_probability: float = 0.5
    fitted_on: str = "train"


@dataclass(frozen=True, kw_only=True)
class Grading:
    """What the engine says about one photograph.

    A rejected photograph has no grade and no probabilities: nobody can mistake it for "no DR".
    The heatmap is a transparent PNG that covers the displayed frame of `width_px` x `height_px`
    edge to edge; its own pixels may be fewer.
    """

    grade: int | None
    probabilities: tuple[float, float, float, float, float] | None
    referable_probability: float | None
    vision_threatening_probability: float | None
    referable: bool | None
    vision_threatening: bool | None
    gradable_probability: float
    quality: Quality
    quality_reasons: tuple[str, ...]
    heatmap_png: bytes | None
    width_px: int
    height_px: int
    model_version: str
