"""Train the tiny network in a process of its own, for tests that kill it or start several.

python -m training.engine.tests.run_for_tests DATA CACHE RUN [half of which save to die in]
"""

import os
import signal
import sys
from pathlib import Path

import torch

from training.engine import checkpoints
from training.engine.ranks import joined_ranks
from training.engine.recipe import Folders, Machine, train
from training.engine.tests.conftest import tiny_config, weights_of


def main() -> None:
    data, cache, run, *dies = sys.argv[1:]
    if dies:
        _die_while_saving(int(dies[0]))
    folders = Folders(data=Path(data), cache=Path(cache), run=Path(run))
    with joined_ranks(torch.device("cpu")) as ranks:
        trained = train(
            tiny_config(), folders, machine=Machine(checkpoint_minutes=0.0), ranks=ranks
        )
        torch.save(weights_of(trained), folders.run / f"weights-{ranks.rank}.pt")


def _die_while_saving(which: int) -> None:
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


if __name__ == "__main__":
    main()
