"""Find pictures of the same photograph among many that all look alike.

All retinas look alike, so a plain perceptual hash finds siblings everywhere. Here a picture is cut
to its disc and its light levelled, so that vessels and lesions are left. A hash of the coarse
structure finds candidates; a correlation of the fine structure, at the best shift and zoom,
decides. The README of this folder says what was measured on real eyes.

waves: [zooms, WAVES] float16, the strength of the coarsest waves, at each zoom of HASH_ZOOMS
fine:  [SIDE, SIDE] int8, what is darker or brighter than its close surroundings; 0 outside
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import fft, ndimage

from inference.engine.disc import find_disc

SIDE = 96
FINE_SIGMA, COARSE_SIGMA = SIDE / 48, SIDE / 19  # what counts as surroundings
UNIT, CLIP = 50.0, 2.0  # steps of int8 for one spread, and how many spreads are kept
SEEN_RADIUS, SEEN_HEIGHT = 0.88, 0.72  # of the disc: cameras cut differently further out
DARK = 24  # grey levels: below this nothing was exposed
MIN_SEEN = 0.3  # of the square: with less there is nothing to compare
WAVES_A_SIDE = 12
WAVES = WAVES_A_SIDE**2
HASH_ZOOMS = (1.0, 0.94, 0.88)
FIRST_ZOOMS = (0.88, 0.92, 0.96, 1.0, 1.04, 1.08, 1.13)
ZOOMS = tuple(round(0.86 + 0.02 * step, 2) for step in range(16))  # 0.86 to 1.16
REACH = 9  # pixels of SIDE that a cut may have moved the picture
WORTH_A_LOOK = 0.35  # correlation at the nearest of FIRST_ZOOMS
SAME_PHOTOGRAPH = 0.57  # correlation at the best of ZOOMS
CHANCE_CANDIDATES = 3.0  # a picture: the hash distance is chosen so that there are no more
MAX_HASH_SHARE = 0.25  # of the bits that may differ, however few pictures there are
TABLES, MAX_NEIGHBOURS = 48, 256
BATCH = 64


def fingerprint_of(photo: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Return a photograph's waves and fine structure; all 0 when it shows nothing to compare."""
    disc = find_disc(photo)
    reach = disc.half_width
    box = (disc.x - reach, disc.y - reach, disc.x + reach, disc.y + reach)
    cut = photo.crop(tuple(round(edge) for edge in box))
    small = np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0))
    return fingerprint_of_cut(small)


def fingerprint_of_cut(small: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Do the same for a disc's square [SIDE, SIDE, 3] uint8."""
    lit = ndimage.binary_fill_holes(small.max(axis=2) > DARK)
    seen = (ndimage.binary_erosion(lit, iterations=3) & _window()).astype(np.float32)
    if seen.mean() < MIN_SEEN:
        return np.zeros((len(HASH_ZOOMS), WAVES), np.float16), np.zeros((SIDE, SIDE), np.int8)
    green = small[:, :, 1].astype(np.float32)
    coarse = _contrast(green, seen, COARSE_SIGMA)
    fine = np.round(_contrast(green, seen, FINE_SIGMA) * UNIT).astype(np.int8)
    return np.stack([_waves(coarse, zoom) for zoom in HASH_ZOOMS]), fine


def _contrast(green: np.ndarray, seen: np.ndarray, sigma: float) -> np.ndarray:
    """Subtract the surroundings' light and divide by the spread. Returns [SIDE, SIDE] float32."""
    weight = np.maximum(ndimage.gaussian_filter(seen, sigma), 1e-3)
    detail = (green - ndimage.gaussian_filter(green * seen, sigma) / weight) * seen
    spread = max(float(np.sqrt((detail**2).sum() / seen.sum())), 0.5)
    return np.clip(detail / spread, -CLIP, CLIP)


def _waves(coarse: np.ndarray, zoom: float) -> np.ndarray:
    low = fft.dctn(zoomed(coarse, zoom), norm="ortho")[:WAVES_A_SIDE, :WAVES_A_SIDE]
    return low.ravel().astype(np.float16)


@lru_cache(maxsize=1)
def _window() -> np.ndarray:
    place = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    inside = np.hypot(place[None, :], place[:, None]) < SEEN_RADIUS
    return inside & (np.abs(place) < SEEN_HEIGHT)[:, None]


def zoomed(images: np.ndarray, zoom: float) -> np.ndarray:
    """Show the middle `zoom` of images [..., SIDE, SIDE] at full size; above 1 adds a black rim."""
    weights = _zoom_weights(zoom)
    return images if zoom == 1.0 else weights @ images @ weights.T


@lru_cache(maxsize=64)
def _zoom_weights(zoom: float) -> np.ndarray:
    """Return the bilinear weights [SIDE, SIDE] that bring one axis to size."""
    place = ((np.arange(SIDE) + 0.5) / SIDE - 0.5) * zoom * SIDE + SIDE / 2 - 0.5
    distance = np.abs(place[:, None] - np.arange(SIDE)[None, :])
    return np.maximum(0.0, 1.0 - distance).astype(np.float32)


def alike(fine: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return how well the pictures of each pair [p, 2] correlate at their best shift and zoom.

    fine: [n, SIDE, SIDE] int8. Returns [p] float32, -1 to 1.
    """
    best = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), BATCH):
        rows = pairs[start : start + BATCH]
        left, right = (fine[rows[:, side]].astype(np.float32) for side in (0, 1))
        told = _correlation(left, right, FIRST_ZOOMS)
        look = told >= WORTH_A_LOOK
        told[look] = np.maximum(told[look], _correlation(left[look], right[look], ZOOMS))
        best[start : start + BATCH] = told
    return best


def _correlation(left: np.ndarray, right: np.ndarray, zooms: tuple[float, ...]) -> np.ndarray:
    fixed = np.conj(fft.rfft2(_unit(left)))
    best = np.full(len(left), -1.0, np.float32)
    for zoom in zooms:
        moving = fft.rfft2(_unit(zoomed(right, zoom)))
        shifted = fft.irfft2(fixed * moving, s=(SIDE, SIDE))
        near = np.roll(shifted, (REACH, REACH), (1, 2))[:, : 2 * REACH + 1, : 2 * REACH + 1]
        best = np.maximum(best, near.max(axis=(1, 2)))
    return best


def _unit(images: np.ndarray) -> np.ndarray:
    return images / np.maximum(np.sqrt((images**2).sum((1, 2), keepdims=True)), 1e-6)


def candidates(waves: np.ndarray) -> np.ndarray:
    """Return pairs [p, 2] of pictures whose coarse structure is alike, each once, left < right.

    waves: [n, zooms, WAVES] float16. Every table sorts all hashes by other bits of theirs and
    compares neighbours alone, so the work grows with n log n and not with n squared.
    """
    shown = np.flatnonzero([bool(one.any()) for one in waves])
    if len(shown) < 2:
        return np.empty((0, 2), np.int64)
    hashes = _hashes(waves, shown)
    limit = _hash_limit(hashes[: len(shown)])
    picture = np.tile(np.arange(len(shown)), len(HASH_ZOOMS))
    found = np.empty(0, np.int64)
    for order, bucket in _tables(hashes):
        pairs = [_near(a, b, picture, hashes, limit) for a, b in _neighbours(order, bucket)]
        found = np.unique(np.concatenate([found, *pairs]))
    return shown[np.stack([found >> 32, found & 0xFFFFFFFF], axis=1)]


def _hashes(waves: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return [zooms * n, 3] uint64: which waves are stronger than in the mean picture?"""
    some = waves[shown[:: max(1, len(shown) // 20_000)], 0]
    middle = some.mean(axis=0, dtype=np.float32)
    bits = np.zeros((len(HASH_ZOOMS), len(shown), -WAVES % 64 + WAVES), bool)
    for zoom in range(len(HASH_ZOOMS)):
        bits[zoom, :, :WAVES] = waves[shown, zoom] > middle
    return np.packbits(bits.reshape(-1, bits.shape[2]), axis=1).view(np.uint64)


def _hash_limit(hashes: np.ndarray) -> int:
    """Return the distance within which a picture has few others by chance."""
    random = np.random.default_rng(0)
    a, b = random.integers(0, len(hashes), (2, 200_000))
    distances = _distance(hashes[a], hashes[b])[a != b]
    by_chance = np.quantile(distances, min(1.0, CHANCE_CANDIDATES / len(hashes)))
    return int(min(by_chance, MAX_HASH_SHARE * WAVES))


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.bitwise_count(a ^ b).sum(axis=1, dtype=np.int64)


def _tables(hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, for each table, the order of the hashes by 64 of their bits, and their bucket."""
    bits = np.unpackbits(hashes.view(np.uint8), axis=1)[:, :WAVES]
    random = np.random.default_rng(0)
    length = int(np.clip(np.ceil(np.log2(len(hashes))), 8, 18))
    for _ in range(TABLES):
        chosen = np.ascontiguousarray(bits[:, random.permutation(WAVES)[:64]])
        key = np.packbits(chosen, axis=1).view(">u8").ravel().astype(np.uint64)
        order = np.argsort(key, kind="stable")
        yield order, key[order] >> np.uint64(64 - length)


def _neighbours(order: np.ndarray, bucket: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for step in range(1, min(MAX_NEIGHBOURS, len(order) - 1) + 1):
        same = np.flatnonzero(bucket[step:] == bucket[:-step])
        if not len(same):
            return
        yield order[same], order[same + step]


def _near(
    a: np.ndarray, b: np.ndarray, picture: np.ndarray, hashes: np.ndarray, limit: int
) -> np.ndarray:
    """Keep the pairs within the limit, one of them not zoomed; each as one number."""
    plain = len(hashes) // len(HASH_ZOOMS)
    worth = (picture[a] != picture[b]) & ((a < plain) | (b < plain))
    a, b = a[worth], b[worth]
    near = _distance(hashes[a], hashes[b]) <= limit
    left, right = picture[a[near]], picture[b[near]]
    return np.unique(np.minimum(left, right) << 32 | np.maximum(left, right))
