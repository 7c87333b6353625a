"""Resize and Upsample."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from case import Case, given, ints

X = (2, 2, 4, 6)
PLACES = [
    "half_pixel",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "half_pixel_symmetric",
    "tf_half_pixel_for_nn",
]
NEAREST = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
SCALES = {
    "double": [1, 1, 2, 2],
    "half": [1, 1, 0.5, 0.5],
    "odd": [1, 1, 1.3, 0.7],
    "mixed": [1, 1, 2, 0.5],
    "three": [1, 1, 3, 1.5],
}
SIZES = {"double": [2, 2, 8, 12], "odd": [2, 2, 5, 7], "small": [2, 2, 3, 2], "one": [2, 2, 1, 1], "same": [2, 2, 4, 6]}
NONE = np.zeros(0, np.float32)


def resize(name: str, opset: int, scales=None, sizes=None, region=None, shape=X, **attributes) -> Case:
    operands = [given(shape)]
    if opset == 10:
        return Case(f"Resize-10-{name}", "Resize", [*operands, np.array(scales, np.float32)], attributes, opset=10)
    absent = NONE if opset < 13 else None
    operands.append(absent if region is None else np.array(region, np.float32))
    operands.append(absent if scales is None else np.array(scales, np.float32))
    if sizes is not None:
        operands.append(ints(*sizes))
    return Case(f"Resize-{opset}-{name}", "Resize", operands, attributes, opset=opset)


def known(opset: int) -> list[str]:
    return [
        p
        for p in PLACES
        if not (p == "half_pixel_symmetric" and opset < 19) and not (p == "tf_half_pixel_for_nn" and opset >= 13)
    ]


def cases() -> Iterator[Case]:
    for mode, (name, scales) in product(["nearest", "linear"], SCALES.items()):
        yield resize(f"{mode}-{name}", 10, scales, mode=mode)
    for opset in [11, 13, 18, 19]:
        whole = opset in (11, 19)
        for place in known(opset):
            for name, scales in SCALES.items():
                yield resize(
                    f"linear-{place}-{name}", opset, scales, mode="linear", coordinate_transformation_mode=place
                )
                if opset in (11, 19):
                    yield resize(
                        f"cubic-{place}-{name}", opset, scales, mode="cubic", coordinate_transformation_mode=place
                    )
                for rounding in NEAREST if whole else NEAREST[:2]:
                    yield resize(
                        f"nearest-{place}-{rounding}-{name}",
                        opset,
                        scales,
                        mode="nearest",
                        coordinate_transformation_mode=place,
                        nearest_mode=rounding,
                    )
            for name, sizes in SIZES.items() if whole else []:
                yield resize(
                    f"sizes-linear-{place}-{name}",
                    opset,
                    sizes=sizes,
                    mode="linear",
                    coordinate_transformation_mode=place,
                )
                yield resize(
                    f"sizes-nearest-{place}-{name}",
                    opset,
                    sizes=sizes,
                    mode="nearest",
                    coordinate_transformation_mode=place,
                )
        for a, outside in product([-0.5, -0.75], [0, 1]):
            yield resize(
                f"cubic-{a}-{outside}", opset, SCALES["odd"], mode="cubic", cubic_coeff_a=a, exclude_outside=outside
            )
            yield resize(
                f"cubic-up-{a}-{outside}",
                opset,
                SCALES["three"],
                mode="cubic",
                cubic_coeff_a=a,
                exclude_outside=outside,
            )
        yield resize("default", opset, SCALES["double"])
        for mode, value in product(["linear", "nearest", "cubic"], [None, 0.7]):
            region = [0, 0, 0.1, -0.2, 1, 1, 0.8, 1.1]
            more = {} if value is None else {"extrapolation_value": value}
            yield resize(
                f"crop-{mode}-{value is None}",
                opset,
                SCALES["odd"],
                region=region,
                mode=mode,
                coordinate_transformation_mode="tf_crop_and_resize",
                **more,
            )
    for mode, outside in product(["linear", "cubic"], [0, 1]):
        for name in ["half", "odd", "three"]:
            yield resize(
                f"antialias-{mode}-{outside}-{name}", 18, SCALES[name], mode=mode, antialias=1, exclude_outside=outside
            )
    for policy in ["stretch", "not_larger", "not_smaller"]:
        for axes, sizes in [([2, 3], [7, 7]), ([3, 2], [9, 5]), ([-1, -2], [5, 8])]:
            name = f"policy-{policy}-" + "".join(map(str, axes))
            yield resize(name, 18, sizes=sizes, axes=axes, keep_aspect_ratio_policy=policy, mode="linear")
    for axes, scales in [([2, 3], [2, 3]), ([3, 2], [2, 0.5]), ([-1], [1.5]), ([1, 3], [2, 2])]:
        for mode in ["nearest", "linear"]:
            yield resize(f"axes-{mode}-" + "".join(map(str, axes)), 18, scales=scales, axes=axes, mode=mode)
    yield resize("line", 13, [1, 1, 2.5], shape=(1, 2, 6), mode="linear")
    yield resize("volume", 13, [1, 1, 2, 1, 2], shape=(1, 1, 2, 3, 3), mode="linear")
    yield resize("volume-nearest", 13, [1, 1, 2, 1, 2], shape=(1, 1, 2, 3, 3), mode="nearest")
    yield resize("channels", 13, [1, 2, 1, 1], mode="nearest")
    yield resize("batch", 13, [2, 1, 2, 1], mode="nearest")
    yield resize("two", 13, [2, 1.5], shape=(4, 6), mode="linear")
    for mode in ["nearest", "linear"]:
        for name in ["double", "three"]:
            yield Case(
                f"Upsample-9-{mode}-{name}",
                "Upsample",
                [given(X), np.array(SCALES[name], np.float32)],
                {"mode": mode},
                opset=9,
            )
