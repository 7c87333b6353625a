"""Time beside error where small numbers were measured, ours and the peers': a table for each row.

The best peer is the fastest that is not float32. Errors are of a predictor call's answers (errors.py), in standard
deviations of the right ones.
"""

from __future__ import annotations

import statistics

from engines import SMALL
from peers import PRECISIONS
from tables import cell, ratio, series, table

TITLES = {
    "flowturbo": "flowturbo, float32",
    "flowturbo-f16-weights": "flowturbo, weights float16",
    "flowturbo-bf16": "flowturbo, bfloat16",
    "flowturbo-int8": "flowturbo, int8",
    "onnxruntime": "ONNX Runtime, float32",
    "onnxruntime-int8": "ONNX Runtime, int8 (dynamic, per channel)",
    "onnxruntime-int8-reduced": "the same, weights of 7 bits",
    "openvino": "OpenVINO, float32",
    "openvino-bf16": "OpenVINO, bfloat16",
    "openvino-nncf": "OpenVINO, int8 (NNCF, calibrated), rest float32",
    "openvino-nncf-bf16": "OpenVINO, int8 (NNCF, calibrated), rest bfloat16",
    "openvino-weights": "OpenVINO, weights int8, computes in float32",
    "openvino-dynamic": "OpenVINO, weights int8, activations in groups of 32, rest float32",
    "openvino-dynamic-bf16": "OpenVINO, weights int8, activations in groups of 32, rest bfloat16",
    "openvino-dynamic-wide": "OpenVINO, weights int8, activations in groups of 128, rest bfloat16",
}
OURS, BFLOAT16 = "flowturbo", "openvino-bf16"


def section(bundle: dict, row: str, title: str) -> str:
    """Empty where nothing but float32 was measured."""
    times = {
        threads: {name: series(rounds, name, row) for name in TITLES} for threads, rounds in bundle["threads"].items()
    }
    names = [name for name in TITLES if any(found[name] for found in times.values())]
    if {*SMALL, *PRECISIONS}.isdisjoint(names):
        return ""
    head = [f"{title}, by precision"]
    for threads in times:
        head += [f"ms, {threads} thread{'s' * (threads != '1')}", "our float32 / it"]
        head += ["OpenVINO's bfloat16 / it", "best peer / it"]
    lines = [[TITLES[name], *(text for found in times.values() for text in cells(found, name))] for name in names]
    if row == "predictor" and (errors := bundle.get("errors")):
        head += ["largest error", "RMS error"]
        for name, line in zip(names, lines):
            line += [f"{errors[name][key]:.2g}" if name in errors else "" for key in ("largest", "rms")]
    return table(head, lines)


def cells(times: dict[str, list[float]], name: str) -> list[str]:
    """With one number of threads: the time, and how often as long others take."""
    peers = {peer: times[peer] for peer in SMALL if times[peer]}
    best = min(peers, key=lambda peer: statistics.median(peers[peer]), default="")
    return [cell(times[name]), *(ratio(times.get(other), times[name]) for other in (OURS, BFLOAT16, best))]
