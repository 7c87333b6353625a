"""Recurrent networks. ONNX Runtime has none of another layout, nor of another type than float."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from case import Case, Operand, given, weights

STEPS, BATCH, WIDTH, HIDDEN = 3, 2, 3, 2
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


def recurrent(
    operator: str,
    name: str,
    direction: str = "forward",
    *,
    bias: bool = True,
    lengths: Sequence[int] | None = None,
    state: bool = False,
    cell: bool = False,
    peepholes: bool = False,
    outputs: int | Sequence[bool] = 0,
    opset: int = 14,
    given_weights: bool = False,
    **attributes,
) -> Case:
    gates, directions = GATES[operator], DIRECTIONS[direction]
    shape = (STEPS, BATCH, WIDTH)
    first = (directions, BATCH, HIDDEN)
    shapes = [(directions, gates * HIDDEN, WIDTH), (directions, gates * HIDDEN, HIDDEN)]
    inputs: list[Operand] = [given(shape)]
    inputs += [given(s) if given_weights else weights(*s, seed=i) for i, s in enumerate(shapes)]
    inputs.append(weights(directions, 2 * gates * HIDDEN, seed=3) if bias else None)
    inputs.append(None if lengths is None else np.array(lengths, np.int32))
    inputs.append(given(first) if state else None)
    if operator == "LSTM":
        inputs.append(given(first) if cell else None)
        inputs.append(weights(directions, 3 * HIDDEN, seed=4) if peepholes else None)
    attributes["hidden_size"] = HIDDEN
    if direction != "forward":
        attributes["direction"] = direction
    outputs = outputs or (3 if operator == "LSTM" else 2)
    return Case(f"{operator}-{name}", operator, inputs, attributes, opset=opset, outputs=outputs)


def cases() -> Iterator[Case]:
    for operator in GATES:
        for direction in DIRECTIONS:
            yield recurrent(operator, direction, direction)
            yield recurrent(operator, f"{direction}-state", direction, state=True, cell=True)
            yield recurrent(operator, f"{direction}-no-bias", direction, bias=False)
            yield recurrent(operator, f"{direction}-clip", direction, clip=0.3)
            yield recurrent(operator, f"{direction}-lengths-all", direction, lengths=[STEPS] * BATCH)
            yield recurrent(operator, f"{direction}-lengths", direction, lengths=[STEPS, 1])
            yield recurrent(operator, f"{direction}-lengths-same", direction, lengths=[2, 2])
        for opset in [9, 14, 22]:
            yield recurrent(operator, f"opset-{opset}", opset=opset)
        yield recurrent(operator, "y", outputs=1)
        yield recurrent(operator, "y-h", outputs=[False, True])
        yield recurrent(operator, "y-h-bidirectional", "bidirectional", outputs=[False, True])
        yield recurrent(operator, "given-weights", given_weights=True)
        yield recurrent(operator, "clip-wide", clip=100.0)
        count = {"RNN": 1, "GRU": 2, "LSTM": 3}[operator]
        for first in [
            "Relu",
            "Tanh",
            "Sigmoid",
            "HardSigmoid",
            "Softsign",
            "Softplus",
            "Affine",
            "LeakyRelu",
            "ThresholdedRelu",
            "ScaledTanh",
            "Elu",
        ]:
            # The first activation makes gates, and the others make states.
            names = [first] + ["Tanh"] * (count - 1)
            more = (
                {"activation_alpha": [0.3], "activation_beta": [0.6]}
                if first in ("HardSigmoid", "Affine", "ScaledTanh")
                else {}
            )
            if first in ("LeakyRelu", "ThresholdedRelu", "Elu"):
                more = {"activation_alpha": [0.3]}
            yield recurrent(operator, f"activation-{first}", activations=names, **more)
        names = ["Tanh", "Sigmoid", "Relu"][:count] + ["Relu", "Tanh", "Softsign"][:count]
        yield recurrent(operator, "activations-two", "bidirectional", activations=names)
        yield recurrent(operator, "activations-reverse", "reverse", activations=names[:count])
        standard = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}[operator]
        yield recurrent(operator, "activations-standard", activations=standard)
        yield recurrent(operator, "activations-case", activations=[name.lower() for name in standard])
    for direction, clip in product(DIRECTIONS, [None, 0.3]):
        more = {} if clip is None else {"clip": clip}
        name = f"before-reset-{direction}" + ("-clip" if clip else "")
        yield recurrent("GRU", name, direction, linear_before_reset=1, **more)
    yield recurrent("GRU", "before-reset-no-bias", linear_before_reset=1, bias=False)
    yield recurrent("GRU", "before-reset-state", linear_before_reset=1, state=True)
    yield recurrent("GRU", "before-reset-zero", linear_before_reset=0)
    for forget in [0, 1]:
        yield recurrent("LSTM", f"input-forget-{forget}", input_forget=forget)
    for direction in DIRECTIONS:
        yield recurrent("LSTM", f"peepholes-{direction}", direction, peepholes=True)
        yield recurrent("LSTM", f"peepholes-state-{direction}", direction, peepholes=True, state=True, cell=True)
    yield recurrent("LSTM", "cell", cell=True)
    yield recurrent("LSTM", "hidden-state", state=True)
    yield recurrent("LSTM", "peepholes-clip", peepholes=True, clip=0.2)
    yield recurrent("LSTM", "peepholes-no-bias", peepholes=True, bias=False)
    yield recurrent("LSTM", "y-c", outputs=[False, False, True])
    yield recurrent("LSTM", "y-and-c", outputs=[True, False, True])
