"""A torch module -> a clean ONNX file: opset 18, batch dimension `N` symbolic, every other shape fixed.

A decoder or encoder that works at any size (its `any_size` says so) has its height `H` and width `W` symbolic too.

Weights can be stored as float16, each followed by a Cast, so that compute stays float32. A graph whose
weights come near protobuf's limit of 2 GB puts them in one external file beside it.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from nets.sit import Attention
from torch import nn

from export import ExportError
from export.clean import clean
from export.signature import Signature

OPSET = 18
EXTERNAL_THRESHOLD = 1_500_000_000  # bytes of weights
DTYPES = ("f32", "f16")
F16_LIMIT = 65520.0  # what rounds to infinity


def stored_as_f16(shape: tuple[int, ...]) -> bool:
    """Matrices, kernels and tables of more than 1000 numbers; vectors and small tensors stay float32."""
    return sum(d > 1 for d in shape) >= 2 and math.prod(shape) > 1000


def write_graph(
    module: nn.Module,
    signature: Signature,
    path: Path,
    dtype: str = "f32",
    external_threshold: int = EXTERNAL_THRESHOLD,
) -> list[Path]:
    """Writes `path`, and `path`.data for large weights; returns the files written."""
    model = trace(module, signature)
    clean(model, module.state_dict().keys(), signature.samples())
    if dtype == "f16":
        halve_weights(model.graph)
    model.producer_name = "flowturbo models/export"
    model.producer_version = f"torch {version('torch')}, onnxscript {version('onnxscript')}"
    model.graph.name = path.stem
    external = path.name + ".data" if weight_bytes(model.graph) > external_threshold else None
    ir.save(model, path, external_data=external)
    return [path] if external is None else [path, path.with_name(external)]


def trace(module: nn.Module, signature: Signature) -> ir.Model:
    symbolic = {0: "N", 2: "H", 3: "W"} if signature.any_size else {0: "N"}
    dimensions = {axis: torch.export.Dim(name) for axis, name in symbolic.items()}
    axes: list = [dimensions for _ in signature.inputs]
    with exporting(module), quiet():
        try:
            program = torch.onnx.export(
                module,
                tuple(signature.zeros(2)),
                input_names=list(signature.inputs),
                output_names=[signature.output],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=nest_like_forward(module, axes),
                verbose=False,
            )
        except Exception as error:  # tracing runs the module's own code
            while error.__cause__ is not None:
                error = error.__cause__
            lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            raise ExportError(f"PyTorch cannot export {type(module).__name__}: {lines[0]}") from error
    return program.model


def nest_like_forward(module: nn.Module, axes: list) -> tuple:
    """`forward(x, *conditions)` wants its axes as (x, (conditions...))."""
    code = module.forward.__code__
    named = code.co_argcount - 1
    return (*axes[:named], tuple(axes[named:])) if len(axes) > named else tuple(axes)


@contextmanager
def exporting(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and attention spelled out, while it lasts."""
    modes, exportable = {m: m.training for m in module.modules()}, Attention.exportable
    module.eval()
    Attention.exportable = True
    try:
        with torch.no_grad():
            yield
    finally:
        for m, training in modes.items():
            m.training = training
        Attention.exportable = exportable


@contextmanager
def quiet() -> Iterator[None]:
    """The torch exporter's chatter about optional packages and shared dimensions says nothing about our graphs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def weight_bytes(graph: ir.Graph) -> int:
    return sum(value.const_value.nbytes for value in graph.initializers.values())


def halve_weights(graph: ir.Graph) -> None:
    """Stores large float weights as float16, each behind a Cast to float32."""
    casts = []
    for value in list(graph.initializers.values()):
        tensor = value.const_value
        if tensor.dtype != ir.DataType.FLOAT or not stored_as_f16(tuple(tensor.shape)):
            continue
        check_range(tensor.numpy(), value.name)
        half = ir.Value(name=value.name + ".f16")
        half.const_value = ir.LazyTensor(
            lambda tensor=tensor: ir.tensor(tensor.numpy().astype(np.float16)),
            ir.DataType.FLOAT16,
            ir.Shape(tensor.shape),
            name=half.name,
        )
        cast = ir.node("Cast", [half], {"to": ir.DataType.FLOAT.value}, name=value.name + "/Cast")
        cast.outputs[0].name = cast.name
        ir.convenience.replace_all_uses_with(value, cast.outputs[0])
        del graph.initializers[value.name]
        graph.initializers[half.name] = half
        casts.append(cast)
    graph.insert_before(graph[0], casts)


def check_range(array: np.ndarray, name: str) -> None:
    largest = max(float(array.max()), -float(array.min()))
    if not largest < F16_LIMIT:
        raise ExportError(f"{name}: a weight of {largest:.3g} does not fit in float16")
