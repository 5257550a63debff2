"""A run that is killed, locked or shared, with real processes."""

import os
import random
import signal
import socket
import time
from dataclasses import replace

import pytest
import torch

from training.engine.checkpoints import CHECKPOINT, leased, resume_or_start, save_checkpoint
from training.engine.errors import TrainingError
from training.engine.ranks import Ranks, check_shares
from training.engine.recipe import train
from training.engine.tests.conftest import silent, tiny_config, weights_of
from training.engine.tests.processes import started
from training.engine.tests.run_for_tests import (
    train_alone,
    train_as_rank,
    train_until_half_a_save,
)


def _kill_at_a_random_moment(folders, after):
    """Start the run, let it save once more, and kill it a moment later."""
    saved = folders.run / CHECKPOINT
    before = saved.stat().st_mtime_ns
    process = started(train_alone, folders)
    while process.is_alive() and saved.stat().st_mtime_ns == before:
        time.sleep(0.001)
    time.sleep(after)
    process.kill()
    process.join()


@pytest.mark.processes
def test_killed_run_goes_on_as_if_nothing_had_happened(folders, tmp_path):
    whole = train(tiny_config(), folders, say=silent)
    broken = replace(folders, run=tmp_path / "broken")
    process = started(train_until_half_a_save, broken, 2)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert (broken.run / f"{CHECKPOINT}.partial").is_file()
    halted = resume_or_start(tiny_config(), broken.run)
    assert (halted.epoch, halted.step) == (0, 1)
    _kill_at_a_random_moment(broken, after=random.uniform(0, 0.05))
    resumed = train(tiny_config(), broken, say=silent)
    assert torch.equal(weights_of(resumed), weights_of(whole))
    assert resumed.history == whole.history


@pytest.mark.processes
def test_second_process_on_the_same_run_is_refused_until_the_first_is_gone(folders, tmp_path):
    with leased(folders.run):
        refused = started(train_alone, folders)
        refused.join()
    assert refused.exitcode == os.EX_TEMPFAIL
    assert "The run run is under way in another process" in (tmp_path / "said").read_text()
    assert not (folders.run / CHECKPOINT).exists()
    with leased(folders.run):
        pass


@pytest.mark.processes
def test_two_ranks_end_with_the_same_weights_and_the_first_alone_writes(folders, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ranks = [started(train_as_rank, folders, rank, 2, port) for rank in range(2)]
    for each in ranks:
        each.join()
        assert each.exitcode == 0
    said = (tmp_path / "said").read_text()
    assert said.count("learning from 36 eyes") == 1
    assert said.count("epoch 2 ") == 1
    first, second = (
        torch.load(folders.run / f"weights-{rank}.pt", weights_only=True) for rank in range(2)
    )
    assert torch.equal(first, second)
    saved = resume_or_start(tiny_config(), folders.run)
    assert saved.epoch == 2
    assert torch.equal(weights_of(saved), first)


def test_batch_that_cannot_be_shared_evenly_is_refused(config):
    with pytest.raises(TrainingError, match="multiple of 3"):
        check_shares(config, Ranks(0, 3))


def test_checkpoint_of_another_version_of_the_recipe_is_refused(config, folders):
    run = resume_or_start(config, folders.run)
    save_checkpoint(run, config, folders.run)
    told = torch.load(folders.run / CHECKPOINT, weights_only=True)
    torch.save(told | {"format": 1}, folders.run / CHECKPOINT)
    with pytest.raises(TrainingError, match="another version"):
        resume_or_start(config, folders.run)


def test_full_disk_is_told_and_leaves_the_last_save_alone(config, folders):
    run = resume_or_start(config, folders.run)
    save_checkpoint(run, config, folders.run)
    saved = folders.run / CHECKPOINT
    before = saved.read_bytes()
    partial = saved.with_name(CHECKPOINT + ".partial")
    partial.symlink_to("/dev/full")
    with pytest.raises(TrainingError, match=r"No space left on device\. Make room"):
        save_checkpoint(run, config, folders.run)
    assert saved.read_bytes() == before
    assert not partial.is_symlink()
