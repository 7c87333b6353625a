"""Weights that the graph stores as whole numbers with scales, as quantizers write them."""

from __future__ import annotations

from collections.abc import Iterator

import ml_dtypes
import numpy as np
from case import Case, Dequantized, given, ints

KINDS = {"i8": np.int8, "u8": np.uint8, "i4": ml_dtypes.int4, "u4": ml_dtypes.uint4}
RANGES = {"i8": (-128, 128), "u8": (0, 256), "i4": (-8, 8), "u4": (0, 16)}


def whole(kind: str, *shape: int, seed: int = 1) -> np.ndarray:
    least, end = RANGES[kind]
    return np.asarray(np.random.default_rng(seed).integers(least, end, size=shape)).astype(KINDS[kind])


def scales(*shape: int) -> np.ndarray:
    return np.asarray(np.random.default_rng(2).uniform(0.004, 0.05, size=shape), np.float32)


def zeros(kind: str, *shape: int) -> np.ndarray:
    least, end = RANGES[kind]
    return np.asarray(np.random.default_rng(3).integers(least // 2, end // 2, size=shape)).astype(KINDS[kind])


def sharing(kind: str, shape: tuple[int, ...], axis: int) -> Iterator[tuple[str, dict]]:
    """The ways to give a weight scales: `axis` is that of its outputs, blocks lie along the other one."""
    columns, inner = shape[axis], 1 - axis
    yield "whole", {"scale": scales(), "zero": zeros(kind)}
    yield "axis", {"scale": scales(columns), "attributes": {"axis": axis}}
    yield "axis-zeros", {"scale": scales(columns), "zero": zeros(kind, columns), "attributes": {"axis": axis}}
    yield "inner", {"scale": scales(shape[inner]), "attributes": {"axis": inner}}
    for size in [4, 5]:
        blocks = list(shape)
        blocks[inner] = -(-shape[inner] // size)
        attributes = {"axis": inner, "block_size": size}
        yield f"blocks-{size}", {"scale": scales(*blocks), "zero": zeros(kind, *blocks), "attributes": attributes}


def cases() -> Iterator[Case]:
    rows = given((3, 12))
    for kind in KINDS:
        for name, how in sharing(kind, (12, 8), 1):
            weight = Dequantized(whole(kind, 12, 8), **how)
            yield Case(f"MatMul-{kind}-{name}", "MatMul", [rows, weight], opset=21)
        for name, how in sharing(kind, (8, 12), 0):
            weight = Dequantized(whole(kind, 8, 12), **how)
            bias = np.linspace(-1, 1, 8).astype(np.float32)
            yield Case(f"Gemm-{kind}-{name}", "Gemm", [rows, weight, bias], {"transB": 1}, opset=21)
            turned = Dequantized(whole(kind, 8, 12), **how, behind=[("Transpose", None, {"perm": [1, 0]})])
            yield Case(f"MatMul-{kind}-{name}-transposed", "MatMul", [rows, turned], opset=21)
        odd = Dequantized(whole(kind, 5, 3), scales(3), zeros(kind, 3), {"axis": 1})
        yield Case(f"MatMul-{kind}-odd", "MatMul", [given((3, 5)), odd], opset=21)
        flat = Dequantized(
            whole(kind, 2, 6, 8), scales(8), attributes={"axis": 2}, behind=[("Reshape", ints(12, 8), {})]
        )
        yield Case(f"MatMul-{kind}-reshaped", "MatMul", [rows, flat], opset=21)
        cast = Dequantized(whole(kind, 12, 8), scales(), behind=[("Cast", None, {"to": 1})])
        yield Case(f"MatMul-{kind}-cast", "MatMul", [rows, cast], opset=21)
        for taps in [1, 3]:
            kernel = Dequantized(whole(kind, 5, 4, taps, taps), scales(5), zeros(kind, 5), {"axis": 0})
            attributes = {"pads": [taps // 2] * 4}
            yield Case(f"Conv-{kind}-{taps}", "Conv", [given((2, 4, 6, 7)), kernel], attributes, opset=21)
        for operator, slot in [("Add", 1), ("Sub", 0), ("Where", 2)]:
            added = Dequantized(whole(kind, 3, 12), scales(12), attributes={"axis": 1})
            operands = [rows, added] if slot == 1 else [added, rows]
            if operator == "Where":
                operands = [np.arange(36).reshape(3, 12) % 2 == 0, *operands]
            yield Case(f"{operator}-{kind}-constant", operator, operands, opset=21)
    for opset in [13, 19, 21]:
        for kind in ["i8", "u8"]:
            weight = Dequantized(whole(kind, 12, 8), scales(8), zeros(kind, 8), {"axis": -1})
            yield Case(f"MatMul-{kind}-{opset}", "MatMul", [rows, weight], opset=opset)
    bias = Dequantized(np.arange(-4, 4, dtype=np.int32) * 100, scales(8), attributes={"axis": 0})
    weight = Dequantized(whole("i8", 8, 12), scales(8), attributes={"axis": 0})
    yield Case("Gemm-i8-bias", "Gemm", [rows, weight, bias], {"transB": 1}, opset=21)
    table = Dequantized(whole("i8", 12, 12), scales(12), attributes={"axis": 0})
    yield Case("Gather-i8", "Gather", [table, given((4,), "i64", "natural")], opset=21)
