"""Where the network looked: the exact class-activation map of the referable score.

The head is linear on pooled features, so the map's mean plus the head's bias is the score itself.
It says what moved the score; it is not a map of lesions.
"""

import io

import numpy as np
from PIL import Image

MAX_EDGE_PX = 640  # the overlay is smooth: more pixels would only make it heavy
MAX_ALPHA = 170
FULL_COLOUR_LOGITS = 4.0  # what is weaker stays pale: a healthy eye must not glow

# From nothing over amber to red: value 0, 1/3, 2/3, 1.
COLOURS = np.array([[255, 200, 60], [255, 170, 40], [250, 90, 30], [200, 20, 30]], np.float32)


def activation_map(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weigh features [c, h, w] with one threshold's weights [c]. Returns [h, w] float32."""
    return np.tensordot(weights, features, axes=1).astype(np.float32)


def heatmap_png(
    activation: np.ndarray,
    *,
    box: tuple[float, float, float, float],
    frame_px: tuple[int, int],
    field: np.ndarray,
) -> bytes:
    """Lay what raised the score over the displayed frame. Returns a transparent PNG, no EXIF.

    activation: [h, w] float32; box: the graded part in the frame's pixels; field: [H, W] uint8,
    1 where the network saw the eye. Only evidence for the disease is coloured.
    """
    scale = min(1.0, MAX_EDGE_PX / max(frame_px))
    frame = tuple(max(1, round(edge * scale)) for edge in frame_px)
    left, top, right, bottom = (round(edge * scale) for edge in box)
    size = (max(1, right - left), max(1, bottom - top))

    heat = np.maximum(activation, 0)
    heat = heat / max(float(heat.max()), FULL_COLOUR_LOGITS)
    smooth = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)
    seen = np.asarray(Image.fromarray(field * 255).resize(size, Image.Resampling.BILINEAR)) / 255

    overlay = Image.fromarray(_coloured(smooth, seen), "RGBA")
    canvas = Image.new("RGBA", frame, (0, 0, 0, 0))
    canvas.paste(overlay, (left, top))
    file = io.BytesIO()
    canvas.save(file, "PNG", compress_level=4)
    return file.getvalue()


def _coloured(heat: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Colour heat [h, w], 0 to 1. Returns [h, w, 4] uint8."""
    steps = np.linspace(0, 1, len(COLOURS))
    colours = [np.interp(heat, steps, COLOURS[:, channel]) for channel in range(3)]
    alpha = MAX_ALPHA * np.clip((heat - 0.15) / 0.85, 0, 1) * seen
    return np.round(np.stack([*colours, alpha], axis=2)).astype(np.uint8)
