"""Changes to one node of a sound graph that often break it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, numpy_helper

Draw = Callable[[st.SearchStrategy], object]
NUMBERS = [-(2**63), -(2**31), -99, -7, -3, -2, -1, 0, 1, 2, 3, 5, 7, 99, 1000, 2**31, 2**63 - 1]
WORDS = ["", "nonsense", "SAME_UPPER", "NOTSET", "linear", "add", "sideways", "half_pixel"]
FLOATS = [float("nan"), float("inf"), -1.0, 0.0, 1e30]


def broken(draw: Draw, model: ModelProto) -> str:
    """Changes the node that a case of the sweep is about, or one of those, and tells how."""
    named = [node for node in model.graph.node if node.name]
    node = draw(st.sampled_from(named or list(model.graph.node)))
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    taken = [constants[name] for name in node.input if name in constants]
    ways: list = [lambda: change_inputs(draw, node)]
    if node.attribute:
        attribute = draw(st.sampled_from(list(node.attribute)))
        ways += [lambda: change_attribute(draw, attribute)] * 3
    integers = [tensor for tensor in taken if tensor.data_type in (TensorProto.INT64, TensorProto.INT32)]
    if integers:
        tensor = draw(st.sampled_from(integers))
        ways += [lambda: change_integers(draw, tensor)] * 3
    if taken:
        some = draw(st.sampled_from(taken))
        ways.append(lambda: change_shape(draw, some))
    return draw(st.sampled_from(ways))()


def change_attribute(draw: Draw, attribute: AttributeProto) -> str:
    if attribute.type == AttributeProto.INT:
        attribute.i = draw(st.sampled_from(NUMBERS))
        return f"{attribute.name} is {attribute.i}"
    if attribute.type == AttributeProto.FLOAT:
        attribute.f = draw(st.sampled_from(FLOATS))
        return f"{attribute.name} is {attribute.f}"
    if attribute.type == AttributeProto.STRING:
        attribute.s = draw(st.sampled_from(WORDS)).encode()
        return f"{attribute.name} is {attribute.s!r}"
    if attribute.type == AttributeProto.INTS:
        attribute.ints[:] = changed(draw, list(attribute.ints))
        return f"{attribute.name} is {list(attribute.ints)}"
    name = attribute.name
    attribute.name = "stray"
    return f"{name} is called stray"


def changed(draw: Draw, numbers: list[int]) -> list[int]:
    """One more, one less, or one that is another."""
    way = draw(st.sampled_from(["more", "less", "other", "other"]))
    if way == "more" or not numbers:
        return [*numbers, draw(st.sampled_from(NUMBERS))]
    place = draw(st.integers(0, len(numbers) - 1))
    rest = numbers[:place] + numbers[place + 1 :]
    return rest if way == "less" else [*numbers[:place], draw(st.sampled_from(NUMBERS)), *numbers[place + 1 :]]


def change_integers(draw: Draw, tensor: TensorProto) -> str:
    before = numpy_helper.to_array(tensor)
    if before.ndim == 1:
        numbers = changed(draw, before.tolist())
    else:
        numbers = before.copy().astype(np.int64)
        numbers[tuple(draw(st.integers(0, n - 1)) for n in before.shape)] = draw(st.sampled_from(NUMBERS))
    after = np.clip(np.array(numbers, np.int64), np.iinfo(before.dtype).min, np.iinfo(before.dtype).max)
    tensor.CopyFrom(numpy_helper.from_array(after.astype(before.dtype), tensor.name))
    return f"{tensor.name} is {after.tolist()}"


def change_shape(draw: Draw, tensor: TensorProto) -> str:
    array = numpy_helper.to_array(tensor)
    ways = [array.reshape(-1), array[None], np.concatenate([array.reshape(-1)] * 2)]
    if array.ndim > 1:
        ways += [array[..., :1], array.T, array[:1]]
    after = ways[draw(st.integers(0, len(ways) - 1))]
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(after), tensor.name))
    return f"{tensor.name} has the shape {list(after.shape)}"


def change_inputs(draw: Draw, node: NodeProto) -> str:
    way = draw(st.sampled_from(["less", "more", "none", "turned"]))
    if way == "more" or not node.input:
        node.input.append("x")
        return "takes x too"
    place = draw(st.integers(0, len(node.input) - 1))
    if way == "less":
        del node.input[place]
        return f"takes one less, input {place}"
    if way == "none":
        node.input[place] = ""
        return f"lacks input {place}"
    node.input[:] = [*node.input[1:], node.input[0]]
    return "takes its inputs in another order"
