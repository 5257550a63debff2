"""Is this a photograph of an eye that can be graded? Measures, limits and reasons.

The measures (`quality_measures`) are taken at one working size on the part that is graded, so the
camera's resolution does not move the verdict. The limits and the learned score come with the model
(`schemas.QualityGate`); `training.engine.quality_gate` fits them, never on eyes kept for checking.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from inference.engine.disc import Disc
from inference.engine.quality_measures import LIMITED, Measures, feature_names, measure
from inference.engine.schemas import (
    QUALITY_REASONS,
    FeatureWeight,
    Quality,
    QualityGate,
    QualityLimit,
)

MAX_EDGES = 0.10
MIN_HIGHLIGHT = 110.0
MAX_GREENNESS = 0.15
MIN_WARMTH = -0.15
MAX_GREYNESS = 0.02  # less colour than any colour photograph of a retina: red-free or scanned
MAX_REJECTED_PROBABILITY = 0.5  # whatever the learned score says of a photograph that is rejected
LIGHT_REASONS = frozenset({"dark", "bright"})  # without the right light nothing else can be told
SHAPE_MEASURES = frozenset({"filled", "width"})


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Good, usable with the reasons for doubt, or reject with the reasons for it."""

    quality: Quality
    reasons: tuple[str, ...]
    gradable_probability: float


def judge_photo(
    photo: Image.Image, disc: Disc | None = None, gate: QualityGate | None = None
) -> Verdict:
    """Judge whether an RGB photograph can be graded; without a gate, by the first one."""
    return judge(measure(photo, disc), gate or QualityGate())


def judge(measures: Measures, gate: QualityGate) -> Verdict:
    """Turn measures into a verdict; the worst measure decides, every reason is told."""
    rejected = _reasons(measures, gate, level=2)
    too_dark_to_tell = "dark" in rejected and measures.highlight < MIN_HIGHLIGHT
    if not _looks_like_fundus(measures, gate) and not too_dark_to_tell:
        rejected = [*(each for each in rejected if each != "field_cut"), "not_fundus"]
    doubted = _reasons(measures, gate, level=1)
    if _is_grey(measures):
        doubted.append("grey")
    probability = gradable_probability(measures, gate)
    if rejected:
        return Verdict(
            quality="reject",
            reasons=tuple(rejected),
            gradable_probability=min(probability, MAX_REJECTED_PROBABILITY),
        )
    doubtful = doubted or probability < gate.doubtful_probability
    return Verdict(
        quality="usable" if doubtful else "good",
        reasons=tuple(doubted),
        gradable_probability=probability,
    )


def gradable_probability(measures: Measures, gate: QualityGate) -> float:
    """Return how probably a reader would call the photograph gradable, 0 to 1."""
    score = gate.intercept
    for name, weight in gate.weights.items():
        place = (measures.features[name] - weight.centre) / weight.spread
        if gate.feature_reach is not None:
            place = float(np.clip(place, -gate.feature_reach, gate.feature_reach))
        score += weight.linear * place + weight.square * place * place
    return float(1 / (1 + np.exp(-score)))


def parse_gate(told: Mapping[str, Any]) -> QualityGate:
    """Read a gate as a manifest tells it. Raises KeyError, TypeError or ValueError."""
    gate = QualityGate(
        **{
            **told,
            "limits": tuple(QualityLimit(**limit) for limit in told["limits"]),
            "weights": {name: FeatureWeight(**each) for name, each in told["weights"].items()},
        }
    )
    check_gate(gate)
    return gate


def check_gate(gate: QualityGate) -> None:
    """Refuse a gate that this engine can't apply. Raises ValueError."""
    unknown = {limit.measure for limit in gate.limits} - LIMITED
    unknown |= {limit.reason for limit in gate.limits} - set(QUALITY_REASONS)
    unknown |= set(gate.weights) - feature_names()
    if unknown:
        raise ValueError(f"the quality gate uses {sorted(unknown)}, unknown to this engine")
    numbers = [gate.intercept, gate.doubtful_probability]
    numbers += [each for each in (gate.hazy_sharpness, gate.feature_reach) if each is not None]
    numbers += [number for limit in gate.limits for number in (limit.usable, limit.reject)]
    for each in gate.weights.values():
        numbers += [
            each.centre,
            each.linear,
            each.square,
            1 / each.spread if each.spread else np.nan,
        ]
    if any(limit.sign not in (-1, 1) for limit in gate.limits):
        raise ValueError("the quality gate has a limit that is neither upper nor lower")
    if not np.isfinite(numbers).all():
        raise ValueError("the quality gate contains values that are not numbers")


def _reasons(measures: Measures, gate: QualityGate, *, level: int) -> list[str]:
    """Name what is doubtful (level 1) or wrong (level 2), each reason once."""
    found = []
    for limit in gate.limits:
        reason = _named(limit, measures, gate)
        if _beyond(measures, limit) == level and reason not in found:
            found.append(reason)
    light = [reason for reason in found if reason in LIGHT_REASONS]
    return light if light and gate.hazy_sharpness is not None else found


def _named(limit: QualityLimit, measures: Measures, gate: QualityGate) -> str:
    """Tell a veil from blur: both take detail away, but a veil leaves its share of the finest."""
    if limit.reason != "blurred" or gate.hazy_sharpness is None:
        return limit.reason
    return "hazy" if measures.sharpness > gate.hazy_sharpness else "blurred"


def _beyond(measures: Measures, limit: QualityLimit) -> int:
    value = limit.sign * getattr(measures, limit.measure)
    return 2 if value > limit.sign * limit.reject else 1 if value > limit.sign * limit.usable else 0


def _looks_like_fundus(measures: Measures, gate: QualityGate) -> bool:
    """Accept a round field with the colours of a retina; burnt-out light has no colour to judge."""
    if measures.edges > MAX_EDGES or not (measures.round or _is_cut(measures, gate)):
        return False
    if measures.burnt > 0.3:
        return True
    return measures.greenness < MAX_GREENNESS and measures.warmth > MIN_WARMTH


def _is_cut(measures: Measures, gate: QualityGate) -> bool:
    """Say whether so much of the field is missing that the rest need not look round."""
    shapes = [limit for limit in gate.limits if limit.measure in SHAPE_MEASURES]
    return not _is_grey(measures) and any(_beyond(measures, limit) == 2 for limit in shapes)


def _is_grey(measures: Measures) -> bool:
    """Find red-free photographs: they can be graded, but the model learned from colour."""
    return max(abs(measures.warmth), abs(measures.greenness)) < MAX_GREYNESS
