"""Cells of markdown tables, of times that were measured in rounds."""

from __future__ import annotations

import statistics


def series(rounds: list[dict], name: str, row: str) -> list[float]:
    return [entry["seconds"][name][row] for entry in rounds if row in entry["seconds"].get(name, {})]


def ratio(theirs: list[float] | None, ours: list[float]) -> str:
    return f"{statistics.median(a / b for a, b in zip(theirs, ours)):.2f}" if theirs and ours else ""


def cell(seconds: list[float]) -> str:
    """Milliseconds with three digits: `4.62 ±3 %`."""
    if not seconds:
        return ""
    middle = statistics.median(seconds)
    digits = max(0, 2 - len(str(int(1e3 * middle))) + 1) if middle >= 1e-3 else 3
    return f"{1e3 * middle:.{digits}f} ±{50 * (max(seconds) - min(seconds)) / middle:.0f} %"


def table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
