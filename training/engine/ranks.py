"""One run on several processes, as `torchrun` starts them: who is who, and what they share.

Each rank learns from its share of every batch, torch averages the gradients, and the first rank
alone checks, writes and speaks.
"""

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn

from training.engine.config import TrainingConfig
from training.engine.errors import TrainingError

# The others wait while the first rank decodes pictures or checks an epoch.
PATIENCE = datetime.timedelta(hours=6)


@dataclass(frozen=True)
class Ranks:
    """This process among those of its run."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Say whether this is the process that writes and speaks."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all are here."""
        if self.world > 1:
            distributed.barrier()

    def agreed(self, value: bool) -> bool:
        """Return what the first rank says, in all of them."""
        if self.world == 1:
            return value
        told = [value]
        distributed.broadcast_object_list(told, src=0)
        return told[0]

    @torch.no_grad()
    def share(self, *networks: nn.Module) -> None:
        """Give all ranks the first one's weights and running statistics."""
        if self.world == 1:
            return
        for network in networks:
            for value in network.state_dict().values():
                whole = value.contiguous()
                distributed.broadcast(whole, src=0)
                value.copy_(whole)

    def together(self, network: nn.Module) -> nn.Module:
        """Wrap a network so that its gradients are averaged over the ranks.

        On GPUs batch normalisation sees the whole batch too; torch has that for GPUs alone, so on
        CPUs each rank normalises its own share.
        """
        if self.world == 1:
            return network
        if next(network.parameters()).is_cuda:
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return nn.parallel.DistributedDataParallel(network)


ALONE = Ranks()


@contextmanager
def joined_ranks(device: torch.device) -> Iterator[Ranks]:
    """Join the other processes of this run, where `torchrun` started some, and leave them after."""
    if not distributed.is_torchelastic_launched():
        yield ALONE
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def check_shares(config: TrainingConfig, ranks: Ranks) -> None:
    """Refuse a batch that can't be shared evenly. Raises TrainingError."""
    if config.batch_size % ranks.world:
        raise TrainingError(
            f"A batch of {config.batch_size} can't be shared by {ranks.world} processes.",
            f"Give --batch-size a multiple of {ranks.world}; it counts over all of them.",
        )
