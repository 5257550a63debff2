"""The figures of a model's card, as its manifest holds them."""

from dataclasses import dataclass

from drservice.operators.words import bytes_in_words
from inference.models import ModelVersion

# The places where a model was measured, and what the card calls them.
SPLITS = {"val": "Other patients, same sources", "second_site": "Second site, never learned from"}
FIGURES = (
    ("referable", "auc", "Referable: area under the curve"),
    ("referable", "sensitivity", "Referable: sensitivity"),
    ("referable", "specificity", "Referable: specificity"),
    ("vision_threatening", "auc", "Vision-threatening: area under the curve"),
    ("vision_threatening", "sensitivity", "Vision-threatening: sensitivity"),
    ("vision_threatening", "specificity", "Vision-threatening: specificity"),
    ("kappa", "", "Grade: quadratic weighted kappa"),
)


@dataclass(frozen=True)
class Figure:
    """A number with its 95 % interval; `value` is None where the card says nothing."""

    name: str
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Measurement:
    place: str
    eyes: int
    patients: int
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class ModelCard:
    measurements: tuple[Measurement, ...]
    engines: tuple[str, ...]
    size_bytes: int

    @property
    def size(self) -> str:
        return bytes_in_words(self.size_bytes)

    @property
    def headline(self) -> tuple[Figure, ...]:
        """Return the two figures of a list: does it find what must be referred, and spare others?

        From the last place measured, which is the one that the model has never seen.
        """
        return self.measurements[-1].figures[1:3] if self.measurements else ()


def model_card(model: ModelVersion) -> ModelCard:
    """Read the card's figures; whatever a manifest leaves out stays empty."""
    metrics = model.manifest.get("metrics") or {}
    engines = (model.manifest.get("parity") or {}).get("engines") or {}
    return ModelCard(
        tuple(_measurement(place, metrics[key]) for key, place in SPLITS.items() if key in metrics),
        tuple(sorted(engines)),
        sum(file.size_bytes for file in model.files),
    )


def lower_sensitivities(candidate: ModelCard, champion: ModelCard) -> list[str]:
    """Name every sensitivity in which a candidate's card stands below the champion's."""
    known = _sensitivities(champion)
    return [
        f"{name}, {place.lower()}: {value:.3f} instead of {known[place, name]:.3f}"
        for (place, name), value in _sensitivities(candidate).items()
        if value < known.get((place, name), 0)
    ]


def _sensitivities(card: ModelCard) -> dict[tuple[str, str], float]:
    return {
        (measurement.place, figure.name): figure.value
        for measurement in card.measurements
        for figure in measurement.figures
        if "sensitivity" in figure.name and figure.value is not None
    }


def _measurement(place: str, metrics: dict) -> Measurement:
    figures = tuple(_figure(name, metrics.get(group), key) for group, key, name in FIGURES)
    return Measurement(place, metrics.get("eyes", 0), metrics.get("patients", 0), figures)


def _figure(name: str, group: dict | None, key: str) -> Figure:
    found = (group or {}).get(key) if key else group
    if not found:
        return Figure(name)
    return Figure(name, found.get("value"), found.get("low"), found.get("high"))
