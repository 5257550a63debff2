from dataclasses import replace

import pytest
import torch

from inference.engine.artefact import load_artefact
from inference.engine.head import cumulative_probabilities, ordered_logits
from inference.engine.testing import make_tiny_artefact
from training.engine.config import Machine
from training.engine.errors import TrainingError
from training.engine.recipe import train
from training.engine.records import read_record
from training.engine.teachers import read_teachers
from training.engine.tests.conftest import SMALL, silent, weights_of

CPU = torch.device("cpu")


def test_teachers_say_what_serving_would_on_average(tmp_path):
    folders = [make_tiny_artefact(tmp_path / str(seed), seed=seed) for seed in (1, 2)]
    images = torch.randn(3, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    taught = read_teachers(folders, SMALL, CPU).teach(images)
    served = [
        cumulative_probabilities(
            ordered_logits(load_artefact(folder).network(images)[0].numpy()), 1.0
        )
        for folder in folders
    ]
    assert taught.numpy() == pytest.approx((served[0] + served[1]) / 2, abs=1e-6)


def test_teacher_changes_what_is_learned_and_stands_in_the_record(config, folders, tmp_path):
    teacher = make_tiny_artefact(tmp_path / "teacher")
    one = replace(config, epochs=1)
    alone = train(one, folders, machine=Machine(workers=0), say=silent)
    taught_folders = replace(folders, run=tmp_path / "taught", teachers=(teacher,))
    taught = train(
        replace(one, teacher_share=0.5), taught_folders, machine=Machine(workers=0), say=silent
    )
    assert not torch.equal(weights_of(alone), weights_of(taught))
    told = read_record(taught_folders.run)
    assert told["sources"]["teachers"] == [load_artefact(teacher).sha256]
    assert str(tmp_path) not in (taught_folders.run / "run.json").read_text()


def test_teacher_that_prepares_pictures_in_another_way_is_refused(tmp_path):
    teacher = make_tiny_artefact(tmp_path / "teacher")
    with pytest.raises(TrainingError, match="another way"):
        read_teachers([teacher], replace(SMALL, clip=3.0), CPU)


def test_teacher_that_is_no_whole_model_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="teacher absent"):
        read_teachers([tmp_path / "absent"], SMALL, CPU)
