"""Random graphs, both ways: valid ones are answered as by ONNX Runtime or refused while loading, and ones that break
the standard get no answer. The same ones each time."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from breaking import broken
from case import answered
from graphs import BATCH, graphs
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from peer import Peer, Silence
from program import BACKENDS, Answer, apart, ask, noise, program

SWEEP = Path(__file__).resolve().parents[1] / "data" / "sweep"

LEFT_OPEN = {
    # Padding that makes as many windows as strides may come out negative, which ONNX Runtime refuses.
    "-auto-sparse-": "SAME_",
    # A list of one number for a number.
    "Range-": "has the shape [1]",
    # Numbers that the type has not, which the standard leaves open.
    "Cast-": "to is ",
}
"""Where ONNX Runtime does not speak for the standard: part of a case's name, and of how it was changed."""

pytestmark = pytest.mark.skipif(program() is None, reason="flowturbo is not built: cargo build --release")
# The machine may be busy, and each example starts processes.
SLOW = {"derandomize": True, "database": None, "deadline": None, "suppress_health_check": list(HealthCheck)}


def right(answer: Answer, velocity: np.ndarray, tolerance: float) -> bool:
    if answer.velocity is None:
        return answer.refuses
    return apart(answer.velocity, velocity) <= tolerance


@settings(max_examples=120, **SLOW)
@given(graphs())
def test_valid_graphs_are_answered_right_or_refused_while_loading(made: tuple) -> None:
    model, latent = made
    graph = model.SerializeToString()
    velocity = answered(graph, noise(BATCH, latent))
    assume(np.isfinite(velocity).all())
    for backend in BACKENDS:
        answer = ask(graph, BATCH, latent, backend)
        off = "" if answer.velocity is None else f"off by {apart(answer.velocity, velocity):.1e}"
        assert right(answer, velocity, 1e-3), f"{backend}: {off}{answer.line}\n{onnx.printer.to_text(model)}"
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


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


@settings(max_examples=250, **SLOW)
@given(st.data())
def test_broken_graphs_are_not_answered_unless_onnx_runtime_answers_the_same(peer: Peer, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(stored())))
    whole, (batch, *latent) = stored()[name]
    model = onnx.load_from_string(whole)
    told = broken(data.draw, model)
    graph = model.SerializeToString()
    theirs = peer.ask(graph, noise(batch, latent))
    if isinstance(theirs, np.ndarray) and not np.isfinite(theirs).all():
        return
    if any(part in name and change in told for part, change in LEFT_OPEN.items()):
        return
    for backend in BACKENDS:
        answer = ask(graph, batch, latent, backend)
        about = f"{name}, {told}: {backend} {answer.line or 'answers'}"
        if theirs is Silence.REFUSED:
            assert answer.refuses, f"{about}; {theirs.value}"
        elif isinstance(theirs, np.ndarray):
            # Half precision rounds at each step.
            assert right(answer, theirs, 1e-2 if "f16" in name else 1e-3), f"{about}; ONNX Runtime answers"
