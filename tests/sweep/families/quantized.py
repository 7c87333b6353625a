"""Integers that stand for floats, and products of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from case import Case, given, weights

SCALE = np.float32(0.05)


def cases() -> Iterator[Case]:
    for dtype in [np.uint8, np.int8]:
        kind = {np.uint8: "u8", np.int8: "i8"}[dtype]
        for opset in [10, 13, 19, 21]:
            for number, zero in enumerate([0, 7]):
                yield Case(
                    f"QuantizeLinear-{kind}-{opset}-{number}",
                    "QuantizeLinear",
                    [given((2, 9)), SCALE, dtype(zero)],
                    opset=opset,
                )
                yield Case(
                    f"DequantizeLinear-{kind}-{opset}-{number}",
                    "DequantizeLinear",
                    [given((2, 9), kind, "large"), SCALE, dtype(zero)],
                    opset=opset,
                )
        for axis in [0, 1, 2, -1]:
            size = (2, 3, 4)[axis]
            scales = np.linspace(0.02, 0.2, size).astype(np.float32)
            zeros = np.arange(size).astype(dtype)
            for opset in [13, 19, 21]:
                yield Case(
                    f"QuantizeLinear-{kind}-axis-{axis}-{opset}",
                    "QuantizeLinear",
                    [given((2, 3, 4)), scales, zeros],
                    {"axis": axis},
                    opset=opset,
                )
                yield Case(
                    f"DequantizeLinear-{kind}-axis-{axis}-{opset}",
                    "DequantizeLinear",
                    [given((2, 3, 4), kind, "large"), scales, zeros],
                    {"axis": axis},
                    opset=opset,
                )
        yield Case(
            f"DequantizeLinear-{kind}-no-zero", "DequantizeLinear", [given((2, 9), kind, "large"), SCALE], opset=13
        )
        blocks = np.linspace(0.02, 0.2, 6).astype(np.float32).reshape(2, 3)
        yield Case(
            f"DequantizeLinear-{kind}-blocks",
            "DequantizeLinear",
            [given((2, 6), kind, "large"), blocks],
            {"axis": 1, "block_size": 2},
            opset=21,
        )
        yield Case(
            f"QuantizeLinear-{kind}-blocks",
            "QuantizeLinear",
            [given((2, 6)), blocks, np.zeros((2, 3), dtype)],
            {"axis": 1, "block_size": 2},
            opset=21,
        )
        constant = (weights(3, 4, seed=3) * 64).astype(dtype)
        yield Case(f"DequantizeLinear-{kind}-constant", "DequantizeLinear", [constant, SCALE, dtype(3)], opset=13)
        for number, (a, b) in enumerate([((3, 4), (4, 5)), ((2, 3, 4), (4, 2)), ((2, 3, 4), (2, 4, 2))]):
            left, right = given(a, kind, "large"), (weights(*b, seed=5) * 32).astype(dtype)
            yield Case(f"MatMulInteger-{kind}-{number}", "MatMulInteger", [left, right], opset=10)
            yield Case(
                f"MatMulInteger-{kind}-{number}-zeros", "MatMulInteger", [left, right, dtype(3), dtype(2)], opset=10
            )
        rows = (weights(4, 5, seed=5) * 32).astype(dtype)
        columns = np.arange(5).astype(dtype)
        yield Case(
            f"MatMulInteger-{kind}-columns",
            "MatMulInteger",
            [given((3, 4), kind, "large"), rows, dtype(3), columns],
            opset=10,
        )
        kernel = (weights(3, 2, 3, 3, seed=6) * 32).astype(dtype)
        image = given((1, 2, 5, 6), kind, "large")
        for name, attributes in {
            "plain": {},
            "pads": {"pads": [1, 1, 1, 1]},
            "strides": {"strides": [2, 2], "pads": [0, 1, 1, 0]},
        }.items():
            yield Case(f"ConvInteger-{kind}-{name}", "ConvInteger", [image, kernel], attributes, opset=10)
            yield Case(
                f"ConvInteger-{kind}-{name}-zeros",
                "ConvInteger",
                [image, kernel, dtype(3), dtype(0)],
                attributes,
                opset=10,
            )
            operands = [image, SCALE, dtype(3), kernel, SCALE, dtype(0), np.float32(0.1), dtype(5)]
            yield Case(f"QLinearConv-{kind}-{name}", "QLinearConv", operands, attributes, opset=10)
            bias = np.array([10, -20, 30], np.int32)
            yield Case(f"QLinearConv-{kind}-{name}-bias", "QLinearConv", [*operands, bias], attributes, opset=10)
        scales = np.array([0.05, 0.02, 0.1], np.float32)
        operands = [image, SCALE, dtype(3), kernel, scales, np.zeros(3, dtype), np.float32(0.1), dtype(5)]
        yield Case(f"QLinearConv-{kind}-channels", "QLinearConv", operands, opset=10)
        operands = [given((3, 4), kind, "large"), SCALE, dtype(3), rows, SCALE, dtype(2), np.float32(0.1), dtype(5)]
        yield Case(f"QLinearMatMul-{kind}", "QLinearMatMul", operands, opset=10)
    yield Case("QuantizeLinear-no-zero", "QuantizeLinear", [given((2, 9), change="positive"), SCALE], opset=13)
    yield Case(
        "QuantizeLinear-saturates",
        "QuantizeLinear",
        [given((2, 9), change="large"), np.float32(0.01), np.uint8(100)],
        opset=13,
    )
    yield Case("DequantizeLinear-i32", "DequantizeLinear", [given((2, 9), "i32"), SCALE], opset=13)
    yield Case("DynamicQuantizeLinear", "DynamicQuantizeLinear", [given((2, 9))], opset=11, outputs=3)
    yield Case(
        "DynamicQuantizeLinear-positive",
        "DynamicQuantizeLinear",
        [given((2, 9), change="positive")],
        opset=11,
        outputs=3,
    )
    for kind in ["i16", "u16"]:
        yield Case(f"DequantizeLinear-{kind}", "DequantizeLinear", [given((2, 9), kind), SCALE], opset=21)
