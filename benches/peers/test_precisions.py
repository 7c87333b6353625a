"""Peers of small numbers: quantized as asked for, refused where they are not, and told apart in the tables."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import engines
import numpy as np
import onnx
import onnxruntime
import precisions
import pytest
import quantize
from errors import distance
from onnx import TensorProto, helper, numpy_helper
from peers import Flowturbo, PeerError, make


def program(folder: Path, help_text: str) -> Flowturbo:
    """Of which nothing is asked but what it knows."""
    file = folder / "program"
    file.write_text(f"#!/bin/sh\necho '{help_text}'\n")
    file.chmod(0o755)
    return Flowturbo(file)


def test_a_program_is_asked_for_the_precision_by_name(tmp_path: Path) -> None:
    names = ["flowturbo", "flowturbo-f16-weights", "flowturbo-bf16", "flowturbo-int8"]
    peers = make(names, program(tmp_path, "--backend --precision"), 4.0)
    assert [peer.arguments for peer in peers] == [
        ["--backend", "fused", "--precision", precision] for precision in ("f32", "f16-weights", "bf16", "int8")
    ]


def test_a_program_without_precisions_is_refused_and_runs_in_float32(tmp_path: Path) -> None:
    plain, int8 = make(["flowturbo", "flowturbo-int8"], program(tmp_path, "--backend"), 4.0)
    assert plain.arguments == ["--backend", "fused"]
    with pytest.raises(PeerError, match="flowturbo-int8: .*program knows no --precision"):
        int8.open(None, 1)


def test_weights_of_8_bits_are_refused_where_their_sums_would_saturate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.machine, "has_vnni", lambda: False)
    with pytest.raises(RuntimeError, match="no VNNI"):
        engines.OnnxRuntimeInt8(1)


def compiled(precision: str, group: int, *kernels: str) -> SimpleNamespace:
    """What OpenVINO tells of a compiled model."""

    def text(value: str) -> SimpleNamespace:
        return SimpleNamespace(to_string=lambda: value, astype=lambda _: value)

    layers = [
        SimpleNamespace(
            get_rt_info=lambda kernel=kernel: {"layerType": text("FullyConnected"), "primitiveType": text(kernel)}
        )
        for kernel in kernels
    ]
    properties = {"INFERENCE_PRECISION_HINT": text(precision), "DYNAMIC_QUANTIZATION_GROUP_SIZE": group}
    return SimpleNamespace(
        get_property=properties.__getitem__, get_runtime_model=lambda: SimpleNamespace(get_ops=lambda: layers)
    )


@pytest.mark.parametrize(
    ("engine", "right", "wrong"),
    [
        ("openvino", ("f32", 0, "gemm_mlas_f32"), ("f32", 32, "gemm_mlas_f32")),
        ("openvino", ("f32", 0, "gemm_mlas_f32"), ("bf16", 0, "gemm_mlas_f32")),
        ("openvino-bf16", ("bf16", 0, "brgemm_avx512_bf16"), ("bf16", 0, "gemm_mlas_f32")),
        ("openvino-nncf", ("f32", 0, "brgemm_avx512_I8"), ("f32", 0, "brgemm_avx512_f32")),
        ("openvino-dynamic", ("f32", 32, "brgemm_avx512_f32"), ("f32", 0, "brgemm_avx512_f32")),
    ],
)
def test_openvino_is_refused_if_it_would_run_something_else(engine: str, right: tuple, wrong: tuple) -> None:
    made = object.__new__(engines.ENGINES[engine])  # the package is not needed for it
    made.check(compiled(*right))
    with pytest.raises(RuntimeError, match="OpenVINO would"):
        made.check(compiled(*wrong))


def product(operator: str) -> onnx.ModelProto:
    """A product with weights that are stored in float16."""
    weights = numpy_helper.from_array(np.random.default_rng(0).standard_normal((8, 8)).astype(np.float16), "stored")
    nodes = [
        helper.make_node("Cast", ["stored"], ["w"], to=TensorProto.FLOAT),
        helper.make_node(operator, ["x", "w"], ["y"], name="product"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 8]) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
def test_every_product_is_quantized_and_none_is_left_out_in_silence(operator: str, tmp_path: Path) -> None:
    model, out = product(operator), tmp_path / "out"
    onnx.save(model, tmp_path / "stored.onnx")
    out.mkdir()
    quantize.make_dynamic(SimpleNamespace(path=tmp_path / "stored.onnx"), None, out, reduced=True)
    x = np.random.default_rng(1).standard_normal((4, 8)).astype(np.float32)
    exact, rounded = (
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for path in (tmp_path / "stored.onnx", out / "model.onnx")
    )
    assert 0 < np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()
    quantize.fold_casts(model.graph)
    with pytest.raises(SystemExit, match="1 products were not quantized, product the first"):
        quantize.check_products(model.graph)


def test_weights_are_folded_to_the_numbers_that_are_computed_with() -> None:
    model = product("MatMul")
    stored = numpy_helper.to_array(model.graph.initializer[0])
    quantize.fold_casts(model.graph)
    (folded,) = model.graph.initializer
    assert [node.op_type for node in model.graph.node] == ["MatMul"]
    assert folded.name == "w" and folded.data_type == TensorProto.FLOAT
    assert (numpy_helper.to_array(folded) == stored.astype(np.float32)).all()


def test_errors_are_in_deviations_of_the_right_answers() -> None:
    right = np.array([[1, -1, 1, -1]], np.float32) * 2 + 5
    answers = right + np.array([[0, 1, 0, 0]], np.float32)
    assert distance(answers, right) == {"largest": 0.5, "rms": 0.25}


def test_ratios_are_to_our_float32_to_bfloat16_and_to_the_best_peer() -> None:
    seconds = {"flowturbo": 8.0, "flowturbo-int8": 2.0, "onnxruntime": 1.0, "openvino-bf16": 6.0, "openvino-nncf": 4.0}
    rounds = [{"seconds": {name: {"predictor": time} for name, time in seconds.items()}}]
    bundle = {"threads": {"2": rounds}, "errors": {"flowturbo-int8": {"largest": 0.125, "rms": 0.0625}}}
    lines = precisions.section(bundle, "predictor", "predictor call").splitlines()
    (ours,) = (line for line in lines if line.startswith("| flowturbo, int8 |"))
    assert ours.split(" | ")[2:] == ["4.00", "3.00", "2.00", "0.12", "0.062 |"]
    float32 = {"threads": {"2": [{"seconds": {"flowturbo": {"predictor": 8.0}}}]}}
    assert precisions.section(float32, "predictor", "predictor call") == ""
