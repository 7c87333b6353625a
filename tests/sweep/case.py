"""A case of the sweep: one operator in the smallest graph that keeps the predictor's contract, and what ONNX Runtime
answers.

The graph cuts what the operator takes out of `x`, hands it over in the type that is asked for, and lays whatever comes
back, as floats, into `velocity`. Where the operator takes one image of floats, `x` goes in as it is, two at a time.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import onnx
import onnxruntime
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper

NOISE = np.random.default_rng(14).standard_normal(2048).astype(np.float32)
"""What every case begins with: the first numbers of it, as many as `x` has."""

TYPES = {
    "f32": TensorProto.FLOAT,
    "f16": TensorProto.FLOAT16,
    "f64": TensorProto.DOUBLE,
    "bf16": TensorProto.BFLOAT16,
    "i8": TensorProto.INT8,
    "i16": TensorProto.INT16,
    "i32": TensorProto.INT32,
    "i64": TensorProto.INT64,
    "u8": TensorProto.UINT8,
    "u16": TensorProto.UINT16,
    "u32": TensorProto.UINT32,
    "u64": TensorProto.UINT64,
    "bool": TensorProto.BOOL,
}

NEWEST = 23
OLDEST = 9

# How the numbers of `x` are changed before an operator takes them, for those that are not defined everywhere.
CHANGES = {
    "positive": [("Abs", None), ("Add", 0.25)],
    "inside": [("Tanh", None), ("Mul", 0.95)],
    "above": [("Abs", None), ("Add", 1.25)],
    "halves": [("Mul", 4.0), ("Floor", None), ("Mul", 0.5)],
    "large": [("Mul", 5.0)],
    "small": [("Mul", 0.25)],
    "natural": [("Abs", None), ("Mul", 4.0), ("Floor", None)],
    "counts": [("Abs", None), ("Mul", 2.0), ("Floor", None), ("Add", 1.0)],
    "whole": [("Mul", 4.0), ("Floor", None)],
}


@dataclass(frozen=True)
class Taken:
    """A tensor that is made of `x`."""

    shape: tuple[int, ...]
    kind: str = "f32"
    change: str = ""


@dataclass(frozen=True)
class Dequantized:
    """Constants that `DequantizeLinear` makes of whole numbers, and what is done to them before they are used."""

    numbers: np.ndarray
    scale: np.ndarray
    zero: np.ndarray | None = None
    attributes: dict = field(default_factory=dict)
    behind: Sequence[tuple[str, np.ndarray | None, dict]] = ()
    """Operators one after another, each with a further input and attributes."""


Operand = Taken | Dequantized | np.ndarray | TensorProto | None


@dataclass
class Case:
    """One operator with its attributes; `inputs` are its operands in order, None for one that is left out."""

    name: str
    operator: str
    inputs: Sequence[Operand]
    attributes: dict = field(default_factory=dict)
    opset: int = 17
    outputs: int | Sequence[bool] = 1
    image: bool = True
    """Whether `x` may be handed over as it is."""
    domain: str = ""
    chain: Callable[[Writer, list[str], str], None] | None = None
    """Writes several nodes in place of the one, from the names of the operands to that of the answer."""


def given(shape: Sequence[int], kind: str = "f32", change: str = "") -> Taken:
    return Taken(tuple(shape), kind, change or ("whole" if kind[0] in "iu" else ""))


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    """Constants, in sixty-fourths, which every type of float holds."""
    numbers = np.random.default_rng(seed).integers(-64, 65, size=shape)
    return (numbers / 64).astype(np.float32)


def opsets(operator: str, domain: str = "") -> list[int]:
    """The versions of the standard that changed an operator, the oldest and the newest that the sweep knows."""
    schemas = [s for s in defs.get_all_schemas_with_history() if s.name == operator and s.domain == domain]
    versions = {schema.since_version for schema in schemas if not schema.deprecated}
    found = {version for version in versions if OLDEST <= version <= NEWEST}
    before = [version for version in versions if version < OLDEST]
    return sorted(found | ({OLDEST} if before else set()))


class Writer:
    """Writes a graph node by node."""

    def __init__(self, opset: int):
        self.opset = opset
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def nodes_of(self, operator: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=outputs[0]))

    def constant(self, name: str, value: np.ndarray | TensorProto) -> str:
        if isinstance(value, TensorProto):
            tensor = TensorProto()
            tensor.CopyFrom(value)
            tensor.name = name
        else:
            tensor = numpy_helper.from_array(np.asarray(value), name)
        self.constants.append(tensor)
        return name

    def dequantized(self, operand: Dequantized, name: str) -> str:
        parts = [("q", operand.numbers), ("s", operand.scale), ("z", operand.zero)]
        names = [self.constant(f"{name}{letter}", value) for letter, value in parts if value is not None]
        tensor = self.node("DequantizeLinear", names, f"{name}d", **operand.attributes)
        for number, (operator, constant, attributes) in enumerate(operand.behind):
            inputs = [tensor] if constant is None else [tensor, self.constant(f"{name}k{number}", constant)]
            tensor = self.node(operator, inputs, f"{name}b{number}", **attributes)
        return tensor

    def cut(self, tensor: str, start: int, end: int, axis: int, output: str) -> str:
        if self.opset < 10:
            return self.node("Slice", [tensor], output, starts=[start], ends=[end], axes=[axis])
        bounds = [("a", start), ("b", end), ("x", axis)]
        names = [self.constant(f"{output}{letter}", ints(number)) for letter, number in bounds]
        return self.node("Slice", [tensor, *names], output)

    def shaped(self, tensor: str, shape: Sequence[int], output: str) -> str:
        return self.node("Reshape", [tensor, self.constant(f"{output}s", ints(*shape))], output)

    def taken(self, tensor: str, operand: Taken, name: str) -> str:
        for number, (operator, constant) in enumerate(CHANGES.get(operand.change, [])):
            inputs = [tensor] if constant is None else [tensor, self.constant(f"{name}k{number}", np.float32(constant))]
            tensor = self.node(operator, inputs, f"{name}c{number}")
        if operand.kind == "f32":
            return tensor
        if operand.kind == "bool":
            return self.node("Greater", [tensor, self.constant(f"{name}z", np.float32(0))], f"{name}t")
        if operand.kind[0] == "u":
            tensor = self.node("Abs", [tensor], f"{name}p")
        return self.node("Cast", [tensor], f"{name}t", to=TYPES[operand.kind])


def is_image(case: Case) -> bool:
    parts = [operand for operand in case.inputs if isinstance(operand, Taken)]
    return case.image and len(parts) == 1 and len(parts[0].shape) == 4 and parts[0].shape[0] == 2


def present(case: Case) -> list[bool]:
    return [True] * case.outputs if isinstance(case.outputs, int) else list(case.outputs)


class Graph:
    """The graph of a case, with room in `x` for `size` numbers an image at least."""

    def __init__(self, case: Case, size: int):
        self.case, self.writer = case, Writer(case.opset)
        self.image = is_image(case)
        self.batch = 2 if self.image else 1
        parts = [operand for operand in case.inputs if isinstance(operand, Taken)]
        if self.image:
            _, channels, height, width = parts[0].shape
            self.latent = (max(channels, -(-size // (height * width))), height, width)
        else:
            self.latent = (1, 1, max(size, sum(prod(part.shape) for part in parts), 1))
        self.results = [f"w{i}" if there else "" for i, there in enumerate(present(case))]
        self.operate()

    def operate(self) -> None:
        case, writer, place, names = self.case, self.writer, 0, []
        flat = "" if self.image else writer.shaped("x", [-1], "f")
        for number, operand in enumerate(case.inputs):
            if operand is None:
                names.append("")
            elif isinstance(operand, Dequantized):
                names.append(writer.dequantized(operand, f"k{number}"))
            elif not isinstance(operand, Taken):
                names.append(writer.constant(f"k{number}", operand))
            elif self.image:
                tensor = "x"
                if operand.shape[1] < self.latent[0]:
                    tensor = writer.cut("x", 0, operand.shape[1], 1, f"i{number}")
                names.append(writer.taken(tensor, operand, f"i{number}"))
            else:
                size = prod(operand.shape)
                tensor = writer.cut(flat, place, place + size, 0, f"d{number}")
                tensor = writer.shaped(tensor, operand.shape, f"i{number}")
                names.append(writer.taken(tensor, operand, f"i{number}"))
                place += size
        if case.chain:
            case.chain(writer, names, self.results[0])
            return
        while names and not names[-1]:
            names.pop()
        node = helper.make_node(case.operator, names, self.results, name="n", domain=case.domain)
        for name, value in case.attributes.items():
            made = value if isinstance(value, onnx.AttributeProto) else helper.make_attribute(name, value)
            node.attribute.append(made)
        writer.nodes.append(node)

    def model(self, outputs: Sequence[onnx.ValueInfoProto]) -> ModelProto:
        inputs = [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *self.latent]),
            helper.make_tensor_value_info("t", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("y", TensorProto.INT64, ["N"]),
        ]
        graph: GraphProto = helper.make_graph(self.writer.nodes, "g", inputs, outputs, self.writer.constants)
        imports = [helper.make_opsetid("", self.case.opset)]
        if self.case.domain:
            imports.append(helper.make_opsetid(self.case.domain, 3 if "ml" in self.case.domain else 1))
        return helper.make_model(graph, opset_imports=imports, ir_version=8 if self.case.opset < 19 else 10)

    def run(self, model: ModelProto) -> list[np.ndarray]:
        shape = (self.batch, *self.latent)
        return run(model.SerializeToString(), NOISE[: prod(shape)].reshape(shape))

    def raw(self) -> list[np.ndarray]:
        """What the operator itself answers."""
        outputs = [onnx.ValueInfoProto(name=name) for name in self.results if name]
        return self.run(self.model(outputs))

    def settle(self, answers: Sequence[np.ndarray]) -> ModelProto:
        """Lays the answers into `velocity`, filled up with `x` where they are too few."""
        writer, names, size = self.writer, [name for name in self.results if name], prod(self.latent)
        if self.image and [answer.shape for answer in answers] == [(2, *self.latent)]:
            self.float(names[0], answers[0], "velocity")
        else:
            rest, rows = size, []
            for name, answer in zip(names, answers, strict=True):
                tensor = self.float(name, answer, f"{name}f")
                rows.append(writer.shaped(tensor, [self.batch, answer.size // self.batch], f"{name}r"))
                rest -= answer.size // self.batch
            if rest:
                flat = writer.shaped("x", [self.batch, size], "r")
                rows.append(writer.cut(flat, 0, rest, 1, "e"))
            joined = writer.node("Concat", rows, "j", axis=1) if len(rows) > 1 else rows[0]
            writer.shaped(joined, [self.batch, *self.latent], "velocity")
        output = helper.make_tensor_value_info("velocity", TensorProto.FLOAT, ["N", *self.latent])
        return self.model([output])

    def float(self, name: str, answer: np.ndarray, output: str) -> str:
        if answer.dtype == np.float32:
            return self.writer.node("Identity", [name], output) if output == "velocity" else name
        return self.writer.node("Cast", [name], output, to=TensorProto.FLOAT)


class Refused(Exception):
    """ONNX Runtime, or the standard's checker, does not take a graph."""


def run(graph: bytes, x: np.ndarray) -> list[np.ndarray]:
    """All outputs of a predictor, as ONNX Runtime computes them without improving the graph."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
    batch = len(x)
    feeds = {"x": x, "t": np.zeros(batch, np.float32), "y": np.arange(batch, dtype=np.int64)}
    names = {port.name for port in session.get_inputs()}
    return session.run(None, {name: value for name, value in feeds.items() if name in names})


def answered(graph: bytes, x: np.ndarray) -> np.ndarray:
    """The velocity of a graph that the standard's checker takes."""
    try:
        onnx.checker.check_model(graph, full_check=True)
        (velocity,) = run(graph, x)
    except Exception as error:  # Both raise many kinds.
        raise Refused(" ".join(str(error).split())[:300]) from error
    return velocity


def made(case: Case) -> tuple[bytes, np.ndarray]:
    """The case as an ONNX file, and its `velocity`."""
    try:
        first = Graph(case, 1)
        answers = first.raw()
        batch = first.batch
        if first.image and any(answer.ndim == 0 or answer.size % 2 for answer in answers):
            return made(Case(**{**vars(case), "image": False}))
        graph = Graph(case, sum(answer.size // batch for answer in answers))
        model = graph.settle(answers)
        shape = (graph.batch, *graph.latent)
        velocity = answered(model.SerializeToString(), NOISE[: prod(shape)].reshape(shape))
    except Exception as error:  # Both raise many kinds.
        raise Refused(f"{case.name}: {' '.join(str(error).split())[:300]}") from error
    if not np.isfinite(velocity).all():
        raise Refused(f"{case.name}: the answer holds infinities or NaN")
    return model.SerializeToString(deterministic=True), velocity


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()
