"""The shared library: the package's own, or the one that FLOWTURBO_LIBRARY names."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from ctypes import byref, c_void_p, sizeof
from functools import cache
from operator import index
from pathlib import Path
from reprlib import repr as shown
from typing import Any, TypeVar

from flowturbo import abi, errors

Struct = TypeVar("Struct", bound=ctypes.Structure)


@cache
def library() -> ctypes.CDLL:
    own = Path(__file__).with_name("libflowturbo" + abi.SUFFIX)
    named = os.environ.get("FLOWTURBO_LIBRARY")
    if not named and not own.is_file():
        raise ImportError(f"{own}: no library there; install the wheel, or name a library in FLOWTURBO_LIBRARY")
    # A name alone would be looked for where the system has its libraries.
    loaded = ctypes.CDLL(str(Path(named).absolute() if named else own))
    for name, (result, *arguments) in abi.FUNCTIONS.items():
        try:
            function = getattr(loaded, name)
        except AttributeError:
            raise ImportError(f"{loaded._name}: has no {name}; it is no flowturbo, or an older one") from None
        function.restype, function.argtypes = result, arguments
    return loaded


def check(status: int) -> None:
    """Raises what the last call on this thread had to say, if it failed."""
    if status:
        name, message = library().ft_status_name(status), library().ft_last_error_message()
        raise errors.of_status(status, name.decode(), message.decode())


def made(new: Callable[..., int], *arguments: object) -> int:
    """The handle that one of the functions gives that make one."""
    handle = c_void_p()
    check(new(*arguments, byref(handle)))
    assert handle.value is not None
    return handle.value


def filled(struct: type[Struct], initialise: Callable[..., int]) -> Struct:
    """A struct as its function in the library fills it."""
    value = struct()
    check(initialise(byref(value), sizeof(value)))
    return value


def sized(struct: type[Struct]) -> Struct:
    """An empty struct for the library to fill."""
    return struct(sizeof(struct))


def text(name: str, given: str) -> bytes:
    if not isinstance(given, str):
        raise TypeError(f"{name} {shown(given)}: must be a text")
    if "\0" in given:
        raise ValueError(f"{name} {given!r}: has a NUL, where the library would take it to end")
    try:
        return given.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} {given!r}: is not Unicode at character {error.start}, and has no UTF-8") from None


def whole(name: str, given: object, bits: int = 32) -> int:
    """A whole number that fits; ctypes would cut it off without a word."""
    number = integer(given)
    if number is None or not 0 <= number < 2**bits:
        raise ValueError(f"{name} {shown(given)}: must be a whole number from 0 to 2**{bits} - 1")
    return number


def integer(given: Any) -> int | None:
    try:
        return index(given)
    except TypeError:
        return None


def number(name: str, given: Any) -> float:
    try:
        return float(given)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} {shown(given)}: must be a number") from None
