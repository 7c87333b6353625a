"""Gathers, scatters, one-hot, and samples of an image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from case import Case, given, ints, opsets, weights

X = (2, 3, 4, 5)


def gathers() -> Iterator[Case]:
    for axis in [0, 1, 2, 3, -1, -2]:
        for number, places in enumerate([[0, 1], [[1, 0], [0, 1]], 1, [-1, 0], [-1, -2]]):
            for opset in [9, 11, 13]:
                if opset < 11 and (axis < 0 or np.min(places) < 0):
                    continue
                if opset == 11 and number not in (1, 3):
                    continue
                yield Case(
                    f"Gather-{opset}-{axis}-{number}",
                    "Gather",
                    [given(X), np.array(places, np.int64)],
                    {"axis": axis},
                    opset=opset,
                )
    yield Case("Gather-i32", "Gather", [given(X), np.array([1, 0], np.int32)], {"axis": 2})
    yield Case("Gather-default", "Gather", [given(X), ints(1)])
    yield Case("Gather-given", "Gather", [given((5, 2)), given((3,), "i64", "halves")], {"axis": 0})
    yield Case("Gather-given-table", "Gather", [weights(9, 4, seed=2), given((2, 3), "i64", "natural")], {"axis": 0})
    yield Case("Gather-given-negative", "Gather", [weights(30, 4, seed=2), given((2, 3), "i64", "whole")], {"axis": 0})
    for kind in ["i64", "bool", "f16"]:
        yield Case(f"Gather-{kind}", "Gather", [given((3, 4), kind), ints(2, 0)], {"axis": 1})
    for axis in [0, 1, -1]:
        for number, places in enumerate([[[0, 1, 2, 0]], [[0, 1, 0, 1], [1, 1, 0, 0]], [[-1, 0, -2, 1]]]):
            if axis != 0 and number == 1:
                places = [row[:2] for row in places]
            yield Case(
                f"GatherElements-{axis}-{number}",
                "GatherElements",
                [given((3, 4)), np.array(places, np.int64)],
                {"axis": axis},
                opset=13,
            )
    yield Case(
        "GatherElements-11", "GatherElements", [given((3, 4)), np.array([[0, 2], [1, 0]])], {"axis": 1}, opset=11
    )
    nd = {
        "rows": ([[0], [1]], 0),
        "cells": ([[0, 1], [1, 2]], 0),
        "negative": ([[-1, -2], [0, -1]], 0),
        "deep": ([[[0, 1]], [[1, 0]]], 0),
        "batch": ([[1], [2]], 1),
        "batch-two": ([[[1], [0], [2]], [[3], [1], [0]]], 2),
        "scalars": ([[0, 1, 2], [1, 2, 3]], 0),
    }
    for name, (places, batch) in nd.items():
        for opset in [11, 12, 13]:
            if batch and opset < 12:
                continue
            attributes = {"batch_dims": batch} if opset >= 12 else {}
            yield Case(
                f"GatherND-{opset}-{name}", "GatherND", [given((2, 3, 4)), np.array(places)], attributes, opset=opset
            )


def scatters() -> Iterator[Case]:
    elements = np.array([[0, 2, 1, 0], [1, 0, 2, 2]])
    doubled = np.array([[0, 0, 1, 0], [0, 0, 1, 1]])
    updates = weights(2, 4, seed=3)
    for axis in [0, 1, -1, -2]:
        places = elements if axis in (0, -2) else np.array([[3, 0, 1, 2], [0, 1, 2, 3]])
        for opset in [11, 13, 16, 18]:
            yield Case(
                f"ScatterElements-{opset}-{axis}",
                "ScatterElements",
                [given((3, 4)), places, updates],
                {"axis": axis},
                opset=opset,
            )
    yield Case("Scatter-9", "Scatter", [given((3, 4)), elements, updates], {"axis": 0}, opset=9)
    yield Case("ScatterElements-negative", "ScatterElements", [given((3, 4)), -elements - 1, updates], {"axis": 0})
    yield Case("ScatterElements-given", "ScatterElements", [given((3, 4)), elements, given((2, 4))], {"axis": 0})
    for reduction in ["none", "add", "mul", "max", "min"]:
        opset = 18 if reduction in ("max", "min") else 16
        places = elements if reduction == "none" else doubled
        operands = [given((3, 4)), places, updates]
        yield Case(
            f"ScatterElements-{reduction}",
            "ScatterElements",
            operands,
            {"axis": 0, "reduction": reduction},
            opset=opset,
        )
        rows = np.array([[1], [0]]) if reduction == "none" else np.array([[1], [1]])
        operands = [given((3, 4)), rows, weights(2, 4, seed=4)]
        yield Case(f"ScatterND-{reduction}", "ScatterND", operands, {"reduction": reduction}, opset=opset)
        cells = np.array([[0, 1], [2, 3], [0, 2]]) if reduction == "none" else np.array([[0, 1], [0, 1], [2, 2]])
        operands = [given((3, 4)), cells, weights(3, seed=4)]
        yield Case(f"ScatterND-cells-{reduction}", "ScatterND", operands, {"reduction": reduction}, opset=opset)
    for opset in [11, 13, 16, 18]:
        operands = [given((3, 4)), np.array([[2], [0]]), given((2, 4))]
        yield Case(f"ScatterND-opset-{opset}", "ScatterND", operands, opset=opset)
    yield Case("ScatterND-negative", "ScatterND", [given((3, 4)), np.array([[-1, -2], [0, -4]]), weights(2)])
    yield Case("ScatterND-deep", "ScatterND", [given((2, 3, 4)), np.array([[[0, 1]], [[1, 0]]]), weights(2, 1, 4)])
    for kind, dtype in [("i64", np.int64), ("f16", np.float16)]:
        operands = [given((3, 4), kind), elements, (updates * 64).astype(dtype)]
        yield Case(f"ScatterElements-{kind}", "ScatterElements", operands, {"axis": 0})


def hot() -> Iterator[Case]:
    for axis in [0, 1, 2, -1, -2]:
        operands = [np.array([[0, 2, 1], [3, 1, 0]]), np.int64(4), floats_of(0, 1)]
        for opset in opsets("OneHot"):
            yield Case(f"OneHot-{opset}-{axis}", "OneHot", operands, {"axis": axis}, opset=opset)
    yield Case("OneHot-values", "OneHot", [ints(0, 1, 2), ints(3), floats_of(-1, 5)])
    yield Case("OneHot-negative", "OneHot", [ints(0, -1, -3), ints(3), floats_of(0, 1)])
    yield Case("OneHot-outside", "OneHot", [ints(0, 7, -9), ints(3), floats_of(0, 1)])
    yield Case("OneHot-given", "OneHot", [given((4,), "i64", "natural"), ints(5), floats_of(0, 1)])
    yield Case("OneHot-float-places", "OneHot", [given((4,), change="natural"), np.float32(5), floats_of(0, 1)])
    yield Case("OneHot-i64-values", "OneHot", [given((4,), "i64", "natural"), ints(5), ints(0, 2)])


def floats_of(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def samples() -> Iterator[Case]:
    grid = (np.random.default_rng(3).random((2, 3, 2, 2)) * 2.6 - 1.3).astype(np.float32)
    for mode in ["bilinear", "nearest", "bicubic", "linear", "cubic"]:
        opset = 20 if mode in ("linear", "cubic") else 16
        for padding in ["zeros", "border", "reflection"]:
            for corners in [0, 1]:
                attributes = {"mode": mode, "padding_mode": padding, "align_corners": corners}
                yield Case(
                    f"GridSample-{mode}-{padding}-{corners}",
                    "GridSample",
                    [given((2, 2, 4, 5)), grid],
                    attributes,
                    opset=opset,
                )
    yield Case("GridSample-default", "GridSample", [given((2, 2, 4, 5)), grid], opset=16)
    yield Case("GridSample-nearest-20", "GridSample", [given((2, 2, 4, 5)), grid], {"mode": "nearest"}, opset=20)
    yield Case("GridSample-given", "GridSample", [given((1, 2, 3, 4)), given((1, 2, 2, 2), change="inside")], opset=16)
    volume = (np.random.default_rng(4).random((1, 2, 2, 2, 3)) * 2 - 1).astype(np.float32)
    for mode in ["linear", "nearest"]:
        yield Case(
            f"GridSample-volume-{mode}", "GridSample", [given((1, 2, 3, 3, 4)), volume], {"mode": mode}, opset=20
        )
    theta = weights(2, 2, 3, seed=4)
    for corners in [0, 1]:
        yield Case(
            f"AffineGrid-{corners}", "AffineGrid", [theta, ints(2, 1, 3, 4)], {"align_corners": corners}, opset=20
        )


def cases() -> Iterator[Case]:
    for part in [gathers, scatters, hot, samples]:
        yield from part()
