"""What was measured of each engine against torch in float32, as it stands in a manifest.

An engine is a way to compute a model: a library, a device and a precision. A quick one serves only
where it was compared on real eyes and changed next to nothing. The rule is here, and it is applied
to the figures, so that no manifest can merely claim to have passed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inference.engine.schemas import THRESHOLDS

REFERENCE = "torch-cpu-fp32"
MIN_EQUAL_GRADES = 0.995
MAX_REFERABLE_LOST = 0
MIN_EYES = 200  # with fewer, one changed grade in two hundred could not be seen


@dataclass(frozen=True, kw_only=True)
class EngineFigures:
    """One engine against the reference, over the same eyes, on one machine.

    `referable_lost`: eyes that the reference calls referable at the operating point and this
    engine doesn't. `margin`: scores this near to a decision are computed again in float32.
    `test_scores`: what the quick part alone gives for the test vector's picture.
    """

    eyes: int
    equal_grades: int
    referable_lost: int
    images_per_s: float
    margin: float
    test_scores: tuple[float, ...]

    @property
    def passed(self) -> bool:
        """Say whether this engine may grade in the place of the reference."""
        return (
            self.eyes >= MIN_EYES
            and self.equal_grades >= MIN_EQUAL_GRADES * self.eyes
            and self.referable_lost <= MAX_REFERABLE_LOST
        )


@dataclass(frozen=True, kw_only=True)
class Parity:
    """All that a manifest says of its engines. Empty for a model that nobody has measured.

    `int8_ranges`: name of a convolution -> the largest value of its input on training eyes.
    """

    engines: Mapping[str, EngineFigures] = field(default_factory=dict)
    int8_ranges: Mapping[str, float] = field(default_factory=dict)

    def passed(self, engine: str) -> bool:
        """Say whether an engine was measured and passed."""
        return engine in self.engines and self.engines[engine].passed

    def images_per_s(self, engine: str) -> float:
        """Return an engine's measured speed, 0 where it was not measured."""
        return self.engines[engine].images_per_s if engine in self.engines else 0.0


def parse_parity(told: dict[str, Any]) -> Parity:
    """Read a manifest's `parity`. Raises KeyError, TypeError or ValueError when it is wrong."""
    if not told:
        return Parity()
    engines = {name: _figures(each) for name, each in told["engines"].items()}
    ranges = {name: _positive(value) for name, value in told.get("int8_ranges", {}).items()}
    return Parity(engines=engines, int8_ranges=ranges)


def _figures(told: dict[str, Any]) -> EngineFigures:
    scores = tuple(float(score) for score in told["test_scores"])
    if len(scores) != THRESHOLDS or not all(math.isfinite(score) for score in scores):
        raise ValueError(f"an engine's test scores must be {THRESHOLDS} numbers")
    figures = EngineFigures(
        eyes=int(told["eyes"]),
        equal_grades=int(told["equal_grades"]),
        referable_lost=int(told["referable_lost"]),
        images_per_s=_positive(told["images_per_s"]),
        margin=float(told["margin"]),
        test_scores=scores,
    )
    if not 0 <= figures.equal_grades <= figures.eyes or figures.referable_lost < 0:
        raise ValueError("an engine's counts do not fit its number of eyes")
    if not 0 <= figures.margin < math.inf:
        raise ValueError("an engine's margin must not be negative")
    return figures


def _positive(value: Any) -> float:
    number = float(value)
    if not 0 < number < math.inf:
        raise ValueError("a range or a speed must be positive")
    return number
