"""One predictor call for guided images on a GPU: flowturbo and its peers, taking turns, as a table for
docs/performance.md.

    python benches/peers/gpu.py BUNDLE... [--images 1 8] [--rounds 3] [--seconds 0.5]

A flowturbo call is a P step of `flowturbo bench`, the sampler's arithmetic and both copies included; the peers' inputs
and answers stay on the GPU, and each call is waited for. A peer that does not start is named with its reason. It was
never run on a GPU: none was to be had.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from bundles import REPOSITORY, Bundle, find

PROGRAM = os.environ.get("FLOWTURBO_PROGRAM", str(REPOSITORY / "target/release/flowturbo"))
PRECISIONS = ("f32", "tf32", "f16", "bf16")
Job = Callable[[], float]  # the seconds of one call, a median


def flowturbo(bundle: Bundle, images: int, precision: str, _: float) -> Job:
    def job() -> float:
        command = [PROGRAM, "bench", "-m", str(bundle.folder), "--json", "--device", "cuda", "--precision", precision]
        command += ["--schedule", "H1P5", "--batch", str(images), "--runs", "5", "--warmup", "2"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return json.loads(done.stdout)["times"]["step_P"]["median"]

    return job


def shapes(bundle: Bundle, images: int) -> dict[str, tuple[int, ...]]:
    batch = 2 * images  # with guidance
    return {"x": (batch, *bundle.latent), "t": (batch,), "y": (batch,)}


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


def torch_job(bundle: Bundle, images: int, kind: str, seconds: float) -> Job:
    """`kind` is `eager` or `compiled`, the latter with CUDA graphs, and the numbers: `compiled-f16`."""
    import torch
    import weights

    how, numbers = kind.split("-")
    network = bundle.networks["predictor"]
    if not network.torch_file.is_file():
        bundle.make_torch_files()
    dtype = {"f32": torch.float32, "f16": torch.float16}[numbers]
    module = weights.load(network.torch_file, "predictor").to("cuda", dtype)
    if how == "compiled":
        module = torch.compile(module, mode="reduce-overhead", dynamic=False)
    drawn = {name: torch.randn(shape, device="cuda", dtype=dtype) for name, shape in shapes(bundle, images).items()}
    drawn["y"] = torch.zeros(2 * images, dtype=torch.int64, device="cuda")
    inputs = [drawn[name] for name in network.inputs]

    def call() -> None:
        with torch.inference_mode():
            module(*inputs)
        torch.cuda.synchronize()

    return lambda: timed(call, seconds)


def onnxruntime_job(bundle: Bundle, images: int, _: str, seconds: float) -> Job:
    import numpy as np
    import onnxruntime

    network, asked = bundle.networks["predictor"], shapes(bundle, images)
    session = onnxruntime.InferenceSession(str(network.path), providers=["CUDAExecutionProvider"])
    if session.get_providers()[0] != "CUDAExecutionProvider":
        raise RuntimeError(f"onnxruntime computes by {session.get_providers()[0]}")
    binding, random = session.io_binding(), np.random.default_rng(0)
    for name, graph_name in network.inputs.items():
        array = random.standard_normal(asked[name]).astype(np.float32)
        value = np.zeros(asked[name], np.int64) if name == "y" else array
        binding.bind_ortvalue_input(graph_name, onnxruntime.OrtValue.ortvalue_from_numpy(value, "cuda", 0))
    binding.bind_output(network.output, "cuda")

    def call() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return lambda: timed(call, seconds)


PEERS: dict[str, tuple[Callable[[Bundle, int, str, float], Job], str]] = {
    **{f"flowturbo {precision}": (flowturbo, precision) for precision in PRECISIONS},
    **{f"torch {how} {n}": (torch_job, f"{how}-{n}") for n in ("f32", "f16") for how in ("eager", "compiled")},
    "onnxruntime f32": (onnxruntime_job, ""),
}


def table(bundle: Bundle, images: int, rounds: int, seconds: float) -> str:
    jobs: dict[str, Job] = {}
    lines = [f"| {bundle.name}, {images} guided | ms a call | ms an image |", "|---|---|---|"]
    times: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    for turn in range(rounds):
        names = [name for name in PEERS if name not in failed]
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            try:
                if name not in jobs:
                    make, kind = PEERS[name]
                    jobs[name] = make(bundle, images, kind, seconds)
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
    asked = parser.parse_args()
    devices = subprocess.run([PROGRAM, "devices"], check=False, capture_output=True, text=True)
    if devices.returncode:
        sys.exit(devices.stderr.strip())
    print(devices.stdout)
    for text in asked.bundles:
        bundle = find(text, "fp16", asked.cache)
        for images in asked.images:
            print(table(bundle, images, asked.rounds, asked.seconds) + "\n", flush=True)


if __name__ == "__main__":
    main()
