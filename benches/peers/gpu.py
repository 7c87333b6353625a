"""One predictor call for guided images on a GPU: flowturbo and its peers, taking turns, as a table for
docs/performance.md.

    python benches/peers/gpu.py BUNDLE... [--images 1 8] [--rounds 3] [--seconds 0.5] [--device cpu]

A flowturbo call is a P step of `flowturbo bench`, the sampler's arithmetic and both copies included; the peers'
inputs and answers stay on the GPU, and each call is waited for. A peer that does not start is named with its reason.
On the cpu, which stands in to try the script itself, the times say nothing. It was never run on a GPU: none was to be
had.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bundles import REPOSITORY, Bundle, find

PROGRAM = os.environ.get("FLOWTURBO_PROGRAM", str(REPOSITORY / "target/release/flowturbo"))
PRECISIONS = ("f32", "tf32", "f16", "bf16")
Job = Callable[[], float]  # the seconds of one call, a median


@dataclass(frozen=True)
class Asked:
    """What a peer is asked for."""

    bundle: Bundle
    images: int
    device: str  # cuda or cpu
    seconds: float


def flowturbo(asked: Asked, precision: str) -> Job:
    images = asked.images

    def job() -> float:
        command = [PROGRAM, "bench", "-m", str(asked.bundle.folder), "--json"]
        command += ["--device", asked.device, "--precision", precision]
        command += ["--schedule", "H1P5", "--batch", str(images), "--runs", "5", "--warmup", "2"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return json.loads(done.stdout)["times"]["step_P"]["median"]

    return job


def shapes(asked: Asked) -> dict[str, tuple[int, ...]]:
    batch = 2 * asked.images  # with guidance
    return {"x": (batch, *asked.bundle.latent), "t": (batch,), "y": (batch,)}


def timed(call: Callable[[], object], seconds: float) -> float:
    """The median of as many calls as there is time for, three at least."""
    call()
    found: list[float] = []
    begun = time.perf_counter()
    while len(found) < 3 or time.perf_counter() - begun < seconds:
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return median(found)


def torch_job(asked: Asked, kind: str) -> Job:
    """`kind` is `eager` or `compiled`, the latter with CUDA graphs, and the numbers: `compiled-f16`."""
    import torch
    import weights

    how, numbers = kind.split("-")
    network = asked.bundle.networks["predictor"]
    if not network.torch_file.is_file():
        asked.bundle.make_torch_files()
    dtype = {"f32": torch.float32, "f16": torch.float16}[numbers]
    module = weights.load(network.torch_file, "predictor").to(asked.device, dtype)
    if how == "compiled":
        module = torch.compile(module, mode="reduce-overhead", dynamic=False)
    on = {"device": asked.device, "dtype": dtype}
    drawn = {name: torch.randn(shape, **on) for name, shape in shapes(asked).items()}
    drawn["y"] = torch.zeros(2 * asked.images, dtype=torch.int64, device=asked.device)
    inputs = [drawn[name] for name in network.inputs]

    def call() -> None:
        with torch.inference_mode():
            module(*inputs)
        if asked.device == "cuda":
            torch.cuda.synchronize()

    return lambda: timed(call, asked.seconds)


def onnxruntime_job(asked: Asked, _: str) -> Job:
    import numpy as np
    import onnxruntime

    network, sizes = asked.bundle.networks["predictor"], shapes(asked)
    wanted = f"{asked.device.upper()}ExecutionProvider"
    session = onnxruntime.InferenceSession(str(network.path), providers=[wanted])
    if session.get_providers()[0] != wanted:
        raise RuntimeError(f"onnxruntime computes by {session.get_providers()[0]}")
    binding, random = session.io_binding(), np.random.default_rng(0)
    for name, graph_name in network.inputs.items():
        array = random.standard_normal(sizes[name]).astype(np.float32)
        value = np.zeros(sizes[name], np.int64) if name == "y" else array
        binding.bind_ortvalue_input(graph_name, onnxruntime.OrtValue.ortvalue_from_numpy(value, asked.device, 0))
    binding.bind_output(network.output, asked.device)

    def call() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return lambda: timed(call, asked.seconds)


PEERS: dict[str, tuple[Callable[[Asked, str], Job], str]] = {
    **{f"flowturbo {precision}": (flowturbo, precision) for precision in PRECISIONS},
    **{f"torch {how} {n}": (torch_job, f"{how}-{n}") for n in ("f32", "f16") for how in ("eager", "compiled")},
    "onnxruntime f32": (onnxruntime_job, ""),
}


def table(asked: Asked, rounds: int) -> str:
    jobs: dict[str, Job] = {}
    images = asked.images
    lines = [f"| {asked.bundle.name}, {images} guided | ms a call | ms an image |", "|---|---|---|"]
    times: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    for turn in range(rounds):
        names = [name for name in PEERS if name not in failed]
        first = turn % len(names) if names else 0
        for name in names[first:] + names[:first]:
            try:
                if name not in jobs:
                    make, kind = PEERS[name]
                    jobs[name] = make(asked, kind)
                times.setdefault(name, []).append(jobs[name]())
            except Exception as error:  # noqa: BLE001, whatever a peer raises is why it is not in the table
                failed[name] = str(error).splitlines()[0] if str(error) else type(error).__name__
    for name in PEERS:
        if name in failed:
            lines.append(f"| {name} | not run: {failed[name]} | |")
        else:
            call = 1000 * median(times[name])
            lines.append(f"| {name} | {call:.3f} | {call / images:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+")
    parser.add_argument("--images", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--cache", type=Path, default=Path("target/peers"))
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    given = parser.parse_args()
    if given.device == "cuda":
        devices = subprocess.run([PROGRAM, "devices"], check=False, capture_output=True, text=True)
        if devices.returncode:
            sys.exit(devices.stderr.strip())
        print(devices.stdout)
    for text in given.bundles:
        bundle = find(text, "fp16", given.cache)
        for images in given.images:
            print(table(Asked(bundle, images, given.device, given.seconds), given.rounds) + "\n", flush=True)


if __name__ == "__main__":
    main()
