"""Does the written ONNX file compute what the torch module computes? ONNX Runtime against PyTorch, batch 1 and 2.

Where any size will do, a doubled one is tried too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from export import ExportError
from export.graph import exporting, stored_as_f16
from export.manifest import Manifest
from export.signature import Signature

TOLERANCE = 1e-4  # largest error over largest output


def verify(module: nn.Module, signature: Signature, manifest: Manifest, path: Path, dtype: str) -> float:
    """Largest error over largest output, within TOLERANCE."""
    sizes = [signature, signature.doubled()] if signature.any_size else [signature]
    inputs = [random_inputs(size, manifest, batch) for size in sizes for batch in (1, 2)]
    expected = [reference(module, arguments, dtype) for arguments in inputs]
    check_answer(expected[0], signature, manifest, path)
    session = open_session(path)
    worst = 0.0
    for arguments, want in zip(inputs, expected):
        feeds = {name: a.numpy() for name, a in zip(signature.inputs, arguments)}
        got = session.run([signature.output], feeds)[0]
        if got.shape != want.shape:
            raise ExportError(f"{path.name}: ONNX Runtime gives {got.shape}, PyTorch {want.shape}")
        if not np.isfinite(want).all():
            raise ExportError(f"{path.name}: the network gives values that are not finite on random inputs")
        worst = max(worst, float(np.abs(got - want).max() / max(np.abs(want).max(), 1e-12)))
    if not worst <= TOLERANCE:
        raise ExportError(f"{path.name}: ONNX Runtime is {worst:.2g} away from PyTorch, more than {TOLERANCE:g}")
    return worst


def check_answer(answer: np.ndarray, signature: Signature, manifest: Manifest, path: Path) -> None:
    """A decoder makes the maps that the manifest says, a text encoder a context, everything else a latent."""
    found, wanted = answer.shape[1:], signature.answer
    known = [(a, b) for a, b in zip(found, wanted) if isinstance(b, int)]
    if len(found) != len(wanted) or any(a != b for a, b in known):
        of = f" ({', '.join(manifest.maps or ['color'])})" if signature.output == "image" else ""
        shape = ", ".join(map(str, wanted))
        raise ExportError(f"{path.name}: makes {list(answer.shape)}, but [N, {shape}] is wanted{of}")


def random_inputs(signature: Signature, manifest: Manifest, batch: int) -> list[Tensor]:
    """Times of the model's scale, any class or the null class, any tokens, everything else normal."""
    generator = torch.Generator().manual_seed(batch)
    labels = torch.tensor(manifest.classes.known)
    arguments = []
    for name, (shape, dtype) in signature.inputs.items():
        if name == "tokens":
            arguments.append(torch.randint(signature.vocabulary, (batch, *shape), generator=generator))
        elif dtype == torch.int64:
            arguments.append(labels[torch.randint(len(labels), (batch,), generator=generator)])
        elif name == "t":
            arguments.append(manifest.time.scale * torch.rand(batch, generator=generator))
        else:
            arguments.append(torch.randn(batch, *shape, generator=generator))
    return arguments


def reference(module: nn.Module, arguments: list[Tensor], dtype: str) -> np.ndarray:
    with exporting(module):
        if dtype == "f32":
            return module(*arguments).numpy()
        rounded = {n: p.half().float() if stored_as_f16(tuple(p.shape)) else p for n, p in module.named_parameters()}
        return torch.func.functional_call(module, rounded, tuple(arguments)).numpy()


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """The graph as it is written: unoptimised, which also keeps one copy of the weights in memory."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
