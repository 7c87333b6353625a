"""How far each engine's predictor is from float32, on states of real trajectories.

What is compared is an engine's answer to one call, the guided batch of 2, with that of ONNX Runtime in float32 for the
same state, time and class. The program tells no single answers, but all states of a trajectory: an Euler step's length
is a velocity, that of the class under guidance 1 and that of no class under guidance 0. So its states are its own,
and those of other engines are the trajectory of float32; a row of float32 shows what that costs, some 1e-6.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from bundles import Bundle
from peers import Peer, PeerError, PythonPeer
from sampler import Array

REFERENCE = "onnxruntime"
STEPS, USED = 9, 6  # H1P5R3 asks its predictor at the first seven times of nine steps, and the first is all noise
SCHEDULE = f"E{STEPS}"
TIMES = [float(t) for t in np.linspace(0, 1, STEPS + 1, dtype=np.float32)][1 : USED + 1]


@dataclass
class Case:
    """One half of a guided batch along one trajectory: of class `label` by scale 1, of no class by scale 0."""

    reference: PythonPeer
    noise: Path
    label: int
    scale: float

    @cached_property
    def states(self) -> Array:
        """[USED, 1, C, H, W], at TIMES."""
        return self.reference.trajectory(self.noise, SCHEDULE, self.label, self.scale)[:USED]

    @cached_property
    def exact(self) -> Array:
        return self.right(self.states)

    def right(self, states: Array) -> Array:
        return self.reference.velocities(states, TIMES, self.label, self.scale)

    def of(self, peer: Peer) -> tuple[Array, Array]:
        """The peer's velocities and the right ones."""
        if isinstance(peer, PythonPeer):
            return peer.velocities(self.states, TIMES, self.label, self.scale), self.exact
        states = peer.trajectory(self.noise, SCHEDULE, self.label, self.scale)
        return np.diff(states[: USED + 1], axis=0) * np.float32(STEPS), self.right(states[:USED])


def errors(
    bundle: Bundle, peers: list[Peer], threads: int, trajectories: int, say: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """The largest and the RMS error of each peer's answers, over the standard deviation of the right ones. One peer at
    a time is open beside the reference."""
    found: dict[str, dict[str, float]] = {}
    reference = PythonPeer(REFERENCE, bundle.guidance)
    with tempfile.TemporaryDirectory() as folder:
        try:
            reference.open(bundle, threads)
            cases = []
            for label in range(trajectories):
                noise = Path(folder, f"{label}.npy")
                drawn = np.random.default_rng(label).standard_normal((1, *bundle.latent))
                np.save(noise, drawn.astype(np.float32))
                cases += [Case(reference, noise, label, scale) for scale in (1.0, 0.0)]
            for peer in peers:
                try:
                    peer.open(bundle, threads)
                    found[peer.name] = distance(*map(np.array, zip(*(case.of(peer) for case in cases))))
                except PeerError as error:
                    say(f"left out: {error}")
                finally:
                    peer.close()
        finally:
            reference.close()
    return found


def distance(answers: Array, right: Array) -> dict[str, float]:
    error, deviation = answers - right, float(right.std(dtype=np.float64))
    rms = float(np.sqrt(np.square(error, dtype=np.float64).mean()))
    return {"largest": float(np.abs(error).max()) / deviation, "rms": rms / deviation}
