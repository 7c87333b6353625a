"""The peers, each as it is best used: fixed shapes, its own graph optimiser, the threads asked for.

Making an engine imports its package and sets its threads; `open` gives a function of named arrays. Float32 unless the
name says otherwise; what an engine would compute in is asked for and looked at, since defaults go by the processor.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import machine
import numpy as np
from bundles import Network

Function = Callable[..., np.ndarray]


class Engine:
    """`kind` is the quantized graph that it opens (quantize.py), empty for the bundle's own."""

    kind = ""


class OnnxRuntime(Engine):
    """Threads spin during a call, its default and fastest, but not after: the networks of an image have a pool each,
    and the predictor's would spin while the refiner runs, which more than doubles the time of an image of the bundled
    model.
    """

    def __init__(self, threads: int):
        import onnxruntime

        self.package, self.threads = onnxruntime, threads

    def open(self, network: Network) -> Function:
        options = self.package.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.add_free_dimension_override_by_name("N", network.batch)
        path = network.quantized(self.kind) / "model.onnx" if self.kind else network.path
        session = self.package.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names, outputs = network.inputs, [network.output]
        return lambda **inputs: session.run(outputs, {names[key]: array for key, array in inputs.items()})[0]


class OnnxRuntimeInt8(OnnxRuntime):
    """Weights of 8 bits, which need VNNI: the instruction before it adds two products to 16 bits, which saturate."""

    kind = "dynamic"

    def __init__(self, threads: int):
        if not machine.has_vnni():
            raise RuntimeError("no VNNI here, so that sums of 8-bit products saturate; onnxruntime-int8-reduced runs")
        super().__init__(threads)


class OnnxRuntimeInt8Reduced(OnnxRuntime):
    """Weights of 7 bits, for every processor."""

    kind = "dynamic-reduced"


class OpenVino(Engine):
    """Without being asked it would compute in bfloat16 where the processor has it, and round the activations before
    int8 weights to int8 too, in groups of 32 along a row, whatever precision is asked for.
    """

    precision = "f32"  # of what is not int8
    products = "f32"  # what layers with weights run in, as the runtime model tells
    group = 0  # of activations that are rounded to int8 before int8 weights; 0: they are not

    def __init__(self, threads: int):
        import openvino

        self.core = openvino.Core()
        self.config = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": self.group,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
        }

    def open(self, network: Network) -> Function:
        model = self.core.read_model(network.quantized(self.kind) / "model.xml" if self.kind else network.path)
        model.reshape({network.inputs[key]: list(shape) for key, shape in network.shapes.items()})
        compiled = self.core.compile_model(model, "CPU", self.config)
        self.check(compiled)
        request, names = compiled.create_infer_request(), network.inputs

        def call(**inputs: np.ndarray) -> np.ndarray:
            request.infer({names[key]: array for key, array in inputs.items()}, share_inputs=True)
            return request.get_output_tensor(0).data.copy()

        return call

    def check(self, compiled: object) -> None:
        """Whether it is what was asked for. Products with rounded activations are listed as of `precision` too, so
        their group is asked instead."""
        names = {"f32": "f32", "float32": "f32", "bf16": "bf16", "bfloat16": "bf16"}
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        group = compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")
        if (names.get(precision), group) != (self.precision, self.group):
            raise RuntimeError(f"OpenVINO would compute in {precision} with groups of {group}")
        layers = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
        layers = [layer for layer in layers if layer["layerType"].astype(str) == "FullyConnected"]
        for kernel in sorted({layer["primitiveType"].astype(str) for layer in layers}):
            if not kernel.lower().endswith(f"_{self.products}"):
                raise RuntimeError(f"OpenVINO would run products by {kernel}, not in {self.products}")


class OpenVinoBf16(OpenVino):
    precision = products = "bf16"


class OpenVinoNncf(OpenVino):
    """Weights and activations int8 with scales that were calibrated; what is left in float32."""

    kind, products = "nncf", "i8"


class OpenVinoNncfBf16(OpenVinoNncf):
    """What is left in bfloat16, OpenVINO's default where the processor has it."""

    precision = "bf16"


class OpenVinoWeights(OpenVino):
    """Weights int8, made float32 again in each product."""

    kind = "weights"


class OpenVinoDynamic(OpenVinoWeights):
    """The same weights, activations rounded to int8 in OpenVINO's default groups."""

    group = 32


class OpenVinoDynamicBf16(OpenVinoDynamic):
    """OpenVINO's defaults for such a graph, where the processor has bfloat16."""

    precision = products = "bf16"


class OpenVinoDynamicWide(OpenVinoDynamicBf16):
    """The groups that were fastest of 32 to 768, for all sizes here."""

    group = 128


class Torch(Engine):
    """The module that the graph was exported from, with the graph's weights."""

    compiled = False

    def __init__(self, threads: int):
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # no pool of compilers that stays around
        import torch

        torch.set_num_threads(threads)
        import weights

        self.torch, self.load = torch, weights.load

    def open(self, network: Network) -> Function:
        torch = self.torch
        module = self.load(network.torch_file, network.role)
        if self.compiled:  # frozen weights and tuned templates were no faster than the defaults
            module = torch.compile(module, dynamic=False)
        order = list(network.inputs)

        def call(**inputs: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return module(*(torch.from_numpy(inputs[name]) for name in order)).numpy()

        return call


class TorchCompiled(Torch):
    compiled = True


FLOAT32: dict[str, type[Engine]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "torch": Torch,
    "torch-compile": TorchCompiled,
}
SMALL: dict[str, type[Engine]] = {
    "onnxruntime-int8": OnnxRuntimeInt8,
    "onnxruntime-int8-reduced": OnnxRuntimeInt8Reduced,
    "openvino-bf16": OpenVinoBf16,
    "openvino-nncf": OpenVinoNncf,
    "openvino-nncf-bf16": OpenVinoNncfBf16,
    "openvino-weights": OpenVinoWeights,
    "openvino-dynamic": OpenVinoDynamic,
    "openvino-dynamic-bf16": OpenVinoDynamicBf16,
    "openvino-dynamic-wide": OpenVinoDynamicWide,
}
ENGINES = FLOAT32 | SMALL
