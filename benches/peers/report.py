"""Raw numbers -> markdown tables: python report.py FILE.json, a file that `run.py --json` wrote.

Ratios are taken within each round, between measurements that lie seconds apart, and their median is shown.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import precisions
from peers import BACKENDS, IMAGE, OTHERS
from schedule import calls
from tables import cell, ratio, series, table

TITLES = {
    "flowturbo": "flowturbo",
    "tract": "tract (reference)",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "torch": "PyTorch",
    "torch-compile": "PyTorch compiled",
}
ROWS = {
    "predictor": "predictor call",
    "refiner": "refiner call",
    "decoder": "decoder call",
    IMAGE: f"image, {IMAGE}",
    "E25": "image, 25 Euler steps",
    "H8": "image, 8 Heun steps",
}
BUSY = 0.1  # processors taken by others, from where on a result is in doubt


def report(data: dict) -> str:
    return "\n\n".join([heading(data), *(bundle_section(bundle) for bundle in data["bundles"])]) + "\n"


def heading(data: dict) -> str:
    machine, versions = data["machine"], data["versions"]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{data['date']}: {machine['processor']}, {machine['processors']} processors, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB, {machine['system']}.\n{packages}.\n"
        f"Batch 1 doubled for guidance {data['guidance']:g}, float32 unless said. Median of {data['rounds']} rounds in "
        f"turns, about {data['seconds']:g} s of each row and peer in a round; ± is half the range, ratios are medians "
        "of each round's."
    )


def bundle_section(bundle: dict) -> str:
    parts = [f"## {bundle['name']} ({bundle['folder']}, weights in {bundle['weights']})"]
    parts += [peak_line(threads, rounds) for threads, rounds in bundle["threads"].items() if rounds]
    parts.append(call_table(bundle))
    parts += [precisions.section(bundle, row, title) for row, title in ROWS.items() if row not in OTHERS]
    if bundle["starts"]:
        parts.append(start_table(bundle))
    return "\n\n".join(part for part in parts if part)


def peak_line(threads: str, rounds: list[dict]) -> str:
    """What the machine can do with so many threads, and what disturbed it."""
    words = []
    if flops := peak(rounds, "fma_gflops", threads):
        words.append(f"{flops:.0f} GFLOP/s of FMA")
    if read := peak(rounds, "read_gbytes", threads):
        words.append(f"{read:.1f} GB/s read")
    for key, who in (("other_cpu", "other processes"), ("idle_cpu", "waiting peers")):
        busy = max(entry[key] for entry in rounds)
        if busy > BUSY:
            words.append(f"in doubt: {who} took up to {busy:.2f} processors")
    return f"With {threads} thread{'s' * (threads != '1')}: {', '.join(words)}." if words else ""


def peak(rounds: list[dict], key: str, threads: str) -> float | None:
    found = [
        entry["peaks"][key][threads] for entry in rounds if entry["peaks"] and threads in entry["peaks"].get(key, {})
    ]
    return statistics.median(found) if found else None


def call_table(bundle: dict) -> str:
    names = [name for name in TITLES if any(name in e["seconds"] for r in bundle["threads"].values() for e in r)]
    subject = next((name for name in names if name in BACKENDS), None)
    head = ["ms", "threads", *(TITLES[name] for name in names)]
    if subject:
        head += [
            f"ONNX Runtime / {subject}",
            f"best peer / {subject}",
            f"{subject} of FMA peak",
            "best peer of FMA peak",
        ]
    lines = []
    for row, title in ROWS.items():
        for threads, rounds in bundle["threads"].items():
            times = {name: series(rounds, name, row) for name in names}
            if any(times.values()):
                ratios = compare(bundle, row, threads, rounds, subject) if subject else []
                lines.append([title, threads, *(cell(times[name]) for name in names), *ratios])
    return table(head, lines)


def compare(bundle: dict, row: str, threads: str, rounds: list[dict], subject: str) -> list[str]:
    """How many times as long the peers take, and the fraction of the FMA peak; other schedules against our image."""
    ours = series(rounds, subject, IMAGE if row in OTHERS else row)
    times = {name: series(rounds, name, row) for name in TITLES if name not in BACKENDS}
    times = {name: values for name, values in times.items() if len(values) == len(ours) > 0}
    best = min(times, key=lambda name: statistics.median(times[name]), default=None)
    cells = [ratio(times.get("onnxruntime"), ours)]
    if row in OTHERS or best is None:
        return [*cells, "", "", ""]
    cells.append(f"{ratio(times[best], ours)} ({TITLES[best]})")
    limit, work = peak(rounds, "fma_gflops", threads), flops(bundle, row)
    for values in (ours, times[best]):
        known = limit and work and values
        cells.append(f"{100 * work / statistics.median(values) / (1e9 * limit):.0f} %" if known else "")
    return cells


def flops(bundle: dict, row: str) -> float:
    """Of the whole graph: what an engine need not compute again counts too."""
    known = bundle["flops"]
    if row in known:
        return known[row]
    return sum(known.get(role, 0) * count for role, count in zip(("predictor", "refiner"), calls(row))) + known.get(
        "decoder", 0
    )


def start_table(bundle: dict) -> str:
    head = ["", "open, s", "first image, s", "peak memory, GB", "largest distance from the median latents"]
    lines = []
    for name, title in TITLES.items():
        if found := bundle["starts"].get(name):
            times = [f"{median(found, key):.2f}" for key in ("open", "image")]
            distance = bundle["agreement"].get(name)
            shown = "" if distance is None else f"{distance:.1e}"
            lines.append([title, *times, f"{median(found, 'peak_bytes') / 1e9:.2f}", shown])
    return f"A fresh process, files in the cache, {bundle['start_threads']} threads:\n\n" + table(head, lines)


def median(found: list[dict], key: str) -> float:
    return statistics.median(start[key] for start in found)


if __name__ == "__main__":
    print(report(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), end="")
