"""Random graphs, both ways: valid ones are answered as by ONNX Runtime or refused while loading, and ones that break the
standard get no answer. The same ones each time."""

from __future__ import annotations

import gzip
import io
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from breaking import broken
from case import Refused, answered
from graphs import BATCH, graphs
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st
from program import BACKENDS, Answer, apart, ask, noise, program

SWEEP = Path(__file__).resolve().parents[1] / "data" / "sweep"
TOLERANCE = 1e-3

pytestmark = pytest.mark.skipif(program() is None, reason="flowturbo is not built: cargo build --release")
# The machine may be busy, and each example starts processes.
SLOW = {"derandomize": True, "database": None, "deadline": None, "suppress_health_check": list(HealthCheck)}


def expected(graph: bytes, batch: int, latent: tuple[int, ...]) -> np.ndarray | None:
    """What ONNX Runtime answers; None where it or the standard's checker refuses the graph."""
    try:
        return answered(graph, noise(batch, latent))
    except Refused as error:
        note(f"ONNX Runtime: {error}")
        return None


def right(answer: Answer, velocity: np.ndarray) -> bool:
    if answer.velocity is None:
        return answer.refuses
    return apart(answer.velocity, velocity) <= TOLERANCE


@settings(max_examples=120, **SLOW)
@given(graphs())
def test_valid_graphs_are_answered_right_or_refused_while_loading(made: tuple) -> None:
    model, latent = made
    graph = model.SerializeToString()
    velocity = expected(graph, BATCH, latent)
    assert velocity is not None, onnx.printer.to_text(model)
    assume(np.isfinite(velocity).all())
    for backend in BACKENDS:
        answer = ask(graph, BATCH, latent, backend)
        off = "" if answer.velocity is None else f"off by {apart(answer.velocity, velocity):.1e}"
        assert right(answer, velocity), f"{backend}: {off}{answer.line}\n{onnx.printer.to_text(model)}"
        # All of these operators have a reading.
        assert answer.velocity is not None, f"{backend}: {answer.line}\n{onnx.printer.to_text(model)}"


@cache
def stored() -> dict[str, tuple[bytes, tuple[int, ...]]]:
    """The sweep's graphs and the shape of their latents, a batch in front."""
    found = {}
    for path in sorted(SWEEP.glob("*.zip.gz")):
        with zipfile.ZipFile(io.BytesIO(gzip.decompress(path.read_bytes()))) as archive:
            for name in sorted({name.split("/")[0] for name in archive.namelist()}):
                velocity = np.load(io.BytesIO(archive.read(f"{name}/velocity.npy")))
                found[name] = archive.read(f"{name}/predictor.onnx"), velocity.shape
    return found


@settings(max_examples=250, **SLOW)
@given(st.data())
def test_broken_graphs_are_not_answered_unless_onnx_runtime_answers_the_same(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(stored())))
    whole, (batch, *latent) = stored()[name]
    model = onnx.load_from_string(whole)
    told = broken(data.draw, model)
    graph = model.SerializeToString()
    velocity = expected(graph, batch, tuple(latent))
    for backend in BACKENDS:
        answer = ask(graph, batch, latent, backend)
        about = f"{name}, {told}: {backend} {answer.line or 'answers'}"
        if velocity is None:
            assert answer.refuses, f"{about}; ONNX Runtime refuses it"
        elif np.isfinite(velocity).all():
            assert right(answer, velocity), f"{about}; ONNX Runtime answers"
