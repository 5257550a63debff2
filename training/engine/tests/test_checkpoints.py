"""A run that is killed, locked or shared, with real processes."""

import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from training.engine.checkpoints import CHECKPOINT, leased, resume_or_start, save_checkpoint
from training.engine.errors import TrainingError
from training.engine.ranks import Ranks, check_shares
from training.engine.recipe import train
from training.engine.tests.conftest import silent, tiny_config, weights_of

RUNNER = ("-m", "training.engine.tests.run_for_tests")


def _command(folders, *more):
    return [*RUNNER, str(folders.data), str(folders.cache), str(folders.run), *more]


def _run(folders, *more):
    return subprocess.run(
        [sys.executable, *_command(folders, *more)], capture_output=True, text=True, check=False
    )


def _kill_at_a_random_moment(folders, after):
    """Start the run, let it save once more, and kill it a moment later."""
    process = subprocess.Popen(
        [sys.executable, *_command(folders)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    saved = folders.run / CHECKPOINT
    before = saved.stat().st_mtime_ns if saved.exists() else 0
    while process.poll() is None and (not saved.exists() or saved.stat().st_mtime_ns == before):
        time.sleep(0.001)
    time.sleep(after)
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.processes
def test_killed_run_goes_on_as_if_nothing_had_happened(folders, tmp_path):
    whole = train(tiny_config(), folders, say=silent)
    broken = replace(folders, run=tmp_path / "broken")
    died = _run(broken, "2")
    assert died.returncode == -signal.SIGKILL
    assert (broken.run / f"{CHECKPOINT}.partial").is_file()
    halted = resume_or_start(tiny_config(), broken.run)
    assert (halted.epoch, halted.step) == (0, 1)
    _kill_at_a_random_moment(broken, after=random.uniform(0, 0.05))
    done = _run(broken)
    assert done.returncode == 0, done.stderr
    weights = torch.load(broken.run / "weights-0.pt", weights_only=True)
    assert torch.equal(weights, weights_of(whole))
    resumed = train(tiny_config(), broken, say=silent)
    assert resumed.history == whole.history


@pytest.mark.processes
def test_second_process_on_the_same_run_is_refused_until_the_first_is_gone(folders):
    with leased(folders.run):
        refused = _run(folders)
    assert refused.returncode == 1
    assert "RunBusy: The run run is under way in another process" in refused.stderr
    assert not (folders.run / CHECKPOINT).exists()
    with leased(folders.run):
        pass


@pytest.mark.processes
def test_two_ranks_end_with_the_same_weights_and_the_first_alone_writes(folders):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node=2", *_command(folders)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("learning from 36 eyes") == 1
    assert done.stdout.count("epoch 2 ") == 1
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
