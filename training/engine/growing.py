"""Grow a trained ResNet-18 into a ResNet-101 that starts with what the small one knows.

Deep networks learn slowly from few eyes; a small one learns the same eyes several times faster.
Each basic block of the small network is two 3x3 convolutions and becomes two bottlenecks of the
large one (compare Chen et al., Net2Net, ICLR 2016). Where the block is y = ReLU(x + u(h(x))):

    first:   reads x, convolves, ReLU                  -> h, kept in free channels of the stream
    second:  reads h, convolves, lifts u over the ReLU -> u, lowered again and added to x

All further bottlenecks add nothing at first and learn from there. Stages one and four of a
ResNet-101 have three bottlenecks, one too few: there the last one learns what the whole second
block does, by regression on real bands.

stream: [b, 4c, h, w]; channels 0 to c are the small network's, c to 3c the h of its two blocks
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save as safe_bytes
from torch import nn
from torch.nn import functional

from inference.engine.architectures import GradingNetwork, build_network
from inference.engine.artefact import load_artefact
from inference.engine.schemas import Preprocessing
from inference.engine.transforms import band_to_images
from training.engine.checkpoints import write_whole
from training.engine.datasets import eyes_to_learn_from, load_bands, read_eyes
from training.engine.errors import DataInvalid, TrainingError

GROWN, SEED = "resnet101", 1
STEM, STAGES = 4, (4, 5, 6, 7)  # the body: four layers of stem, then four stages
LIFT = 6.0  # standard deviations: what a ReLU must let through is lifted this far above zero
TAUGHT_VALUES = 1.5e8  # of feature maps that are kept in memory while a bottleneck learns
EYES, BATCH = 512, 32


def grow_file(
    model: Path,
    out: Path,
    *,
    data: Path,
    cache: Path,
    fit_steps: int = 300,
    say: Callable[[str], None] = print,
) -> None:
    """Grow the resnet18 in the folder `model`; write float32 weights as safetensors to `out`.

    Raises TrainingError when it is another network, the data is not there, or `out` is not called
    a safetensors file.
    """
    if out.suffix != ".safetensors":
        raise TrainingError(f"{out.name} would not be read again.", "End it in .safetensors.")
    artefact = load_artefact(model)
    check_small(artefact.network)
    batches = _batches(data, cache, artefact.manifest.preprocessing)
    grown = grow_network(artefact.network, batches, fit_steps=fit_steps, say=say)
    out.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.contiguous() for name, value in grown.state_dict().items()}
    write_whole(out, lambda file: file.write(safe_bytes(state, {"architecture": GROWN})))


def _batches(data: Path, cache: Path, spec: Preprocessing) -> list[torch.Tensor]:
    """Draw eyes of the training split, the same each time."""
    eyes = eyes_to_learn_from(read_eyes(data))
    if not eyes:
        raise DataInvalid("No graded eyes in the split 'train'.", "Split the data first.")
    bands = load_bands(eyes, data=data, cache=cache, spec=spec)
    places = np.random.default_rng(SEED).permutation(len(eyes))[:EYES]
    return [
        band_to_images(np.stack([bands[place] for place in places[start : start + BATCH]]), spec)
        for start in range(0, len(places), BATCH)
    ]


def grow_network(
    small: GradingNetwork,
    batches: Sequence[torch.Tensor],
    *,
    fit_steps: int = 300,
    say: Callable[[str], None] = print,
) -> GradingNetwork:
    """Return a resnet101 in evaluation mode that gives nearly the scores of a trained resnet18.

    `batches` holds standardised images [b, 3, h, w] float32. All of them teach the two missing
    blocks, in `fit_steps` steps each; the first sets the levels of the new normalisations.
    Raises TrainingError when `small` is no resnet18.
    """
    check_small(small)
    small.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)  # what stays random is the same each time
        large = build_network(GROWN).eval()
    large.body[:STEM].load_state_dict(small.body[:STEM].state_dict())
    with torch.no_grad():
        for place in STAGES:
            _set_stage(small.body[place], large.body[place])
        for place in STAGES:
            if len(large.body[place]) < 4:
                left = _teach_last(small, large, place, batches, fit_steps)
                say(f"stage {place - STEM + 1}: {left:.1%} of the second block's work is missing")
        _relevel(large.body, batches[0])
        large.head.weight.zero_()
        large.head.weight[:, : small.head.in_features] = small.head.weight
        large.head.bias.copy_(small.head.bias)
    return large


def check_small(small: GradingNetwork) -> None:
    """Refuse to grow from anything but a resnet18. Raises TrainingError."""
    stages = [layer for layer in small.body if isinstance(layer, nn.Sequential)]
    if [len(stage) for stage in stages] != [2, 2, 2, 2] or hasattr(stages[0][0], "conv3"):
        raise TrainingError("Only a resnet18 can be grown.", "Give the folder of a resnet18.")


# ---- weights


def _set_stage(small: nn.Sequential, large: nn.Sequential) -> None:
    width = small[0].conv1.out_channels
    for bottleneck in large:
        bottleneck.bn3.weight.zero_()
    lifted = _set_shortcut(small[0], large[0], width)
    _set_first(large[0], small[0], keep_at=width)
    _set_second(large[1], small[0], kept_at=width, lifted=lifted)
    if len(large) >= 4:
        _set_first(large[2], small[1], keep_at=2 * width)
        _set_second(large[3], small[1], kept_at=2 * width, lifted=torch.zeros(width))
    else:
        _guess_whole(large[2], small[1])


def _set_shortcut(block: nn.Module, bottleneck: nn.Module, width: int) -> torch.Tensor:
    """Let the stream start with the block's own shortcut. Returns how far it was lifted [c]."""
    convolution, levels = bottleneck.downsample
    convolution.weight[: 3 * width] = 0  # the last quarter stays random, for learning
    if block.downsample is None:
        convolution.weight[:width, :width, 0, 0] = torch.eye(width)
        return torch.zeros(width)
    source = block.downsample[0].weight
    convolution.weight[:width, : source.shape[1]] = source
    return _copy_lifted(levels, block.downsample[1])


def _set_first(bottleneck: nn.Module, block: nn.Module, *, keep_at: int) -> None:
    width, fed = block.conv1.out_channels, block.conv1.in_channels
    _read(bottleneck, start=0, count=fed)
    bottleneck.conv2.weight.zero_()
    bottleneck.conv2.weight[:, :fed] = block.conv1.weight
    bottleneck.bn2.load_state_dict(block.bn1.state_dict())
    _write(bottleneck, start=keep_at, count=width)


def _set_second(
    bottleneck: nn.Module, block: nn.Module, *, kept_at: int, lifted: torch.Tensor
) -> None:
    width = block.conv2.out_channels
    _read(bottleneck, start=kept_at, count=width)
    bottleneck.conv2.weight.copy_(block.conv2.weight)
    lifted = lifted + _copy_lifted(bottleneck.bn2, block.bn2)
    _write(bottleneck, start=0, count=width)
    bottleneck.bn3.bias[:width] = -lifted


def _guess_whole(bottleneck: nn.Module, block: nn.Module) -> None:
    """Start a bottleneck that learns a whole block: its second convolution only sees the centre."""
    width = block.conv1.out_channels
    _set_first(bottleneck, block, keep_at=0)
    bottleneck.conv3.weight[:width] = block.conv2.weight[:, :, 1:2, 1:2]
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(bottleneck.bn3, name)[:width] = getattr(block.bn2, name)


def _read(bottleneck: nn.Module, *, start: int, count: int) -> None:
    """Let the first convolution pass `count` channels of the stream on as they are."""
    bottleneck.conv1.weight[:count] = 0
    bottleneck.conv1.weight[:count, start : start + count, 0, 0] = torch.eye(count)


def _write(bottleneck: nn.Module, *, start: int, count: int) -> None:
    """Let the last convolution add to `count` channels of the stream and to no others."""
    bottleneck.conv3.weight[start : start + count, :, 0, 0] = torch.eye(count)
    bottleneck.bn3.weight[start : start + count] = 1


def _copy_lifted(levels: nn.BatchNorm2d, source: nn.BatchNorm2d) -> torch.Tensor:
    """Copy a normalisation, but so that its output stays above zero. Returns the difference [c]."""
    count = source.num_features
    for name in ("weight", "running_mean", "running_var"):
        getattr(levels, name)[:count] = getattr(source, name)
    levels.bias[:count] = LIFT * source.weight.abs()
    return levels.bias[:count] - source.bias


# ---- what has to be learnt or measured


def _teach_last(
    small: GradingNetwork,
    large: GradingNetwork,
    place: int,
    batches: Sequence[torch.Tensor],
    steps: int,
) -> float:
    """Teach a stage's last bottleneck the whole second block.

    Returns the share of the block's work that it still misses, measured on what it learned from.
    """
    block, learner = small.body[place][1], large.body[place][-1]
    inputs = torch.cat(list(_inputs_of_last(large, place, batches)))
    width = block.conv2.out_channels
    random = torch.Generator().manual_seed(SEED)
    optimiser = torch.optim.Adam(learner.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps))
    learner.train()
    for _ in range(steps):
        chosen = inputs[torch.randint(0, len(inputs), (16,), generator=random)]
        target = block(chosen[:, :width])
        with torch.enable_grad():
            loss = functional.mse_loss(learner(chosen)[:, :width], target)
            optimiser.zero_grad()
            loss.backward()
        optimiser.step()
        schedule.step()
    learner.eval()
    checked = inputs[:32]
    target = block(checked[:, :width])
    missing = functional.mse_loss(learner(checked)[:, :width], target)
    return float(missing / functional.mse_loss(checked[:, :width], target))


def _inputs_of_last(
    large: GradingNetwork, place: int, batches: Sequence[torch.Tensor]
) -> Iterator[torch.Tensor]:
    kept = 0
    for images in batches:
        stream = large.body[place][:-1](large.body[:place](images))
        yield stream
        kept += stream.numel()
        if kept > TAUGHT_VALUES:
            return


def _relevel(body: nn.Module, images: torch.Tensor) -> None:
    """Set each normalisation's mean and spread to what it meets, and let its output be as before.

    Training normalises by the batch, serving by the stored levels: both then give the same.
    """

    def level(levels: nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        mean = inputs[0].mean(dim=(0, 2, 3))
        variance = inputs[0].var(dim=(0, 2, 3))
        slope = levels.weight / torch.sqrt(levels.running_var + levels.eps)
        levels.bias.add_(slope * (mean - levels.running_mean))
        levels.weight.copy_(slope * torch.sqrt(variance + levels.eps))
        levels.running_mean.copy_(mean)
        levels.running_var.copy_(variance)

    norms = [module for module in body.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(level) for norm in norms]
    body(images)
    for hook in hooks:
        hook.remove()
