"""Generated street scenes with the 11 classes of CamVid and void, so that everything runs without a download.

A pinhole camera looks down a street laid out in metres. Objects are painted from far to near, so that they occlude each
other as in a photograph. Light, haze, shadows and noise change only the image. The same seed gives the same scenes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from jetbench.data.labels import CLASSES_11, VOID, VOID_RULE_11, Sample
from jetbench.spec.dataset import ClassSpec, StreetsConfig

SCENE_VERSION = 1
IDS = {name: number for number, name in enumerate(CLASSES_11)}
NEAR, FAR = 2.5, 90.0
PASSED = 0.6  # metres before the camera at which what stands there leaves the image

Colour = tuple[float, float, float]
PixelPoint = tuple[float, float, float]


@dataclass(frozen=True)
class Streets:
    """The generated dataset of a config; each split has its own seeds."""

    config: StreetsConfig
    name: str = "streets"
    class_names: tuple[str, ...] = CLASSES_11
    classes: tuple[ClassSpec, ...] = ()
    ignore: tuple[int | tuple[int, int, int], ...] = ()
    split_rule: str = ""
    void_rule: str = VOID_RULE_11

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every image."""
        return self.config.size

    @property
    def identity(self) -> str:
        """Text on which the scenes depend."""
        return f"streets {SCENE_VERSION} {self.config.model_dump_json()}"

    @property
    def counts(self) -> dict[str, int]:
        """Images of each split."""
        return {"train": self.config.train, "val": self.config.val, "test": self.config.test}

    def samples(self, split: str) -> Iterator[Sample]:
        """The scenes of a split."""
        for number in range(self.counts[split]):
            yield render_scene(
                np.random.default_rng([self.config.seed, list(self.counts).index(split), number]), self.size
            )


@dataclass
class Scene:
    """One scene while it is painted: an image and its labels."""

    rng: np.random.Generator
    size: tuple[int, int]
    light: np.ndarray
    haze: Colour
    haze_depth: float
    horizon: float
    vanishing_x: float
    camera_height: float
    focal: float
    travel: float = 0.0
    image: Image.Image = field(init=False)
    labels: Image.Image = field(init=False)
    shade: Image.Image = field(init=False)

    def __post_init__(self) -> None:
        height, width = self.size
        self.image = Image.new("RGB", (width, height))
        self.labels = Image.new("L", (width, height), VOID)
        self.shade = Image.new("L", (width, height), 255)

    def project(self, point: PixelPoint) -> tuple[float, float]:
        """Pixel (x, y) of a point (right, up, ahead) in metres of the street.

        The camera is at `camera_height` above (0, 0, `travel`), and looks ahead.
        """
        x, y, z = point
        z = max(z - self.travel, 0.3)
        return self.vanishing_x + self.focal * x / z, self.horizon + self.focal * (self.camera_height - y) / z

    def is_passed(self, z: float) -> bool:
        """True if the camera has driven past a distance."""
        return self.travel > 0 and z - self.travel < PASSED

    def lit(self, colour: Colour, depth: float, sun: float = 1.0) -> tuple[int, int, int]:
        """`colour` under the light of the scene, faded into the haze with distance."""
        fog = 1 - np.exp(-depth / self.haze_depth)
        value = np.asarray(colour) * self.light * sun * (1 - fog) + np.asarray(self.haze) * fog
        red, green, blue = np.clip(value, 0, 255).astype(int)
        return int(red), int(green), int(blue)

    def polygon(self, corners: list[PixelPoint], name: str | None, colour: Colour, sun: float = 1.0) -> None:
        """Fill a polygon with a class (None: void) and a colour; corners in metres."""
        if self.is_passed(max(corner[2] for corner in corners)):
            return
        depth = max(0.0, sum(corner[2] for corner in corners) / len(corners) - self.travel)
        pixels = [self.project(corner) for corner in corners]
        ImageDraw.Draw(self.image).polygon(pixels, fill=self.lit(colour, depth, sun))
        ImageDraw.Draw(self.labels).polygon(pixels, fill=VOID if name is None else IDS[name])

    def upright(
        self,
        x: float,
        z: float,
        bottom: float,
        width: float,
        height: float,
        name: str | None,
        colour: Colour,
        sun: float = 1.0,
    ) -> None:
        """Fill an upright rectangle that faces the camera; a thin one is at least one pixel wide."""
        half = max(width / 2, 0.55 * (z - self.travel) / self.focal)
        self.polygon(
            [
                (x - half, bottom, z),
                (x + half, bottom, z),
                (x + half, bottom + height, z),
                (x - half, bottom + height, z),
            ],
            name,
            colour,
            sun,
        )

    def ellipse(
        self, x: float, y: float, z: float, radii: tuple[float, float], name: str, colour: Colour, sun: float = 1.0
    ) -> None:
        """Fill an ellipse that faces the camera."""
        if self.is_passed(z):
            return
        left, top = self.project((x - radii[0], y + radii[1], z))
        right, bottom = self.project((x + radii[0], y - radii[1], z))
        box = (left, top, max(right, left + 1), max(bottom, top + 1))
        ImageDraw.Draw(self.image).ellipse(box, fill=self.lit(colour, z - self.travel, sun))
        ImageDraw.Draw(self.labels).ellipse(box, fill=IDS[name])

    def shadow(self, corners: list[PixelPoint], strength: float) -> None:
        """Darken the ground under a polygon, in the image only."""
        if self.is_passed(max(corner[2] for corner in corners)):
            return
        ImageDraw.Draw(self.shade).polygon([self.project(corner) for corner in corners], fill=int(255 * (1 - strength)))


def render_scene(rng: np.random.Generator, size: tuple[int, int], travel: float = 0.0) -> Sample:
    """One street scene: image uint8 (H, W, 3), labels uint8 (H, W) of the 11 class ids of CamVid, 255 for void.

    Args:
        rng: all that is drawn at random: the same state gives the same street.
        size: (height, width).
        travel: metres that the camera has driven ahead, in a street that stands still.
    """
    height, width = size
    warmth = rng.uniform(-0.12, 0.15)
    light = rng.uniform(0.55, 1.1) * np.array([1 + warmth, 1.0, 1 - warmth])
    overcast = rng.random() < 0.4
    sky: Colour = (205, 208, 214) if overcast else (rng.uniform(110, 160), rng.uniform(160, 190), rng.uniform(205, 240))
    scene = Scene(
        rng=rng,
        size=size,
        light=light,
        haze=(float(sky[0] * light[0]), float(sky[1] * light[1]), float(sky[2] * light[2])),
        haze_depth=float(rng.uniform(45, 90) if rng.random() < 0.3 else rng.uniform(120, 400)),
        horizon=height * rng.uniform(0.36, 0.5),
        vanishing_x=width * rng.uniform(0.38, 0.62),
        camera_height=rng.uniform(1.2, 1.9),
        focal=max(height, width * 0.6) * rng.uniform(0.75, 1.05),
        travel=travel,
    )
    road = rng.uniform(3.2, 5.5)
    pavement = {-1: road + rng.uniform(1.6, 3.5), 1: road + rng.uniform(1.6, 3.5)}
    _paint_sky(scene, sky)
    _paint_ground(scene, road, pavement)
    sun = {-1: rng.uniform(0.6, 1.0), 1: rng.uniform(0.6, 1.0)}
    things: list[tuple[float, Callable[[], None]]] = []
    for side in (-1, 1):
        things += _line_the_street(scene, side, road, pavement[side], sun[side])
    things += _traffic(scene, road)
    for _, paint in sorted(things, key=lambda thing: -thing[0]):
        paint()
    _paint_void(scene)
    return Sample(_develop(scene, overcast), np.asarray(scene.labels))


def _paint_sky(scene: Scene, colour: Colour) -> None:
    height, width = scene.size
    draw = ImageDraw.Draw(scene.image)
    ImageDraw.Draw(scene.labels).rectangle((0, 0, width, scene.horizon), fill=IDS["sky"])
    for row in range(int(scene.horizon) + 1):
        fade = row / max(scene.horizon, 1)
        draw.line(
            (0, row, width, row),
            fill=scene.lit((colour[0] + 40 * fade, colour[1] + 25 * fade, colour[2] + 8 * fade), 0),
        )
    for _ in range(scene.rng.integers(0, 5)):
        x, y = scene.rng.uniform(0, width), scene.rng.uniform(0, scene.horizon * 0.8)
        w, h = scene.rng.uniform(0.1, 0.4) * width, scene.rng.uniform(0.02, 0.08) * height
        draw.ellipse((x - w, y - h, x + w, y + h), fill=scene.lit((236, 238, 242), 0))


def _paint_ground(scene: Scene, road: float, pavement: dict[int, float]) -> None:
    rng = scene.rng
    far, near = FAR * 4, NEAR / 3
    grey = rng.uniform(70, 125)
    for side in (-1, 1):
        tone = rng.uniform(125, 185)
        paving: Colour = (tone, tone * rng.uniform(0.92, 1.0), tone * rng.uniform(0.85, 0.98))
        edge = side * 60.0
        scene.polygon([(0, 0, far), (edge, 0, far), (edge, 0, near), (0, 0, near)], "pavement", paving)
        kerb = side * road
        scene.polygon(
            [(kerb, 0, far), (kerb + side * 0.15, 0, far), (kerb + side * 0.15, 0, near), (kerb, 0, near)],
            "pavement",
            (tone * 0.75, tone * 0.75, tone * 0.75),
        )
        for z in np.geomspace(NEAR, 30, 10):
            scene.polygon(
                [(kerb, 0, z), (edge, 0, z), (edge, 0, z * 1.015), (kerb, 0, z * 1.015)],
                "pavement",
                (tone * 0.9, tone * 0.9, tone * 0.88),
            )
    asphalt: Colour = (grey, grey, grey * rng.uniform(0.96, 1.06))
    scene.polygon([(-road, 0, far), (road, 0, far), (road, 0, near), (-road, 0, near)], "road", asphalt)
    for _ in range(rng.integers(2, 8)):
        x, z = rng.uniform(-road, road * 0.7), rng.uniform(NEAR, 40)
        patch = grey * rng.uniform(0.8, 1.12)
        w, d = rng.uniform(0.5, 2.0), rng.uniform(0.5, 6.0)
        right = min(x + w, road)
        scene.polygon([(x, 0, z), (right, 0, z), (right, 0, z + d), (x, 0, z + d)], "road", (patch, patch, patch))
    if rng.random() < 0.8:
        start = rng.uniform(0, 6)
        for z in np.arange(NEAR + start, FAR, 7.0):
            line: list[PixelPoint] = [(-0.08, 0, z), (0.08, 0, z), (0.08, 0, z + 3), (-0.08, 0, z + 3)]
            scene.polygon(line, "road", (215, 215, 205))


def _line_the_street(
    scene: Scene, side: int, road: float, pavement: float, sun: float
) -> list[tuple[float, Callable[[], None]]]:
    rng = scene.rng
    things: list[tuple[float, Callable[[], None]]] = []
    z = NEAR - rng.uniform(0, 10)
    while z < FAR:
        length = rng.uniform(6, 18)
        if rng.random() < 0.78:
            things.append((z + length, _building(scene, side, pavement + rng.uniform(0, 1.5), z, length, sun)))
        else:
            things.append((z + length, _hedge(scene, side, pavement + rng.uniform(0.5, 2), z, length, sun)))
            if rng.random() < 0.7:
                things.append((z + length - 0.1, _fence(scene, side, pavement, z, length, sun)))
        z += length
    for z in np.arange(rng.uniform(4, 14), FAR * 0.8, rng.uniform(11, 22)):
        x = side * (road + rng.uniform(0.4, 0.8))
        things.append((float(z), _pole(scene, x, float(z), sun, sign=rng.random() < 0.45)))
    for _ in range(rng.integers(0, 4)):
        x, z = side * (pavement + rng.uniform(-0.7, 1.5)), rng.uniform(7, 60)
        things.append((z, _tree(scene, x, z, sun)))
    for _ in range(rng.integers(0, 5)):
        x, z = side * rng.uniform(road + 0.3, pavement), rng.uniform(4.5, 35)
        things.append((z, _person(scene, x, z, sun)))
    for _ in range(rng.integers(0, 5)):
        x, z = side * (road - 1.0), rng.uniform(5, 50)
        things.append((z, _car(scene, x, z, sun)))
    if rng.random() < 0.35:
        x, z, length = side * (road + 0.25), rng.uniform(4, 15), rng.uniform(5, 15)
        things.append((z + length / 2, _fence(scene, side, abs(x), z, length, sun)))
    return things


def _traffic(scene: Scene, road: float) -> list[tuple[float, Callable[[], None]]]:
    rng = scene.rng
    things: list[tuple[float, Callable[[], None]]] = []
    for _ in range(rng.integers(0, 4)):
        z = rng.uniform(6, 60)
        things.append((z, _car(scene, rng.choice([-1, 1]) * road * rng.uniform(0.3, 0.55), z, 1.0)))
    for _ in range(rng.integers(0, 4)):
        z = rng.uniform(4, 25)
        things.append((z, _person(scene, rng.uniform(-1, 1) * road * 0.9, z, 1.0, cycling=True)))
    if rng.random() < 0.25:
        z = rng.uniform(6, 25)
        things.append((z, _person(scene, rng.uniform(-1, 1) * road * 0.9, z, 1.0)))
    return things


def _facade(
    scene: Scene, side: int, x: float, z: float, length: float, height: float, colour: Colour, sun: float
) -> None:
    near, far = max(z, NEAR * 0.6), z + length
    wall = [(side * x, 0.0, near), (side * x, 0.0, far), (side * x, height, far), (side * x, height, near)]
    scene.polygon(wall, "building", colour, sun)


def _building(scene: Scene, side: int, x: float, z: float, length: float, sun: float) -> Callable[[], None]:
    rng = scene.rng
    height = rng.uniform(5, 19)
    base = rng.uniform(80, 205)
    colour: Colour = (base, base * rng.uniform(0.72, 1.0), base * rng.uniform(0.55, 1.0))
    glass: Colour = (rng.uniform(40, 110), rng.uniform(50, 120), rng.uniform(60, 140))
    floors, columns = int(height // 3), int(length // 2.4)
    gap = rng.uniform(0.25, 0.45)

    def paint() -> None:
        far = z + length
        end = [(side * x, 0.0, max(z, NEAR)), (side * (x + 14), 0.0, max(z, NEAR))]
        end += [(side * (x + 14), height, max(z, NEAR)), (side * x, height, max(z, NEAR))]
        if z > NEAR:
            scene.polygon(end, "building", colour, sun * 0.8)
        _facade(scene, side, x, z, length, height, colour, sun)
        for floor in range(floors):
            for column in range(columns):
                left = z + (column + gap) * length / max(columns, 1)
                right = z + (column + 1 - gap) * length / max(columns, 1)
                if left < NEAR * 0.6 or left > 45:
                    continue
                low, high = floor * 3 + 0.9, floor * 3 + 2.3
                window: list[PixelPoint] = [
                    (side * x, low, left),
                    (side * x, low, right),
                    (side * x, high, right),
                    (side * x, high, left),
                ]
                scene.polygon(window, "building", glass, sun)
        reach = x * 0.5 if sun < 0.75 else x * 0.15
        scene.shadow(
            [
                (side * x, 0, max(z, 1)),
                (side * (x - reach), 0, max(z, 1)),
                (side * (x - reach), 0, far),
                (side * x, 0, far),
            ],
            0.35,
        )

    return paint


def _hedge(scene: Scene, side: int, x: float, z: float, length: float, sun: float) -> Callable[[], None]:
    rng = scene.rng
    green: Colour = (rng.uniform(30, 80), rng.uniform(70, 120), rng.uniform(25, 60))
    bushes = [(x + rng.uniform(0, 4), z + rng.uniform(0, length), rng.uniform(0.8, 3.5)) for _ in range(7)]

    def paint() -> None:
        for bush_x, bush_z, radius in sorted(bushes, key=lambda bush: -bush[1]):
            if bush_z > NEAR:
                tone = 0.85 + 0.3 * ((bush_x * 7) % 1)
                leaf = (green[0] * tone, green[1] * tone, green[2] * tone)
                scene.ellipse(side * bush_x, radius * 0.8, bush_z, (radius * 1.4, radius), "tree", leaf, sun)

    return paint


def _tree(scene: Scene, x: float, z: float, sun: float) -> Callable[[], None]:
    rng = scene.rng
    trunk, crown = rng.uniform(2, 3.5), rng.uniform(1.3, 2.8)
    green: Colour = (rng.uniform(35, 110), rng.uniform(75, 130), rng.uniform(25, 60))
    puffs = [
        (
            rng.uniform(-1, 1) * crown,
            rng.uniform(-0.4, 0.9) * crown,
            rng.uniform(0.4, 0.8) * crown,
            rng.uniform(0.75, 1.2),
        )
        for _ in range(9)
    ]

    def paint() -> None:
        scene.upright(x, z, 0, 0.3, trunk + 0.5, "tree", (78, 62, 48), sun)
        for dx, dy, radius, tone in puffs:
            leaf = (green[0] * tone, green[1] * tone, green[2] * tone)
            scene.ellipse(x + dx, trunk + crown * 0.7 + dy, z, (radius, radius * 0.9), "tree", leaf, sun)
        scene.shadow(
            [(x - crown, 0, z - 0.8), (x + crown, 0, z - 0.8), (x + crown, 0, z + 0.8), (x - crown, 0, z + 0.8)], 0.4
        )

    return paint


def _pole(scene: Scene, x: float, z: float, sun: float, sign: bool) -> Callable[[], None]:
    rng = scene.rng
    height = rng.uniform(2.4, 3.4) if sign else rng.uniform(4.5, 8)
    tone = rng.uniform(60, 170)
    paints: list[Colour] = [(200, 40, 40), (40, 70, 190), (225, 225, 225), (230, 190, 40)]
    colour = paints[int(rng.integers(len(paints)))]
    round_sign, breadth = rng.random() < 0.5, rng.uniform(0.3, 0.5)

    def paint() -> None:
        scene.upright(x, z, 0, 0.14 if sign else 0.18, height, "pole", (tone, tone, tone * 0.97), sun)
        if sign and round_sign:
            scene.ellipse(x, height, z - 0.05, (breadth, breadth), "sign", colour, sun)
        elif sign:
            scene.upright(x, z - 0.05, height - 0.4, breadth * 2, breadth * 1.8, "sign", colour, sun)

    return paint


def _fence(scene: Scene, side: int, x: float, z: float, length: float, sun: float) -> Callable[[], None]:
    rng = scene.rng
    height, tone = rng.uniform(0.9, 1.5), rng.uniform(45, 150)
    wood: Colour = (tone, tone * rng.uniform(0.8, 1.0), tone * rng.uniform(0.6, 1.0))

    def paint() -> None:
        near = max(z, NEAR * 0.8)
        rails = [
            (side * x, 0.05, near),
            (side * x, 0.05, z + length),
            (side * x, height, z + length),
            (side * x, height, near),
        ]
        scene.polygon(rails, "fence", wood, sun)
        for post in np.arange(near, z + length, 0.8):
            bar: list[PixelPoint] = [
                (side * x, 0.05, post),
                (side * x, 0.05, post + 0.25),
                (side * x, height, post + 0.25),
                (side * x, height, post),
            ]
            scene.polygon(bar, "fence", (wood[0] * 0.6, wood[1] * 0.6, wood[2] * 0.6), sun)

    return paint


def _car(scene: Scene, x: float, z: float, sun: float) -> Callable[[], None]:
    rng = scene.rng
    width, height, length = rng.uniform(1.6, 1.9), rng.uniform(1.35, 1.9), rng.uniform(3.6, 4.6)
    hue = rng.uniform(20, 235, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(25, 235))
    body: Colour = (float(hue[0]), float(hue[1]), float(hue[2]))
    side = -1 if x > 0 else 1

    def paint() -> None:
        flank = x + side * width / 2
        scene.shadow(
            [(x - width, 0, z - 0.6), (x + width, 0, z - 0.6), (x + width, 0, z + length), (x - width, 0, z + length)],
            0.55,
        )
        scene.polygon(
            [(flank, 0.25, z), (flank, 0.25, z + length), (flank, height * 0.6, z + length), (flank, height * 0.6, z)],
            "car",
            body,
            sun * 0.75,
        )
        scene.polygon(
            [
                (flank, height * 0.6, z + 0.4),
                (flank, height * 0.6, z + length * 0.8),
                (flank, height, z + length * 0.65),
                (flank, height, z + 0.7),
            ],
            "car",
            (50, 56, 64),
            sun,
        )
        scene.upright(x, z, 0.25, width, height * 0.55, "car", body, sun)
        scene.upright(x, z + 0.05, height * 0.55, width * 0.84, height * 0.42, "car", (52, 60, 70), sun)
        for wheel in (-1, 1):
            scene.upright(x + wheel * width * 0.36, z, 0, 0.25, 0.35, "car", (22, 22, 24), sun)
            scene.upright(x + wheel * width * 0.4, z - 0.02, height * 0.42, 0.2, 0.14, "car", (205, 60, 45), sun)

    return paint


def _person(scene: Scene, x: float, z: float, sun: float, cycling: bool = False) -> Callable[[], None]:
    rng = scene.rng
    height = rng.uniform(1.45, 1.9)
    coat: Colour = (rng.uniform(20, 220), rng.uniform(20, 200), rng.uniform(20, 220))
    legs: Colour = (rng.uniform(20, 90), rng.uniform(20, 90), rng.uniform(30, 120))
    name = "bicyclist" if cycling else "pedestrian"
    stride = rng.uniform(0.05, 0.2)

    def paint() -> None:
        lift = 0.0
        if cycling:
            lift = 0.35
            for wheel in (-0.15, 0.15):
                scene.ellipse(x + wheel, 0.34, z, (0.2, 0.34), name, (28, 28, 30), sun)
            scene.upright(x, z, 0.7, 0.5, 0.12, name, (60, 60, 66), sun)
        scene.upright(x - stride, z, lift, 0.17, height * 0.48, name, legs, sun)
        scene.upright(x + stride, z, lift, 0.17, height * 0.48, name, legs, sun)
        scene.upright(x, z, lift + height * 0.45, 0.46, height * 0.4, name, coat, sun)
        scene.ellipse(x, lift + height * 0.92, z, (0.13, 0.15), name, (196, 150, 122), sun)
        scene.shadow([(x - 0.3, 0, z - 0.2), (x + 0.5, 0, z - 0.2), (x + 0.5, 0, z + 0.2), (x - 0.3, 0, z + 0.2)], 0.4)

    return paint


def _paint_void(scene: Scene) -> None:
    """Paint objects without a class: bins and boxes on the pavement, and sometimes the bonnet of the camera car."""
    rng, (height, width) = scene.rng, scene.size
    for _ in range(rng.integers(0, 3)):
        x, z = rng.choice([-1, 1]) * rng.uniform(4, 8), rng.uniform(6, 25)
        scene.upright(x, z, 0, rng.uniform(0.5, 1.0), rng.uniform(0.7, 1.2), None, (rng.uniform(30, 160), 90, 60))
    if rng.random() < 0.4:
        top = height * rng.uniform(0.9, 0.97)
        box = (-0.1 * width, top, 1.1 * width, height * 1.3)
        ImageDraw.Draw(scene.image).ellipse(box, fill=scene.lit((40, 42, 48), 0))
        ImageDraw.Draw(scene.labels).ellipse(box, fill=VOID)


def _develop(scene: Scene, overcast: bool) -> np.ndarray:
    """The final image (H, W, 3) as uint8: shadows, texture, vignette, blur and sensor noise."""
    rng, (height, width) = scene.rng, scene.size
    pixels = np.asarray(scene.image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.7)))).astype(np.float32)
    ground = np.isin(np.asarray(scene.labels), (IDS["road"], IDS["pavement"]))
    shade = np.asarray(scene.shade.filter(ImageFilter.GaussianBlur(1.0))).astype(np.float32) / 255
    pixels *= np.where(ground & (not overcast), shade, 1)[..., None]
    # Coarse blotches imitate stone, leaves and asphalt; the fine noise of the sensor comes on top.
    coarse = rng.normal(0, 9, (height // 6 + 1, width // 6 + 1)).astype(np.float32)
    blotches = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    sky = np.asarray(scene.labels) == IDS["sky"]
    pixels += np.where(sky, 0.25, 1.0)[..., None] * blotches[..., None]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    pixels *= (1 - rng.uniform(0, 0.25) * (x**2 + y**2) / 2)[..., None]
    pixels += rng.normal(0, rng.uniform(2, 8), pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8)
