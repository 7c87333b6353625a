"""What a graph computes from shapes alone becomes constants.

A traced graph asks for shapes at run time (`x.shape[0]`, `F.interpolate(size=...)`, `expand`), although only the batch
is open. So each such value is computed here, for several batches. What is the same for all becomes a constant; what
grows with the batch is written in ways that need no shape: -1 in a Reshape, scales in a Resize, and copies for each
image by the operators' own broadcasting. Height and width that are open are tried at several sizes, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx.reference.ops import load_op

from export import ExportError
from export.rewrite import Rewrite, constant

Sizes = dict[str, int]  # a symbol of the signature -> how large it is this time
Samples = list[np.ndarray]  # a value, once for each of the sizes

SHAPES = {"Shape", "Size"}
MAKERS = {"Range", "ConstantOfShape", "EyeLike"}  # make tensors out of shapes alone
BROADCASTS = {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Where", "PRelu"}
MOST = 1 << 26  # elements of a constant that stands for a computation


class Folder:
    """Goes through a graph once, in the order of its nodes."""

    def __init__(self, graph: ir.Graph, sizes: Sequence[Sizes]):
        self.graph, self.sizes = graph, sizes
        self.values: dict[ir.Value, Samples] = {}  # what shapes alone decide
        self.made: dict[ir.Value, ir.Value] = {}  # constants in their place

    def fold(self) -> None:
        for node in list(self.graph):
            if not self.compute(node):
                for index, value in enumerate(node.inputs):
                    if value in self.values:
                        self.settle(node, index)
        for index, value in enumerate(self.graph.outputs):
            if value in self.values:
                raise ExportError(f"the output {value.name!r} does not depend on what the network is given")

    # What can be told

    def known(self, value: ir.Value | None) -> Samples | None:
        """The value at each size, if no input of the network decides it."""
        if value is None:
            return None
        if value in self.values:
            return self.values[value]
        return None if value.const_value is None else [value.const_value.numpy()] * len(self.sizes)

    def dims(self, value: ir.Value) -> list[tuple[int, ...]] | None:
        """The shape at each size, if the exporter noted it."""
        if value.shape is None:
            return None
        try:
            return [tuple(measure(dim, sizes) for dim in value.shape) for sizes in self.sizes]
        except (ArithmeticError, NameError, SyntaxError, TypeError, ValueError):
            return None

    def compute(self, node: ir.Node) -> bool:
        """Notes what the node makes, if shapes alone decide it; such a node is of no use in the graph."""
        if node.op_type in SHAPES:
            shapes = self.dims(node.inputs[0])
            if shapes is None:
                raise ExportError(f"the graph asks for a shape that is not known ({label(node)})")
            samples = [shape_of(node, shape) for shape in shapes]
            self.values[node.outputs[0]] = samples
            return True
        given = [value for value in node.inputs if value is not None]
        from_shapes = any(value in self.values for value in given) or node.op_type in MAKERS
        if node.domain or not from_shapes or any(self.known(value) is None for value in given):
            return False
        if node.op_type == "Expand" and node.inputs[0] not in self.values:
            return False  # a weight is not written once more
        inputs = [[None if v is None else self.known(v)[i] for v in node.inputs] for i in range(len(self.sizes))]
        if node.op_type in ("Expand", "ConstantOfShape") and not alike([sample[-1] for sample in inputs]):
            return False
        results = [evaluate(node, sample) for sample in inputs]
        for index, output in enumerate(node.outputs):
            self.values[output] = [result[index] for result in results]
        return True

    # What takes the place of a value

    def settle(self, node: ir.Node, index: int) -> None:
        """Input `index` of a node that stays becomes a constant, or the node is said in another way."""
        samples, slot = self.values[node.inputs[index]], (node.op_type, index)
        if alike(samples):
            node.replace_input_with(index, self.constant(node.inputs[index]))
        elif slot == ("Reshape", 1):
            self.reshape(node, samples)
        elif slot == ("Resize", 3):
            self.resize(node, samples)
        elif slot == ("Expand", 1):
            self.expand(node, samples)
        elif slot == ("ConstantOfShape", 0):
            self.expand(self.as_expand(node), samples)
        elif all(sample.shape == () for sample in samples) and self.straight(samples):
            self.count(node, index, samples)
        else:
            raise self.depends(node)

    def depends(self, node: ir.Node) -> ExportError:
        return ExportError(
            f"{label(node)} depends on how many images there are, or on how large they are, in a way that a fixed "
            "graph cannot say"
        )

    def constant(self, value: ir.Value) -> ir.Value:
        """One for all who read the value."""
        if value not in self.made:
            array = self.values[value][0]
            if array.size > MOST:
                raise ExportError(f"{value.name}: a constant of {array.size} elements would be written")
            self.made[value] = constant(self.graph, f"{value.name}.known", array)
        return self.made[value]

    def reshape(self, node: ir.Node, samples: Samples) -> None:
        """One dimension may be left to the operator."""
        if len({sample.shape for sample in samples}) > 1:
            raise self.depends(node)
        shapes = self.dims(node.inputs[0])
        if shapes is not None:
            samples = [resolve(sample, shape) for sample, shape in zip(samples, shapes)]
        rows = np.stack(samples)
        target = np.where((rows == rows[0]).all(axis=0), rows[0], -1)
        if (target == -1).sum() > 1:
            raise self.depends(node)
        name = f"{node.outputs[0].name}.shape"
        node.replace_input_with(1, constant(self.graph, name, target.astype(np.int64)))
        node.attributes.pop("allowzero", None)
        self.note(node.outputs[0], samples)

    def resize(self, node: ir.Node, samples: Samples) -> None:
        """Sizes -> how many times as large, which is the same for any batch."""
        shapes = self.dims(node.inputs[0])
        if shapes is None or "axes" in node.attributes:
            raise self.depends(node)
        scales = np.stack([sample / np.array(shape) for sample, shape in zip(samples, shapes)])
        if not (scales == scales[0]).all():
            raise self.depends(node)
        scales = np.array([whole(scale, shape) for scale, shape in zip(scales[0], zip(*shapes))], np.float32)
        node.replace_input_with(2, Rewrite(self.graph, node).constant(scales))
        node.resize_inputs(3)
        node.attributes.pop("keep_aspect_ratio_policy", None)

    def as_expand(self, node: ir.Node) -> ir.Node:
        fill = node.attributes["value"].as_tensor().numpy() if "value" in node.attributes else np.zeros(1, np.float32)
        rewrite = Rewrite(self.graph, node)
        rewrite.finish(rewrite.add("Expand", [rewrite.constant(fill.reshape(())), node.inputs[0]]))
        return rewrite.new[0]

    def expand(self, node: ir.Node, samples: Samples) -> None:
        """Copies for each image. Where all who read them make such copies themselves, there are none."""
        value, output = node.inputs[0], node.outputs[0]
        shapes = self.dims(value)
        if shapes is None:
            raise self.depends(node)
        results = [np.broadcast_shapes(tuple(sample), shape) for sample, shape in zip(samples, shapes)]
        rank = len(results[0])
        shapes = [(1,) * (rank - len(shape)) + shape for shape in shapes]
        open_axes = [axis for axis in range(rank) if len({shape[axis] for shape in results}) > 1]
        missing = [axis for axis in open_axes if all(shape[axis] == 1 for shape in shapes)]
        target = [1 if axis in open_axes else size for axis, size in enumerate(results[0])]
        rewrite = Rewrite(self.graph, node)
        if value.const_value is not None and value.const_value.size == 1:
            value = rewrite.constant(np.full(target, value.const_value.numpy().reshape(())))
        elif target != [1 if axis in open_axes else size for axis, size in enumerate(shapes[0])]:
            value = rewrite.add("Expand", [value, rewrite.constant(np.array(target, np.int64))])
        if missing and not all(self.copies(use.node, output, missing[0] - rank) for use in output.uses()):
            if len(missing) > 1 or any(shape[missing[0]] != sizes["N"] for shape, sizes in zip(results, self.sizes)):
                raise self.depends(node)
            value = rewrite.add("Add", [value, self.zeros(rewrite, missing[0], rank, output.dtype)])
        self.graph.insert_before(node, rewrite.new)
        ir.convenience.replace_all_uses_with(output, value, replace_graph_outputs=True)
        self.graph.remove(node, safe=True)
        self.note(value, results)

    def copies(self, reader: ir.Node, value: ir.Value, axis: int) -> bool:
        """Does `reader` take the images along `axis`, counted from behind, from another input that stays as it is?"""
        if reader.domain or reader.op_type not in BROADCASTS:
            return False
        for other in reader.inputs:
            producer = None if other is None else other.producer()
            if other is None or other is value or other in self.values:
                continue
            if producer is not None and producer.op_type in ("Expand", "ConstantOfShape"):
                continue  # may be about to lose its copies as well
            shapes = self.dims(other)
            if shapes and all(len(s) >= -axis and s[axis] == size["N"] for s, size in zip(shapes, self.sizes)):
                return True
        return False

    def zeros(self, rewrite: Rewrite, axis: int, rank: int, kind: ir.DataType | None) -> ir.Value:
        """A zero for each image along `axis`, all other axes being 1: the first number of its largest input times 0."""
        source = max(self.graph.inputs, key=lambda value: (value.dtype == ir.DataType.FLOAT, len(value.shape)))
        if source.dtype != ir.DataType.FLOAT or kind in (None, ir.DataType.BOOL):
            raise self.depends(rewrite.node)
        axes = list(range(1, len(source.shape)))
        if axes:
            bounds = [[0] * len(axes), [1] * len(axes), axes]
            source = rewrite.add("Slice", [source, *(rewrite.constant(np.array(b, np.int64)) for b in bounds)])
        zeros = rewrite.add("Mul", [source, rewrite.constant(np.zeros((), np.float32))])
        if (axis, rank) != (0, 1 + len(axes)):
            shape = [-1 if i == axis else 1 for i in range(rank)]
            zeros = rewrite.add("Reshape", [zeros, rewrite.constant(np.array(shape, np.int64))])
        return zeros if kind == ir.DataType.FLOAT else rewrite.add("Cast", [zeros], to=kind.value)

    def straight(self, samples: Samples) -> bool:
        """Is it `a + b * N` in float32, whatever else is open?"""
        numbers = [(sizes["N"], float(sample)) for sizes, sample in zip(self.sizes, samples)]
        if samples[0].dtype != np.float32:
            return False
        (n0, v0), (n1, v1) = numbers[0], next(pair for pair in numbers if pair[0] != numbers[0][0])
        slope = (v1 - v0) / (n1 - n0)
        return all(math.isclose(value, v0 + slope * (n - n0), rel_tol=1e-6) for n, value in numbers)

    def count(self, node: ir.Node, index: int, samples: Samples) -> None:
        """A number that grows with the batch, such as how many elements there are: images are counted at run time."""
        n = [sizes["N"] for sizes in self.sizes]
        other = next(i for i, size in enumerate(n) if size != n[0])
        slope = float(samples[other] - samples[0]) / (n[other] - n[0])
        start = float(samples[0]) - slope * n[0]
        rewrite = Rewrite(self.graph, node)
        zeros = self.zeros(rewrite, 0, 1, ir.DataType.FLOAT)
        each = rewrite.add("Add", [zeros, rewrite.constant(np.full((), slope, np.float32))])
        total = rewrite.add("ReduceSum", [each, rewrite.constant(np.array([0], np.int64))], keepdims=0)
        if start:
            total = rewrite.add("Add", [total, rewrite.constant(np.full((), start, np.float32))])
        node.replace_input_with(index, total)
        self.graph.insert_before(node, rewrite.new)

    def note(self, value: ir.Value, shapes: Sequence[Sequence[int]]) -> None:
        """The exporter does not know the shape of what it reshaped to a shape computed at run time."""
        rows = np.array([list(shape) for shape in shapes])
        symbols = {name: np.array([sizes[name] for sizes in self.sizes]) for name in self.sizes[0]}

        def dimension(column: np.ndarray) -> int | str | None:
            if (column == column[0]).all():
                return int(column[0])
            return next((name for name, row in symbols.items() if (row == column).all()), None)

        if self.dims(value) is None:
            value.shape = ir.Shape([dimension(column) for column in rows.T])


def label(node: ir.Node) -> str:
    return f"{node.op_type} ({node.name})"


def measure(dim: int | ir.SymbolicDim, sizes: Sizes) -> int:
    if isinstance(dim, int):
        return dim
    return int(eval(str(dim.value), {"__builtins__": {}}, sizes))  # torch writes products such as 4*N


def shape_of(node: ir.Node, shape: tuple[int, ...]) -> np.ndarray:
    if node.op_type == "Size":
        return np.array(math.prod(shape), np.int64)
    bounds = [node.attributes[name].as_int() if name in node.attributes else None for name in ("start", "end")]
    return np.array(shape[slice(*bounds)], np.int64)


def evaluate(node: ir.Node, inputs: list[np.ndarray | None]) -> tuple[np.ndarray, ...]:
    attributes = {}
    for name, attribute in node.attributes.items():
        value = attribute.value
        attributes[name] = value.numpy() if attribute.type == ir.AttributeType.TENSOR else value
    while inputs and inputs[-1] is None:
        inputs = inputs[:-1]
    try:
        result = load_op(node.domain, node.op_type, node.version or 18).eval(*inputs, **attributes)
    except Exception as error:  # the reference evaluator raises anything
        raise ExportError(f"{label(node)} cannot be computed: {str(error).splitlines()[0]}") from error
    return tuple(np.asarray(r) for r in result) if isinstance(result, tuple) else (np.asarray(result),)


def alike(samples: Samples) -> bool:
    first = samples[0]
    return all(sample.shape == first.shape and np.array_equal(sample, first, equal_nan=True) for sample in samples)


def resolve(target: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A Reshape's target with the dimension that it leaves open."""
    target = target.copy()
    if (target == -1).any():
        target[target == -1] = math.prod(shape) // abs(int(np.prod(target)))
    return target


def whole(scale: float, sizes: Sequence[int]) -> np.float32:
    """The float32 nearest to `scale` by which each size grows to a whole one: readers round down."""
    near = np.float32(scale)
    while any(math.floor(np.float32(size) * near) < round(size * scale) for size in sizes):
        near = np.nextafter(near, np.float32(np.inf))
    return near
