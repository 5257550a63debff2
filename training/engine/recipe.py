"""The recipe, from top to bottom in the order in which things happen.

Read eyes, decode them once, then epochs of: sample, paint, vary, learn, average, check, save.
The same seed gives the same weights, and a run that was stopped and resumed gives them too.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from inference.engine.architectures import GradingNetwork, build_network
from inference.engine.schemas import Preprocessing
from inference.engine.transforms import band_to_images, check_spec, standardise
from training.engine.augment import vary_camera, vary_contrast, vary_pose
from training.engine.datasets import Eye, eyes_to_learn_from, graded, load_bands, read_eyes
from training.engine.errors import TrainingError
from training.engine.losses import cumulative_targets, ordered, ordinal_loss
from training.engine.metrics import auc, quadratic_kappa
from training.engine.painting import paint_lesions

BALANCES = ("natural", "grade", "camera")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything that decides the weights. Stands in the run's manifest as it is."""

    architecture: str = "resnet101"
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    epochs: int = 30
    small_share: float = 0.0  # of the epochs, at three quarters of the size: learns cheaper first
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_share: float = 0.05
    dropout: float = 0.2
    smoothing: float = 0.03
    ema_decay: float = 0.998
    balance: str = "natural"  # natural, grade (even grades), camera (even within each camera)
    max_repeat: float = 4.0  # how often balancing may show one eye more than another
    painted_share: float = 0.0  # of the healthy eyes shown, with lesions painted on, falling to 0
    bf16: bool = False
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where a run reads and writes."""

    data: Path
    cache: Path
    run: Path


@dataclass(kw_only=True)
class Run:
    """What changes while training, and what a checkpoint holds."""

    network: GradingNetwork
    average: GradingNetwork
    optimiser: torch.optim.Optimizer
    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def train(
    config: TrainingConfig,
    folders: Folders,
    *,
    say: Callable[[str], None] = print,
    stop_at: float = math.inf,
) -> Run:
    """Train, or go on training, until the last epoch or until the clock says `stop_at`.

    Post-state: the checkpoint in `folders.run` holds the returned run.
    """
    check_config(config)
    eyes = read_eyes(folders.data)
    learning, checking = eyes_to_learn_from(eyes), graded(eyes, "val")
    bands = _load(learning, config, folders)
    bands_to_check = _load(checking, config, folders)
    say(f"learning from {len(learning)} eyes, checking on {len(checking)}")

    run = resume_or_start(config, folders.run)
    while run.epoch < config.epochs and time.time() < stop_at:
        began = time.time()
        loss = train_epoch(run, config, learning, bands)
        figures = check_epoch(run.average, config, checking, bands_to_check)
        run.epoch += 1
        run.history.append({"epoch": run.epoch, "loss": loss, **figures})
        save_checkpoint(run, config, folders.run)
        say(_line(run.history[-1], seconds=time.time() - began))
    return run


def check_config(config: TrainingConfig) -> None:
    """Refuse a configuration that can't be trained or served. Raises TrainingError."""
    check_spec(config.preprocessing)
    if config.balance not in BALANCES:
        raise TrainingError(f"Unknown balance {config.balance!r}.", f"Use one of {BALANCES}.")
    if not 0 <= config.painted_share <= 1:
        raise TrainingError("painted_share is not a share.", "Give a number from 0 to 1.")


def resume_or_start(config: TrainingConfig, folder: Path) -> Run:
    """Load the folder's checkpoint, or start with fresh weights when there is none.

    Raises TrainingError when the checkpoint belongs to another configuration.
    """
    torch.manual_seed(config.seed)
    network = build_network(config.architecture, dropout=config.dropout)
    average = build_network(config.architecture).eval().requires_grad_(False)
    average.load_state_dict(network.state_dict())
    network.to(memory_format=torch.channels_last)
    average.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(
        _parameter_groups(network, config.weight_decay), lr=config.learning_rate
    )
    run = Run(network=network, average=average, optimiser=optimiser)
    path = folder / "checkpoint.pt"
    if not path.is_file():
        return run
    saved = torch.load(path, weights_only=True)
    if saved["config"] != _config_text(config):
        raise TrainingError(
            "The run's folder holds a checkpoint of another configuration.",
            "Resume with the same options or choose an empty folder.",
        )
    network.load_state_dict(saved["network"])
    average.load_state_dict(saved["average"])
    optimiser.load_state_dict(saved["optimiser"])
    run.epoch, run.history = saved["epoch"], saved["history"]
    return run


def train_epoch(run: Run, config: TrainingConfig, eyes: Sequence[Eye], bands: np.ndarray) -> float:
    """Show the network as many eyes as there are. Returns the mean loss."""
    run.network.train()
    batches = list(_epoch_batches(config, eyes, run.epoch))
    total = 0.0
    for step, places in enumerate(batches):
        progress = (run.epoch + step / len(batches)) / config.epochs
        random = torch.Generator().manual_seed(config.seed * 1_000_003 + run.epoch * 10_007 + step)
        torch.manual_seed(random.initial_seed())  # dropout
        images, targets, weights = make_batch(config, eyes, bands, places, progress, random)
        for group in run.optimiser.param_groups:
            group["lr"] = learning_rate(config, progress)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            scores, _ = run.network(images)
        loss = ordinal_loss(scores.float(), targets, weights)
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(run.network.parameters(), 5.0)
        run.optimiser.step()
        update_average(run.average, run.network, config.ema_decay, run.epoch * len(batches) + step)
        total += loss.item()
    return total / len(batches)


def make_batch(
    config: TrainingConfig,
    eyes: Sequence[Eye],
    bands: np.ndarray,
    places: Sequence[int],
    progress: float,
    random: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw a batch: images [b, 3, h, w], targets [b, 4], weights [b, 4]."""
    painter = np.random.default_rng(random.initial_seed())
    chosen = np.stack([bands[place] for place in places])
    grades = torch.tensor([eyes[place].grade for place in places])
    weights = torch.ones(len(places), 4)
    share = config.painted_share * max(0.0, 1 - progress / 0.7)
    for row in np.flatnonzero(grades.numpy() == 0):
        if painter.random() < share:
            chosen[row], grade = paint_lesions(chosen[row], painter)
            grades[row] = grade
            weights[row, 2:] = 0.0
    light = torch.from_numpy(chosen).permute(0, 3, 1, 2).contiguous().float()
    light = vary_camera(light, random)
    images = vary_contrast(standardise(light, config.preprocessing), random)
    if progress < config.small_share:
        images = functional.interpolate(images, scale_factor=0.75, mode="bilinear", antialias=True)
    images = vary_pose(images, random).contiguous(memory_format=torch.channels_last)
    return images, cumulative_targets(grades, smoothing=config.smoothing), weights


def learning_rate(config: TrainingConfig, progress: float) -> float:
    """Rise linearly, then fall along a cosine. progress: 0 to 1."""
    if progress < config.warmup_share:
        return config.learning_rate * (0.05 + 0.95 * progress / config.warmup_share)
    fall = (progress - config.warmup_share) / (1 - config.warmup_share)
    return config.learning_rate * 0.5 * (1.005 + 0.995 * math.cos(math.pi * fall))


@torch.no_grad()
def update_average(
    average: GradingNetwork, network: GradingNetwork, decay: float, step: int
) -> None:
    """Move the averaged weights a little towards the present ones; faster in the beginning."""
    decay = min(decay, (1 + step) / (10 + step))
    present = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(present[name], 1 - decay)
        else:
            value.copy_(present[name])


def check_epoch(
    network: GradingNetwork, config: TrainingConfig, eyes: Sequence[Eye], bands: np.ndarray
) -> dict[str, float]:
    """Score the averaged network on eyes it never learned from."""
    scores = predict_scores(network, config.preprocessing, bands, bf16=config.bf16)
    grades = np.array([eye.grade for eye in eyes])
    figures = {
        "auc": auc(grades >= 2, scores[:, 1]),
        "kappa": quadratic_kappa(grades, (scores > 0).sum(axis=1)),
    }
    for name in ("colour512", "equalised256"):
        part = np.array([eye.variant == name for eye in eyes])
        figures[f"auc_{name}"] = auc(grades[part] >= 2, scores[part, 1])
    mixed = np.array([eye.camera == "1.32" for eye in eyes])
    figures["auc_camera_1.32"] = auc(grades[mixed] >= 2, scores[mixed, 1])
    return {name: value for name, value in figures.items() if math.isfinite(value)}


@torch.inference_mode()
def predict_scores(
    network: GradingNetwork, spec: Preprocessing, bands: np.ndarray, *, bf16: bool = False
) -> np.ndarray:
    """Return the ordered logits [n, 4] float32 of bands [n, h, w, 3] uint8."""
    network.eval()
    rows = []
    for start in range(0, len(bands), 32):
        images = band_to_images(np.array(bands[start : start + 32]), spec)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            scores, _ = network(images.contiguous(memory_format=torch.channels_last))
        rows.append(ordered(scores.float()).numpy())
    return np.concatenate(rows)


def save_checkpoint(run: Run, config: TrainingConfig, folder: Path) -> None:
    """Write the run under a temporary name and move it into place."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "checkpoint.partial"
    torch.save(
        {
            "config": _config_text(config),
            "network": run.network.state_dict(),
            "average": run.average.state_dict(),
            "optimiser": run.optimiser.state_dict(),
            "epoch": run.epoch,
            "history": run.history,
        },
        partial,
    )
    partial.replace(folder / "checkpoint.pt")


def sample_weights(eyes: Sequence[Eye], balance: str, max_repeat: float) -> np.ndarray:
    """Return how often each eye is shown, relative to the others; [n] float64, mean 1."""
    if balance == "natural":
        return np.ones(len(eyes))
    if balance == "grade":
        groups = [eye.grade for eye in eyes]
        wholes: list[object] = ["all"] * len(eyes)
    else:
        groups = [(eye.domain, eye.grade >= 2) for eye in eyes]
        wholes = [eye.domain for eye in eyes]
    weights = np.array(
        [
            wholes.count(whole)
            / (len(set(groups)) if balance == "grade" else 2)
            / groups.count(group)
            for group, whole in zip(groups, wholes, strict=True)
        ]
    )
    weights = weights.clip(1 / max_repeat, max_repeat)
    return weights / weights.mean()


def _epoch_batches(config: TrainingConfig, eyes: Sequence[Eye], epoch: int) -> Iterator[list[int]]:
    random = np.random.default_rng([config.seed, epoch])
    if config.balance == "natural":
        order = random.permutation(len(eyes))
    else:
        weights = sample_weights(eyes, config.balance, config.max_repeat)
        order = random.permutation(_stratified(weights, random))
    for start in range(0, len(order) - config.batch_size + 1, config.batch_size):
        yield order[start : start + config.batch_size].tolist()


def _stratified(weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw n places so that each comes as often as its weight says, give or take one."""
    edges = np.cumsum(weights) / weights.sum() * len(weights)
    ticks = np.arange(len(weights)) + random.random()
    return np.searchsorted(edges, ticks.clip(0, len(weights) - 1e-9)).clip(0, len(weights) - 1)


def _parameter_groups(network: GradingNetwork, weight_decay: float) -> list[dict[str, object]]:
    """Spare biases and normalisation from weight decay."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    spared = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]


def _load(eyes: Sequence[Eye], config: TrainingConfig, folders: Folders) -> np.ndarray:
    return load_bands(eyes, data=folders.data, cache=folders.cache, spec=config.preprocessing)


def _config_text(config: TrainingConfig) -> str:
    return json.dumps(asdict(config), sort_keys=True)


def _line(figures: dict[str, float], *, seconds: float) -> str:
    values = " ".join(f"{name}={value:.3f}" for name, value in figures.items() if name != "epoch")
    return f"epoch {figures['epoch']:.0f} {values} seconds={seconds:.0f}"
