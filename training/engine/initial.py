"""What a network starts from: chance, torchvision's ImageNet weights, or an earlier model.

Nothing is ever fetched: weights that are not on this machine are an error that says so.
"""

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torchvision import models

from inference.engine.architectures import GradingNetwork
from inference.engine.artefact import MANIFEST, WEIGHTS, load_artefact
from inference.engine.errors import EngineError
from training.engine.config import TrainingConfig
from training.engine.errors import TrainingError

BEST = "best.safetensors"
OWN_BODY, OWN_HEAD = "body.", "head."
TORCHVISION_HEADS = ("fc.", "classifier.")
WAYS_OUT = "Name a file with --init FILE, or start with --init scratch."

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """Weights to start from, and where they are from. Without `state` it is chance."""

    init: str = "scratch"
    sha256: str = ""
    state: State | None = None


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Which of a network's tensors came from a file, and which are fresh."""

    taken: int
    fresh: tuple[str, ...]


def read_beginning(config: TrainingConfig, file: Path | None) -> Beginning:
    """Find and read the weights that a configuration starts from. Raises TrainingError."""
    if config.init == "scratch":
        return Beginning()
    path = file or _imagenet_file(config.architecture)
    if not path.exists():
        raise TrainingError(f"There is no file or folder {path.name}.", WAYS_OUT)
    if path.is_dir():
        path = _weights_in(path, config.architecture)
    state = _read_pickled(path) if path.suffix in (".pth", ".pt") else _read_safe(path, config)
    return Beginning(init=config.init, sha256=_sha256(path), state=state)


@torch.no_grad()
def begin_with(network: GradingNetwork, beginning: Beginning) -> Taken:
    """Put the weights into the network; the whole body must fit, a head may stay fresh.

    Raises TrainingError when the weights are of another architecture.
    """
    own = network.state_dict()
    if beginning.state is None:
        return Taken(taken=0, fresh=())
    given = _in_own_names(network, beginning.state)
    fresh = [name for name in own if name not in given and not name.endswith("num_batches_tracked")]
    missing = [name for name in fresh if not name.startswith(OWN_HEAD)]
    wrong = [n for n in given if n not in own or given[n].shape != own[n].shape]
    if missing or wrong:
        raise TrainingError(
            f"The weights are of another architecture: {len(missing)} tensors are missing, "
            f"{len(wrong)} don't fit, first {(missing + wrong)[0]}.",
            "Name the right one with --arch, or start with --init scratch.",
        )
    for name, value in given.items():
        own[name].copy_(value)
    return Taken(taken=len(given), fresh=tuple(fresh))


@torch.no_grad()
def mix_with_start(network: GradingNetwork, beginning: Beginning, share: float) -> None:
    """Take `share` (0 to 1) of every weight from what the network started from, in place.

    Between the start and the end of a short training there often lie weights that lose less of
    what the start knew about other cameras (Wortsman et al., WiSE-FT, CVPR 2022).
    Raises TrainingError when the start doesn't have every weight.
    """
    start = copy.deepcopy(network)
    taken = begin_with(start, beginning)
    if not taken.taken or taken.fresh:
        raise TrainingError(
            "Only a run that started from a whole network can keep a share of it.",
            "Leave --start-share out, or train with --init FILE from a graded model's weights.",
        )
    began = start.state_dict()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(began[name].to(value.device), share)


def layers_of(network: GradingNetwork) -> dict[str, list[nn.Module]]:
    """Name the parts of a body that can be frozen, from the input on: stem, layer1, layer2 …

    ResNets have them by themselves; others are cut after each pooling, or else at each convolution.
    """
    parts: list[list[nn.Module]] = [[]]
    children = list(network.body)
    pools = any(isinstance(child, nn.MaxPool2d) for child in children)
    staged = any(isinstance(child, nn.Sequential) for child in children)
    for child in children:
        starts = isinstance(child, nn.Sequential) if staged else isinstance(child, nn.Conv2d)
        if starts and parts[-1] and (staged or not pools or _ends_in_pool(parts[-1])):
            parts.append([])
        parts[-1].append(child)
    return {"layer" + str(place) if place else "stem": part for place, part in enumerate(parts)}


def freeze_layers(network: GradingNetwork, names: tuple[str, ...]) -> None:
    """Keep the weights of the named layers as they are. Raises TrainingError on an unknown name."""
    layers = layers_of(network)
    unknown = [name for name in names if name not in layers]
    if unknown:
        raise TrainingError(
            f"There is no layer {unknown[0]!r} to freeze.", f"Use some of {', '.join(layers)}."
        )
    for name in names:
        for module in layers[name]:
            module.requires_grad_(False)


def train_but_frozen(network: GradingNetwork, names: tuple[str, ...]) -> None:
    """Put a network into training mode, but its frozen layers keep their running statistics.

    They are looked up each time: sharing a network among GPUs replaces its normalisations.
    """
    network.train()
    layers = layers_of(network)
    for name in names:
        for module in layers[name]:
            module.eval()


def _ends_in_pool(part: list[nn.Module]) -> bool:
    return isinstance(part[-1], nn.MaxPool2d)


def _imagenet_file(architecture: str) -> Path:
    """Find torchvision's file in torch hub's cache; its name ends in its hash."""
    try:
        known = list(models.get_model_weights(architecture))
    except ValueError as error:
        raise TrainingError(f"torchvision has no weights for {architecture}.", WAYS_OUT) from error
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    names = [weights.url.rpartition("/")[2] for weights in reversed(known)]
    for name in names:
        path = folder / name
        if path.is_file():
            if not _sha256(path).startswith(path.stem.rpartition("-")[2]):
                raise TrainingError(f"{name} is damaged: its hash differs.", WAYS_OUT)
            return path
    raise TrainingError(
        f"The ImageNet weights of {architecture} are not on this machine, and nothing is fetched: "
        f"{' or '.join(names)} is looked for in torch hub's cache.",
        WAYS_OUT,
    )


def _weights_in(folder: Path, architecture: str) -> Path:
    """Find the weights in a model's folder, which is verified, or in a run's."""
    if (folder / BEST).is_file():
        return folder / BEST
    if not (folder / MANIFEST).is_file():
        raise TrainingError(f"{folder.name} holds neither a model nor a run's best.", WAYS_OUT)
    try:
        made = load_artefact(folder).manifest.architecture
    except EngineError as error:
        raise TrainingError(error.problem, WAYS_OUT) from error
    _check_architecture(made, architecture)
    return folder / WEIGHTS


def _read_safe(path: Path, config: TrainingConfig) -> State:
    try:
        with safe_open(path, framework="pt") as file:
            made = (file.metadata() or {}).get("architecture", config.architecture)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path.name} is not a safetensors file.", WAYS_OUT) from error
    _check_architecture(made, config.architecture)
    return state


def _read_pickled(path: Path) -> State:
    """Read torchvision's own format, tensors alone: no code in it runs."""
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # what a damaged file raises is not documented
        raise TrainingError(f"{path.name} holds no weights.", WAYS_OUT) from error
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise TrainingError(f"{path.name} holds more than weights, or others.", WAYS_OUT)
    return state


def _check_architecture(made: str, wanted: str) -> None:
    if made != wanted:
        raise TrainingError(
            f"The weights are of {made}, and the run is of {wanted}.",
            f"Use --arch {made}, or other weights.",
        )


def _in_own_names(network: GradingNetwork, state: State) -> dict[str, torch.Tensor]:
    """Translate names: ours, a body's alone, or torchvision's. torchvision's head is left out."""
    if any(name.startswith(OWN_BODY) for name in state):
        return {n: v for n, v in state.items() if n.startswith((OWN_BODY, OWN_HEAD))}
    state = {n: v for n, v in state.items() if not n.startswith(TORCHVISION_HEADS)}
    places = {"features": None} | {
        name: place for place, name in enumerate(_torchvision_names(network))
    }
    named = {}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        place = places.get(first, first)
        named[f"{OWN_BODY}{rest if place is None else f'{place}.{rest}'}"] = value
    return named


def _torchvision_names(network: GradingNetwork) -> list[str]:
    """Name the children of a ResNet's body as torchvision does; empty for other bodies."""
    if not any(isinstance(child, nn.Sequential) for child in network.body):
        return []
    return ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
