"""What is compared: engines in Python workers that stay alive, and flowturbo as a program. One computes at a time."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from bundles import Bundle
from engines import ENGINES, FLOAT32, SMALL
from sampler import Array

IMAGE = "H1P5R3"  # the schedule of a whole image
OTHERS = ("E25", "H8")  # what the same model is usually sampled by, on ONNX Runtime
BACKENDS = {"flowturbo": "fused", "tract": "reference"}
PRECISIONS = {f"flowturbo-{precision}": precision for precision in ("f16-weights", "bf16", "int8")}
GROUPS = {"float32": (*BACKENDS, *FLOAT32), "small": (*PRECISIONS, *SMALL)}
NAMES = (*GROUPS["float32"], *GROUPS["small"])
SHORTEST = "E1R1"  # schedule that calls both networks
MOST_CALLS = 500


class PeerError(Exception):
    """A peer cannot do what it was asked; the message names it."""


class Peer(ABC):
    """One engine; `open` it on a bundle, `measure` as often as wanted, `close` it."""

    def __init__(self, name: str, guidance: float):
        self.name, self.guidance = name, guidance
        self.seconds: dict[str, float] = {}  # of one call, as last measured

    @property
    def pids(self) -> list[int]:
        """Of a process that lives between measurements."""
        return []

    def rows(self, bundle: Bundle) -> list[str]:
        return [*bundle.networks, IMAGE]

    def calls(self, row: str, budget: float) -> int:
        """How many fit in `budget` seconds, at least one."""
        return max(1, min(MOST_CALLS, round(budget / self.seconds[row])))

    @abstractmethod
    def open(self, bundle: Bundle, threads: int) -> None: ...

    @abstractmethod
    def measure(self, rows: list[str], budget: float) -> dict[str, float]:
        """Median seconds of one call of each row, after about `budget` seconds of each."""

    @abstractmethod
    def latents(self, noise: Path, out: Path) -> None: ...

    @abstractmethod
    def trajectory(self, noise: Path, schedule: str, label: int, scale: float) -> Array:
        """The state after each step."""

    @abstractmethod
    def start(self, bundle: Bundle, threads: int) -> dict[str, float]:
        """Opens in a fresh process and makes the shortest image: seconds until open, until the image, peak memory."""

    def close(self) -> None:
        self.seconds.clear()


class PythonPeer(Peer):
    process: subprocess.Popen | None = None

    @property
    def pids(self) -> list[int]:
        return [self.process.pid] if self.process else []

    def rows(self, bundle: Bundle) -> list[str]:
        return super().rows(bundle) + (list(OTHERS) if self.name == "onnxruntime" else [])

    def open(self, bundle: Bundle, threads: int) -> dict:
        command = [sys.executable, Path(__file__).with_name("worker.py"), self.name, str(threads), str(self.guidance)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ask(do="load")
        return self.ask(do="open", bundle=str(bundle.folder), cache=str(bundle.cache))

    def ask(self, **request: object) -> dict:
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self) -> dict:
        line = self.process.stdout.readline()
        content = json.loads(line) if line else {"error": f"its process ended with {self.process.wait()}"}
        if "error" in content:
            raise PeerError(f"{self.name}: {content['error']}")
        return content

    def measure(self, rows: list[str], budget: float) -> dict[str, float]:
        if not self.seconds:  # the first calls of an engine plan, compile and allocate
            self.ask(do="time", row=SHORTEST, calls=1)
        for row in rows:
            calls = self.calls(row, budget) if row in self.seconds else 1
            self.seconds[row] = statistics.median(self.ask(do="time", row=row, calls=calls)["seconds"])
        return {row: self.seconds[row] for row in rows}

    def latents(self, noise: Path, out: Path) -> None:
        self.ask(do="latents", schedule=IMAGE, noise=str(noise), out=str(out))

    def trajectory(self, noise: Path, schedule: str, label: int, scale: float) -> Array:
        return self.made(do="trajectory", noise=str(noise), schedule=schedule, label=label, scale=scale)

    def velocities(self, states: Array, times: list[float], label: int, scale: float) -> Array:
        """The guided velocity of each state at its time."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "states.npy")
            np.save(file, states)
            return self.made(do="velocities", states=str(file), times=times, label=label, scale=scale)

    def made(self, **request: object) -> Array:
        """The array that is answered in a file."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "out.npy")
            self.ask(**request, out=str(out))
            return np.load(out)

    def start(self, bundle: Bundle, threads: int) -> dict[str, float]:
        try:
            opened = self.open(bundle, threads)["seconds"]
            image = self.ask(do="time", row=SHORTEST, calls=1)["seconds"][0]
            return {"open": opened, "image": opened + image, "peak_bytes": self.ask(do="memory")["peak_bytes"]}
        finally:
            self.close()

    def close(self) -> None:
        super().close()
        if self.process:
            self.process.stdin.close()
            self.process.wait()
            self.process.stdout.close()
            self.process = None


class Flowturbo:
    """The program."""

    def __init__(self, program: Path):
        self.program = program
        self.bench_help = self.run("bench", "--help")

    def run(self, *arguments: object) -> str:
        command = [str(self.program), *map(str, arguments)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise PeerError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
        return done.stdout

    def variants(self) -> dict[str, list[str] | None]:
        """Peer -> its arguments, None for what this program cannot do. One that knows no --backend runs the engine
        that it has, and one that knows no --precision computes in float32."""
        found: dict[str, list[str] | None] = {"flowturbo": []}
        if "--backend" in self.bench_help:
            found = {name: ["--backend", backend] for name, backend in BACKENDS.items()}
        fused, known = found["flowturbo"], "--precision" in self.bench_help
        if known:
            found["flowturbo"] = [*fused, "--precision", "f32"]
        return found | {n: [*fused, "--precision", p] if known else None for n, p in PRECISIONS.items()}

    def peaks(self) -> dict | None:
        """GFLOP/s of fused multiply-adds and GB/s of reading, by threads."""
        return json.loads(self.run("bench", "--peaks", "--json")) if "--peaks" in self.bench_help else None

    def inspect(self, bundle: Bundle) -> dict:
        """Operations of one call of each network for one guided image, and how most of the weights are stored."""
        networks = json.loads(self.run("inspect", bundle.folder, "--json"))["networks"]
        weights = networks["predictor"]["weights"]
        flops = {role: networks[role]["flops"] for role in bundle.networks}
        return {"flops": flops, "weights": max(weights, key=weights.__getitem__).lower()}


class FlowturboPeer(Peer):
    """A process for each measurement, which loads, warms up by one image and times whole images.

    A P step is one predictor call and an R step two refiner calls, the sampler's arithmetic included.
    """

    def __init__(self, name: str, guidance: float, program: Flowturbo, arguments: list[str] | None):
        super().__init__(name, guidance)
        self.program, self.arguments = program, arguments

    def open(self, bundle: Bundle, threads: int) -> None:
        if self.arguments is None:
            raise PeerError(f"{self.name}: {self.program.program} knows no --precision")
        self.bundle, self.threads = bundle, threads

    def bench(self, schedule: str, runs: int, warmup: int) -> dict:
        counts = ["--threads", self.threads, "--runs", runs, "--warmup", warmup]
        sampling = ["--schedule", schedule, "--guidance", self.guidance]
        return json.loads(self.program.run("bench", self.bundle.folder, "--json", *sampling, *counts, *self.arguments))

    def measure(self, rows: list[str], budget: float) -> dict[str, float]:
        runs = self.calls(IMAGE, budget) if IMAGE in self.seconds else 1
        times = {name: spread["median"] for name, spread in self.bench(IMAGE, runs, warmup=1)["times"].items()}
        found = {"predictor": times["step_P"], "refiner": times["step_R"] / 2, IMAGE: times["whole"]}
        self.seconds = found | ({"decoder": times["decode"]} if "decode" in times else {})
        return {row: self.seconds[row] for row in rows}

    def latents(self, noise: Path, out: Path) -> None:
        self.sample(noise, IMAGE, 0, self.guidance, "--output", out)

    def trajectory(self, noise: Path, schedule: str, label: int, scale: float) -> Array:
        with tempfile.TemporaryDirectory() as folder:
            last, all_states = Path(folder, "last.npy"), Path(folder, "all.npy")
            self.sample(noise, schedule, label, scale, "--output", last, "--trajectory", all_states)
            return np.load(all_states)

    def sample(self, noise: Path, schedule: str, label: int, scale: float, *rest: object) -> None:
        sampling = ["--class", label, "--noise", noise, "--schedule", schedule, "--guidance", scale]
        rest = ("--threads", self.threads, "--quiet", *rest)
        self.program.run("latents", self.bundle.folder, *sampling, *rest, *self.arguments)

    def start(self, bundle: Bundle, threads: int) -> dict[str, float]:
        self.open(bundle, threads)
        report = self.bench(SHORTEST, runs=1, warmup=0)
        opened = report["load"] + report["prepare"]
        image = report["times"]["whole"]["median"]
        return {"open": opened, "image": opened + image, "peak_bytes": report["peak_memory_bytes"]}


def make(names: list[str], program: Flowturbo, guidance: float) -> list[Peer]:
    """Those of `names` that can run."""
    variants = program.variants()
    peers: list[Peer] = [FlowturboPeer(n, guidance, program, variants[n]) for n in names if n in variants]
    return peers + [PythonPeer(name, guidance) for name in names if name in ENGINES]
