"""What a call costs beside C: the same generation by a program in each language, in turns.

    python benches/bindings/measure.py [--turns N] [--threads N]

Each program opens a model, answers a line by one generation, and says its seconds and the Adler-32 of its pixels, which
must be the same in all. Prints quartiles of the seconds, and of the ratio to C in the same turn: of the bundled model,
and of one that is so small that calls are all that is measured. C is there twice: what lies between the two is not the
languages'.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
LIBRARY = Path(os.environ.get("FLOWTURBO_LIBRARY", REPOSITORY / "target" / "release" / "libflowturbo_capi.so"))
MODELS = {
    "models/textures.ftplan": "H1P6R5",
    "tests/data/tiny-maps/bundle": "E1",
}


@dataclass
class Program:
    """One that answers lines."""

    process: subprocess.Popen[str]

    def generate(self) -> tuple[float, str]:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if len(answer) != 2:
            raise SystemExit(f"{self.process.args}: ended")
        return float(answer[0]), answer[1]


def commands(folder: Path) -> dict[str, list[str]]:
    """How each language's program is run; C first."""
    for name in ("libflowturbo.so", "libflowturbo.so.0"):
        (folder / name).symlink_to(LIBRARY)
    include, calls = f"-I{REPOSITORY / 'include'}", str(folder / "calls")
    link = [f"-L{folder}", "-lflowturbo", f"-Wl,-rpath,{folder}"]
    subprocess.run(["cc", "-O2", include, str(HERE / "calls.c"), "-o", calls, *link], check=True)
    known = {"C": [calls], "C again": [calls], "Python": [sys.executable, str(HERE / "calls.py")]}
    for name, compiler, build in (("C#", "mcs", c_sharp), ("Java", "javac", java)):
        if shutil.which(compiler):
            known[name] = build(folder)
        else:
            print(f"{name}: there is no {compiler}")
    return known


def c_sharp(folder: Path) -> list[str]:
    library, program = folder / "FlowTurbo.dll", folder / "Calls.exe"
    sources = map(str, (REPOSITORY / "bindings" / "csharp" / "Runtime").glob("*.cs"))
    subprocess.run(["mcs", "-nologo", "-target:library", f"-out:{library}", *sources], check=True)
    subprocess.run(["mcs", "-nologo", f"-r:{library}", f"-out:{program}", str(HERE / "Calls.cs")], check=True)
    return ["mono", str(program)]


def java(folder: Path) -> list[str]:
    built = REPOSITORY / "target" / "java"
    subprocess.run([str(REPOSITORY / "bindings" / "java" / "build")], check=True)
    jar = str(built / "flowturbo.jar")
    subprocess.run(["javac", "-cp", jar, "-d", str(folder), str(HERE / "Calls.java")], check=True)
    return ["java", f"-Djava.library.path={built}", "-cp", f"{jar}:{folder}", "Calls"]


def quartiles(values: list[float]) -> list[float]:
    ranked = sorted(values)
    return [ranked[len(ranked) * quarter // 4] for quarter in (1, 2, 3)]


def measure(commands: dict[str, list[str]], model: str, turns: int, threads: int) -> dict[str, list[float]]:
    environment = os.environ | {
        "FLOWTURBO_LIBRARY": str(LIBRARY),
        "PYTHONPATH": str(REPOSITORY / "bindings" / "python"),
    }
    arguments = [str(REPOSITORY / model), MODELS[model], str(threads)]
    taken: dict[str, list[float]] = {name: [] for name in commands}
    with ExitStack() as stack:
        programs = {
            name: Program(
                stack.enter_context(
                    subprocess.Popen(
                        [*command, *arguments],
                        env=environment,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
            )
            for name, command in commands.items()
        }
        for turn in range(turns + 5):
            # Whoever is next finds the caches as the one before left them.
            order = random.Random(turn).sample(list(programs), len(programs))
            answers = {name: programs[name].generate() for name in order}
            if len({pixels for _, pixels in answers.values()}) != 1:
                raise SystemExit(f"{model}: other pixels: {answers}")
            if turn >= 5:  # those before it plan, and warm up
                for name, (seconds, _) in answers.items():
                    taken[name].append(seconds)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=200, metavar="N", help="generations of each")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="to compute with; 0 for all")
    chosen = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, {chosen.turns} turns"
    )
    with TemporaryDirectory() as folder:
        programs = commands(Path(folder))
        for model in MODELS:
            taken = measure(programs, model, chosen.turns, chosen.threads)
            for name, seconds in taken.items():
                ratios = [own / c for own, c in zip(seconds, taken["C"], strict=True)]
                times = ", ".join(f"{1e3 * quartile:.3f}" for quartile in quartiles(seconds))
                beside = ", ".join(f"{quartile:.4f}" for quartile in quartiles(ratios))
                print(f"{model}: {name}: {times} ms; {beside} of C")


if __name__ == "__main__":
    main()
