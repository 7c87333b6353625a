"""The output folder: latents and features of rows, and results as JSON lines. Interrupted runs lose little.

All are filed under everything that they depend on: the networks, the row, which images, the seed, and (but for
latents) the network that compares. A changed bundle or seed is another entry, never a stale one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]


class Store:
    def __init__(self, folder: Path):
        self.folder = folder
        self.arrays_folder, self.lines = folder / "arrays", folder / "results.jsonl"
        self.arrays_folder.mkdir(parents=True, exist_ok=True)
        self.results = {}
        if self.lines.exists():
            for line in self.lines.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                self.results[name(entry["key"])] = entry["result"]

    def arrays(self, key: dict, make: Callable[[], Arrays]) -> Arrays:
        """What `make` gave for the key once before, or gives now."""
        path = self.arrays_folder / f"{name(key)}.npz"
        if not path.exists():
            half = path.with_suffix(".part.npz")
            np.savez(half, **make())
            half.replace(path)
        with np.load(path) as file:
            return dict(file)

    def holds_arrays(self, key: dict) -> bool:
        return (self.arrays_folder / f"{name(key)}.npz").exists()

    def result(self, key: dict, make: Callable[[], dict]) -> dict:
        """Likewise, of numbers."""
        if name(key) not in self.results:
            result = make()
            with self.lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "result": result}) + "\n")
            self.results[name(key)] = result
        return self.results[name(key)]


def name(key: dict) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
