"""Where a network computes, and how short its numbers may be there."""

import torch
from torch import distributed

from training.engine.errors import TrainingError

Device = torch.device


def pick_device(name: str) -> torch.device:
    """Turn auto, cpu or cuda into a device; `torchrun` gives each process its own GPU.

    Raises TrainingError when a GPU is asked for and there is none.
    """
    there = torch.cuda.is_available()
    if name == "cpu" or (name == "auto" and not there):
        return torch.device("cpu")
    if not there:
        raise TrainingError("No usable GPU was found.", "Use --device cpu, or mend the driver.")
    local = distributed.get_node_local_rank(fallback_rank=0)
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def describe_device(device: torch.device) -> str:
    """Name the kind of processor, and no machine."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return "cpu"


def has_fast_bf16(device: torch.device) -> bool:
    """Say whether bf16 is computed by the processor itself; else it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    told = torch.cpu.get_capabilities()
    return bool(told.get("avx512_bf16") or told.get("amx_bf16"))


def prefer_speed(device: torch.device) -> None:
    """Let a GPU choose its fastest kernels; a CPU has nothing to choose."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.deterministic = False
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cuda.matmul.allow_tf32 = True
