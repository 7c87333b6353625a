"""Pools and convolutions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from case import Case, Taken, given, opsets, weights

X = (2, 3, 5, 6)
AUTO = ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]


def windows() -> Iterator[tuple[str, dict, int]]:
    """Attributes that every pool has, and the version that first has them."""
    yield "plain", {"kernel_shape": [2, 2]}, 9
    yield "strides", {"kernel_shape": [3, 2], "strides": [2, 3]}, 9
    yield "pads", {"kernel_shape": [3, 3], "pads": [1, 0, 2, 1], "strides": [2, 2]}, 9
    yield "kernel-one", {"kernel_shape": [1, 1], "strides": [2, 2]}, 9
    for kind in AUTO:
        yield f"auto-{kind}", {"kernel_shape": [3, 4], "strides": [2, 2], "auto_pad": kind}, 9
        yield f"auto-even-{kind}", {"kernel_shape": [2, 2], "auto_pad": kind}, 9
        yield f"auto-sparse-{kind}", {"kernel_shape": [2, 2], "auto_pad": kind, "strides": [3, 3]}, 9
    for ceil in [0, 1]:
        yield f"ceil-{ceil}", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": ceil}, 10
        attributes = {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": ceil}
        yield f"ceil-pads-{ceil}", attributes, 10
        attributes = {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [0, 0, 1, 1], "ceil_mode": ceil}
        yield f"ceil-past-{ceil}", attributes, 10


def dilated() -> Iterator[tuple[str, dict]]:
    yield "dilations", {"kernel_shape": [2, 3], "dilations": [2, 2]}
    yield "dilations-pads", {"kernel_shape": [2, 2], "dilations": [3, 2], "pads": [1, 1, 1, 1]}
    yield "dilations-ceil", {"kernel_shape": [2, 2], "dilations": [2, 2], "strides": [2, 2], "ceil_mode": 1}
    for kind in AUTO[1:]:
        yield f"dilations-{kind}", {"kernel_shape": [3, 2], "dilations": [2, 2], "auto_pad": kind}


def pools() -> Iterator[Case]:
    for name, attributes, first in windows():
        for opset in [version for version in opsets("MaxPool") if version >= first]:
            yield Case(f"MaxPool-{opset}-{name}", "MaxPool", [given(X)], attributes, opset=opset)
        for opset in [version for version in opsets("AveragePool") if version >= first]:
            for counted in [0, 1]:
                own = attributes | {"count_include_pad": counted}
                yield Case(f"AveragePool-{opset}-{name}-{counted}", "AveragePool", [given(X)], own, opset=opset)
        if name == "plain":
            yield Case("LpPool", "LpPool", [given(X)], attributes, opset=11)
    for name, attributes in dilated():
        yield Case(f"MaxPool-{name}", "MaxPool", [given(X)], attributes, opset=12)
        for counted in [0, 1]:
            own = attributes | {"count_include_pad": counted}
            yield Case(f"AveragePool-{name}-{counted}", "AveragePool", [given(X)], own, opset=19)
    for shape, length in [((2, 3, 11), 1), ((1, 2, 5, 4, 6), 3)]:
        attributes = {"kernel_shape": [2] * length, "strides": [2] * length, "pads": [1] * (2 * length)}
        for operator in ["MaxPool", "AveragePool"]:
            yield Case(f"{operator}-axes-{length}", operator, [given(shape)], attributes, opset=18)
    for order in [0, 1]:
        attributes = {"kernel_shape": [2, 2], "strides": [2, 2], "storage_order": order}
        yield Case(f"MaxPool-places-{order}", "MaxPool", [given(X)], attributes, outputs=2)
    attributes = {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0], "strides": [2, 2]}
    yield Case("MaxPool-places-pads", "MaxPool", [given(X)], attributes, outputs=2)
    for kind in ["i8", "u8", "f16", "f64"]:
        yield Case(f"MaxPool-{kind}", "MaxPool", [given((1, 2, 4, 4), kind)], {"kernel_shape": [2, 2]})
    for operator in ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"]:
        for shape in [(2, 3, 4, 5), (2, 3, 7), (2, 3, 2, 3, 4)]:
            yield Case(f"{operator}-{len(shape)}", operator, [given(shape)])
    for p in [1, 2, 3]:
        yield Case(f"GlobalLpPool-p{p}", "GlobalLpPool", [given(X)], {"p": p})


def convolutions() -> Iterator[Case]:
    several = {
        "plain": {},
        "pads": {"pads": [1, 1, 1, 1]},
        "uneven": {"pads": [0, 2, 1, 0]},
        "strides": {"strides": [2, 3], "pads": [1, 0, 1, 0]},
        "dilations": {"dilations": [2, 1], "pads": [2, 1, 2, 1]},
        "all": {"dilations": [1, 2], "strides": [2, 1], "pads": [1, 2, 0, 1]},
        "kernel-shape": {"kernel_shape": [3, 3]},
    }
    for kind in AUTO:
        several[f"auto-{kind}"] = {"auto_pad": kind}
        several[f"auto-strides-{kind}"] = {"auto_pad": kind, "strides": [2, 2]}
        several[f"auto-dilations-{kind}"] = {"auto_pad": kind, "dilations": [2, 2]}
    for name, attributes in several.items():
        for bias in [0, 1]:
            rest = [weights(2, seed=4)] if bias else []
            yield Case(f"Conv-{name}-{bias}", "Conv", [given(X), weights(2, 3, 3, 3, seed=3), *rest], attributes)
        yield Case(
            f"Conv-even-{name}",
            "Conv",
            [given(X), weights(2, 3, 2, 4, seed=3)],
            attributes | ({"kernel_shape": [2, 4]} if "kernel_shape" in attributes else {}),
        )
    for group, inside, out in [(3, 1, 3), (3, 1, 6), (1, 3, 5)]:
        for stride in [1, 2]:
            attributes = {"group": group, "strides": [stride] * 2, "pads": [1, 1, 1, 1]}
            operands = [given(X), weights(out, inside, 3, 3, seed=5), weights(out, seed=6)]
            yield Case(f"Conv-group-{group}-{out}-{stride}", "Conv", operands, attributes)
    operands = [given((2, 4, 5, 5)), weights(6, 2, 3, 3, seed=5)]
    yield Case("Conv-group-2", "Conv", operands, {"group": 2})
    for opset in opsets("Conv"):
        yield Case(f"Conv-opset-{opset}", "Conv", [given(X), weights(4, 3, 3, 3)], {"pads": [1] * 4}, opset=opset)
    for shape, kernel in [((2, 3, 9), (4, 3, 3)), ((1, 2, 4, 5, 3), (3, 2, 2, 2, 2))]:
        length = len(shape) - 2
        for name, attributes in {
            "plain": {},
            "pads": {"pads": [1] * (2 * length), "strides": [2] * length},
            "auto": {"auto_pad": "SAME_UPPER"},
        }.items():
            yield Case(f"Conv-axes-{length}-{name}", "Conv", [given(shape), weights(*kernel, seed=7)], attributes)
    yield Case("Conv-one", "Conv", [given(X), weights(4, 3, 1, 1, seed=3)], {"strides": [2, 2]})
    yield Case("Conv-one-pads", "Conv", [given(X), weights(4, 3, 1, 1, seed=3)], {"pads": [1, 1, 0, 0]})
    yield Case("Conv-given-kernel", "Conv", [given((1, 2, 5, 5)), given((3, 2, 2, 2))])
    yield Case("Conv-given-bias", "Conv", [given((1, 2, 5, 5)), weights(3, 2, 2, 2), given((3,))])
    yield Case("Conv-f16", "Conv", [given((1, 2, 5, 5), "f16"), weights(3, 2, 2, 2).astype(np.float16)])
    yield Case("Conv-f64", "Conv", [given((1, 2, 5, 5), "f64"), weights(3, 2, 2, 2).astype(np.float64)])


def transposed() -> Iterator[Case]:
    image = given((2, 3, 4, 5))
    several = {
        "plain": {},
        "strides": {"strides": [2, 2]},
        "pads": {"strides": [2, 2], "pads": [1, 0, 1, 1]},
        "output-padding": {"strides": [2, 3], "output_padding": [1, 2]},
        "output-padding-pads": {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 0]},
        "dilations": {"dilations": [2, 1], "strides": [1, 2]},
        "dilations-pads": {"dilations": [2, 2], "pads": [1, 2, 2, 1]},
        "output-shape": {"strides": [2, 2], "output_shape": [9, 11]},
        "output-shape-crops": {"strides": [2, 2], "output_shape": [8, 9]},
        "output-shape-odd": {"strides": [2, 2], "output_shape": [7, 10]},
        "output-shape-upper": {"strides": [2, 2], "output_shape": [8, 10], "auto_pad": "SAME_UPPER"},
        "output-shape-lower": {"strides": [2, 2], "output_shape": [8, 10], "auto_pad": "SAME_LOWER"},
        "output-shape-grows": {"strides": [2, 2], "output_shape": [10, 12], "output_padding": [1, 1]},
        "kernel-shape": {"kernel_shape": [3, 3]},
    }
    for kind in AUTO:
        several[f"auto-{kind}"] = {"auto_pad": kind, "strides": [2, 2]}
        several[f"auto-three-{kind}"] = {"auto_pad": kind, "strides": [3, 3]}
        several[f"auto-one-{kind}"] = {"auto_pad": kind}
    for name, attributes in several.items():
        for bias in [0, 1]:
            rest = [weights(2, seed=9)] if bias else []
            operands = [image, weights(3, 2, 3, 3, seed=8), *rest]
            yield Case(f"ConvTranspose-{name}-{bias}", "ConvTranspose", operands, attributes)
    for group in [1, 3]:
        attributes = {"group": group, "strides": [2, 2], "pads": [1, 1, 1, 1]}
        operands = [image, weights(3, 2, 4, 4, seed=8), weights(2 * group, seed=9)]
        yield Case(f"ConvTranspose-group-{group}", "ConvTranspose", operands, attributes)
    for opset in opsets("ConvTranspose"):
        operands = [image, weights(3, 2, 2, 2, seed=8)]
        yield Case(f"ConvTranspose-opset-{opset}", "ConvTranspose", operands, {"strides": [2, 2]}, opset=opset)
    operands: list[Taken | np.ndarray] = [given((2, 3, 6)), weights(3, 2, 3, seed=8)]
    for name, attributes in {
        "plain": {},
        "strides": {"strides": [2], "pads": [1, 0]},
        "shape": {"strides": [2], "output_shape": [12]},
    }.items():
        yield Case(f"ConvTranspose-line-{name}", "ConvTranspose", operands, attributes)
    yield Case("ConvTranspose-given", "ConvTranspose", [given((1, 2, 3, 3)), given((2, 2, 2, 2))])


def cases() -> Iterator[Case]:
    for part in [pools, convolutions, transposed]:
        yield from part()
