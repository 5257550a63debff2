"""Draw fundus photographs for tests and the demo: no real eye, no network, the same every time.

Needs numpy and Pillow alone. The pictures look like fundus photographs to a person and to the
quality gate; they teach nobody medicine, and no figure about real eyes may be taken from them.

Coordinates: the disc's centre is (0, 0) and its radius 1; x to the right, y down.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Laterality = Literal["OD", "OS"]
Field = Literal["macula", "disc"]
DrawnQuality = Literal["good", "blurred", "dark", "bright", "field_cut"]

COARSE_PX = 320  # smooth light is painted small and enlarged
OPTIC_RADIUS = 0.13
LESIONS_BY_GRADE = {
    # microaneurysms, haemorrhages, exudate clusters, cotton-wool spots, new-vessel tufts
    0: (0, 0, 0, 0, 0),
    1: (4, 0, 0, 0, 0),
    2: (24, 10, 4, 1, 0),
    3: (45, 38, 5, 5, 0),
    4: (40, 30, 4, 5, 4),
}

Points = list[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """Where things are on one drawn eye."""

    random: np.random.Generator
    size_px: tuple[int, int]
    nasal: int  # +1: the nose is to the right
    optic: tuple[float, float]
    macula: tuple[float, float]

    @property
    def radius_px(self) -> float:
        return 0.485 * min(self.size_px)

    def pixels(self, points: Points) -> Points:
        """Turn disc coordinates into pixels."""
        width, height = self.size_px
        return [
            (width / 2 + x * self.radius_px, height / 2 + y * self.radius_px) for x, y in points
        ]

    def length(self, share: float) -> float:
        """Turn a share of the radius into pixels."""
        return share * self.radius_px


def draw_fundus(
    seed: int,
    *,
    grade: int = 0,
    laterality: Laterality = "OD",
    field: Field = "macula",
    size_px: tuple[int, int] = (1024, 1024),
    quality: DrawnQuality = "good",
) -> Image.Image:
    """Draw a fundus photograph, RGB. The same arguments give the same pixels.

    grade: 0 to 4, decides the lesions. In a right eye (OD) the optic disc is on the right.
    """
    scene = _scene(seed, laterality, field, size_px)
    photo = _background(scene)
    photo = _optic_disc(photo, scene)
    photo = _vessels(photo, scene)
    photo = _lesions(photo, scene, grade)
    return _finished(photo, scene, quality)


def draw_not_fundus(seed: int, *, size_px: tuple[int, int] = (1024, 768)) -> Image.Image:
    """Draw something that is no eye: a printed page, a landscape, a scan or a portrait."""
    random = np.random.default_rng([seed, 99])
    subjects = (_page, _landscape, _scan, _portrait)
    return subjects[seed % len(subjects)](random, size_px)


def _scene(seed: int, laterality: Laterality, field: Field, size_px: tuple[int, int]) -> _Scene:
    random = np.random.default_rng(seed)
    nasal = 1 if laterality == "OD" else -1
    tilt = random.uniform(-0.08, 0.04)
    if field == "macula":
        optic, macula = (nasal * random.uniform(0.56, 0.64), tilt), (-0.02 * nasal, 0.04)
    else:
        optic, macula = (0.02 * nasal, tilt), (-nasal * random.uniform(0.58, 0.64), 0.08)
    return _Scene(random=random, size_px=size_px, nasal=nasal, optic=optic, macula=macula)


def _background(scene: _Scene) -> Image.Image:
    """Paint pigment, light and the macula's shade."""
    random = scene.random
    width, height = scene.size_px
    scale = COARSE_PX / max(width, height)
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    x = (np.arange(small[0]) + 0.5 - small[0] / 2) / (scene.radius_px * scale)
    y = (np.arange(small[1]) + 0.5 - small[1] / 2) / (scene.radius_px * scale)
    x, y = x[None, :], y[:, None]

    tone = np.array([random.uniform(175, 215), random.uniform(82, 112), random.uniform(30, 58)])
    falloff = 1.04 - random.uniform(0.18, 0.3) * (x * x + y * y)
    slope = 1 + random.uniform(-0.07, 0.07) * x + random.uniform(-0.07, 0.07) * y
    cloud = 1 + 0.035 * _cloud(random, small, 7) + 0.025 * _cloud(random, small, 28)
    light = (falloff * slope * cloud)[:, :, None] * tone

    from_macula = np.hypot(x - scene.macula[0], y - scene.macula[1])
    shade = 0.30 * np.exp(-((from_macula / 0.13) ** 2)) + 0.14 * np.exp(
        -((from_macula / 0.30) ** 2)
    )
    light *= 1 - shade[:, :, None] * np.array([0.7, 1.0, 0.9])
    pixels = np.clip(light, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize(scene.size_px, Image.Resampling.BICUBIC)


def _cloud(random: np.random.Generator, size: tuple[int, int], cells: int) -> np.ndarray:
    coarse = random.normal(0, 1, (cells, cells)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))


def _optic_disc(photo: Image.Image, scene: _Scene) -> Image.Image:
    """Paint the pale disc with its brighter cup."""
    rim, cup = _mask(scene), _mask(scene)
    _ellipse(rim, scene, scene.optic, OPTIC_RADIUS * 0.92, OPTIC_RADIUS, 235)
    inner = OPTIC_RADIUS * scene.random.uniform(0.4, 0.52)
    _ellipse(cup, scene, scene.optic, inner, inner * 1.1, 220)
    photo = _paste(photo, (246, 190, 110), _soft(rim, scene.length(0.012)))
    return _paste(photo, (255, 232, 178), _soft(cup, scene.length(0.02)))


def _vessels(photo: Image.Image, scene: _Scene) -> Image.Image:
    """Paint veins and arteries: four arcades, each with branches."""
    veins, arteries, reflex = _mask(scene), _mask(scene), _mask(scene)
    for up in (-1, 1):
        for side, reach in ((-scene.nasal, 1.75), (scene.nasal, 1.1)):
            for mask, width, offset in ((veins, 0.026, 0.0), (arteries, 0.018, 0.09)):
                path = _arcade(scene, side, up, reach, offset)
                _tree(mask, scene, path, width, depth=3)
                if mask is arteries:
                    _stroke(reflex, scene, path, width * 0.3, 110)
    photo = _stain(photo, (196, 128, 130), _soft(veins, scene.length(0.0022)))
    photo = _stain(photo, (222, 150, 140), _soft(arteries, scene.length(0.0022)))
    return _paste(photo, (230, 150, 95), _soft(reflex, scene.length(0.0015)))


def _arcade(scene: _Scene, side: int, up: int, reach: float, offset: float) -> Points:
    """Follow one arcade: out of the optic disc, up or down, then around the macula."""
    random = scene.random
    x, y = scene.optic
    temporal = side == -scene.nasal
    heading = np.arctan2(up, side * (0.30 if temporal else 0.75)) + random.normal(0, 0.08)
    bend = side * up * -1.0 * (0.82 if temporal else 0.25) + random.normal(0, 0.08)
    heading += side * up * offset * 1.6
    points, step, gone = [(x, y)], 0.035, 0.0
    while gone < reach and np.hypot(x, y) < 1.08:
        straightened = 1.0 if gone < 0.95 else 0.45
        heading -= -bend * straightened * step * 1.25 + random.normal(0, 0.035)
        x, y = x + step * np.cos(heading), y + step * np.sin(heading)
        points.append((x, y))
        gone += step
    return points


def _tree(mask: Image.Image, scene: _Scene, path: Points, width: float, *, depth: int) -> None:
    """Draw a vessel that gets thinner, and its branches."""
    if len(path) < 4 or width < 0.0025:
        return
    third = max(2, len(path) // 3)
    for start, share in ((0, 1.0), (third - 1, 0.82), (2 * third - 1, 0.62)):
        _stroke(mask, scene, path[start : start + third + 1], width * share, 215)
    if depth == 0:
        return
    sign = 1
    for place in range(4, len(path) - 2, int(scene.random.integers(5, 9))):
        sign = -sign
        branch = _branch(scene, path, place, sign, steps=len(path) - place)
        _tree(mask, scene, branch, width * 0.52, depth=depth - 1)


def _branch(scene: _Scene, path: Points, place: int, sign: int, *, steps: int) -> Points:
    random = scene.random
    (x0, y0), (x, y) = path[place - 1], path[place]
    heading = np.arctan2(y - y0, x - x0) + sign * random.uniform(0.5, 0.95)
    bend = -sign * random.uniform(0.0, 0.05)
    points = [(x, y)]
    for _ in range(int(np.clip(steps * 0.75, 5, 22))):
        heading += bend + random.normal(0, 0.1)
        x, y = x + 0.032 * np.cos(heading), y + 0.032 * np.sin(heading)
        near_macula = np.hypot(x - scene.macula[0], y - scene.macula[1]) < 0.13
        if near_macula or np.hypot(x, y) > 1.08:
            break
        points.append((x, y))
    return points


def _lesions(photo: Image.Image, scene: _Scene, grade: int) -> Image.Image:
    """Paint what the grade stands for; how many varies by a quarter."""
    counts = [round(n * scene.random.uniform(0.8, 1.25)) for n in LESIONS_BY_GRADE[grade]]
    aneurysms, haemorrhages, exudates, wool, tufts = counts
    if grade == 0:
        return photo
    pale, dark, yellow, fine = _mask(scene), _mask(scene), _mask(scene), _mask(scene)
    for _ in range(wool):
        _wool(pale, scene, _place(scene, 0.3, 0.85))
    for _ in range(aneurysms):
        radius = scene.random.uniform(0.004, 0.009)
        _ellipse(dark, scene, _place(scene, 0.12, 0.9), radius, radius, 200)
    for _ in range(haemorrhages):
        _blot(dark, scene, _place(scene, 0.18, 0.9), scene.random.uniform(0.014, 0.036))
    for _ in range(exudates):
        _exudate_cluster(yellow, scene, _place(scene, 0.15, 0.6))
    for number in range(tufts):
        _tuft(fine, scene, scene.optic if number == 0 else _place(scene, 0.5, 0.8))
    photo = _paste(photo, (236, 205, 150), _soft(pale, scene.length(0.014)))
    photo = _stain(photo, (150, 82, 88), _soft(dark, scene.length(0.0035)))
    photo = _paste(photo, (250, 222, 120), _soft(yellow, scene.length(0.002)))
    photo = _stain(photo, (190, 105, 105), _soft(fine, scene.length(0.001)))
    return _boat(photo, scene) if tufts else photo


def _place(scene: _Scene, nearest: float, farthest: float) -> tuple[float, float]:
    """Choose a place at that distance from the macula's centre, inside the disc, off the optic."""
    for _ in range(100):
        angle, far = scene.random.uniform(0, 2 * np.pi), scene.random.uniform(nearest, farthest)
        x, y = scene.macula[0] + far * np.cos(angle), scene.macula[1] + far * np.sin(angle)
        off_optic = np.hypot(x - scene.optic[0], y - scene.optic[1]) > 1.5 * OPTIC_RADIUS
        if off_optic and np.hypot(x, y) < 0.88 and abs(y) < 0.7:
            return x, y
    return 0.3 * -scene.nasal, 0.3


def _blot(mask: Image.Image, scene: _Scene, centre: tuple[float, float], radius: float) -> None:
    """Draw an irregular blot, at times stretched into a flame."""
    random = scene.random
    stretch = random.choice([1.0, 1.0, 2.2])
    turn = random.uniform(0, np.pi)
    corners = []
    for angle in np.linspace(0, 2 * np.pi, 20, endpoint=False):
        far = radius * random.uniform(0.82, 1.12)
        along, across = far * np.cos(angle) * stretch, far * np.sin(angle)
        corners.append(
            (
                centre[0] + along * np.cos(turn) - across * np.sin(turn),
                centre[1] + along * np.sin(turn) + across * np.cos(turn),
            )
        )
    ImageDraw.Draw(mask).polygon(scene.pixels(corners), fill=int(random.integers(190, 235)))


def _wool(mask: Image.Image, scene: _Scene, centre: tuple[float, float]) -> None:
    for _ in range(4):
        dx, dy = scene.random.normal(0, 0.012, 2)
        radius = scene.random.uniform(0.014, 0.028)
        _ellipse(mask, scene, (centre[0] + dx, centre[1] + dy), radius * 1.3, radius, 190)


def _exudate_cluster(mask: Image.Image, scene: _Scene, centre: tuple[float, float]) -> None:
    spread = scene.random.uniform(0.03, 0.08)
    for _ in range(int(scene.random.integers(9, 24))):
        dx, dy = scene.random.normal(0, spread, 2)
        radius = scene.random.uniform(0.005, 0.014)
        _ellipse(mask, scene, (centre[0] + dx, centre[1] + dy), radius, radius * 0.8, 225)


def _tuft(mask: Image.Image, scene: _Scene, centre: tuple[float, float]) -> None:
    """Draw a tangle of fine new vessels."""
    random = scene.random
    for _ in range(16):
        x, y = centre[0] + random.normal(0, 0.03), centre[1] + random.normal(0, 0.03)
        heading, turn = random.uniform(0, 2 * np.pi), random.choice([-1, 1])
        points = [(x, y)]
        for _ in range(14):
            heading += turn * random.uniform(0.1, 0.5)
            x, y = x + 0.014 * np.cos(heading), y + 0.014 * np.sin(heading)
            points.append((x, y))
        _stroke(mask, scene, points, 0.0045, 190)


def _boat(photo: Image.Image, scene: _Scene) -> Image.Image:
    """Paint a preretinal haemorrhage: level above, round below."""
    mask = _mask(scene)
    x, y = _place(scene, 0.45, 0.6)
    wide, deep = scene.random.uniform(0.1, 0.16), scene.random.uniform(0.07, 0.12)
    (left, top), (right, bottom) = scene.pixels([(x - wide, y - deep), (x + wide, y + deep)])
    ImageDraw.Draw(mask).pieslice((left, top, right, bottom), 0, 180, fill=225)
    return _stain(photo, (140, 52, 60), _soft(mask, scene.length(0.006)))


def _finished(photo: Image.Image, scene: _Scene, quality: DrawnQuality) -> Image.Image:
    """Add the camera: sharpness, exposure, grain and the round aperture."""
    if quality == "blurred":
        photo = photo.filter(ImageFilter.BoxBlur(scene.length(0.05)))
        photo = photo.filter(ImageFilter.BoxBlur(scene.length(0.05)))
    gain, lift = {"dark": (0.13, 0), "bright": (1.6, 95)}.get(quality, (1.0, 0))
    photo = photo.point([min(255, round(level * gain + lift)) for level in range(256)] * 3)
    photo = ImageChops.add(photo, _grain(scene), scale=1, offset=-6)

    aperture = _mask(scene)
    _ellipse(aperture, scene, (0, 0), 1, 1, 255)
    if quality == "field_cut":
        lid = scene.pixels([(-2, 0.05), (2, -0.12), (2, 2), (-2, 2)])
        ImageDraw.Draw(aperture).polygon(lid, fill=0)
    aperture = aperture.filter(ImageFilter.GaussianBlur(scene.length(0.004)))
    return Image.composite(photo, Image.new("RGB", scene.size_px), aperture)


def _grain(scene: _Scene) -> Image.Image:
    """Tile a patch of sensor noise, 0 to 12, over the frame."""
    patch = np.clip(scene.random.normal(6, 1.6, (192, 192, 3)), 0, 12).astype(np.uint8)
    width, height = scene.size_px
    tiles = np.tile(patch, (height // 192 + 1, width // 192 + 1, 1))
    return Image.fromarray(tiles[:height, :width])


def _mask(scene: _Scene) -> Image.Image:
    return Image.new("L", scene.size_px)


def _soft(mask: Image.Image, radius_px: float) -> Image.Image:
    return mask.filter(ImageFilter.BoxBlur(radius_px)) if radius_px > 0.2 else mask


def _ellipse(
    mask: Image.Image,
    scene: _Scene,
    centre: tuple[float, float],
    wide: float,
    high: float,
    fill: int,
) -> None:
    x, y = centre
    (left, top), (right, bottom) = scene.pixels([(x - wide, y - high), (x + wide, y + high)])
    ImageDraw.Draw(mask).ellipse((left, top, max(left + 1, right), max(top + 1, bottom)), fill=fill)


def _stroke(mask: Image.Image, scene: _Scene, points: Points, width: float, fill: int) -> None:
    if len(points) < 2:
        return
    thick = max(1, round(scene.length(width)))
    ImageDraw.Draw(mask).line(scene.pixels(points), fill=fill, width=thick, joint="curve")


def _paste(photo: Image.Image, colour: tuple[int, int, int], mask: Image.Image) -> Image.Image:
    """Cover with a colour where the mask is white."""
    return Image.composite(Image.new("RGB", photo.size, colour), photo, mask)


def _stain(photo: Image.Image, colour: tuple[int, int, int], mask: Image.Image) -> Image.Image:
    """Darken by a colour where the mask is white, keeping the light beneath."""
    stained = ImageChops.multiply(photo, Image.new("RGB", photo.size, colour))
    return Image.composite(stained, photo, mask)


def _page(random: np.random.Generator, size_px: tuple[int, int]) -> Image.Image:
    page = Image.new("RGB", size_px, (248, 247, 243))
    pen = ImageDraw.Draw(page)
    width, height = size_px
    for y in range(height // 14, height, max(8, height // 28)):
        x = width // 12
        while x < width * 0.9:
            word = int(random.integers(width // 60 + 2, width // 14 + 3))
            pen.rectangle((x, y, x + word, y + max(2, height // 70)), fill=(40, 40, 45))
            x += word + max(3, width // 90)
    return page


def _landscape(random: np.random.Generator, size_px: tuple[int, int]) -> Image.Image:
    width, height = size_px
    rows = np.linspace(0, 1, height)[:, None, None]
    sky = np.array([90, 150, 225]) * (1 - rows) + np.array([205, 222, 240]) * rows
    picture = Image.fromarray(np.broadcast_to(sky, (height, width, 3)).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for layer, green in enumerate(((96, 140, 96), (62, 116, 58), (38, 84, 36))):
        ridge = height * (0.45 + 0.16 * layer)
        tops = [(x, ridge - random.uniform(0, height * 0.14)) for x in range(0, width + 40, 40)]
        pen.polygon([*tops, (width, height), (0, height)], fill=green)
    return picture


def _scan(random: np.random.Generator, size_px: tuple[int, int]) -> Image.Image:
    """Draw the grey layers of a cross-section, as an OCT scan shows them."""
    width, height = size_px
    x = np.linspace(-1, 1, width)[None, :]
    y = np.linspace(0, 1, height)[:, None]
    centre = 0.45 - 0.08 * (1 - np.exp(-((x / 0.2) ** 2))) + 0.05 * x
    light = sum(
        strength * np.exp(-(((y - centre - depth) / thick) ** 2))
        for depth, thick, strength in ((0, 0.02, 120), (0.1, 0.04, 70), (0.2, 0.02, 190))
    )
    speckle = random.gamma(2.0, 0.5, (height, width))
    grey = np.clip((light + 12) * speckle, 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _portrait(random: np.random.Generator, size_px: tuple[int, int]) -> Image.Image:
    width, height = size_px
    picture = Image.new("RGB", size_px, tuple(int(c) for c in random.integers(120, 220, 3)))
    pen = ImageDraw.Draw(picture)

    def oval(x: float, y: float, wide: float, high: float, colour: tuple[int, int, int]) -> None:
        pen.ellipse(
            ((x - wide) * width, (y - high) * height, (x + wide) * width, (y + high) * height),
            fill=colour,
        )

    oval(0.5, 1.05, 0.38, 0.32, (60, 80, 130))
    oval(0.5, 0.42, 0.21, 0.31, (60, 42, 34))
    oval(0.5, 0.47, 0.17, 0.27, (224, 178, 146))
    for side in (-1, 1):
        oval(0.5 + side * 0.065, 0.42, 0.028, 0.022, (250, 250, 250))
        oval(0.5 + side * 0.065, 0.42, 0.012, 0.02, (70, 50, 40))
    oval(0.5, 0.6, 0.06, 0.02, (190, 90, 90))
    return picture
