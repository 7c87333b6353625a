"""Sums and the like over axes, the softmax family, cumulative sums, the largest and their places."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from case import Case, given, ints, opsets
from onnx import AttributeProto, helper

X = (2, 3, 4, 5)
EMPTY = helper.make_attribute("axes", [], attr_type=AttributeProto.INTS)
REDUCTIONS = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]


def reduced(operator: str, opset: int, axes: list[int] | None, name: str, **attributes) -> Case:
    """A reduction with its axes where this version of the standard has them."""
    change = "positive" if operator in ("ReduceLogSum", "ReduceProd") else ""
    as_input = opset >= (13 if operator == "ReduceSum" else 18)
    inputs = [given(X, change=change)]
    if axes is not None and as_input:
        inputs.append(ints(*axes))
    elif axes is not None:
        attributes["axes"] = axes or EMPTY
    return Case(f"{operator}-{opset}-{name}", operator, inputs, attributes, opset=opset)


def reductions() -> Iterator[Case]:
    several = [[1], [-1], [2, 3], [3, 1], [-2, 1], [0], [0, 1, 2, 3]]
    for kind in REDUCTIONS:
        operator = f"Reduce{kind}"
        for opset in [*opsets(operator)]:
            as_input = opset >= (13 if operator == "ReduceSum" else 18)
            for keep in [0, 1]:
                yield reduced(operator, opset, None, f"all-{keep}", keepdims=keep)
            for axes in several if opset in (9, 18) else several[:3]:
                keep = (axes[0] + opset) % 2
                name = "axes" + "".join(f"{axis:+d}" for axis in axes)
                yield reduced(operator, opset, axes, name, keepdims=keep)
            yield reduced(operator, opset, [], "empty")
            yield reduced(operator, opset, [], "empty-flat", keepdims=0)
            if as_input:
                yield reduced(operator, opset, [], "empty-noop", noop_with_empty_axes=1)
                yield reduced(operator, opset, None, "none-noop", noop_with_empty_axes=1)
                yield reduced(operator, opset, [2], "axis-noop", noop_with_empty_axes=1)
                yield reduced(operator, opset, [2, 3], "pair-noop", noop_with_empty_axes=1, keepdims=0)
        for number_kind in ["i32", "i64", "f64", "f16", "i8", "u8"]:
            operand = given((3, 4), number_kind, "counts" if kind in ("LogSum", "Prod") else "")
            yield Case(f"{operator}-{number_kind}", operator, [operand, ints(1)], opset=18)
        yield Case(f"{operator}-scalar", operator, [given(())], opset=18)
        yield Case(f"{operator}-computed-axes", operator, [given(X), given((1,), "i64", "natural")], opset=18)
    for operator in ["ReduceMax", "ReduceMin"]:
        yield Case(f"{operator}-bool", operator, [given((3, 4), "bool"), ints(1)], opset=20)
    yield Case("ReduceLogSumExp-large", "ReduceLogSumExp", [given((2, 9), change="large"), ints(1)], opset=18)


def places() -> Iterator[Case]:
    for operator in ["ArgMax", "ArgMin"]:
        for opset in [9, 11, 12, 13]:
            yield Case(f"{operator}-{opset}", operator, [given(X)], opset=opset)
            for axis in [0, 1, 2, 3] + ([-1, -3] if opset >= 11 else []):
                for keep in [0, 1]:
                    attributes = {"axis": axis, "keepdims": keep}
                    yield Case(f"{operator}-{opset}-{axis}-{keep}", operator, [given(X)], attributes, opset=opset)
        for last in [0, 1]:
            operand = given((4, 6), change="halves")
            attributes = {"axis": 1, "select_last_index": last}
            yield Case(f"{operator}-ties-{last}", operator, [operand], attributes)
        for kind in ["i32", "f64", "f16", "u8"]:
            yield Case(f"{operator}-{kind}", operator, [given((3, 4), kind)], {"axis": 1})
    for opset in [10, 11, 23]:
        for axis in [0, 1, -1, 2]:
            if axis < 0 and opset < 11:
                continue
            for largest in [0, 1]:
                attributes = {"axis": axis} | ({"largest": largest} if opset >= 11 else {})
                if opset < 11 and not largest:
                    continue
                name = f"TopK-{opset}-{axis}-{largest}"
                yield Case(name, "TopK", [given((3, 4, 5)), ints(2)], attributes, opset=opset, outputs=2)
    yield Case("TopK-9", "TopK", [given((3, 4))], {"k": 2, "axis": 1}, opset=9, outputs=2)
    yield Case("TopK-values", "TopK", [given((3, 4)), ints(2)], outputs=1)
    yield Case("TopK-places", "TopK", [given((3, 4)), ints(2)], outputs=[False, True])
    yield Case("TopK-all", "TopK", [given((3, 4)), ints(4)], outputs=2)
    yield Case("TopK-ties", "TopK", [given((3, 8), change="halves"), ints(5)], outputs=2)
    yield Case("TopK-i64", "TopK", [given((3, 8), "i64"), ints(5)], outputs=1)


def softmaxes() -> Iterator[Case]:
    for operator in ["Softmax", "LogSoftmax", "Hardmax"]:
        for opset in [9, 11, 13]:
            yield Case(f"{operator}-{opset}", operator, [given(X)], opset=opset)
            for axis in [0, 1, 2, 3] + ([-1, -2, -4] if opset >= 11 else []):
                yield Case(f"{operator}-{opset}-{axis}", operator, [given(X)], {"axis": axis}, opset=opset)
        for kind in ["f16", "f64"]:
            yield Case(f"{operator}-{kind}", operator, [given((3, 4), kind)], {"axis": 0})
        yield Case(f"{operator}-vector", operator, [given((7,))], {"axis": 0})
        yield Case(f"{operator}-large", operator, [given((3, 7), change="large")], {"axis": -1})
        yield Case(f"{operator}-one", operator, [given((3, 1))], {"axis": 1})
    yield Case("Hardmax-ties", "Hardmax", [given((4, 8), change="halves")])


def running() -> Iterator[Case]:
    for exclusive in [0, 1]:
        for reverse in [0, 1]:
            attributes = {"exclusive": exclusive, "reverse": reverse}
            for axis in [0, 1, -1, -2]:
                for opset in [11, 14]:
                    name = f"CumSum-{opset}-{axis}-{exclusive}-{reverse}"
                    operands = [given((3, 4, 5)), np.int64(axis)]
                    yield Case(name, "CumSum", operands, attributes, opset=opset)
    for kind in ["i32", "i64", "f64"]:
        yield Case(f"CumSum-{kind}", "CumSum", [given((3, 4), kind), np.int32(1)], opset=14)
    yield Case("CumSum-list", "CumSum", [given((3, 4)), ints(1)], opset=14)


def cases() -> Iterator[Case]:
    for part in [reductions, places, softmaxes, running]:
        yield from part()
