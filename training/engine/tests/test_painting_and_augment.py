import numpy as np
import torch

from inference.engine.synthetic import draw_fundus
from inference.engine.transforms import photo_to_band
from training.engine.augment import vary_camera, vary_contrast, vary_pose
from training.engine.painting import MILD, REFERABLE, paint_lesions
from training.engine.tests.conftest import SMALL

BAND = photo_to_band(draw_fundus(3, size_px=(256, 256)), SMALL)


def test_painting_changes_the_eye_but_not_its_outline():
    random = np.random.default_rng(1)
    grades = set()
    for _ in range(30):
        painted, grade = paint_lesions(BAND, random)
        grades.add(grade)
        assert (painted != BAND).any()
        assert not painted[BAND.max(axis=2) == 0].any()
    assert grades == {MILD, REFERABLE}


def test_black_frame_is_not_painted():
    black = np.zeros_like(BAND)
    painted, grade = paint_lesions(black, np.random.default_rng(1))
    assert grade == 0
    assert not painted.any()


def test_augmentation_follows_the_seed_and_keeps_shape_and_range():
    light = torch.from_numpy(np.stack([BAND] * 4)).permute(0, 3, 1, 2).contiguous().float()

    def varied(seed):
        random = torch.Generator().manual_seed(seed)
        return vary_camera(light, random), vary_pose(vary_contrast(light, random), random)

    (one, posed), (same, _), (other, _) = varied(1), varied(1), varied(2)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == posed.shape == light.shape
    assert one.min() >= 0
    assert one.max() <= 255
    assert not torch.equal(one[0], one[1])


def test_bright_lesion_survives_the_camera():
    eye = BAND.copy()
    eye[20:22, 30:32] = 255
    light = torch.from_numpy(np.stack([BAND, eye] * 20)).permute(0, 3, 1, 2).contiguous().float()
    # The same random camera for both twins of a pair.
    for seed in range(20):
        clean = vary_camera(light[:1], torch.Generator().manual_seed(seed))
        marked = vary_camera(light[1:2], torch.Generator().manual_seed(seed))
        change = (marked - clean)[0].abs().sum(dim=0)
        y, x = divmod(int(change.argmax()), change.shape[1])
        assert abs(y - 20.5) <= 3
        assert abs(x - 30.5) <= 3
