"""What the documentation shows runs, and is the same image in every language."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shipped import BINDING, LIBRARY, REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bindings"))
from lines import programs

COMPILERS = {"C": ("cc", "c", "-std=c99"), "C++": ("c++", "cpp", "-std=c++17")}
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that programs run in, with the models of a clone."""
    (tmp_path / "models").symlink_to(REPOSITORY / "models")
    return tmp_path


def run(command: list[str | Path], folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(BINDING), "LD_LIBRARY_PATH": str(folder)}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def compiled(language: str, program: str, folder: Path) -> Path:
    compiler, suffix, standard = COMPILERS[language]
    source, made = folder / f"brick.{suffix}", folder / "brick"
    source.write_text(program, encoding="utf-8")
    # As installed; the one that tests are given asks for its own name when a program runs.
    for name in ("libflowturbo.so", "libflowturbo.so.0"):
        if not (folder / name).exists():
            (folder / name).symlink_to(LIBRARY)
    include = f"-I{REPOSITORY / 'include'}"
    run([compiler, standard, *WARNINGS, include, source, "-o", made, f"-L{folder}", "-lflowturbo"], folder)
    return made


def test_every_language_makes_the_same_file(folder: Path) -> None:
    lines = programs()
    made = {}
    for language in ("C", "C++", "Python"):
        if language == "Python":
            run([sys.executable, "-c", lines[language]], folder)
        else:
            run([compiled(language, lines[language], folder)], folder)
        made[language] = (folder / "brick.png").read_bytes()
        with Image.open(folder / "brick.png") as picture:
            assert picture.size == (128, 128) and np.asarray(picture).std() > 10
        (folder / "brick.png").unlink()
    assert len(set(made.values())) == 1
    assert {"Rust", *made} <= set(lines)


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_manual_runs_from_top_to_bottom(folder: Path) -> None:
    shown = blocks(BINDING / "README.md")
    assert len(shown) > 5
    run([sys.executable, "-c", "\n".join(shown)], folder)
    assert (folder / "brick.png").is_file()


def test_the_packages_own_example_runs(folder: Path) -> None:
    text = (BINDING / "flowturbo" / "__init__.py").read_text(encoding="utf-8")
    program = re.search(r"\n\n((?:    .*\n|\n)+)", text).group(1)
    run([sys.executable, "-c", "if True:\n" + program], folder)
    assert (folder / "brick.png").is_file()
