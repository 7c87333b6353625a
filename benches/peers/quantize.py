"""A bundle's graphs quantized by each peer's own tool: python quantize.py BUNDLE CACHE KIND ROLE...

Weights become float32 first, as they are computed with: they are stored as float16 behind a Cast, which ONNX Runtime's
tool does not look through. Calibration is by states of the model's own trajectories, and no class or noise of
errors.py's.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from bundles import Bundle, Network
from engines import Function, OnnxRuntime
from sampler import Sampler

Feed = dict[str, np.ndarray]
TRAJECTORIES = 24  # of a calibration, by classes in turn; with 8 the bundled model's error is 1.4 times as large
SCHEDULE = "H1P5R3"
FIRST_SEED = 100


def make_dynamic(network: Network, _: Bundle, out: Path, reduced: bool = False) -> None:
    """ONNX Runtime's: weights int8 with a scale for each column; activations uint8, one scale for all of a product's,
    found in each call. Of 8 bits, or 7. Only products: the patch embedding and the table of classes would be no faster,
    and cost precision.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole = out / "float32.onnx"
    model = onnx.load(network.path)
    fold_casts(model.graph)
    onnx.save(model, whole, save_as_external_data=True, location="float32.bin")
    del model
    quantize_dynamic(
        whole,
        out / "model.onnx",
        op_types_to_quantize=["MatMul"],  # of which it makes each Gemm one
        per_channel=True,
        reduce_range=reduced,
        weight_type=QuantType.QInt8,
        use_external_data_format=True,
    )
    for file in (whole, whole.with_name("float32.bin")):  # small models have no second one
        file.unlink(missing_ok=True)
    check_products(onnx.load(out / "model.onnx", load_external_data=False).graph)


def fold_casts(graph: object) -> None:
    """Stores each weight as the float32 numbers that its Cast makes."""
    from onnx import TensorProto, numpy_helper

    weights = {tensor.name: tensor for tensor in graph.initializer}
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in weights]
    casts = [node for node in casts if node.attribute[0].i == TensorProto.FLOAT]
    folded = [
        numpy_helper.from_array(numpy_helper.to_array(weights[node.input[0]]).astype(np.float32), node.output[0])
        for node in casts
    ]
    for node in casts:
        graph.node.remove(node)
    for name in {node.input[0] for node in casts}:
        graph.initializer.remove(weights[name])
    graph.initializer.extend(folded)


def check_products(graph: object) -> None:
    """Ends the program if a product with weights has stayed float32: the tool leaves out what it does not know."""
    weights = {tensor.name for tensor in graph.initializer}
    left = [node.name for node in graph.node if node.op_type in ("MatMul", "Gemm") and weights & set(node.input)]
    if left:
        sys.exit(f"{len(left)} products were not quantized, {left[0]} the first")


def make_nncf(network: Network, bundle: Bundle, out: Path) -> None:
    """NNCF's quantization after training: weights int8 by column, activations int8 with one scale for all calls.

    Scales reach to the extremes of all that was seen: by the tool's default, the mean of each call's extremes, the
    bundled model's largest error is the answers' whole deviation, with 56 calls or 280, and in place of a fifth of it.
    """
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    feeds = [{network.inputs[name]: array for name, array in feed.items()} for feed in calibration(bundle, network)]
    kind = None if network.role == "decoder" else nncf.ModelType.TRANSFORMER
    ranges = nncf.AdvancedQuantizationParameters(activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX)
    options = {"model_type": kind, "subset_size": len(feeds), "advanced_parameters": ranges}
    save(nncf.quantize(read(network), nncf.Dataset(feeds), **options), out)


def make_weights(network: Network, _: Bundle, out: Path) -> None:
    """NNCF's compression of weights by its defaults: 8 bits, by column; how to compute with them is OpenVINO's to
    choose.
    """
    import nncf

    save(nncf.compress_weights(read(network)), out)


def read(network: Network) -> object:
    import openvino

    model = openvino.Core().read_model(network.path)
    model.reshape({network.inputs[key]: list(shape) for key, shape in network.shapes.items()})
    return model


def save(model: object, out: Path) -> None:
    import openvino

    openvino.save_model(model, out / "model.xml", compress_to_fp16=False)


def calibration(bundle: Bundle, network: Network) -> list[Feed]:
    """What the network is fed while images are sampled and decoded."""
    engine, feeds = OnnxRuntime(os.cpu_count() or 1), []
    networks = {role: engine.open(other) for role, other in bundle.networks.items()}
    networks[network.role] = recorded(networks[network.role], feeds)
    for noise, label in beginnings(bundle):
        Sampler(bundle, networks, bundle.guidance, label).image(noise, SCHEDULE)
    return feeds


def recorded(call: Function, feeds: list[Feed]) -> Function:
    def recording(**feed: np.ndarray) -> np.ndarray:
        feeds.append({name: array.copy() for name, array in feed.items()})
        return call(**feed)

    return recording


def beginnings(bundle: Bundle) -> Iterator[tuple[np.ndarray, int]]:
    """Noise and classes of the trajectories, all classes but the first two in turns."""
    classes = range(2, bundle.manifest["classes"]["count"])
    for index in range(TRAJECTORIES):
        noise = np.random.default_rng(FIRST_SEED + index).standard_normal((1, *bundle.latent))
        yield noise.astype(np.float32), classes[index * len(classes) // TRAJECTORIES]


KINDS: dict[str, Callable[[Network, Bundle, Path], None]] = {
    "dynamic": make_dynamic,
    "dynamic-reduced": lambda *arguments: make_dynamic(*arguments, reduced=True),
    "nncf": make_nncf,
    "weights": make_weights,
}


def make(bundle: Bundle, kind: str, role: str) -> None:
    network = bundle.networks[role]
    out = network.quantized(kind)
    unfinished = out.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    KINDS[kind](network, bundle, unfinished)
    unfinished.replace(out)


if __name__ == "__main__":
    for name in sys.argv[4:]:
        make(Bundle(Path(sys.argv[1]), Path(sys.argv[2])), sys.argv[3], name)
