"""The structs and functions are those of the header and of the library."""

from __future__ import annotations

import ctypes
import re
import struct

import pytest
from shipped import REPOSITORY

import flowturbo
from flowturbo import abi, errors
from flowturbo.library import filled, library

HEADER = (REPOSITORY / "include" / "flowturbo.h").read_text(encoding="utf-8")
NUMBERS = {name: int(number, 0) for name, number in re.findall(r"^#define (FT_\w+) (\d+)$", HEADER, re.MULTILINE)}


@pytest.mark.skipif(struct.calcsize("P") != 8, reason="the table is that of 64-bit machines")
def test_the_structs_lie_as_the_header_says() -> None:
    table = (REPOSITORY / "tests" / "c" / "layout.txt").read_text(encoding="utf-8")
    assert list(abi.layout()) == table.splitlines()


def test_every_struct_is_of_the_size_that_the_library_knows() -> None:
    for name in ("pixels", "reader", "model_options", "limits", "request"):
        value = filled(abi.STRUCTS[f"ft_{name}"], getattr(library(), f"ft_{name}_init"))
        assert value.struct_size == ctypes.sizeof(value)


def test_the_functions_take_as_many_arguments_as_the_header_says() -> None:
    declared = re.findall(r"^(?:const )?\w+ \*?(ft_\w+)\(([^;]*)\);", HEADER, re.MULTILINE)
    counts = {name: 0 if taken == "void" else taken.count(",") + 1 for name, taken in declared}
    assert counts == {name: len(taken) - 1 for name, taken in abi.FUNCTIONS.items()}


def test_the_numbers_are_the_headers() -> None:
    for name, number in abi.MAPS.items():
        assert number == NUMBERS["FT_MAP_HDRP_MASK" if name == "mask" else f"FT_MAP_{name.upper()}"]
    for name, number in abi.SEAMLESS.items():
        assert number == NUMBERS[f"FT_TILE_{name.upper()}"]
    for number, name in enumerate(abi.PRECISIONS):
        assert number == NUMBERS[f"FT_PRECISION_{name.upper().replace('-', '_')}"]
    assert sorted(abi.PIXELS.values()) == [
        number
        for name, number in sorted(NUMBERS.items(), key=lambda item: item[1])
        if name.startswith("FT_PIXEL_") and name != "FT_PIXEL_BGRA8"
    ]
    for name in ("OUTPUT_IMAGES", "OUTPUT_LATENTS", "PREVIEW_NONE", "PREVIEW_LINEAR", "PREVIEW_DECODED"):
        assert getattr(abi, name) == NUMBERS[f"FT_{name}"]
    assert abi.NETWORK_TEXT == NUMBERS["FT_NETWORK_TEXT"] and f"{abi.WHOLE_STEP}ull" in HEADER


def test_every_status_has_an_exception() -> None:
    statuses = {number: name for name, number in NUMBERS.items() if name.startswith("FT_ERROR_")}
    assert list(statuses) == list(range(1, len(errors.KINDS) + 1))
    for number, name in statuses.items():
        assert library().ft_status_name(number).decode() == name
    assert flowturbo.Error in errors.KINDS[0].__mro__
    assert type(errors.of_status(999, "unknown status", "of a newer library")) is flowturbo.Error


def test_the_version_is_the_librarys() -> None:
    assert f'"{flowturbo.__version__}"' in (REPOSITORY / "Cargo.toml").read_text(encoding="utf-8")
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = flowturbo.nothing
