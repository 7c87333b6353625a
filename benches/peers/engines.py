"""The peers, each as it is best used: fixed shapes, its own graph optimiser, float32, the threads asked for.

Making an engine imports its package and sets its threads; `open` gives a function of named arrays.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from bundles import Network

Function = Callable[..., np.ndarray]


class OnnxRuntime:
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
        session = self.package.InferenceSession(str(network.path), options, providers=["CPUExecutionProvider"])
        names, outputs = network.inputs, [network.output]
        return lambda **inputs: session.run(outputs, {names[key]: array for key, array in inputs.items()})[0]


class OpenVino:
    """Float32 is asked for, or it would compute in bfloat16 where the processor has it."""

    def __init__(self, threads: int):
        import openvino

        self.core = openvino.Core()
        self.config = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
        }

    def open(self, network: Network) -> Function:
        model = self.core.read_model(network.path)
        model.reshape({network.inputs[key]: list(shape) for key, shape in network.shapes.items()})
        compiled = self.core.compile_model(model, "CPU", self.config)
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if precision != "f32":
            raise RuntimeError(f"OpenVINO would compute in {precision}")
        request, names = compiled.create_infer_request(), network.inputs

        def call(**inputs: np.ndarray) -> np.ndarray:
            request.infer({names[key]: array for key, array in inputs.items()}, share_inputs=True)
            return request.get_output_tensor(0).data.copy()

        return call


class Torch:
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


ENGINES = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "torch": Torch,
    "torch-compile": TorchCompiled,
}
