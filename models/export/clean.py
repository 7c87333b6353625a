"""Rewrites that leave only plain operators of fixed shape in an exported graph.

The torch exporter leaves three things that inference engines dislike: `Reshape` to a shape computed at
run time, `Pad` in wrap mode (newer than the opset, and unknown to most engines), and names and metadata
that depend on the machine. Only the batch dimension, `N`, stays symbolic.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterable

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from export import ExportError

DYNAMIC_OPS = {"Shape", "Size", "If", "Loop", "Scan", "Range", "ConstantOfShape", "NonZero", "Identity", "Expand"}


def clean(model: ir.Model, keep: Collection[str]) -> None:
    """Rewrites `model` in place, leaving the names in `keep`; ExportError if an operator that depends on run-time shapes is left."""
    graph = model.graph
    for node in list(graph):
        if node.op_type == "Reshape":
            fix_reshape(graph, node)
        elif node.op_type == "Pad" and mode(node) == "wrap":
            unroll_wrap_pad(graph, node)
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


def unroll_wrap_pad(graph: ir.Graph, node: ir.Node) -> None:
    """Pad(wrap) -> per padded axis Concat(Slice(the end), x, Slice(the start))."""
    value, output = node.inputs[0], node.outputs[0]
    pads = node.inputs[1].const_value.numpy().tolist()
    rank = len(pads) // 2
    new = []

    def add(op: str, inputs: list[ir.Value], suffix: str, **attributes: int) -> ir.Value:
        new.append(ir.node(op, inputs, attributes=attributes))
        new[-1].outputs[0].name = f"{output.name}.{suffix}"
        new[-1].metadata_props.update(node.metadata_props)
        return new[-1].outputs[0]

    def cut(x: ir.Value, axis: int, start: int, end: int, suffix: str) -> ir.Value:
        bounds = [
            constant(graph, f"{output.name}.{suffix}.{name}", np.array([number], np.int64))
            for name, number in (("starts", start), ("ends", end), ("axes", axis))
        ]
        return add("Slice", [x, *bounds], suffix)

    for axis in range(rank):
        before, after = pads[axis], pads[rank + axis]
        size = node.inputs[0].shape[axis]
        parts = [value]
        if before:
            parts.insert(0, cut(value, axis, size - before, size, f"before{axis}"))
        if after:
            parts.append(cut(value, axis, 0, after, f"after{axis}"))
        if len(parts) > 1:
            value = add("Concat", parts, f"axis{axis}", axis=axis)
    graph.insert_before(node, new)
    ir.convenience.replace_all_uses_with(output, value)
    graph.remove(node, safe=True)


def check(graph: ir.Graph) -> None:
    for node in graph:
        if node.op_type in DYNAMIC_OPS or node.domain not in ("", "ai.onnx"):
            raise ExportError(f"the graph still has a {node.domain}{node.op_type} ({node.name}); fixed shapes were expected")
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
