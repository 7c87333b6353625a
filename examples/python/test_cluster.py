"""A library made by two workers of a local Ray cluster: killed half-way, and gone on with. `.ci/texture-library`."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("texture_library.py")
LIBRARY = REPOSITORY / "target" / "release" / "libflowturbo_capi.so"
CLASSES = ("brick", "grass", "sand", "snow", "wood", "rock")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    # Workers have the environment that the cluster is started with.
    os.environ.setdefault("FLOWTURBO_LIBRARY", str(LIBRARY))
    os.environ["PYTHONPATH"] = str(REPOSITORY / "bindings" / "python")
    os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "requests.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "class", "seed", "schedule"])
        writer.writerows([f"{label}-{seed}", label, seed, "H1P6R5"] for label in CLASSES for seed in range(8))
    return path


def start(address: str, table: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, PROGRAM, table, "--model", REPOSITORY / "models" / "textures.ftplan", "--out", out]
    return subprocess.Popen(
        command,
        env=os.environ | {"RAY_ADDRESS": address},
        start_new_session=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(running: subprocess.Popen[str]) -> str:
    said, _ = running.communicate(timeout=300)
    assert running.returncode == 0, said
    return said.splitlines()[-1]


def images(out: Path) -> dict[str, Path]:
    return {path.name: path for path in out.glob("images/*.png")}


def test_a_killed_run_goes_on_and_makes_nothing_twice(address: str, table: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "killed", tmp_path / "whole"
    assert finish(start(address, table, whole)).startswith("48 of 48 requests are in ")
    with start(address, table, out) as killed:
        until = time.monotonic() + 120
        while len(images(out)) < 6 and time.monotonic() < until:
            time.sleep(0.01)
        os.killpg(killed.pid, signal.SIGKILL)
    before = {name: (path.stat().st_ino, path.stat().st_mtime_ns) for name, path in images(out).items()}
    assert 6 <= len(before) < 48 and not (out / "manifest.csv").exists()
    finish(start(address, table, out))
    assert all(
        (path.stat().st_ino, path.stat().st_mtime_ns) == before[name]
        for name, path in images(out).items()
        if name in before
    )
    # As if it had not been killed.
    assert (out / "manifest.csv").read_bytes() == (whole / "manifest.csv").read_bytes()
    assert {name: path.read_bytes() for name, path in images(out).items()} == {
        name: path.read_bytes() for name, path in images(whole).items()
    }
    # Rows that are new are made, and no others.
    done = {name: path.stat().st_mtime_ns for name, path in images(out).items()}
    with table.open("a", encoding="utf-8") as file:
        file.write("late,paving,1,H1P6R5\n")
    finish(start(address, table, out))
    again = {name: path.stat().st_mtime_ns for name, path in images(out).items()}
    assert len(again) == 49 and again | done == again


def test_a_bad_row_is_told_and_the_others_are_made(address: str, tmp_path: Path) -> None:
    table, out = tmp_path / "requests.csv", tmp_path / "out"
    table.write_text("name,class,seed\n" + "".join(f"a{n},brick,{n}\n" for n in range(12)) + "b,brik,0\n")
    running = start(address, table, out)
    said, _ = running.communicate(timeout=300)
    assert running.returncode == 1 and "b: no class 'brik'; nearest is 'brick'" in said
    assert "12 of 13 requests are in" in said and len(images(out)) == 12
