"""Times one network call of a bundle in flowturbo and in ONNX Runtime, in turns: python benches/peers/calls.py BUNDLE

A P step is one predictor call, an R step two refiner calls; both on the batch doubled for guidance. Prints the
median of each and the ratio (above 1: ONNX Runtime is faster). Needs the release build and `pip install onnxruntime`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np
import onnxruntime

PROGRAM = Path(__file__).resolve().parents[2] / "target" / "release" / "flowturbo"


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def time_call(session: onnxruntime.InferenceSession, feed: dict[str, np.ndarray], calls: int) -> float:
    session.run(None, feed)
    started = time.perf_counter()
    for _ in range(calls):
        session.run(None, feed)
    return (time.perf_counter() - started) / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="a folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=5, help="of each network, in each round")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    chosen = parser.parse_args()
    manifest = json.loads((chosen.bundle / "bundle.json").read_text())
    latent = [2, *(manifest["latent"][key] for key in ("channels", "height", "width"))]
    random = np.random.default_rng(0)
    x, v = (random.standard_normal(latent).astype(np.float32) for _ in range(2))
    feed = {"x": x, "v": v, "t": np.full(2, 0.5, np.float32), "y": np.array([0, manifest["classes"]["null"]])}
    steps = {"predictor": ("step_P", 1), "refiner": ("step_R", 2)}
    networks = {role: n for role, n in manifest["networks"].items() if role in steps}
    ours, theirs = ({role: [] for role in networks} for _ in range(2))
    schedule = "H1P5" + ("R3" if "refiner" in networks else "")
    command = [PROGRAM, "bench", chosen.bundle, "--schedule", schedule, "--guidance", "4", "--json"]
    command += ["--threads", str(chosen.threads), "--runs", "1"]
    for _ in range(chosen.rounds):
        times = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["times"]
        for role, network in networks.items():
            step, calls = steps[role]
            ours[role].append(times[step]["median"] / calls)
            session = open_session(chosen.bundle / network["file"], chosen.threads)
            named = {name: feed[key] for key, name in network["inputs"].items()}
            theirs[role].append(time_call(session, named, chosen.calls))
    print(f"ONNX Runtime {onnxruntime.__version__}, {chosen.threads} threads, {chosen.rounds} rounds, batch 2")
    for role in networks:
        a, b = statistics.median(ours[role]), statistics.median(theirs[role])
        ratio = statistics.median(x / y for x, y in zip(ours[role], theirs[role]))
        print(f"{role:10} flowturbo {1e3 * a:9.2f} ms   ONNX Runtime {1e3 * b:9.2f} ms   ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
