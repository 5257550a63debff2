"""Train the tiny network in a process of its own; ends as its command would."""

import os
import signal
import sys

import torch

from training.engine import checkpoints
from training.engine.config import Folders, Machine
from training.engine.errors import RunBusy
from training.engine.ranks import joined_ranks
from training.engine.recipe import train
from training.engine.tests.conftest import tiny_config, weights_of


def train_alone(folders: Folders) -> None:
    """Save after every step."""
    with joined_ranks(torch.device("cpu")) as ranks, (folders.run.parent / "said").open("a") as log:
        try:
            trained = train(
                tiny_config(),
                folders,
                machine=Machine(checkpoint_minutes=0.0),
                ranks=ranks,
                say=lambda line: print(line, file=log),
            )
        except RunBusy as error:
            print(error, file=log)
            sys.exit(os.EX_TEMPFAIL)
        torch.save(weights_of(trained), folders.run / f"weights-{ranks.rank}.pt")


def train_until_half_a_save(folders: Folders, which: int) -> None:
    """Write half of a checkpoint, and be gone as with kill -9."""
    save = torch.save
    saved = []

    def save_half(told, file) -> None:
        save(told, file)
        saved.append(1)
        if len(saved) == which:
            file.truncate(file.tell() // 2)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoints.torch.save = save_half
    train_alone(folders)


def train_as_rank(folders: Folders, rank: int, world: int, port: int) -> None:
    """Be one of several, by the environment that torchrun gives."""
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in told.items()})
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "test"}
    train_alone(folders)
