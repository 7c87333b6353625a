"""Rewrites that leave only plain operators of fixed shape in an exported graph.

The torch exporter leaves things that inference engines dislike: shapes computed at run time (`fold`), `Pad` in wrap
mode (newer than the opset, and unknown to most engines), `BatchNormalization` with fixed statistics, and names and
metadata that depend on the machine. Only what the signature leaves open stays symbolic.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from export import ExportError
from export.fold import Folder, Sizes
from export.rewrite import Rewrite

NOISE_OPS = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
DYNAMIC_OPS = {"If", "Loop", "Scan", "NonZero", "Unique", "Range", "ConstantOfShape"}


def clean(model: ir.Model, keep: Collection[str], sizes: Sequence[Sizes]) -> None:
    """Rewrites `model` in place; the names in `keep` stay. ExportError if a shape is still computed at run time.

    `sizes` are some that the symbols of the signature can have.
    """
    graph = model.graph
    for node in graph:
        if node.op_type in NOISE_OPS:
            raise ExportError(
                f"the graph draws noise of its own: {node.op_type} ({node.name}); noise comes in by x alone"
            )
    Folder(graph, sizes).fold()
    for node in list(graph):
        if node.op_type == "Reshape":
            node.attributes.pop("allowzero", None)  # no zeros in our shapes
        elif node.op_type == "Pad" and mode(node) == "wrap":
            unroll_wrap_pad(graph, node)
        elif node.op_type == "BatchNormalization":
            unroll_batch_norm(graph, node)
    common.IdentityEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
    check(graph)
    rename(graph, keep)
    forget(model)


def mode(node: ir.Node) -> str:
    return node.attributes["mode"].as_string() if "mode" in node.attributes else "constant"


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


def rename(graph: ir.Graph, keep: Collection[str]) -> None:
    """Nodes and values are called `module.path/Op`, weights as in the state dict, other constants after their
    reader."""
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
