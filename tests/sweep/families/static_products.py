"""Activations that are rounded by fixed scales, and products of them, as `quantize_static` writes them: between
`QuantizeLinear` and `DequantizeLinear` (QDQ), or by operators of whole numbers (QOperator).

Weights have 7 bits: with 8, ONNX Runtime's sums of two products saturate where a processor lacks VNNI.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from case import Case, Writer, given, ints
from onnx import numpy_helper

from families.dynamic_products import KINDS, numbers

WIDE = {**KINDS, "i16": np.int16, "u16": np.uint16}
ZEROS = {"i8": -3, "u8": 131, "i16": -300, "u16": 30000}
SCALE = np.float32(0.037)


class Rounding:
    """Writes what is rounded, and makes floats of it."""

    def __init__(self, writer: Writer, kind: str, constants: bool = False):
        self.writer, self.kind, self.constants = writer, kind, constants

    def fixed(self, name: str, value: np.ndarray) -> str:
        """An initializer, or the output of a `Constant`, as PyTorch's exporter has it."""
        if not self.constants:
            return self.writer.constant(name, value)
        return self.writer.node("Constant", [], name, value=numpy_helper.from_array(np.asarray(value)))

    def parts(self, name: str, scale: float = SCALE, zero: int | None = None) -> list[str]:
        zero = ZEROS[self.kind] if zero is None else zero
        names = [self.fixed(f"{name}_scale", np.float32(scale))]
        return [*names, self.fixed(f"{name}_zero", WIDE[self.kind](zero))]

    def rounded(self, x: str, name: str, parts: list[str]) -> str:
        self.writer.nodes_of("QuantizeLinear", [x, *parts], [name])
        return name

    def floats(self, x: str, name: str, parts: list[str]) -> str:
        self.writer.nodes_of("DequantizeLinear", [x, *parts], [name])
        return name

    def pair(self, x: str, name: str, scale: float = SCALE) -> str:
        parts = self.parts(name, scale)
        return self.floats(self.rounded(x, f"{name}_q", parts), f"{name}_dq", parts)


def pair(
    writer: Writer,
    names: list[str],
    answer: str,
    kind: str,
    scale: float = SCALE,
    between: list[tuple] = (),
    shift: int = 0,
    constants: bool = False,
    looked_at: bool = False,
) -> None:
    """Rounds a tensor; `between`: what moves the whole numbers; `shift`: another zero for the way back."""
    rounding = Rounding(writer, kind, constants)
    parts = rounding.parts("p", scale)
    whole = rounding.rounded(names[0], "q", parts)
    for number, (operator, further, attributes) in enumerate(between):
        inputs = [whole, *(writer.constant(f"m{number}_{i}", value) for i, value in enumerate(further))]
        whole = writer.node(operator, inputs, f"m{number}", **attributes)
    back = rounding.parts("b", scale, ZEROS[kind] + shift) if shift else parts
    rounding.floats(whole, "first" if looked_at else answer, back)
    if looked_at:
        writer.node("Cast", [whole], "seen", to=1)
        writer.node("Add", ["first", "seen"], answer)


def bare(
    writer: Writer, names: list[str], answer: str, kind: np.dtype = np.uint8, edge: bool = False, **attributes
) -> None:
    """A pair without zero points; `edge`: some of what is rounded is infinite."""
    x, scale = names[0], writer.constant("scale", SCALE)
    if edge:
        # What is not above zero is over zero.
        x = writer.node("Div", [x, writer.node("Relu", [x], "positive")], "quotient")
    writer.node("QuantizeLinear", [x, scale], "q", **attributes)
    zero = [] if kind == np.uint8 else [writer.constant("zero", np.asarray(0, kind))]
    writer.node("DequantizeLinear", ["q", scale, *zero], answer)


def scale_of_the_graph(writer: Writer, names: list[str], answer: str) -> None:
    """Rounds by a scale that other constants make."""
    parts = [writer.constant("a", np.float32(0.25)), writer.constant("b", np.float32(0.148))]
    scale, zero = writer.node("Mul", parts, "scale"), writer.constant("zero", np.uint8(131))
    writer.node("QuantizeLinear", [names[0], scale, zero], "q")
    writer.node("DequantizeLinear", ["q", scale, zero], answer)


def parted(writer: Writer, names: list[str], answer: str, kind: str) -> None:
    """Splits whole numbers, turns them around and joins them."""
    rounding = Rounding(writer, kind)
    parts = rounding.parts("p")
    whole = rounding.rounded(names[0], "q", parts)
    writer.nodes_of("Split", [whole, writer.constant("sizes", ints(1, 3))], ["a", "b"])
    writer.node("Concat", ["b", "a"], "joined", axis=0)
    rounding.floats("joined", answer, parts)


def pairs_around(
    writer: Writer,
    names: list[str],
    answer: str,
    kind: str,
    operator: str,
    channels: bool,
    mixed: bool = False,
    **attributes,
) -> None:
    """An operator of floats whose operands and result are rounded; `mixed`: the bias has a list of one scale and a
    zero point without axes, as the tool writes it."""
    x, weight, bias = names
    rounding = Rounding(writer, kind)
    left = rounding.pair(x, "x")
    count = 8
    scales = np.linspace(0.01, 0.03, count).astype(np.float32) if channels else np.float32(0.02)
    axis = {"MatMul": 1}.get(operator, 0)
    along = {"axis": axis} if channels else {}
    parts = [writer.constant("w_scale", scales)]
    parts.append(writer.constant("w_zero", np.zeros(scales.shape, KINDS[kind])))
    factor = writer.node("DequantizeLinear", [weight, *parts], "w_dq", **along)
    operands = [left, factor]
    if operator != "MatMul":
        of_bias = np.float32(SCALE) * scales
        parts = [writer.constant("bias_scale", of_bias.reshape(1) if mixed else of_bias)]
        parts.append(writer.constant("bias_zero", np.zeros(scales.shape, np.int32)))
        operands.append(writer.node("DequantizeLinear", [bias, *parts], "bias_dq", **({"axis": 0} if channels else {})))
    writer.node(operator, operands, "sums", **attributes)
    parts = rounding.parts("made", 0.051)
    rounding.floats(rounding.rounded("sums", "y_q", parts), answer, parts)


def both_sides(writer: Writer, names: list[str], answer: str, kind: str, operator: str) -> None:
    """A product of activations."""
    rounding = Rounding(writer, kind)
    sides = []
    for number, name in enumerate(names):
        parts = rounding.parts(f"s{number}", 0.08 + 0.01 * number, {"u8": 31, "i8": -2}[kind])
        sides.append((rounding.rounded(name, f"q{number}", parts), parts))
    (a, [a_scale, a_zero]), (b, [b_scale, b_zero]) = sides
    if operator == "MatMulInteger":
        writer.nodes_of(operator, [a, b, a_zero, b_zero], ["sums"])
        writer.node("Cast", ["sums"], answer, to=1)
    elif operator == "MatMul":
        factors = [rounding.floats(whole, f"f{whole}", parts) for whole, parts in sides]
        writer.node("MatMul", factors, "sums")
        parts = rounding.parts("made", 0.06)
        rounding.floats(rounding.rounded("sums", "made", parts), answer, parts)
    else:
        parts = rounding.parts("made", 0.06)
        writer.nodes_of(operator, [a, a_scale, a_zero, b, b_scale, b_zero, *parts], ["made"])
        rounding.floats("made", answer, parts)


def attention(writer: Writer, names: list[str], answer: str, kind: str, whole: bool) -> None:
    """Attention with rounding around both products; `whole`: products of whole numbers."""
    rounding = Rounding(writer, kind)
    q, k, v = (rounding.rounded(x, f"q{x}", rounding.parts(x, 0.05)) for x in names)

    def product(left: tuple[str, str], right: tuple[str, str], name: str, scale: float) -> str:
        parts = rounding.parts(name, scale)
        sides = [(x, [f"{of}_scale", f"{of}_zero"]) for x, of in [left, right]]
        if whole:
            inputs = [part for x, of in sides for part in [x, *of]]
            writer.nodes_of("QLinearMatMul", [*inputs, *parts], [f"{name}_q"])
        else:
            factors = [rounding.floats(x, f"{name}{number}", of) for number, (x, of) in enumerate(sides)]
            rounding.rounded(writer.node("MatMul", factors, f"{name}_sums"), f"{name}_q", parts)
        return rounding.floats(f"{name}_q", f"{name}_f", parts)

    keys = writer.node("Transpose", [k], "keys", perm=[0, 1, 3, 2])
    scores = product((q, names[0]), (keys, names[1]), "scores", 0.11)
    weights = writer.node("Softmax", [scores], "weights", axis=-1)
    weights = rounding.rounded(weights, "weights_q", rounding.parts("weights", 0.0079))
    writer.node("Identity", [product((weights, "weights"), (v, names[2]), "sums", 0.03)], answer)


def linear(
    writer: Writer,
    names: list[str],
    answer: str,
    kind: str,
    operator: str,
    scales: np.ndarray,
    zeros: bool,
    **attributes,
) -> None:
    """A product of whole numbers that gives such."""
    x, weight, *bias = names
    rounding = Rounding(writer, kind)
    parts, result = rounding.parts("x"), rounding.parts("made", 0.09)
    whole = rounding.rounded(x, "q", parts)
    of_zeros = np.arange(scales.size).reshape(scales.shape) if zeros else np.zeros(scales.shape)
    of_weight = [writer.constant("w_scale", scales), writer.constant("w_zero", of_zeros.astype(KINDS[kind]))]
    writer.node(operator, [whole, *parts, weight, *of_weight, *result, *bias], "made", **attributes)
    rounding.floats("made", answer, result)


MICROSOFT = "com.microsoft"


def elements(writer: Writer, names: list[str], answer: str, kind: str, operator: str, how: str = "") -> None:
    """Sums or products of whole numbers by elements, of which the second may be constants; "made": a scale that the
    graph makes; "seen": the result is looked at otherwise, too; "halves": results lie half-way between steps."""
    rounding = Rounding(writer, kind)
    inputs = []
    for number, name in enumerate(names):
        scale = 0.5 if how == "halves" else 0.021 + 0.012 * number
        parts = rounding.parts(f"s{number}", scale, {"u8": 120, "i8": -2}[kind])
        # Constants are whole numbers already.
        whole = name if any(tensor.name == name for tensor in writer.constants) else None
        inputs += [whole or rounding.rounded(name, f"q{number}", parts), *parts]
    halves = {"QLinearAdd": 1.0, "QLinearMul": 0.5}[operator]
    parts = rounding.parts("made", halves if how == "halves" else 0.047)
    if how == "made":
        inputs[1] = writer.node("Abs", [inputs[1]], "scale")
    writer.node(operator, [*inputs, *parts], "made", name="n", domain=MICROSOFT)
    rounding.floats("made", "first" if how == "seen" else answer, parts)
    if how == "seen":
        writer.node("Cast", ["made"], "seen", to=1)
        writer.node("Add", ["first", "seen"], answer)


def gemm(
    writer: Writer, names: list[str], answer: str, kind: str, scales: np.ndarray, floats: bool = False, **attributes
) -> None:
    """`Gemm` of whole numbers; `floats`: gives floats."""
    x, weight, *bias = names
    rounding = Rounding(writer, kind)
    parts, result = rounding.parts("x"), rounding.parts("made", 0.09)
    whole = rounding.rounded(x, "q", parts)
    zeros = np.zeros(scales.shape, KINDS[kind])
    inputs = [whole, *parts, weight, writer.constant("w_scale", scales), writer.constant("w_zero", zeros)]
    inputs += [*(bias or [""]), *([] if floats else result)]
    while not inputs[-1]:
        inputs.pop()
    writer.node("QGemm", inputs, answer if floats else "made", name="n", domain=MICROSOFT, **attributes)
    if not floats:
        rounding.floats("made", answer, result)


def integers(writer: Writer, names: list[str], answer: str, kind: str, operator: str, **attributes) -> None:
    """A product of whole numbers whose sums become floats; `DynamicQuantizeLinear` rounds where `kind` is none."""
    x, weight, *zeros = names
    if kind:
        rounding = Rounding(writer, kind)
        _, zero = parts = rounding.parts("x")
        rounding.rounded(x, "q", parts)
    else:
        writer.nodes_of("DynamicQuantizeLinear", [x], ["q", "s", "z"])
        zero = "z"
    writer.node(operator, ["q", weight, zero, *zeros], "sums", **attributes)
    if kind:
        writer.node("Cast", ["sums"], answer, to=1)
    else:
        writer.node("Cast", ["sums"], "floats", to=1)
        writer.node("Mul", ["floats", "s"], answer)


def cases() -> Iterator[Case]:
    def case(name: str, first: str, operands: list, chain: Callable, opset: int = 13, domain: str = "", **how) -> Case:
        return Case(f"static-{name}", first, operands, opset=opset, domain=domain, chain=partial(chain, **how))

    moves: dict[str, list[tuple]] = {
        "transposed": [("Transpose", [], {"perm": [1, 0]})],
        "reshaped": [("Reshape", [ints(2, 18)], {}), ("Unsqueeze", [ints(0)], {})],
        "cut": [("Slice", [ints(1), ints(3), ints(0)], {})],
        "gathered": [("Gather", [ints(2, 0, 1)], {"axis": 0}), ("Flatten", [], {"axis": 0})],
    }
    for kind in WIDE:
        opset = 21 if kind.endswith("16") else 13
        yield case(f"pair-{kind}", "QuantizeLinear", [given((4, 9))], pair, opset, kind=kind)
        yield case(f"pair-{kind}-images", "QuantizeLinear", [given((2, 4, 3, 5))], pair, opset, kind=kind)
        yield case(f"pair-{kind}-saturated", "QuantizeLinear", [given((4, 9))], pair, opset, kind=kind, scale=1e-4)
        yield case(
            f"pair-{kind}-ties", "QuantizeLinear", [given((4, 9), change="halves")], pair, opset, kind=kind, scale=1
        )
        yield case(f"pair-{kind}-shifted", "QuantizeLinear", [given((4, 9))], pair, opset, kind=kind, shift=5)
        yield case(f"pair-{kind}-constants", "QuantizeLinear", [given((4, 9))], pair, opset, kind=kind, constants=True)
        yield case(f"pair-{kind}-seen", "QuantizeLinear", [given((4, 9))], pair, opset, kind=kind, looked_at=True)
    for edge in [False, True]:
        operands = [given((4, 9))]
        yield case(f"pair-bare{'-infinite' if edge else ''}", "QuantizeLinear", operands, bare, edge=edge)
    for name, number in {"i8": 3, "u16": 4}.items():
        named = {"kind": WIDE[name], "output_dtype": number}
        yield case(f"pair-named-{name}", "QuantizeLinear", [given((4, 9))], bare, 21, **named)
    yield case("pair-made-scale", "QuantizeLinear", [given((4, 9))], scale_of_the_graph)
    for name, how in {"made-scale": "made", "seen": "seen"}.items():
        how = {"kind": "u8", "operator": "QLinearAdd", "how": how}
        operands = [given((4, 9)), given((4, 9))]
        yield case(f"QLinearAdd-{name}", "QLinearAdd", operands, elements, domain=MICROSOFT, **how)
    for opset in [10, 21]:
        operands = [given((3, 12)), numbers("i8", 12, 8)]
        how = {"kind": "i8", "scales": np.asarray(0.02, np.float32), "zeros": True}
        label, operator = f"QLinearMatMul-i8-opset-{opset}", "QLinearMatMul"
        yield case(label, operator, operands, linear, opset, operator=operator, **how)
        operands = [given((2, 4, 6, 5)), numbers("i8", 8, 4, 3, 3), np.linspace(-400, 500, 8).astype(np.int32)]
        label, operator = f"QLinearConv-i8-opset-{opset}", "QLinearConv"
        yield case(label, operator, operands, linear, opset, operator=operator, **how)
    for kind in KINDS:
        for name, between in moves.items():
            yield case(f"pair-{kind}-{name}", "QuantizeLinear", [given((4, 9))], pair, kind=kind, between=between)
        yield case(f"pair-{kind}-parted", "Split", [given((4, 9))], parted, kind=kind)
        bias = np.linspace(-400, 500, 8).astype(np.int32)
        for name, channels in [("tensor", False), ("channels", True)]:
            around = partial(case, chain=pairs_around, kind=kind, channels=channels)
            operands = [given((3, 12)), numbers(kind, 12, 8), bias]
            yield around(f"around-MatMul-{kind}-{name}", "MatMul", operands, operator="MatMul")
            operands = [given((3, 12)), numbers(kind, 8, 12), bias]
            yield around(f"around-Gemm-{kind}-{name}", "Gemm", operands, operator="Gemm", transB=1)
            if not channels:
                yield around(f"around-Gemm-{kind}-mixed", "Gemm", operands, operator="Gemm", transB=1, mixed=True)
            image = given((2, 4, 6, 5))
            operands = [image, numbers(kind, 8, 4, 3, 3), bias]
            yield around(f"around-Conv-{kind}-{name}", "Conv", operands, operator="Conv", pads=[1, 1, 1, 1])
        for operator in ["MatMul", "MatMulInteger", "QLinearMatMul"]:
            both = {"rows": ((3, 7), (7, 5)), "heads": ((2, 3, 4), (2, 4, 5))}
            if operator == "MatMul":
                both |= {"shared": ((2, 1, 3, 4), (3, 4, 2)), "wide": ((2, 9, 20), (2, 20, 18))}
            for name, shapes in both.items():
                sides = [given(shape) for shape in shapes]
                yield case(f"{operator}-{kind}-both-{name}", operator, sides, both_sides, kind=kind, operator=operator)
        for operator in ["QLinearAdd", "QLinearMul"]:
            others = {"both": given((4, 9)), "row": given((1, 9)), "constant": numbers(kind, 9)}
            for name, other in others.items():
                label, operands = f"{operator}-{kind}-{name}", [given((4, 9)), other]
                how = {"kind": kind, "operator": operator, "how": "halves" if name == "row" else ""}
                yield case(label, operator, operands, elements, domain=MICROSOFT, **how)
        bias = np.linspace(-400, 500, 8).astype(np.int32)
        gemms = partial(case, first="QGemm", chain=gemm, domain=MICROSOFT, kind=kind)
        one, each = np.float32(0.02), np.linspace(0.01, 0.03, 8).astype(np.float32)
        plain, turned = numbers(kind, 12, 8), numbers(kind, 8, 12)
        yield gemms(f"QGemm-{kind}-plain", operands=[given((3, 12)), plain], scales=np.asarray(one))
        yield gemms(f"QGemm-{kind}-bias", operands=[given((3, 12)), plain, bias], scales=each, alpha=1.0)
        how = {"transA": 1, "transB": 1, "alpha": 0.7}
        yield gemms(f"QGemm-{kind}-turned", operands=[given((12, 3)), turned, bias], scales=each, **how)
        yield gemms(f"QGemm-{kind}-floats", operands=[given((3, 12)), plain, bias], scales=each, floats=True)
        for whole in [False, True]:
            operands = [given((2, 3, 5, 8)) for _ in range(3)]
            name = "QLinearMatMul" if whole else "MatMul"
            yield case(f"attention-{kind}-{name}", name, operands, attention, kind=kind, whole=whole)
        scales = {"one": np.float32(0.02), "list": np.array([0.02], np.float32)}
        scales["columns"] = np.linspace(0.01, 0.03, 8).astype(np.float32)
        for name, scale in scales.items():
            for zeros in [False, True]:
                how = {"kind": kind, "scales": np.asarray(scale), "zeros": zeros}
                for rows in [(3, 12), (2, 3, 12), *([(2, 700)] if name == "columns" else [])]:
                    operands = [given(rows), numbers(kind, rows[-1], 8)]
                    label = f"QLinearMatMul-{kind}-{len(rows)}x{rows[-1]}-{name}{'-zeros' if zeros else ''}"
                    yield case(label, "QLinearMatMul", operands, linear, operator="QLinearMatMul", **how)
                if zeros and name == "columns":
                    continue
                for label, attributes in {
                    "plain": {},
                    "pads": {"pads": [1, 1, 1, 1]},
                    "strides": {"strides": [2, 2], "pads": [0, 1, 1, 0]},
                    "dilations": {"dilations": [2, 1]},
                    "same": {"auto_pad": "SAME_UPPER"},
                    "group": {"group": 2},
                }.items():
                    inner = 2 if label == "group" else 4
                    operands = [given((2, 4, 6, 5)), numbers(kind, 8, inner, 3, 3)]
                    label = f"QLinearConv-{kind}-{label}-{name}{'-zeros' if zeros else ''}"
                    yield case(label, "QLinearConv", operands, linear, operator="QLinearConv", **how, **attributes)
                    label += "-bias"
                    operands.append(bias)
                    yield case(label, "QLinearConv", operands, linear, operator="QLinearConv", **how, **attributes)
        zero = numbers(kind)
        for rounds in ["", kind]:
            rounded = "dynamic" if not rounds else "static"
            integer = partial(case, chain=integers, kind=rounds)
            for label, attributes in {
                "plain": {},
                "pads": {"pads": [1, 1, 1, 1]},
                "strides": {"strides": [2, 1]},
            }.items():
                for zeros in [[], [zero]]:
                    operands = [given((2, 4, 6, 5)), numbers(kind, 8, 4, 3, 3), *zeros]
                    name = f"ConvInteger-{kind}-{rounded}-{label}{'-zero' if zeros else ''}"
                    yield integer(name, "ConvInteger", operands, operator="ConvInteger", **attributes)
            operands = [given((12,)), numbers(kind, 12, 8), zero]
            yield integer(f"MatMulInteger-{kind}-{rounded}-vector", "MatMulInteger", operands, operator="MatMulInteger")
            if rounds:
                operands = [given((3, 12)), numbers(kind, 12, 8), zero]
                yield integer(f"MatMulInteger-{kind}", "MatMulInteger", operands, operator="MatMulInteger")
