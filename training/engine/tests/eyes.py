"""Eyes with predictions, out of thin air: for tests that need figures and no picture."""

import numpy as np

from inference.engine.quality import Verdict
from inference.engine.schemas import OperatingPoint
from training.engine.datasets import Eye
from training.engine.predictions import Predictions

POINT = OperatingPoint(
    version="for-tests",
    referable_threshold=0.3,
    vision_threatening_threshold=0.2,
    referable_sensitivity_target=0.95,
    vision_threatening_sensitivity_target=0.85,
    chosen_on="eyes out of thin air",
)


def make_predictions(count: int = 240, *, seed: int = 1, noise: float = 2.0) -> Predictions:
    """Make eyes of three sources, some ungraded or ungradable, and logits that mean something."""
    random = np.random.default_rng(seed)
    eyes = [_eye(number) for number in range(count)]
    severity = np.array([eye.grade or 0 for eye in eyes])[:, None] + random.normal(
        0, noise, (count, 4)
    )
    logits = np.minimum.accumulate(1.7 * (severity - np.arange(4) - 0.5), axis=1)
    verdicts = {
        eye.image: Verdict(
            quality=("good", "usable", "reject")[number % 3],
            reasons=(),
            gradable_probability=float(random.random()),
        )
        for number, eye in enumerate(eyes)
        if eye.true_colour
    }
    return Predictions(
        eyes=eyes,
        logits=logits.astype(np.float32),
        temperature=1.3,
        point=POINT,
        verdicts=verdicts,
    )


def _eye(number: int) -> Eye:
    source, variant = (
        ("aptos2019", "colour256"),
        ("eyepacs", "colour512"),
        ("eyepacs", "equalised256"),
    )[number % 3]
    return Eye(
        image=f"eyes/{number}.jpg",
        shard="eyes.tar",
        source=source,
        variant=variant,
        camera=("1.32", "1.51")[number // 3 % 2] if source == "aptos2019" else "",
        split="val",
        patient=f"p{number // 6}",
        sha256=f"{number:064x}",
        grade=None if number % 40 == 7 else (number * 7 // 3) % 5,
        gradable=(None, True, False)[number // 3 % 3] if source == "eyepacs" else None,
        eye_quality=number // 3 % 3 if source == "eyepacs" else None,
        maculopathy=(None, True, False)[number // 5 % 3],
    )
