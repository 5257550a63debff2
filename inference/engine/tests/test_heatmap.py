import io

import numpy as np
import pytest
import torch
from PIL import Image

from inference.engine.architectures import build_network
from inference.engine.heatmap import activation_map, heatmap_png
from inference.engine.schemas import Preprocessing
from inference.engine.transforms import field_mask


@pytest.fixture
def network():
    torch.manual_seed(3)
    return build_network("tiny_cnn").eval()


@torch.inference_mode()
def _features_and_scores(network, images):
    scores, features = network(images)
    return features[0].numpy(), scores[0].numpy()


IMAGES = torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(1))


def test_map_plus_bias_is_exactly_the_score(network):
    features, scores = _features_and_scores(network, IMAGES)
    for threshold in range(4):
        weights = network.head.weight.detach()[threshold].numpy()
        bias = float(network.head.bias.detach()[threshold])
        mean = activation_map(features, weights).mean()
        assert mean + bias == pytest.approx(scores[threshold], abs=1e-5)


def test_map_is_specific_to_the_threshold(network):
    features, _ = _features_and_scores(network, IMAGES)
    weights = network.head.weight.detach().numpy()
    one, other = (activation_map(features, weights[k]).ravel() for k in (1, 3))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.9


def test_map_changes_when_the_weights_are_randomised(network):
    weights = network.head.weight.detach()[1].numpy()
    before = activation_map(_features_and_scores(network, IMAGES)[0], weights).ravel()
    torch.manual_seed(99)
    fresh = build_network("tiny_cnn").eval()
    fresh_weights = fresh.head.weight.detach()[1].numpy()
    after = activation_map(_features_and_scores(fresh, IMAGES)[0], fresh_weights).ravel()
    assert abs(np.corrcoef(before, after)[0, 1]) < 0.9


def test_png_covers_the_frame_and_marks_the_hot_place():
    activation = np.zeros((6, 8), np.float32)
    activation[1, 6] = 9.0
    spec = Preprocessing()
    png = heatmap_png(
        activation, box=(500, 100, 1300, 700), frame_px=(2000, 800), field=field_mask(spec)
    )
    overlay = Image.open(io.BytesIO(png))
    assert overlay.mode == "RGBA"
    assert overlay.size[0] / overlay.size[1] == pytest.approx(2000 / 800, rel=0.01)
    assert not overlay.getexif()
    alpha = np.asarray(overlay)[:, :, 3]
    y, x = np.unravel_index(alpha.argmax(), alpha.shape)
    scale = overlay.width / 2000
    assert x / scale == pytest.approx(500 + 6.5 * 100, abs=60)
    assert y / scale == pytest.approx(100 + 1.5 * 100, abs=60)
    assert not alpha[:, : int(490 * scale)].any()


def test_png_without_evidence_is_see_through():
    png = heatmap_png(
        np.full((6, 8), -1.0, np.float32),
        box=(0, 0, 400, 300),
        frame_px=(400, 300),
        field=field_mask(Preprocessing()),
    )
    assert not np.asarray(Image.open(io.BytesIO(png)))[:, :, 3].any()


def test_weak_evidence_is_paler_than_strong():
    def strongest(logits):
        png = heatmap_png(
            np.full((6, 8), logits, np.float32),
            box=(0, 0, 400, 300),
            frame_px=(400, 300),
            field=field_mask(Preprocessing()),
        )
        return int(np.asarray(Image.open(io.BytesIO(png)))[:, :, 3].max())

    assert strongest(0.4) < strongest(2.0) < strongest(4.0) == strongest(20.0)
