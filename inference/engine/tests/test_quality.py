import pytest
from PIL import Image

from inference.engine.quality import judge_photo
from inference.engine.synthetic import draw_fundus, draw_not_fundus

DEGRADATIONS = {
    "blurred": "blurred",
    "dark": "dark",
    "bright": "bright",
    "field_cut": "field_cut",
}


@pytest.mark.parametrize("seed", range(10))
def test_good_photograph_is_never_rejected(seed):
    field = "macula" if seed % 2 else "disc"
    verdict = judge_photo(draw_fundus(seed, grade=seed % 5, field=field, size_px=(640, 480)))
    assert verdict.quality == "good"
    assert verdict.reasons == ()
    assert verdict.gradable_probability > 0.5


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("quality", DEGRADATIONS)
def test_degraded_photograph_is_rejected_with_the_right_reason(quality, seed):
    photo = draw_fundus(seed + 20, grade=seed % 5, size_px=(640, 480), quality=quality)
    verdict = judge_photo(photo)
    assert verdict.quality == "reject"
    assert verdict.reasons[0] == DEGRADATIONS[quality]
    assert verdict.gradable_probability <= 0.5


@pytest.mark.parametrize("seed", range(8))
def test_what_is_no_eye_is_rejected_as_such(seed):
    verdict = judge_photo(draw_not_fundus(seed))
    assert verdict.quality == "reject"
    assert "not_fundus" in verdict.reasons


@pytest.mark.parametrize("quality", ["good", *DEGRADATIONS])
def test_verdict_is_the_same_at_half_and_double_resolution(quality):
    photo = draw_fundus(31, grade=2, size_px=(900, 700), quality=quality)
    verdicts = set()
    for scale in (0.5, 1, 2):
        size = (round(photo.width * scale), round(photo.height * scale))
        verdict = judge_photo(photo.resize(size, Image.Resampling.LANCZOS))
        verdicts.add((verdict.quality, verdict.reasons))
    assert len(verdicts) == 1


def test_grey_photograph_of_an_eye_is_usable_but_not_good():
    grey = draw_fundus(3, size_px=(640, 480)).convert("L").convert("RGB")
    assert judge_photo(grey).quality == "usable"
