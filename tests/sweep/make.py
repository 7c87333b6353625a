"""Writes the sweep: tests/data/sweep, one file for each family of operators.

    python tests/sweep/make.py            # writes
    python tests/sweep/make.py --check    # makes them again and compares: the same graphs, answers within 1e-5
    python tests/sweep/make.py -k reduc   # those families only

A case is NAME/predictor.onnx and NAME/velocity.npy, what ONNX Runtime answers for the first numbers of noise.npy.
`tests/library/sweep.rs` holds the library to them.
"""

from __future__ import annotations

import argparse
import gzip
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
from case import NOISE, Case, Refused, made, npy
from families import FAMILIES

FOLDER = Path(__file__).resolve().parents[1] / "data" / "sweep"


def family(cases: list[Case]) -> tuple[dict[str, bytes], list[str]]:
    """The files of a family, and what was left out because ONNX Runtime refuses it."""
    files, refused = {}, []
    for case in cases:
        assert f"{case.name}/predictor.onnx" not in files, f"{case.name} is there twice"
        try:
            graph, velocity = made(case)
        except Refused as error:
            refused.append(str(error))
            continue
        files[f"{case.name}/predictor.onnx"] = graph
        files[f"{case.name}/velocity.npy"] = npy(velocity)
    return files, refused


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip file as of 1980, compressed as a whole: cases are alike."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return gzip.compress(buffer.getvalue(), mtime=0)


def differences(stored: Path, files: dict[str, bytes]) -> list[str]:
    if not stored.exists():
        return [f"{stored.name} is missing"]
    found = []
    with zipfile.ZipFile(io.BytesIO(gzip.decompress(stored.read_bytes()))) as archive:
        names = archive.namelist()
        if names != list(files):
            found.append(f"{stored.name} holds other cases: {sorted(set(names) ^ set(files))[:5]}")
        for name in set(names) & set(files):
            old, new = archive.read(name), files[name]
            if not name.endswith(".npy"):
                same = old == new
            else:
                a, b = np.load(io.BytesIO(old)), np.load(io.BytesIO(new))
                same = a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-5)
            if not same:
                found.append(f"{stored.name}: {name} is another one")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("-k", default="", help="only families whose name holds this")
    arguments = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    wrong, total = [], 0
    for name, cases in FAMILIES.items():
        if arguments.k not in name:
            continue
        files, refused = family(list(cases()))
        total += len(files) // 2
        print(f"{name}: {len(files) // 2} cases, {sum(map(len, files.values()))} bytes; {len(refused)} left out")
        for line in refused:
            print(f"  not by ONNX Runtime: {line}")
        stored = FOLDER / f"{name}.zip.gz"
        if arguments.check:
            wrong += differences(stored, files)
        else:
            stored.write_bytes(zipped(files))
    noise = FOLDER / "noise.npy"
    if not arguments.check:
        noise.write_bytes(npy(NOISE))
    elif not np.array_equal(np.load(noise), NOISE):
        wrong.append("noise.npy holds other numbers")
    print(f"{total} cases")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
