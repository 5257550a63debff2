"""A model on disk: weights and everything needed to use them, in one folder that is checked.

    weights.safetensors   the network's weights
    manifest.json         name, architecture, preprocessing, operating point, hash, test vector …
    MODEL_CARD.md         what it was made from and how good it is, for people

A folder that is not exactly what its manifest says does not load. There is no fallback.
"""

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from inference.engine.architectures import GradingNetwork, build_network
from inference.engine.errors import ArtefactInvalid, SpecInvalid
from inference.engine.parity import Parity, parse_parity
from inference.engine.quality import check_gate, parse_gate
from inference.engine.schemas import (
    GRADES,
    THRESHOLDS,
    OperatingPoint,
    Preprocessing,
    QualityGate,
)
from inference.engine.transforms import band_to_images, check_spec, field_mask

FORMAT = 1
WEIGHTS, MANIFEST, CARD = "weights.safetensors", "manifest.json", "MODEL_CARD.md"
STORED_DTYPES = {"float16": torch.float16, "float32": torch.float32}
TEST_VECTOR_SEED = 2
TEST_VECTOR_TOLERANCE = 2e-3
CURE = "Copy the model's folder again, or promote another model."


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What manifest.json says, apart from the weights' own hash and the test vector."""

    name: str
    version: str
    architecture: str
    preprocessing: Preprocessing
    operating_point: OperatingPoint
    temperature: float
    data_fingerprint: str
    training: dict[str, Any]
    metrics: dict[str, Any]
    created: str
    stored_dtype: str = "float16"
    purpose: str = "research use; not a certified medical device"
    parity: dict[str, Any] = field(default_factory=dict)  # empty: only float32 serves
    quality: QualityGate = field(default_factory=QualityGate)  # older models: the first gate


@dataclass(frozen=True, kw_only=True)
class TestVector:
    """A drawn picture and the raw scores that these weights give for it.

    Raw, before they are ordered: ordering can hide three of the four behind the lowest.
    """

    __test__ = False  # not a pytest class

    seed: int
    scores: tuple[float, float, float, float]
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """A loaded and verified model. `network` is in evaluation mode, float32, on the CPU."""

    directory: Path
    manifest: Manifest
    sha256: str
    test_vector: TestVector
    parity: Parity
    network: GradingNetwork


def save_artefact(
    directory: Path, *, network: GradingNetwork, manifest: Manifest, card: str
) -> Path:
    """Write a model under a temporary name and move it into place.

    Pre-state: `directory` does not exist. Post-state: it is whole and loads.
    """
    check_spec(manifest.preprocessing)
    check_gate(manifest.quality)
    if directory.exists():
        raise ArtefactInvalid(f"{directory.name} is there already.", "Choose another folder.")
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        weights = _weight_bytes(network, manifest.stored_dtype)
        (partial / WEIGHTS).write_bytes(weights)
        text = _manifest_text(manifest, weights)
        (partial / MANIFEST).write_text(text, encoding="utf-8")
        (partial / CARD).write_text(card, encoding="utf-8")
        partial.chmod(0o755)
        partial.rename(directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return directory


def load_artefact(directory: Path) -> Artefact:
    """Load and verify a model. Raises ArtefactInvalid with what is wrong and what to do."""
    told = _read_manifest(directory)
    content = _read(directory / WEIGHTS)
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != told.get("weights_sha256"):
        raise ArtefactInvalid("The weights differ from their manifest's hash.", CURE)
    if not (directory / CARD).is_file():
        raise ArtefactInvalid(f"{CARD} is missing.", CURE)
    try:
        manifest, vector = _parse(told)
        parity = parse_parity(manifest.parity)
        check_spec(manifest.preprocessing)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArtefactInvalid(f"The manifest is incomplete or wrong: {error!r}.", CURE) from error
    except SpecInvalid as error:
        raise ArtefactInvalid(error.problem, error.cure) from error
    return Artefact(
        directory=directory,
        manifest=manifest,
        sha256=sha256,
        test_vector=vector,
        parity=parity,
        network=_load_network(manifest.architecture, content),
    )


def record_parity(directory: Path, parity: dict[str, Any], *, card: str | None = None) -> None:
    """Write what was measured of the engines into a model's manifest; the weights stay.

    The manifest is a new one then, and a registry knows it as another model: measure before
    registering. `card` replaces the card when given. Raises ArtefactInvalid on a broken model.
    """
    load_artefact(directory)
    parse_parity(parity)
    told = {**_read_manifest(directory), "parity": parity}
    if card is not None:
        _replace(directory / CARD, card)
    _replace(directory / MANIFEST, _as_json(told))


def weights_sha256(directory: Path) -> str:
    """Hash the weights as they are on disk now. Raises ArtefactInvalid when they are missing."""
    return hashlib.sha256(_read(directory / WEIGHTS)).hexdigest()


def test_images(seed: int, spec: Preprocessing) -> np.ndarray:
    """Draw the test vector's picture and preprocess it. Returns [1, 3, h, w] float32.

    The picture is a sum of waves from a seed, in numpy alone, so that no library's way of drawing
    or resizing can ever make an old model look broken.
    """
    random = np.random.RandomState(seed)  # its stream is frozen for ever; default_rng's is not
    width, height = spec.size_px
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    light = np.full((height, width, 3), 120.0)
    for wave in range(24):
        across, down, phase = random.uniform(-1, 1, 3) * (2 + wave, 2 + wave, np.pi)
        tint = random.uniform(4, 14, 3)
        light += np.sin(2 * np.pi * (across * x + down * y) + phase)[:, :, None] * tint
    band = np.clip(light, 0, 255).astype(np.uint8) * field_mask(spec)[:, :, None]
    return band_to_images(band[None], spec).numpy()


test_images.__test__ = False  # not a pytest function


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtefactInvalid(f"{path.name} is missing or unreadable.", CURE) from error


def _read_manifest(directory: Path) -> dict[str, Any]:
    try:
        told = json.loads(_read(directory / MANIFEST))
    except ValueError as error:
        raise ArtefactInvalid("The manifest is not JSON.", CURE) from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise ArtefactInvalid(
            "The manifest has another format.", "Use the engine version that made this model."
        )
    if told.get("classes") != list(GRADES):
        raise ArtefactInvalid("The manifest names other classes than this engine.", CURE)
    return told


def _parse(told: dict[str, Any]) -> tuple[Manifest, TestVector]:
    spec = {key: _tuples(value) for key, value in told["preprocessing"].items()}
    vector = told["test_vector"]
    manifest = Manifest(
        **{name: told[name] for name in _PLAIN_FIELDS},
        parity=told.get("parity", {}),
        quality=parse_gate(told["quality"]) if "quality" in told else QualityGate(),
        preprocessing=Preprocessing(**spec),
        operating_point=OperatingPoint(**told["operating_point"]),
    )
    if not manifest.temperature > 0:
        raise ValueError("temperature must be positive")
    scores = tuple(vector["scores"])
    if len(scores) != THRESHOLDS:
        raise ValueError(f"the test vector needs {THRESHOLDS} scores")
    return manifest, TestVector(seed=vector["seed"], scores=scores, tolerance=vector["tolerance"])


_PLAIN_FIELDS = (
    "name",
    "version",
    "architecture",
    "temperature",
    "data_fingerprint",
    "training",
    "metrics",
    "created",
    "stored_dtype",
    "purpose",
)


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _weight_bytes(network: GradingNetwork, stored_dtype: str) -> bytes:
    dtype = STORED_DTYPES[stored_dtype]
    return save(
        {
            name: (value.to(dtype) if value.is_floating_point() else value).contiguous().clone()
            for name, value in network.state_dict().items()
        },
        metadata={"format": "pt"},
    )


def _manifest_text(manifest: Manifest, weights: bytes) -> str:
    # The vector is made from the stored weights, as they come back: what is checked is what runs.
    stored = _load_network(manifest.architecture, weights)
    with torch.inference_mode():
        images = test_images(TEST_VECTOR_SEED, manifest.preprocessing)
        scores, _ = stored(torch.from_numpy(images))
    told = {
        "format": FORMAT,
        **asdict(manifest),
        "classes": list(GRADES),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "test_vector": {
            "seed": TEST_VECTOR_SEED,
            "scores": [round(float(score), 6) for score in scores[0]],
            "tolerance": TEST_VECTOR_TOLERANCE,
        },
    }
    return _as_json(told)


def _as_json(told: dict[str, Any]) -> str:
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def _replace(path: Path, text: str) -> None:
    """Write a file under a temporary name and move it into place."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _load_network(architecture: str, content: bytes) -> GradingNetwork:
    with torch.device("meta"):  # random weights would cost seconds and be thrown away
        network = build_network(architecture)
    try:
        state = {name: _widened(value) for name, value in load(content).items()}
        network.load_state_dict(state, assign=True)
    except (SafetensorError, RuntimeError) as error:
        raise ArtefactInvalid(
            f"The weights do not fit the architecture {architecture}.", CURE
        ) from error
    if not all(torch.isfinite(value).all() for value in network.state_dict().values()):
        raise ArtefactInvalid("The weights contain values that are not numbers.", CURE)
    return network.eval().requires_grad_(False)


def _widened(value: torch.Tensor) -> torch.Tensor:
    # A copy of its own: what safetensors returns lies as it did in the file, not aligned.
    return value.to(torch.float32, copy=True) if value.is_floating_point() else value
