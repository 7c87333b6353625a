"""Do images that should tile, tile? How far neighbouring pixels differ across the border, against inside.

Both sides of a border are neighbours once the image is repeated. Where nothing is wrong they differ as much as any
two neighbours, a ratio of 1; a visible seam is well above. The border is also an edge of the decoder's cells, so it is
compared with all neighbours, and with the other cells' edges alone. Ways to sample start from the same noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eval.caching import Array, Field, Velocity
from eval.distances import margin, resamples
from eval.judge import CHUNK, Judge
from eval.real import to_rows
from eval.rows import GUIDANCE

EACH_WAY = 16  # images of a class, where ways are compared
LARGE = (2, 4)  # times the model's own size, a side
LARGE_COUNT = 22  # images at each of them
REPEATS = 200  # resamples
STEPS = 10  # Euler's, where ways are compared
AXES = {"x": 2, "y": 1}  # of [N,H,W,3]


@dataclass(frozen=True)
class Seams:
    """Class, size or way -> `ratios`; of ways also the distances to the real images."""

    classes: dict[str, dict[str, float]]
    sizes: dict[str, dict[str, float]]
    ways: dict[str, dict[str, float]]
    shown: np.ndarray  # an image of each class, uint8 [K,H,W,3]


def ratios(images: np.ndarray, cell: int) -> dict[str, float]:
    """Mean absolute difference of neighbours across the border of uint8 [N,H,W,3], for each axis `x` and `y`:

    over that of all inside, and (`x edges`, `y edges`) over that at the inner edges of cells of so many pixels.
    Each has its `margin`, by resampled images: few of them have an edge of a plank or a brick at the border.
    """
    weights, result = resamples(len(images), REPEATS), {}
    for name, axis in AXES.items():
        steps = np.stack([profile(image, axis - 1) for image in images])  # [N, pixels], the border's first
        border = steps[:, 0]
        for suffix, inside in (("", steps[:, 1:]), (" edges", steps[:, cell::cell])):
            each = inside.mean(1)
            spread = margin((weights @ border) / (weights @ each))
            result |= {name + suffix: float(border.mean() / each.mean()), f"{name}{suffix} margin": spread}
    return result


def profile(image: np.ndarray, axis: int) -> np.ndarray:
    """Mean absolute difference of each pixel to the one before it along an axis of [H,W,3], wrapped around."""
    steps = np.abs(image.astype(np.float32) - np.roll(image, 1, axis))
    return steps.mean(axis=tuple({0, 1, 2} - {axis}))


class Shifted:
    """The velocity averaged over circular shifts by so many cells: the straightforward way to have none preferred."""

    def __init__(self, field: Velocity, shifts: tuple[tuple[int, int], ...]):
        self.field, self.shifts = field, shifts

    def __call__(self, x: Array, t: float, which: Array) -> Array:
        axes = (2, 3)
        back = [np.roll(self.field(np.roll(x, s, axes), t, which), (-s[0], -s[1]), axes) for s in self.shifts]
        return sum(back) / np.float32(len(back))


def measure(judge: Judge, schedule: str, each: int) -> Seams:
    """`schedule` for classes, `each` images of them, and sizes; Euler for the ways, not all of which the runtime
    has."""
    key = {"bundle": judge.models[""].info.hash} | judge.identity
    shown = {"seams": schedule, "each": each, "large": LARGE, "large count": LARGE_COUNT}
    arrays = judge.store.arrays(key | shown, lambda: sampled(judge, schedule, each))
    names = judge.real.classes
    cell = judge.models[""].cell
    classes = {name: ratios(arrays["images"][number :: len(names)], cell) for number, name in enumerate(names)}
    sizes = {f"{large.shape[2]} x {large.shape[1]}": ratios(large, cell) for large in (arrays[f"x{n}"] for n in LARGE)}
    ways = judge.store.result(key | {"ways": STEPS, "each": EACH_WAY, "repeats": REPEATS}, lambda: compare(judge))
    return Seams(classes, sizes, ways, arrays["images"][: len(names)])


def sampled(judge: Judge, schedule: str, each: int) -> dict[str, np.ndarray]:
    """`images`, class by class in turns, tiled both ways; and larger ones."""
    classes = np.arange(each * len(judge.real.classes)) % len(judge.real.classes)
    channels, height, width = judge.models[""].latent_shape
    noise = np.random.default_rng(judge.seed).standard_normal((len(classes), channels, height, width))
    made = {"images": tiled(judge, schedule, "both", classes, noise)}
    for times in LARGE:
        noise = np.random.default_rng(judge.seed).standard_normal(
            (LARGE_COUNT, channels, times * height, times * width)
        )
        large = [
            judge.models[""].generate(schedule, GUIDANCE, classes[n : n + 1], noise[n : n + 1], seamless="both").images
            for n in range(min(LARGE_COUNT, len(classes)))
        ]
        made[f"x{times}"] = np.concatenate(large)
    return made


def tiled(judge: Judge, schedule: str, seamless: str | None, classes: Array, noise: Array) -> np.ndarray:
    model, parts = judge.models[""], judge.chunks(len(classes))
    made = [model.generate(schedule, GUIDANCE, classes[some], noise[some], seamless=seamless) for some in parts]
    return np.concatenate([m.images for m in made])


def averaged(judge: Judge, shifts: tuple[tuple[int, int], ...], count: int) -> np.ndarray:
    """Euler steps with the mean velocity of several shifts, evaluated by ONNX Runtime."""
    everyone = np.arange(CHUNK)
    parts = []
    for part in judge.chunks(count):
        x = judge.noise[part]
        field = Shifted(Field(judge.bundle, judge.classes[part], GUIDANCE, judge.threads), shifts)
        for i in range(STEPS):
            x = x + field(x, i / STEPS, everyone[: len(x)]) / np.float32(STEPS)
        parts.append(judge.models[""].decode(x))
    return np.concatenate(parts)


def compare(judge: Judge) -> dict[str, dict]:
    """Ways to make images tile, by Euler's steps from the same noise, and how far their images are from real
    ones."""
    count = min(judge.each, EACH_WAY) * len(judge.real.classes)
    _, height, width = judge.models[""].latent_shape
    cell = judge.models[""].cell
    half = (height // 2, width // 2)
    corners = ((0, 0), (half[0], 0), (0, half[1]), half)
    start = judge.classes[:count], judge.noise[:count]
    makers = {
        "nothing": lambda: tiled(judge, f"E{STEPS}", None, *start),
        "another roll for each evaluation (ours)": lambda: tiled(judge, f"E{STEPS}", "both", *start),
        "the mean of two shifts": lambda: averaged(judge, ((0, 0), half), count),
        "the mean of four shifts": lambda: averaged(judge, corners, count),
    }
    once = np.ones((2, count))  # no resamples
    result = {}
    for name, make in makers.items():
        images = make()
        features = judge.extractor(images)
        scores = judge.reference.compare(features.content, features.texture, once)
        result[name] = ratios(images, cell) | {measure: scores[measure] for measure in ("content", "texture")}
    return result | {"real images": ratios(to_rows(judge.real.all.pixels), cell)}
