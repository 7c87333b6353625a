"""Products of activations that are rounded when they are multiplied, as `quantize_dynamic` writes them.

Weights have 7 bits: with 8, ONNX Runtime's sums of two products saturate where a processor lacks VNNI.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from case import Case, Writer, given

KINDS = {"i8": np.int8, "u8": np.uint8}


def numbers(kind: str, *shape: int, seed: int = 4) -> np.ndarray:
    least = {"i8": -64, "u8": 0}[kind]
    return np.asarray(np.random.default_rng(seed).integers(least, least + 128, size=shape)).astype(KINDS[kind])


def product(writer: Writer, names: list[str], answer: str, to: int = 1, beside: bool = False) -> None:
    """As ONNX Runtime's quantizer writes it; `beside`: a second product of the same left side."""
    x, weight, scale, *zero = names
    writer.nodes_of("DynamicQuantizeLinear", [x], ["q", "s", "z"])
    writer.nodes_of("MatMulInteger", ["q", weight, "z", *zero], ["sums"])
    writer.node("Cast", ["sums"], "floats", to=to)
    writer.node("Mul", ["s", scale], "scales")
    last = "first" if beside else answer
    if to != 1:
        writer.node("Cast", ["floats"], "back", to=1)
    writer.node("Mul", ["floats" if to == 1 else "back", "scales"], last)
    if beside:
        writer.nodes_of("MatMulInteger", ["q", weight, "z"], ["others"])
        writer.node("Cast", ["others"], "other", to=1)
        writer.node("Add", ["first", "other"], answer)


def looked_at(writer: Writer, names: list[str], answer: str) -> None:
    """The zero point is used by others too."""
    product(writer, names, "made")
    writer.node("Cast", ["z"], "zero", to=1)
    writer.node("Add", ["made", "zero"], answer)


def scale_of_zeros(writer: Writer, names: list[str], answer: str) -> None:
    """What zeros alone are rounded by."""
    writer.node("Sub", [names[0], names[0]], "zeros")
    writer.nodes_of("DynamicQuantizeLinear", ["zeros"], ["q", "s", "z"])
    writer.node("Add", [names[0], "s"], answer)


def cases() -> Iterator[Case]:
    scale = np.linspace(0.01, 0.03, 8).astype(np.float32)
    chains: dict[str, Callable] = {
        "plain": product,
        "beside": partial(product, beside=True),
        "integers": partial(product, to=7),
        "looked-at": looked_at,
    }
    for kind in KINDS:
        zeros = {"none": [], "one": [numbers(kind)], "columns": [numbers(kind, 8)]}
        for rows in [(3, 12), (2, 3, 12), (2, 700)]:
            weight = numbers(kind, rows[-1], 8)
            for zero, given_zero in zeros.items():
                operands = [given(rows), weight, scale, *given_zero]
                name = f"{kind}-{len(rows)}x{rows[-1]}-{zero}"
                yield Case(f"MatMulInteger-{name}", "MatMulInteger", operands, opset=13, chain=product)
        operands = [given((3, 12)), numbers(kind, 12, 8), scale, numbers(kind)]
        for name, chain in chains.items():
            yield Case(f"MatMulInteger-{kind}-{name}", "MatMulInteger", operands, opset=17, chain=chain)
        for change in ["positive", "large", "small"]:
            changed = [given((3, 12), change=change), *operands[1:]]
            yield Case(f"MatMulInteger-{kind}-{change}", "MatMulInteger", changed, opset=11, chain=product)
        nothing = [np.zeros((3, 12), np.float32), *operands[1:]]
        yield Case(f"MatMulInteger-{kind}-nothing", "MatMulInteger", nothing, opset=17, chain=product)
    yield Case("DynamicQuantizeLinear-zeros", "DynamicQuantizeLinear", [given((3, 12))], opset=13, chain=scale_of_zeros)
