"""Operators with graphs inside of them, signals, and those of other domains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from case import Case, given, ints, weights
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

MICROSOFT, LEARNING = "com.microsoft", "ai.onnx.ml"


def inner(nodes: Sequence[NodeProto], inputs: dict, outputs: dict, constants: dict | None = None) -> GraphProto:
    """A graph for an attribute; names of the outer graph may be used in it: `i0` is what its first input is."""

    def ports(named: dict) -> list:
        return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in named.items()]

    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    return helper.make_graph(nodes, "inner", ports(inputs), ports(outputs), tensors)


def branches() -> Iterator[Case]:
    f32 = (TensorProto.FLOAT, [2, 3])
    constant = {"c": weights(2, 3, seed=1)}
    then = inner([helper.make_node("Neg", ["c"], ["a"])], {}, {"a": f32}, constant)
    other = inner([helper.make_node("Exp", ["c"], ["b"])], {}, {"b": f32}, constant)
    attributes = {"then_branch": then, "else_branch": other}
    for opset in [11, 13, 16, 19]:
        for number, condition in enumerate([np.bool_(True), np.bool_(False)]):
            yield Case(f"If-{opset}-{number}", "If", [condition], attributes, opset=opset)
        yield Case(f"If-{opset}-given", "If", [given((), "bool")], attributes, opset=opset)
    # Branches that take what is around them.
    then = inner([helper.make_node("Neg", ["f"], ["a"])], {}, {"a": (TensorProto.FLOAT, [1])})
    other = inner([helper.make_node("Exp", ["f"], ["b"])], {}, {"b": (TensorProto.FLOAT, [1])})
    yield Case("If-around", "If", [given((), "bool")], {"then_branch": then, "else_branch": other})


def loops() -> Iterator[Case]:
    state, step = (TensorProto.FLOAT, [2]), (TensorProto.FLOAT, [2])
    nodes = [
        helper.make_node("Add", ["s", "e"], ["s1"]),
        helper.make_node("Mul", ["s1", "e"], ["o"]),
    ]
    body = inner(nodes, {"s": state, "e": step}, {"s1": state, "o": step})
    for opset in [9, 11, 16, 19]:
        for name, more, shape in [
            ("plain", {}, (3, 2)),
            ("backward", {"scan_input_directions": [1]}, (3, 2)),
            ("both-backward", {"scan_input_directions": [1], "scan_output_directions": [1]}, (3, 2)),
            ("output-backward", {"scan_output_directions": [1]}, (3, 2)),
            ("axes", {"scan_input_axes": [1]}, (2, 3)),
            ("both-axes", {"scan_input_axes": [1], "scan_output_axes": [1]}, (2, 3)),
        ]:
            attributes = {"body": body, "num_scan_inputs": 1} | more
            yield Case(f"Scan-{opset}-{name}", "Scan", [given((2,)), given(shape)], attributes, opset=opset, outputs=2)
    loop = inner(
        [helper.make_node("Identity", ["more"], ["m"]), helper.make_node("Mul", ["s", "two"], ["s1"])],
        {"i": (TensorProto.INT64, []), "more": (TensorProto.BOOL, []), "s": state},
        {"m": (TensorProto.BOOL, []), "s1": state},
        {"two": np.float32(2)},
    )
    operands = [np.int64(3), np.bool_(True), given((2,))]
    yield Case("Loop", "Loop", operands, {"body": loop}, opset=13)


def signals() -> Iterator[Case]:
    for operator in ["HannWindow", "HammingWindow", "BlackmanWindow"]:
        for periodic in [0, 1]:
            yield Case(f"{operator}-{periodic}", operator, [np.int64(7)], {"periodic": periodic})
    for onesided in [0, 1]:
        for inverse in [0, 1]:
            if onesided and inverse:
                continue
            attributes = {"axis": 1, "onesided": onesided, "inverse": inverse}
            yield Case(f"DFT-17-{onesided}-{inverse}", "DFT", [given((1, 6, 1))], attributes, opset=17)
            more = {"onesided": onesided, "inverse": inverse}
            yield Case(f"DFT-20-{onesided}-{inverse}", "DFT", [given((1, 6, 1)), None, np.int64(1)], more, opset=20)
    yield Case("DFT-complex", "DFT", [given((1, 6, 2))], {"axis": 1}, opset=17)
    yield Case("DFT-length", "DFT", [given((1, 6, 1)), np.int64(4)], {"axis": 1}, opset=17)
    yield Case("DFT-padded", "DFT", [given((1, 6, 1)), np.int64(9)], {"axis": 1}, opset=17)
    for onesided in [0, 1]:
        operands = [given((1, 12, 1)), np.int64(3), weights(4, seed=2)]
        yield Case(f"STFT-{onesided}", "STFT", operands, {"onesided": onesided})
    operands = [np.int64(4), np.int64(16), np.int64(8000), np.float32(100), np.float32(3000)]
    yield Case("MelWeightMatrix", "MelWeightMatrix", operands)
    for center in [0, 1]:
        boxes = np.array([[[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 2, 1, 3]]], np.float32)
        scores = np.array([[[0.9, 0.75, 0.6]]], np.float32)
        operands = [boxes, scores, ints(2), np.array([0.5], np.float32), np.array([0.1], np.float32)]
        yield Case(f"NonMaxSuppression-{center}", "NonMaxSuppression", operands, {"center_point_box": center})


def contributed() -> Iterator[Case]:
    def case(name: str, operator: str, operands: list, attributes: dict | None = None, **more) -> Case:
        return Case(name, operator, operands, attributes or {}, domain=MICROSOFT, **more)

    x = given((2, 3, 4))
    yield case("BiasGelu", "BiasGelu", [x, weights(4)])
    yield case("FastGelu", "FastGelu", [x])
    yield case("FastGelu-bias", "FastGelu", [x, weights(4)])
    for alpha in [1.0, 1.702, 0.5]:
        yield case(f"QuickGelu-{alpha}", "QuickGelu", [x], {"alpha": alpha})
    yield case("QuickGelu", "QuickGelu", [x])
    for bias in [0, 1]:
        operands = [x, given((2, 3, 4)), weights(4, seed=1), weights(4, seed=2)]
        if bias:
            operands.append(weights(4, seed=3))
        yield case(f"SkipLayerNormalization-{bias}", "SkipLayerNormalization", operands, {"epsilon": 0.01})
    yield Case("SimplifiedLayerNormalization", "SimplifiedLayerNormalization", [x, weights(4)], {"axis": -1})
    cosines, sines = weights(6, 2, seed=1), weights(6, 2, seed=2)
    for interleaved in [0, 1]:
        operands = [given((1, 3, 4)), np.array([[0, 2, 4]]), cosines, sines]
        yield case(f"RotaryEmbedding-{interleaved}", "RotaryEmbedding", operands, {"interleaved": interleaved})
    packed = np.random.default_rng(3).integers(0, 256, (4, 1, 8), dtype=np.uint8)
    attributes = {"K": 16, "N": 4, "bits": 4, "block_size": 16}
    yield case("MatMulNBits", "MatMulNBits", [given((3, 16)), packed, weights(4, seed=2)], attributes)
    table = np.random.default_rng(4).integers(0, 256, (5, 16), dtype=np.uint8)
    attributes = {"bits": 8, "block_size": 16, "gather_axis": 0, "quantize_axis": 1}
    scales = weights(5, 1, seed=2)
    yield case("GatherBlockQuantized", "GatherBlockQuantized", [table, ints(1, 3), scales], attributes)


def learning() -> Iterator[Case]:
    for norm in ["MAX", "L1", "L2"]:
        yield Case(f"Normalizer-{norm}", "Normalizer", [given((3, 4))], {"norm": norm}, domain=LEARNING)
    attributes = {"coefficients": [0.5, -1.0, 0.25, 2.0], "intercepts": [0.5], "targets": 1}
    yield Case("LinearRegressor", "LinearRegressor", [given((3, 4))], attributes, domain=LEARNING)
    yield Case("ArrayFeatureExtractor", "ArrayFeatureExtractor", [given((3, 4)), ints(2, 0)], domain=LEARNING)


def cases() -> Iterator[Case]:
    for part in [branches, loops, signals, contributed, learning]:
        yield from part()
