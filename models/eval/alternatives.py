"""Bundles that differ from the one that is judged in their refiner alone, so that the runtime itself tells what it is
worth.

`reuse`: an offset of zero, so that a refiner step is an Euler step along the cached velocity. It costs no network.
Refiners of another depth, width or range of steps, and a small network that stands in for one, are trained by
refiners.py.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from onnx import TensorProto, helper

REUSE = "reuse"


def write_reuse(bundle: Path, out: Path) -> Path:
    """`bundle` (a folder) with a refiner that returns zero."""
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    latent = manifest["latent"]
    state = ["N", latent["channels"], latent["height"], latent["width"]]
    inputs = {"x": state, "v": state, "t": ["N"], "y": ["N"]}
    types = {"y": TensorProto.INT64}
    graph = helper.make_graph(
        [helper.make_node("Sub", ["v", "v"], ["offset"])],
        "reuse",
        [helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), s) for name, s in inputs.items()],
        [helper.make_tensor_value_info("offset", TensorProto.FLOAT, state)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return replace_refiner(bundle, out, model.SerializeToString(), {name: name for name in inputs}, "offset")


def replace_refiner(bundle: Path, out: Path, network: bytes, inputs: dict[str, str], output: str) -> Path:
    """A copy of the folder `bundle` in `out`, with another refiner, of guided answers if the bundle's are."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(bundle, out, ignore=lambda _, names: [n for n in names if Path(n).suffix not in (".json", ".onnx")])
    (out / "refiner.onnx").write_bytes(network)
    manifest = json.loads((out / "bundle.json").read_text(encoding="utf-8"))
    entry = {"file": "refiner.onnx", "sha256": hashlib.sha256(network).hexdigest(), "inputs": inputs, "output": output}
    manifest["networks"]["refiner"] = entry
    (out / "bundle.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return out


def check_same_predictor(bundle: Path, other: Path) -> None:
    """Ends the program if anything but the refiner differs: the comparison would be of something else."""
    hashes = []
    for folder in (bundle, other):
        networks = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))["networks"]
        hashes.append({role: entry["sha256"] for role, entry in networks.items() if role != "refiner"})
    if hashes[0] != hashes[1]:
        raise SystemExit(f"{other}: differs from {bundle} in more than the refiner")
