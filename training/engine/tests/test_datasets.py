from dataclasses import replace

import numpy as np
import pytest

from training.engine.datasets import (
    check_no_leak,
    check_tuning_split,
    data_fingerprint,
    eyes_to_learn_from,
    graded,
    load_bands,
    read_eyes,
)
from training.engine.errors import DataInvalid, SplitForbidden
from training.engine.tests.conftest import SMALL


def test_second_site_and_val_are_never_learned_from(data):
    eyes = read_eyes(data)
    assert {eye.split for eye in eyes} == {"train", "val", "second_site"}
    assert {eye.split for eye in eyes_to_learn_from(eyes)} == {"train"}


def test_ungraded_and_ungradable_eyes_are_left_out(data):
    eyes = read_eyes(data)
    spoiled = [replace(eyes[0], grade=None), replace(eyes[1], gradable=False), *eyes[2:]]
    whole, left = graded(eyes, eyes[0].split), graded(spoiled, eyes[0].split)
    assert len(left) == len(whole) - sum(eye.split == eyes[0].split for eye in eyes[:2])


def test_patient_in_two_splits_is_refused(data):
    eyes = read_eyes(data)
    with pytest.raises(DataInvalid, match="patient"):
        check_no_leak([*eyes, replace(eyes[0], split="elsewhere", sha256="")])


def test_same_file_in_two_splits_is_refused(data):
    eyes = read_eyes(data)
    with pytest.raises(DataInvalid, match="sha256"):
        check_no_leak([*eyes, replace(eyes[0], split="elsewhere", patient="other")])


@pytest.mark.parametrize("split", ["second_site", "test", ""])
def test_tuning_on_a_kept_split_is_refused(split):
    with pytest.raises(SplitForbidden):
        check_tuning_split(split)
    check_tuning_split("val")


def test_missing_folder_says_which_option_to_give(tmp_path):
    with pytest.raises(DataInvalid, match="--data"):
        read_eyes(tmp_path)


def test_missing_shard_is_named(data, tmp_path):
    eyes = [replace(eye, shard="gone.tar") for eye in read_eyes(data)[:2]]
    with pytest.raises(DataInvalid, match=r"gone\.tar"):
        load_bands(eyes, data=data, cache=tmp_path, spec=SMALL)
    assert list(tmp_path.iterdir()) == []


def test_bands_come_in_the_eyes_order_and_again_from_the_cache(data, tmp_path):
    eyes = read_eyes(data)[:6]
    bands = np.array(load_bands(eyes, data=data, cache=tmp_path, spec=SMALL))
    turned = load_bands(eyes[::-1], data=data, cache=tmp_path, spec=SMALL)
    assert bands.shape == (6, 48, 64, 3)
    assert np.array_equal(bands, turned[::-1])
    assert np.array_equal(bands, load_bands(eyes, data=tmp_path, cache=tmp_path, spec=SMALL))


def test_fingerprint_follows_pictures_and_grades_but_not_order(data):
    eyes = read_eyes(data)
    assert data_fingerprint(eyes) == data_fingerprint(eyes[::-1])
    assert data_fingerprint(eyes) != data_fingerprint(eyes[1:])
    changed = [replace(eyes[0], grade=(eyes[0].grade + 1) % 5), *eyes[1:]]
    assert data_fingerprint(eyes) != data_fingerprint(changed)
