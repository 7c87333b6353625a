"""The structs and functions are those of the header and of the library."""

from __future__ import annotations

import ctypes
import importlib
import re
import struct
from typing import Any

import pytest
from shipped import BINDING, REPOSITORY

import flowturbo
from flowturbo import abi, errors
from flowturbo.native import filled, library

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


CALLBACKS = {
    "ft_log_callback": abi.LogCallback,
    "ft_read_callback": abi.ReadCallback,
    "ft_release_callback": abi.ReleaseCallback,
    "ft_progress_callback": abi.ProgressCallback,
}
TYPEDEFS = {name: plain for plain, name in re.findall(r"^typedef (\w+) (ft_\w+);$", HEADER, re.MULTILINE)}
NUMERIC = {f"{kind}{bits}_t": f"c_{kind}{bits}" for kind in ("int", "uint") for bits in (8, 32, 64)}
NUMERIC |= {"size_t": "c_size_t", "float": "c_float"}


def of_c(declared: str) -> Any:
    """What ctypes calls a type of the header's."""
    name, stars = re.fullmatch(r"(?:const )?(?:struct )?(\w+) ?(\**)\w*", declared.strip()).groups()
    name, depth = TYPEDEFS.get(name, name), len(stars)
    if name in NUMERIC:
        kind = getattr(ctypes, NUMERIC[name])
    elif name in abi.STRUCTS or name in CALLBACKS:
        kind = abi.STRUCTS.get(name) or CALLBACKS[name]
    elif depth == 0:
        assert name == "void"
        return None
    else:  # a text, or what only the library or the program looks behind
        kind, depth = ctypes.c_char_p if name == "char" else ctypes.c_void_p, depth - 1
    for _ in range(depth):
        kind = ctypes.POINTER(kind)
    return kind


def signature(result: str, taken: str) -> tuple[Any, ...]:
    return (of_c(result), *(of_c(each) for each in taken.split(",") if taken != "void"))


def test_functions_and_callbacks_take_and_give_what_the_header_says() -> None:
    declared = re.findall(r"^((?:const )?\w+ \*?)(ft_\w+)\(([^;]*)\);", HEADER, re.MULTILINE)
    assert {name: signature(result, taken) for result, name, taken in declared} == abi.FUNCTIONS
    for name, callback in CALLBACKS.items():
        result, taken = re.search(rf"^typedef (\w+) \(\*{name}\)\((.*)\);$", HEADER, re.MULTILINE).groups()
        assert signature(result, taken) == (callback._restype_, *callback._argtypes_)


def test_no_part_of_the_package_hides_behind_a_name() -> None:
    for file in (BINDING / "flowturbo").glob("[!_]*.py"):
        module = importlib.import_module(f"flowturbo.{file.stem}")
        assert getattr(flowturbo, file.stem) is module


def test_the_numbers_are_the_headers() -> None:
    for name, number in abi.MAPS.items():
        assert number == NUMBERS["FT_MAP_HDRP_MASK" if name == "mask" else f"FT_MAP_{name.upper()}"]
    for name, number in abi.SEAMLESS.items():
        assert number == NUMBERS[f"FT_TILE_{name.upper()}"]
    for number, name in enumerate(abi.PRECISIONS):
        assert number == NUMBERS[f"FT_PRECISION_{name.upper().replace('-', '_')}"]
    for name, number in abi.DEVICES.items():
        assert number == NUMBERS[f"FT_DEVICE_{name.upper()}"]
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
