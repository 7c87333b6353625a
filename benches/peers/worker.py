"""One engine in a process of its own: a JSON request a line on stdin, a JSON answer a line on stdout.

    python worker.py ENGINE THREADS GUIDANCE

`load` imports the engine, `open` (bundle, cache) opens every network, `time` (row, calls) times a network or a whole
image, `latents` (schedule, noise, out) samples from file to file, `trajectory` and `velocities` are errors.py's,
`memory` tells the peak: {"do": "time", "row": "predictor", "calls": 3}. Between requests the process waits in a read
and computes nothing.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import machine
import numpy as np
from bundles import Bundle, Network
from engines import ENGINES
from sampler import Sampler
from schedule import trajectory


class Worker:
    def __init__(self, engine: str, threads: int, guidance: float):
        self.name, self.threads, self.guidance = engine, threads, guidance

    def load(self) -> dict:
        """Imports the engine, which is not counted as opening."""
        self.engine = ENGINES[self.name](self.threads)
        return {}

    def open(self, bundle: str, cache: str) -> dict:
        self.model = model = Bundle(Path(bundle), Path(cache))
        started = time.perf_counter()
        self.networks = {role: self.engine.open(network) for role, network in model.networks.items()}
        seconds = time.perf_counter() - started
        self.sampler = Sampler(model, self.networks, self.guidance)
        random = np.random.default_rng(0)

        def feed(network: Network) -> dict[str, np.ndarray]:
            fixed = {"t": np.full(network.batch, 0.5, np.float32), "y": self.sampler.labels[: network.batch]}
            drawn = {name: random.standard_normal(shape).astype(np.float32) for name, shape in network.shapes.items()}
            return drawn | {name: fixed[name] for name in network.inputs if name in fixed}

        self.feeds = {role: feed(network) for role, network in model.networks.items()}
        self.noise = self.feeds["predictor"]["x"][:1]
        return {"seconds": seconds}

    def job(self, row: str) -> Callable[[], object]:
        if row in self.networks:
            return lambda: self.networks[row](**self.feeds[row])
        return lambda: self.sampler.image(self.noise, row)

    def time(self, row: str, calls: int) -> dict:
        job, seconds = self.job(row), []
        for _ in range(calls):
            started = time.perf_counter()
            job()
            seconds.append(time.perf_counter() - started)
        return {"seconds": seconds}

    def latents(self, schedule: str, noise: str, out: str) -> dict:
        np.save(out, self.sampler.latents(np.load(noise), schedule))
        return {}

    def trajectory(self, schedule: str, noise: str, label: int, scale: float, out: str) -> dict:
        """The state after each step."""
        sampler = Sampler(self.model, self.networks, scale, label)
        np.save(out, np.stack(list(trajectory(sampler, schedule, np.load(noise)))))
        return {}

    def velocities(self, states: str, times: list[float], label: int, scale: float, out: str) -> dict:
        """The guided velocity of each state at its time."""
        sampler = Sampler(self.model, self.networks, scale, label)
        np.save(out, np.stack([sampler.predict(x, t)[:1] for x, t in zip(np.load(states), times)]))
        return {}

    def memory(self) -> dict:
        return {"peak_bytes": machine.peak_memory()}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is not an answer

    def answer(work: Callable[..., dict], **arguments: object) -> None:
        try:
            content = work(**arguments)
        except Exception as error:  # noqa: BLE001, whatever an engine raises is its answer
            content = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        answers.write(json.dumps(content) + "\n")

    worker = Worker(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
    for line in sys.stdin:
        request = json.loads(line)
        answer(getattr(worker, request.pop("do")), **request)


if __name__ == "__main__":
    main()
