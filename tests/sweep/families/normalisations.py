"""Normalisations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from case import Case, given, opsets, weights
from onnx import TensorProto

X = (2, 4, 3, 5)


def batch() -> Iterator[Case]:
    operands = [
        given(X),
        weights(4, seed=1),
        weights(4, seed=2),
        weights(4, seed=3),
        np.abs(weights(4, seed=4)) + np.float32(0.1),
    ]
    for opset in opsets("BatchNormalization"):
        for number, attributes in enumerate([{}, {"epsilon": 0.1}, {"momentum": 0.5}]):
            yield Case(f"BatchNormalization-{opset}-{number}", "BatchNormalization", operands, attributes, opset=opset)
    for shape in [(2, 4), (2, 4, 7), (1, 4, 2, 3, 2)]:
        yield Case(f"BatchNormalization-axes-{len(shape)}", "BatchNormalization", [given(shape), *operands[1:]])
    yield Case("BatchNormalization-training", "BatchNormalization", operands, {"training_mode": 1}, outputs=3)
    yield Case("BatchNormalization-training-alone", "BatchNormalization", operands, {"training_mode": 1})


def groups() -> Iterator[Case]:
    for opset in opsets("InstanceNormalization"):
        for number, attributes in enumerate([{}, {"epsilon": 0.2}]):
            operands = [given(X), weights(4, seed=1), weights(4, seed=2)]
            yield Case(
                f"InstanceNormalization-{opset}-{number}", "InstanceNormalization", operands, attributes, opset=opset
            )
    for shape in [(2, 4, 9), (1, 4, 2, 3, 2)]:
        operands = [given(shape), weights(4, seed=1), weights(4, seed=2)]
        yield Case(f"InstanceNormalization-axes-{len(shape)}", "InstanceNormalization", operands)
    for count in [1, 2, 4]:
        for number, more in enumerate([{}, {"epsilon": 0.2}]):
            attributes = {"num_groups": count} | more
            operands = [given(X), weights(count, seed=1), weights(count, seed=2)]
            yield Case(f"GroupNormalization-18-{count}-{number}", "GroupNormalization", operands, attributes, opset=18)
            operands = [given(X), weights(4, seed=1), weights(4, seed=2)]
            yield Case(f"GroupNormalization-21-{count}-{number}", "GroupNormalization", operands, attributes, opset=21)
    for stash in [1, 10]:
        attributes = {"num_groups": 2, "stash_type": stash}
        operands = [given((1, 4, 6), "f16"), weights(4).astype(np.float16), weights(4, seed=1).astype(np.float16)]
        yield Case(f"GroupNormalization-f16-{stash}", "GroupNormalization", operands, attributes, opset=21)
    yield Case(
        "GroupNormalization-line",
        "GroupNormalization",
        [given((2, 4, 7)), weights(4), weights(4, seed=1)],
        {"num_groups": 2},
        opset=21,
    )


def layers() -> Iterator[Case]:
    for axis in [0, 1, 2, 3, -1, -2, -3]:
        shape = X[axis:]
        for bias in [0, 1]:
            operands = [given(X), weights(*shape, seed=1), *([weights(*shape, seed=2)] if bias else [])]
            yield Case(f"LayerNormalization-{axis}-{bias}", "LayerNormalization", operands, {"axis": axis})
            if not bias:
                yield Case(f"RMSNormalization-{axis}", "RMSNormalization", operands, {"axis": axis}, opset=23)
    last = [given(X), weights(5, seed=1), weights(5, seed=2)]
    for number, attributes in enumerate([{}, {"epsilon": 0.2}, {"stash_type": 1}]):
        yield Case(f"LayerNormalization-default-{number}", "LayerNormalization", last, attributes)
        yield Case(f"RMSNormalization-default-{number}", "RMSNormalization", last[:2], attributes, opset=23)
    yield Case("LayerNormalization-mean", "LayerNormalization", last, {"axis": -1}, outputs=3)
    yield Case("LayerNormalization-mean-2", "LayerNormalization", [given(X), weights(3, 5)], {"axis": 2}, outputs=2)
    yield Case("LayerNormalization-deviation", "LayerNormalization", last, {"axis": -1}, outputs=[True, False, True])
    yield Case("LayerNormalization-broadcast", "LayerNormalization", [given(X), weights(1, seed=1)], {"axis": -1})
    yield Case("LayerNormalization-broadcast-2", "LayerNormalization", [given(X), weights(5, seed=1)], {"axis": 2})
    yield Case("LayerNormalization-scalar", "LayerNormalization", [given(X), np.float32(0.5)], {"axis": 1})
    yield Case("LayerNormalization-given", "LayerNormalization", [given((3, 4)), given((4,)), given((4,))])
    for kind, dtype in [("f16", np.float16), ("f64", np.float64)]:
        operands = [given((3, 8), kind), weights(8, seed=1).astype(dtype)]
        # ONNX Runtime keeps to double precision whatever the attribute says.
        for stash in [TensorProto.FLOAT, TensorProto.FLOAT16] if kind == "f16" else [TensorProto.FLOAT]:
            yield Case(f"LayerNormalization-{kind}-{stash}", "LayerNormalization", operands, {"stash_type": stash})
            yield Case(
                f"RMSNormalization-{kind}-{stash}", "RMSNormalization", operands, {"stash_type": stash}, opset=23
            )


def others() -> Iterator[Case]:
    for axis in [0, 1, 3, -1, -2]:
        for p in [1, 2]:
            yield Case(f"LpNormalization-{axis}-{p}", "LpNormalization", [given(X)], {"axis": axis, "p": p})
    for opset in opsets("LpNormalization"):
        yield Case(f"LpNormalization-opset-{opset}", "LpNormalization", [given(X)], opset=opset)
    for opset in opsets("MeanVarianceNormalization"):
        yield Case(f"MeanVarianceNormalization-{opset}", "MeanVarianceNormalization", [given(X)], opset=opset)
        for axes in [[1], [2, 3], [0, 1, 2, 3], [-1], [3, 0]]:
            name = "MeanVarianceNormalization-" + str(opset) + "".join(f"{axis:+d}" for axis in axes)
            yield Case(name, "MeanVarianceNormalization", [given(X)], {"axes": axes}, opset=opset)
    for size in [1, 2, 3, 4, 5]:
        yield Case(f"LRN-{size}", "LRN", [given((2, 6, 2, 3))], {"size": size})
        attributes = {"size": size, "alpha": 0.5, "beta": 0.3, "bias": 2.0}
        yield Case(f"LRN-{size}-all", "LRN", [given((2, 6, 2, 3))], attributes)
    for opset in [9, 10, 12, 13, 22]:
        inputs = [given((3, 4))]
        if opset < 12:
            yield Case(f"Dropout-{opset}", "Dropout", inputs, {"ratio": 0.3}, opset=opset)
            continue
        yield Case(f"Dropout-{opset}", "Dropout", inputs, opset=opset)
        yield Case(f"Dropout-{opset}-ratio", "Dropout", [*inputs, np.float32(0.4)], opset=opset)
        yield Case(f"Dropout-{opset}-false", "Dropout", [*inputs, np.float32(0.4), np.bool_(False)], opset=opset)
        yield Case(f"Dropout-{opset}-mask", "Dropout", inputs, opset=opset, outputs=2)
        yield Case(f"Dropout-{opset}-training", "Dropout", [*inputs, np.float32(0.0), np.bool_(True)], opset=opset)


def cases() -> Iterator[Case]:
    for part in [batch, groups, layers, others]:
        yield from part()
