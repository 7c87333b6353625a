"""The command line, asked for one step of a predictor."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from case import NOISE

REPOSITORY = Path(__file__).resolve().parents[2]
BACKENDS = ["fused", "reference"]
PATIENCE = 60
"""Seconds that one step may take on a busy machine."""


def program() -> Path | None:
    """Where `FLOWTURBO_PROGRAM` says, or what cargo built last."""
    if "FLOWTURBO_PROGRAM" in os.environ:
        return Path(os.environ["FLOWTURBO_PROGRAM"])
    target = REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target")
    built = [target / profile / "flowturbo" for profile in ["release", "debug"]]
    return max((path for path in built if path.exists()), key=lambda path: path.stat().st_mtime, default=None)


@dataclass(frozen=True)
class Answer:
    """What the program made of a predictor: its velocity, or one line."""

    velocity: np.ndarray | None
    line: str

    @property
    def refuses(self) -> bool:
        """Whether it named the file and what is wrong with it, and not a step that failed."""
        return self.line.startswith("error: predictor.onnx: ")


def noise(batch: int, latent: Sequence[int]) -> np.ndarray:
    shape = (batch, *latent)
    return NOISE[: int(np.prod(shape))].reshape(shape)


def ask(graph: bytes, batch: int, latent: Sequence[int], backend: str) -> Answer:
    """One Euler step of one predictor."""
    channels, height, width = latent
    manifest = {
        "format": "flowturbo-bundle",
        "format_version": "1.0",
        "name": "case",
        "latent": {"channels": channels, "height": height, "width": width, "scale": 1.0, "shift": 0.0},
        "classes": {"count": 3, "null": 3},
        "time": {"direction": "noise_to_data", "scale": 1.0, "velocity_sign": 1},
        "guidance": {"channels": channels},
        "sampling": {"schedule": "E1", "guidance": 1.0},
        "networks": {
            "predictor": {
                "file": "predictor.onnx",
                "sha256": hashlib.sha256(graph).hexdigest(),
                "inputs": {"x": "x", "t": "t", "y": "y"},
                "output": "velocity",
            }
        },
    }
    x = noise(batch, latent)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "predictor.onnx").write_bytes(graph)
        (folder / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
        np.save(folder / "noise.npy", x)
        command = [program(), "latents", folder, "--noise", folder / "noise.npy", "--quiet", "--threads", "1"]
        command += ["--class", ",".join(str(i) for i in range(batch)), "--schedule", "E1", "--guidance", "1"]
        command += ["--backend", backend, "--output", folder / "latents.npy"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            return Answer(None, f"does not end within {PATIENCE} seconds")
        line = done.stderr.strip()
        if done.returncode == 0:
            return Answer(np.load(folder / "latents.npy") - x, "")
        return Answer(None, line if done.returncode in (1, 2) else f"ends with {done.returncode}: {line}")


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, of each number or of 1 for smaller ones; infinite for NaN."""
    off = np.abs(found - expected) / np.maximum(np.abs(expected), 1)
    return float(np.where(np.isnan(off), np.inf, off).max())
