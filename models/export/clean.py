"""Rewrites that leave only plain operators of fixed shape in an exported graph.

The torch exporter leaves things that inference engines dislike: `Reshape` to a shape computed at run time,
`Pad` in wrap mode (newer than the opset, and unknown to most engines), `BatchNormalization` with fixed
statistics, and names and metadata that depend on the machine. Only what the signature leaves open stays symbolic.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterable

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from export import ExportError

DYNAMIC_OPS = {"Shape", "Size", "If", "Loop", "Scan", "Range", "ConstantOfShape", "NonZero"}


def clean(model: ir.Model, keep: Collection[str]) -> None:
    """Rewrites `model` in place; the names in `keep` stay. ExportError if a shape is still computed at run time."""
    graph = model.graph
    for node in list(graph):
        if node.op_type == "Reshape":
            fix_reshape(graph, node)
        elif node.op_type == "Pad" and mode(node) == "wrap":
            unroll_wrap_pad(graph, node)
        elif node.op_type == "BatchNormalization":
            unroll_batch_norm(graph, node)
    common.IdentityEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
    check(graph)
    rename(graph, keep)
    forget(model)


def constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name), shape=ir.Shape(array.shape))
    value.type = ir.TensorType(value.const_value.dtype)
    graph.initializers[name] = value
    return value


def fixed_shape(shape: Iterable) -> list[int] | None:
    """The shape with -1 for the batch, or None where another dimension is unknown."""
    dims = [d if isinstance(d, int) else -1 for d in shape]
    return dims if dims.count(-1) <= 1 else None


def fix_reshape(graph: ir.Graph, node: ir.Node) -> None:
    """Reshape(x, Shape(y)) -> Reshape(x, [-1, C, H, W])."""
    node.attributes.pop("allowzero", None)  # no zeros in our shapes
    producer = node.inputs[1].producer()
    if producer is None or producer.op_type != "Shape":
        return
    shape = producer.inputs[0].shape
    if shape is not None and (dims := fixed_shape(shape)) is not None:
        node.replace_input_with(1, constant(graph, f"{node.outputs[0].name}.shape", np.array(dims, np.int64)))


def mode(node: ir.Node) -> str:
    return node.attributes["mode"].as_string() if "mode" in node.attributes else "constant"


class Rewrite:
    """The nodes that take the place of one node, named after its output."""

    def __init__(self, graph: ir.Graph, node: ir.Node):
        self.graph, self.node, self.new = graph, node, []

    def add(self, op: str, inputs: list[ir.Value], **attributes: int) -> ir.Value:
        node = ir.node(op, inputs, attributes=attributes, metadata_props=dict(self.node.metadata_props))
        node.outputs[0].name = f"{self.node.outputs[0].name}.{len(self.new)}"
        self.new.append(node)
        return node.outputs[0]

    def constant(self, array: np.ndarray) -> ir.Value:
        name = f"{self.node.outputs[0].name}.constant{len(self.graph.initializers)}"
        return constant(self.graph, name, array)

    def finish(self, value: ir.Value) -> None:
        old = self.node.outputs[0]
        ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)
        value.name, value.shape, value.type = old.name, old.shape, old.type
        self.graph.insert_before(self.node, self.new)
        self.graph.remove(self.node, safe=True)


def unroll_wrap_pad(graph: ir.Graph, node: ir.Node) -> None:
    """Pad(wrap) -> per padded axis Concat(Slice(the end), x, Slice(the start))."""
    rewrite, value = Rewrite(graph, node), node.inputs[0]
    shape, pads = value.shape, node.inputs[1].const_value.numpy().tolist()

    def cut(x: ir.Value, axis: int, start: int, end: int) -> ir.Value:
        return rewrite.add("Slice", [x, *(rewrite.constant(np.array([n], np.int64)) for n in (start, end, axis))])

    for axis, (before, after) in enumerate(zip(pads[: len(shape)], pads[len(shape) :], strict=True)):
        parts = [value]
        if before:
            parts.insert(0, cut(value, axis, -before, np.iinfo(np.int64).max))
        if after:
            parts.append(cut(value, axis, 0, after))
        if len(parts) > 1:
            value = rewrite.add("Concat", parts, axis=axis)
    rewrite.finish(value)


def unroll_batch_norm(graph: ir.Graph, node: ir.Node) -> None:
    """BatchNormalization with fixed statistics -> x * a + b, for each channel."""
    scale, bias, mean, variance = (value.const_value.numpy().astype(np.float64) for value in node.inputs[1:])
    a = scale / np.sqrt(variance + node.attributes["epsilon"].as_float())
    rewrite = Rewrite(graph, node)
    factor, offset = (rewrite.constant(v.astype(np.float32).reshape(1, -1, 1, 1)) for v in (a, bias - mean * a))
    rewrite.finish(rewrite.add("Add", [rewrite.add("Mul", [node.inputs[0], factor]), offset]))


def check(graph: ir.Graph) -> None:
    for node in graph:
        if node.op_type in DYNAMIC_OPS or node.domain not in ("", "ai.onnx"):
            raise ExportError(
                f"the graph still has a {node.domain}{node.op_type} ({node.name}); fixed shapes were expected"
            )
        if node.op_type == "Gather" and node.inputs[0].const_value is None:
            raise ExportError(f"the graph gathers from a computed tensor ({node.name}); only label tables are expected")


def rename(graph: ir.Graph, keep: Collection[str]) -> None:
    """Nodes and values are called `module.path/Op`, weights as in the state dict, other constants after their reader."""
    paths: dict[ir.Node, str] = {}
    counts: Counter[str] = Counter()
    done: set[ir.Value] = set()
    for node in graph:
        source = next((v.producer() for v in node.inputs if v is not None and v.producer() is not None), None)
        paths[node] = module_path(node, default=paths.get(source, ""))
        base = f"{paths[node]}/{node.op_type}".lstrip("/")
        counts[base] += 1
        node.name = base if counts[base] == 1 else f"{base}.{counts[base]}"
        for index, value in enumerate(node.outputs):
            if not value.is_graph_output():
                value.name = node.name if len(node.outputs) == 1 else f"{node.name}:{index}"
        for index, value in enumerate(node.inputs):
            if value is not None and value.is_initializer() and value.name not in keep and value not in done:
                value.name = f"{node.name}[{index}]"
                done.add(value)


def module_path(node: ir.Node, default: str) -> str:
    """`blocks.0.attn.qkv`, from what the torch exporter noted on the node: the names of the scopes around it."""
    scopes = node.metadata_props.get("pkg.torch.onnx.name_scopes")
    return default if scopes is None else ast.literal_eval(scopes)[-2]


def forget(model: ir.Model) -> None:
    """Drops what depends on the machine (stack traces, paths) and the shapes that any reader infers."""
    common.ClearMetadataAndDocStringPass()(model)
    graph = model.graph
    values = [value for node in graph for value in node.outputs] + list(graph.initializers.values())
    for value in values + list(graph.inputs):
        value.metadata_props.clear()
        if not (value.is_graph_input() or value.is_graph_output()):
            value.shape, value.type = None, None
