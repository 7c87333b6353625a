"""The tools of the passes over a graph: constants, and the nodes that take the place of one."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir


def constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name), shape=ir.Shape(array.shape))
    value.type = ir.TensorType(value.const_value.dtype)
    graph.initializers[name] = value
    return value


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
