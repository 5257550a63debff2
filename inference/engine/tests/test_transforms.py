from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from inference.engine.disc import find_disc
from inference.engine.errors import SpecInvalid
from inference.engine.schemas import Preprocessing
from inference.engine.synthetic import draw_fundus
from inference.engine.transforms import (
    RANDOM_OPERATIONS,
    band_to_images,
    check_spec,
    field_mask,
    photo_to_band,
)

SPEC = Preprocessing()


def _in_frame(photo: Image.Image, size: tuple[int, int], at: tuple[int, int]) -> Image.Image:
    frame = Image.new("RGB", size)
    frame.paste(photo, at)
    return frame


def test_disc_is_found_where_it_was_drawn():
    disc = find_disc(_in_frame(draw_fundus(3, size_px=(400, 400)), (700, 500), (250, 40)))
    assert disc.round
    assert (disc.x, disc.y) == pytest.approx((450, 240), abs=4)
    assert disc.radius == pytest.approx(0.485 * 400, rel=0.03)


def test_disc_cut_by_the_frame_keeps_its_circle():
    photo = draw_fundus(3, size_px=(500, 500)).crop((0, 60, 500, 440))
    disc = find_disc(photo)
    assert disc.radius == pytest.approx(0.485 * 500, rel=0.03)
    assert disc.y == pytest.approx(190, abs=5)


def test_band_tells_nothing_about_the_cameras_frame():
    eye = draw_fundus(5, grade=2, size_px=(600, 600))
    cut_frame = eye.crop((0, 70, 600, 530))
    wide_frame = _in_frame(eye, (1000, 700), (170, 60))
    bands = [photo_to_band(photo, SPEC).astype(int) for photo in (eye, cut_frame, wide_frame)]
    inside = field_mask(SPEC).astype(bool)
    for band in bands:
        assert not band[~inside].any()
        assert np.abs(band - bands[0])[inside].mean() < 4


def test_images_do_not_depend_on_exposure_and_white_balance():
    band = photo_to_band(draw_fundus(5, grade=2, size_px=(600, 600)), SPEC)
    dimmer = (band * np.array([0.8, 0.6, 0.7])).astype(np.uint8)
    one, other = band_to_images(np.stack([band, dimmer]), SPEC)
    assert (one - other).abs().mean() < 0.15
    assert one.abs().mean() > 0.5


def test_images_are_the_same_alone_and_in_a_batch():
    bands = np.stack([photo_to_band(draw_fundus(s, size_px=(300, 300)), SPEC) for s in range(4)])
    batch = band_to_images(bands, SPEC)
    alone = torch.cat([band_to_images(band[None], SPEC) for band in bands])
    assert torch.allclose(batch, alone, atol=1e-5)
    assert batch.shape == (4, 3, 192, 256)
    assert batch.dtype == torch.float32


@pytest.mark.parametrize("name", sorted(RANDOM_OPERATIONS))
def test_random_step_in_a_serving_spec_is_refused(name):
    with pytest.raises(SpecInvalid, match="random"):
        check_spec(replace(SPEC, operations=(*SPEC.operations, name)))


def test_unknown_or_missing_step_is_refused():
    with pytest.raises(SpecInvalid):
        check_spec(replace(SPEC, operations=SPEC.operations[:-1]))
    with pytest.raises(SpecInvalid):
        check_spec(replace(SPEC, size_px=(255, 192)))
    check_spec(SPEC)
