"""Compares the compressed pixels of two PNG files; the library and the program write them alike: pixels.py ONE OTHER"""

from __future__ import annotations

import sys
from pathlib import Path


def compressed(path: str) -> bytes:
    png, at, pixels = Path(path).read_bytes(), 8, b""
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] == b"IDAT":
            pixels += png[at + 8 : at + 8 + size]
        at += size + 12
    if not pixels:
        raise SystemExit(f"{path}: no pixels")
    return pixels


one, other = sys.argv[1:]
if compressed(one) != compressed(other):
    raise SystemExit(f"{one} and {other} are not the same image")
