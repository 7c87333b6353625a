"""Operators that take each number by itself: activations, arithmetic, comparisons, logic, types."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from case import TYPES, Case, floats, given, opsets, weights
from onnx import TensorProto, helper

X = (2, 3, 4, 5)

UNARY = {
    "": ["Abs", "Neg", "Ceil", "Floor", "Round", "Sign", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Asinh", "Tanh"],
    " ": ["Exp", "Erf", "Relu", "Sigmoid", "Softplus", "Softsign", "HardSwish", "Mish", "Identity", "Gelu", "Swish"],
    "positive": ["Sqrt", "Log", "Reciprocal"],
    "inside": ["Asin", "Acos", "Atanh"],
    "above": ["Acosh"],
}
ACTIVATIONS = {
    "Elu": [{}, {"alpha": 0.3}, {"alpha": 2.0}],
    "Celu": [{}, {"alpha": 0.3}, {"alpha": 2.5}],
    "Selu": [{}, {"alpha": 1.0, "gamma": 2.0}, {"alpha": 2.0}, {"gamma": 0.5}],
    "LeakyRelu": [{}, {"alpha": 0.3}, {"alpha": -0.5}],
    "ThresholdedRelu": [{}, {"alpha": 0.2}, {"alpha": -0.5}],
    "HardSigmoid": [{}, {"alpha": 0.5}, {"beta": 0.1}, {"alpha": 0.7, "beta": 0.3}],
    "Shrink": [{}, {"lambd": 0.8}, {"bias": 0.3}, {"lambd": 0.4, "bias": -0.2}],
    "Gelu": [{"approximate": "none"}, {"approximate": "tanh"}],
    "IsInf": [{"detect_negative": 0}, {"detect_positive": 0}],
}
BROADCASTS = [(3, 1, 5), (4, 1), (1,), (), (2, 1, 1, 5)]


def unary() -> Iterator[Case]:
    for change, operators in UNARY.items():
        for operator in operators:
            for opset in opsets(operator):
                yield Case(f"{operator}-{opset}", operator, [given(X, change=change.strip())], opset=opset)
            for kind in ["f16", "f64"]:
                operand = given((2, 9), kind, change.strip())
                yield Case(f"{operator}-{kind}", operator, [operand], opset=max(opsets(operator) or [24]))
    for operator in ["Abs", "Neg", "Sign", "Relu", "Identity"]:
        for kind in ["i8", "i32", "i64"]:
            yield Case(f"{operator}-{kind}", operator, [given((2, 9), kind)], opset=18)
    for operator in ["Round", "Floor", "Ceil", "Sign", "Relu"]:
        yield Case(f"{operator}-halves", operator, [given(X, change="halves")])
    for operator in ["Exp", "Sigmoid", "Tanh", "Softplus", "Erf", "Gelu", "Mish"]:
        yield Case(f"{operator}-large", operator, [given(X, change="large")], opset=20)
    yield Case("Not", "Not", [given((2, 9), "bool")])
    yield Case("IsNaN", "IsNaN", [given((2, 9))])
    for kind in ["i32", "u8"]:
        yield Case(f"BitwiseNot-{kind}", "BitwiseNot", [given((2, 9), kind)], opset=18)


def activations() -> Iterator[Case]:
    for operator, several in ACTIVATIONS.items():
        for number, attributes in enumerate(several):
            for opset in opsets(operator):
                yield Case(f"{operator}-{number}-{opset}", operator, [given(X)], attributes, opset=opset)
        yield Case(f"{operator}-wide", operator, [given(X, change="large")], several[-1], opset=20)
    slopes = [(5,), (3, 1, 1), (1, 3, 1, 1), (4, 1), (1,), (2, 3, 4, 5), ()]
    for number, shape in enumerate(slopes):
        for opset in [9, 16]:
            yield Case(f"PRelu-{number}-{opset}", "PRelu", [given(X), weights(*shape, seed=1)], opset=opset)
    yield Case("PRelu-given", "PRelu", [given((2, 3, 4)), given((3, 1))], opset=16)
    for kind in ["f16", "i32"]:
        yield Case(f"PRelu-{kind}", "PRelu", [given((2, 6), kind), given((6,), kind)], opset=16)


def binary() -> Iterator[Case]:
    for operator in ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"]:
        for number, shape in enumerate(BROADCASTS):
            other = weights(*shape, seed=2) + np.float32(2)
            yield Case(f"{operator}-right-{number}", operator, [given(X), other])
            yield Case(f"{operator}-left-{number}", operator, [other, given(X, change="positive")])
        for opset in opsets(operator):
            yield Case(
                f"{operator}-{opset}", operator, [given((3, 4)), given((2, 1, 4), change="positive")], opset=opset
            )
    for operator in ["Add", "Sub", "Mul", "Div"]:
        for kind in ["i8", "u8", "i32", "i64", "u32", "f16", "f64"]:
            change = "counts" if kind[0] in "iu" else "above"
            if operator == "Sub" and kind[0] == "u":
                continue  # Unsigned numbers below zero are nobody's answer.
            yield Case(f"{operator}-{kind}", operator, [given((3, 4), kind), given((4,), kind, change)], opset=14)
    for operator in ["Max", "Min"]:
        for kind in ["i32", "i64", "u8", "f16", "f64"]:
            yield Case(f"{operator}-{kind}", operator, [given((3, 4), kind), given((4,), kind)], opset=13)
    for operator in ["Max", "Min", "Sum", "Mean"]:
        yield Case(f"{operator}-one", operator, [given(X)])
        yield Case(f"{operator}-three", operator, [given((3, 4)), given((4,)), given((2, 1, 1))])
        yield Case(f"{operator}-constants", operator, [given((3, 4)), weights(4), weights(3, 1), np.float32(0.1)])
    for opset in [9, 12, 13, 15]:
        for number, exponent in enumerate([2.0, 3.0, 0.5, -1.0, -0.5, 0.0, 1.0]):
            operands = [given((2, 9), change="positive"), np.float32(exponent)]
            yield Case(f"Pow-{number}-{opset}", "Pow", operands, opset=opset)
    yield Case("Pow-negative", "Pow", [given((2, 9)), floats(3.0)])
    yield Case("Pow-given", "Pow", [given((2, 9), change="positive"), given((9,))])
    for base, exponent in [
        ("f32", "i64"),
        ("f32", "i32"),
        ("i32", "i32"),
        ("i64", "f32"),
        ("i32", "i64"),
        ("f16", "f32"),
    ]:
        operands = [given((2, 9), base), given((9,), exponent, "counts")]
        if (base, exponent) == ("i32", "i64"):  # negative ones too
            operands = [given((2, 9), base, "counts"), given((9,), exponent)]
        yield Case(f"Pow-{base}-{exponent}", "Pow", operands, opset=15)


def integers() -> Iterator[Case]:
    for fmod in [0, 1]:
        for kind in ["i8", "i32", "i64", "u8", "u32"]:
            operands = [given((3, 6), kind, "large"), given((6,), kind, "counts")]
            yield Case(f"Mod-{kind}-{fmod}", "Mod", operands, {"fmod": fmod}, opset=13)
    for number, sign in enumerate([1, -1]):
        for fmod in [0, 1]:
            operands = [given((3, 6), "i32", "large"), np.array([3 * sign], np.int32)]
            yield Case(f"Mod-sign-{number}-{fmod}", "Mod", operands, {"fmod": fmod}, opset=13)
    for kind in ["f32", "f64", "f16"]:
        operands = [given((3, 6), kind), given((6,), kind, "positive")]
        yield Case(f"Mod-{kind}", "Mod", operands, {"fmod": 1}, opset=13)
    yield Case("Mod-10", "Mod", [given((3, 6), "i32", "large"), given((6,), "i32", "counts")], opset=10)
    yield Case("Div-truncates", "Div", [given((3, 6), "i32", "large"), np.array([3, -3, 2, -2, 1, 4], np.int32)])
    for direction in ["LEFT", "RIGHT"]:
        for kind in ["u8", "u16", "u32", "u64"]:
            operands = [given((3, 4), kind, "natural"), given((4,), kind, "counts")]
            yield Case(f"BitShift-{kind}-{direction}", "BitShift", operands, {"direction": direction}, opset=11)
    for operator in ["BitwiseAnd", "BitwiseOr", "BitwiseXor"]:
        for kind in ["i32", "u8", "i64"]:
            yield Case(
                f"{operator}-{kind}", operator, [given((3, 4), kind, "large"), given((4,), kind, "large")], opset=18
            )


def logic() -> Iterator[Case]:
    for operator in ["And", "Or", "Xor"]:
        yield Case(f"{operator}", operator, [given((3, 4), "bool"), given((2, 1, 4), "bool")])
        yield Case(f"{operator}-constant", operator, [given((3, 4), "bool"), np.array([True, False, True, False])])
    for operator in ["Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"]:
        for opset in [version for version in opsets(operator) if version >= OLDEST_OF.get(operator, 9)]:
            yield Case(
                f"{operator}-{opset}",
                operator,
                [given((3, 4), change="whole"), given((2, 1, 4), change="whole")],
                opset=max(opset, 11),
            )
        for kind in ["i32", "i64", "f64", "f16", "u8"]:
            yield Case(
                f"{operator}-{kind}", operator, [given((3, 4), kind, "whole"), given((4,), kind, "whole")], opset=16
            )
    yield Case("Equal-bool", "Equal", [given((3, 4), "bool"), given((4,), "bool")])
    for number, (mask, one, two) in enumerate(
        [((3, 4), (3, 4), (3, 4)), ((4,), (2, 3, 1), (3, 4)), ((3, 1), (1,), (2, 1, 4)), ((2, 1, 1), (), (4,))]
    ):
        for opset in [9, 16]:
            yield Case(f"Where-{number}-{opset}", "Where", [given(mask, "bool"), given(one), given(two)], opset=opset)
    for kind in ["i64", "i32", "f16", "u8"]:
        yield Case(f"Where-{kind}", "Where", [given((3, 4), "bool"), given((3, 4), kind), given((4,), kind)])
    yield Case("Where-constant", "Where", [np.array([[True], [False]]), given((2, 4)), np.float32(-9)])


OLDEST_OF = {"GreaterOrEqual": 12, "LessOrEqual": 12}


def clip() -> Iterator[Case]:
    low, high = np.float32(-0.5), np.float32(0.25)
    for number, attributes in enumerate([{}, {"min": -0.5}, {"max": 0.25}, {"min": -0.5, "max": 0.25}]):
        yield Case(f"Clip-9-{number}", "Clip", [given(X)], attributes, opset=9)
    for opset in [11, 12, 13]:
        for number, bounds in enumerate([[], [low], [None, high], [low, high]]):
            yield Case(f"Clip-{opset}-{number}", "Clip", [given(X), *bounds], opset=opset)
    yield Case("Clip-crossed", "Clip", [given(X), high, low])
    yield Case("Clip-given", "Clip", [given((2, 9)), given(()), np.float32(1)])
    for kind, dtype in [
        ("i32", np.int32),
        ("i64", np.int64),
        ("u8", np.uint8),
        ("i8", np.int8),
        ("f16", np.float16),
        ("f64", np.float64),
    ]:
        yield Case(f"Clip-{kind}", "Clip", [given((2, 9), kind), dtype(1), dtype(3)])
        yield Case(f"Clip-{kind}-upper", "Clip", [given((2, 9), kind), None, dtype(2)])


def casts() -> Iterator[Case]:
    for source in ["f32", "f16", "f64", "i32", "i64", "i8", "u8", "bool", "i16", "u16"]:
        for to in TYPES:
            change = "large" if source in ("f32", "f64", "f16", "bf16") else ""
            if source[0] in "fb" and source != "bool" and to[0] == "u":
                change = "positive"
            if source[0] == "i" and to[0] == "u":
                change = "natural"
            if to != "bf16":  # NumPy, which the answers come in, has no such type.
                yield Case(f"Cast-{source}-{to}", "Cast", [given((2, 9), source, change)], {"to": TYPES[to]}, opset=19)
    for opset in [9, 13, 19, 21, 23]:
        yield Case(f"Cast-opset-{opset}", "Cast", [given(X, change="large")], {"to": TensorProto.INT32}, opset=opset)
    for kind in ["f16", "i32", "bool", "f64"]:
        yield Case(f"CastLike-{kind}", "CastLike", [given((2, 9), change="large"), given((1,), kind)], opset=19)
        like = helper.make_tensor("like", TYPES[kind], [1], [1])
        yield Case(f"CastLike-{kind}-constant", "CastLike", [given((2, 9), change="large"), like], opset=19)


def constants() -> Iterator[Case]:
    for number, (value, opset) in enumerate(
        [
            ({"value": helper.make_tensor("v", TensorProto.FLOAT, [2, 3], [1, 2, 3, 4, 5, 6.5])}, 9),
            ({"value": helper.make_tensor("v", TensorProto.FLOAT16, [3], [1, 2, 3.5])}, 9),
            ({"value": helper.make_tensor("v", TensorProto.INT32, [], [7])}, 9),
            ({"value": helper.make_tensor("v", TensorProto.BOOL, [3], [1, 0, 1])}, 9),
            ({"value_float": 1.5}, 12),
            ({"value_floats": [1.5, 2.5]}, 12),
            ({"value_int": 3}, 12),
            ({"value_ints": [3, -4]}, 12),
        ]
    ):
        yield Case(f"Constant-{number}", "Constant", [], value, opset=opset)
    for number, value in enumerate(
        [None, floats(1.5), np.array([3], np.int64), np.array([2], np.int32), np.array([True])]
    ):
        attributes = (
            {}
            if value is None
            else {"value": helper.make_tensor("v", helper.np_dtype_to_tensor_dtype(value.dtype), [1], value)}
        )
        for opset in [9, 20]:
            yield Case(
                f"ConstantOfShape-{number}-{opset}", "ConstantOfShape", [np.array([2, 3])], attributes, opset=opset
            )
    yield Case(
        "ConstantOfShape-scalar",
        "ConstantOfShape",
        [np.zeros(0, np.int64)],
        {"value": helper.make_tensor("v", 1, [1], [2.5])},
    )


def cases() -> Iterator[Case]:
    for part in [unary, activations, binary, integers, logic, clip, casts, constants]:
        yield from part()
