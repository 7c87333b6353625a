"""As calls.c, by the Python binding."""

from __future__ import annotations

import sys
from time import perf_counter
from zlib import adler32

import flowturbo


def main() -> None:
    model, schedule, threads = sys.argv[1:]
    session = flowturbo.Model.open(model, threads=int(threads)).session()
    for _ in sys.stdin:
        begun = perf_counter()
        made = session.generate(classes=0, seed=7, schedule=schedule)
        took = perf_counter() - begun
        print(f"{took:.9f} {adler32(made.images.tobytes())}", flush=True)


if __name__ == "__main__":
    main()
