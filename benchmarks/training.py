"""How many images a second training learns from, and how long it waits for them.

Run: .venv/bin/python -m benchmarks.training

For each architecture and size: whole steps as the recipe takes them (prepare, forward, backward,
average) on drawn eyes, with the loader's stall, the share of the time in which the network waited
for a batch. Before that, how fast photographs are decoded into the cache, and how fast batches are
prepared from it by one process. Goal on a GPU: a stall of at most 5 %.
"""

import argparse
import dataclasses
import io
import time

import numpy as np

from benchmarks.machine import describe
from inference.engine.decode import decode_photo
from inference.engine.schemas import Preprocessing
from inference.engine.synthetic import draw_fundus
from inference.engine.transforms import photo_to_band
from training.engine.batches import EpochSteps, Material, Stopwatch, choose_workers, load_batches
from training.engine.checkpoints import start_run
from training.engine.config import Folders, Machine, TrainingConfig
from training.engine.datasets import Eye
from training.engine.devices import Device, describe_device, pick_device, prefer_speed
from training.engine.ranks import ALONE
from training.engine.recipe import Bench, train_epoch

GOAL_STALL = 0.05
PHOTO_SIZE_PX = (1024, 768)
DRAWN = 16


def main() -> None:
    options = _options()
    device = pick_device(options.device)
    prefer_speed(device)
    workers = choose_workers(options.workers, device, ALONE)
    print(describe())
    print(f"{describe_device(device)}, {workers} loader workers\n")
    photographs = [_photograph(seed) for seed in range(DRAWN)]
    for size in options.sizes:
        spec = Preprocessing(size_px=size)
        bands = _decoded(photographs, spec)
        material = _material(bands, options.steps * options.batch_size)
        _prepared(spec, material, options)
        for name in options.arch:
            config = _config(name, spec, options, device)
            _learned(config, material, device, workers)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", nargs="+", default=["resnet18", "resnet50", "resnet101"])
    parser.add_argument("--sizes", nargs="+", type=_size, default=[(256, 192)], metavar="WxH")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--workers", type=int)
    return parser.parse_args()


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def _photograph(seed: int) -> bytes:
    file = io.BytesIO()
    draw_fundus(seed, grade=seed % 5, size_px=PHOTO_SIZE_PX).save(file, "JPEG", quality=92)
    return file.getvalue()


def _decoded(photographs: list[bytes], spec: Preprocessing) -> np.ndarray:
    began = time.perf_counter()
    bands = np.stack([photo_to_band(decode_photo(content), spec) for content in photographs])
    rate = len(bands) / (time.perf_counter() - began)
    print(f"{spec.size_px[0]} x {spec.size_px[1]} px")
    print(f"  decoding photographs of {PHOTO_SIZE_PX[0]} px: {rate:.1f} images/s, one thread")
    return bands


def _material(bands: np.ndarray, eyes: int) -> Material:
    """Show the drawn eyes again and again: what is in them doesn't change the time."""
    blank = dict.fromkeys((field.name for field in dataclasses.fields(Eye)), "")
    drawn = [Eye(**blank | {"grade": place % 5}) for place in range(eyes)]
    return Material(eyes=drawn, bands=bands[np.arange(eyes) % len(bands)])


def _prepared(spec: Preprocessing, material: Material, options: argparse.Namespace) -> None:
    config = TrainingConfig(preprocessing=spec, batch_size=options.batch_size, painted_share=0.5)
    steps = EpochSteps(config, material, epoch=0)
    watch = Stopwatch()
    for _ in load_batches(steps, workers=0, device=pick_device("cpu"), watch=watch):
        pass
    rate = len(steps) * options.batch_size / watch.seconds
    print(f"  preparing batches from the cache: {rate:.1f} images/s, one process")


def _config(
    name: str, spec: Preprocessing, options: argparse.Namespace, device: Device
) -> TrainingConfig:
    return TrainingConfig(
        architecture=name,
        preprocessing=spec,
        batch_size=options.batch_size,
        painted_share=0.5,
        bf16=device.type == "cuda",
    )


def _learned(config: TrainingConfig, material: Material, device: Device, workers: int) -> None:
    bench = Bench(
        config=config,
        folders=Folders(data=None, cache=None, run=None),
        machine=Machine(workers=workers, checkpoint_minutes=float("inf")),
        device=device,
        ranks=ALONE,
        learning=material,
        checking=material,
        teachers=None,
        sources={},
        say=print,
    )
    run = start_run(config, device=device)
    if device.type == "cuda":  # the first epoch chooses kernels
        train_epoch(run, bench, run.network)
        run.epoch, run.step = 1, 0
    _, watch = train_epoch(run, bench, run.network)
    images = len(material.eyes)
    verdict = ""
    if device.type == "cuda":
        verdict = f"  goal {GOAL_STALL:.0%}: {'met' if watch.stall <= GOAL_STALL else 'MISSED'}"
    rate = images / watch.seconds
    print(f"  {config.architecture:<10} {rate:8.1f} images/s, stall {watch.stall:.0%}{verdict}")


if __name__ == "__main__":
    main()
