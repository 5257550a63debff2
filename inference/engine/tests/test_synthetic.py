import numpy as np
import pytest

from inference.engine.disc import find_disc
from inference.engine.synthetic import draw_fundus, draw_not_fundus


def _pixels(photo):
    return np.asarray(photo.convert("RGB"), float)


def test_same_arguments_give_the_same_pixels_and_other_seeds_others():
    one, same, other = (draw_fundus(seed, grade=3, size_px=(300, 300)) for seed in (1, 1, 2))
    assert one.tobytes() == same.tobytes() != other.tobytes()
    assert draw_not_fundus(1).tobytes() == draw_not_fundus(1).tobytes()


@pytest.mark.parametrize(("laterality", "side"), [("OD", 1), ("OS", -1)])
def test_optic_disc_lies_on_the_nasal_side(laterality, side):
    light = _pixels(draw_fundus(4, laterality=laterality, size_px=(400, 400)))[:, :, 1]
    x = np.argwhere(light > np.quantile(light, 0.995))[:, 1].mean()
    assert np.sign(x - 200) == side
    centred = _pixels(draw_fundus(4, laterality=laterality, field="disc", size_px=(400, 400)))
    x = np.argwhere(centred[:, :, 1] > np.quantile(centred[:, :, 1], 0.995))[:, 1].mean()
    assert abs(x - 200) < 40


def test_higher_grades_show_more_lesions():
    healthy = _pixels(draw_fundus(6, grade=0, size_px=(500, 500)))
    changed = [
        np.abs(_pixels(draw_fundus(6, grade=grade, size_px=(500, 500))) - healthy).mean()
        for grade in (1, 2, 3)
    ]
    assert changed == sorted(changed)
    assert changed[0] > 0.05


def test_field_is_round_whatever_the_frame():
    for size in ((300, 300), (640, 400), (400, 640)):
        photo = draw_fundus(2, size_px=size)
        assert photo.size == size
        assert find_disc(photo).round
