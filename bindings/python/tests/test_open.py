"""Where models come from, how they are opened, and what the library logs meanwhile."""

from __future__ import annotations

import gc
import io
import logging
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from shipped import BINDING, LIBRARY, TEXTURES

import flowturbo
from flowturbo.model import LENT

PLAN = TEXTURES.with_suffix(".ftplan")


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return latents(flowturbo.Model.open(PLAN, threads=1))


def latents(model: flowturbo.Model) -> np.ndarray:
    return model.session().generate(classes="brick", seed=7, schedule="E2", images=False).latents


def test_bytes_and_maps_of_a_file_are_lent_as_long_as_they_are_needed(expected: np.ndarray) -> None:
    read = PLAN.read_bytes()
    for source in (read, bytearray(read), memoryview(read)):
        assert np.array_equal(latents(flowturbo.Model.open(source, threads=1)), expected)
    with PLAN.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        model = flowturbo.Model.open(memoryview(mapped), threads=1)
        session = model.session()
        model.close()
        assert len(LENT) == 1  # the session's
        del session, model
        gc.collect()
    assert not LENT
    with PLAN.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert np.array_equal(latents(flowturbo.Model.open(mapped, threads=1)), expected)
        gc.collect()
    with pytest.raises(flowturbo.InvalidBundle):
        flowturbo.Model.open(read[:1000])
    with pytest.raises(ValueError, match="source: no bytes"):
        flowturbo.Model.open(b"")
    assert not LENT


class Counted(io.RawIOBase):
    """A file that gives less than it is asked for, as one of a network may."""

    def __init__(self, read: bytes, lost: bool = False):
        self.file, self.lost = io.BytesIO(read), lost

    def seek(self, place: int, whence: int = 0) -> int:
        return self.file.seek(place, whence)

    def read(self, size: int = -1) -> bytes:
        if self.lost:
            raise ConnectionError("the line is dead")
        return self.file.read(min(size, 100_000))


def test_files_are_read_through_python(expected: np.ndarray) -> None:
    read = PLAN.read_bytes()
    with PLAN.open("rb") as file:
        assert np.array_equal(latents(flowturbo.Model.open(file, threads=1)), expected)
    assert np.array_equal(latents(flowturbo.Model.open(Counted(read), threads=1)), expected)
    with pytest.raises(flowturbo.IOFailed) as refused:
        flowturbo.Model.open(Counted(read, lost=True))
    assert isinstance(refused.value.__cause__, ConnectionError)
    with pytest.raises(TypeError, match="source: int; a path, bytes, or a file"):
        flowturbo.Model.open(7)
    with PLAN.open(encoding="latin1") as astray, pytest.raises(TypeError, match="source: a file that is open as text"):
        flowturbo.Model.open(astray)
    gc.collect()
    assert not LENT


def test_options_are_passed_on(expected: np.ndarray) -> None:
    assert flowturbo.Model.open(PLAN, threads=2).info.threads == 2
    with flowturbo.Model.open(TEXTURES, threads=1, deterministic=True, batch=2, release_conditioning=True) as model:
        assert np.allclose(latents(model), expected, atol=1e-3)
    with pytest.raises(flowturbo.LimitExceeded, match="max_edge"):
        flowturbo.Model.open(PLAN, limits={"max_edge": 64})
    with pytest.raises(ValueError, match="limits: no 'edge'; there are max_edge, "):
        flowturbo.Model.open(PLAN, limits={"edge": 64})
    with pytest.raises(ValueError, match="threads -1: must be a whole number"):
        flowturbo.Model.open(PLAN, threads=-1)
    with pytest.raises(TypeError, match="cancel 3: must be a CancelToken"):
        flowturbo.Model.open(PLAN, cancel=3)
    with pytest.raises(ValueError, match="has a NUL"):
        flowturbo.Model.open("a\0b")
    with pytest.raises(ValueError, match=r"path '\\udcff': is not Unicode at character 0"):
        flowturbo.Model.open("\udcff")


@pytest.fixture
def logged() -> Iterator[None]:
    yield
    flowturbo.set_log_level(logging.CRITICAL)


@pytest.mark.usefixtures("logged")
def test_what_the_library_logs_goes_to_logging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    flowturbo.set_log_level("DEBUG")
    flowturbo.Model.open(PLAN, threads=1)
    planned = [record for record in caplog.records if "planned predictor" in record.message]
    assert planned and {(r.name, r.levelno) for r in planned} == {("flowturbo.model", logging.DEBUG)}
    caplog.clear()
    flowturbo.set_log_level(logging.INFO)
    flowturbo.Model.open(PLAN, threads=1)
    assert not caplog.records
    with pytest.raises(ValueError, match="level 'LOUD': there are CRITICAL"):
        flowturbo.set_log_level("LOUD")


def said(program: str, folder: Path | None = None, **environment: str) -> tuple[int, str]:
    variables = os.environ | {"PYTHONPATH": str(BINDING)} | environment
    ended = subprocess.run(
        [sys.executable, "-c", program, str(PLAN)],
        env=variables,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stderr


def test_a_program_ends_in_silence_whatever_is_open() -> None:
    program = (
        "import flowturbo, sys\nflowturbo.set_log_level('DEBUG')\n"
        "model = flowturbo.Model.open(open(sys.argv[1], 'rb'))\n"
        "session = model.session()\nsession.begin(classes=0, progress=print)\ntoken = flowturbo.CancelToken()\n"
        "session.step(0.05)\n"
    )
    assert said(program) == (0, "")


def test_a_library_is_found_in_the_folder_that_a_program_runs_in() -> None:
    assert said("import flowturbo; flowturbo.CancelToken()", LIBRARY.parent, FLOWTURBO_LIBRARY=LIBRARY.name) == (0, "")


def test_a_library_that_is_none_is_told(tmp_path: Path) -> None:
    code, error = said("import flowturbo; flowturbo.CancelToken()", FLOWTURBO_LIBRARY=str(tmp_path / "no.so"))
    assert code == 1 and "no.so" in error.splitlines()[-1]
    import _ctypes  # a shared library that is another

    code, error = said("import flowturbo; flowturbo.CancelToken()", FLOWTURBO_LIBRARY=_ctypes.__file__)
    assert error.splitlines()[-1].endswith("has no ft_version; it is no flowturbo, or an older one")
    code, error = said("import flowturbo; flowturbo.CancelToken()", FLOWTURBO_LIBRARY="")
    assert "no library there; install the wheel, or name a library in FLOWTURBO_LIBRARY" in error.splitlines()[-1]
