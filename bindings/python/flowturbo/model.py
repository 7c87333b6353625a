"""Models: bundles and plans, opened."""

from __future__ import annotations

import ctypes
import io
import itertools
import weakref
from collections.abc import Callable, Mapping
from ctypes import byref, c_char_p, c_int64, c_uint32, c_void_p, pointer
from dataclasses import dataclass, fields
from os import PathLike, fspath
from threading import Lock
from typing import Any, BinaryIO, Literal, NamedTuple, Self, TypeAlias, Unpack, get_args

import numpy as np

from flowturbo import abi
from flowturbo.cancel import CancelToken
from flowturbo.errors import Error
from flowturbo.native import check, filled, library, sized, text, whole
from flowturbo.request import Filled, Request, Shapes
from flowturbo.running import Run, freed
from flowturbo.session import Session

Precision: TypeAlias = Literal["f32", "f16-weights", "bf16", "int8", "f16", "tf32", "auto"]
Source: TypeAlias = "str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO"


@dataclass(frozen=True)
class ModelInfo:
    """What a model says of itself: ft_model_info."""

    name: str
    description: str | None
    license: str | None  # SPDX expression for the weights
    hash: str  # SHA-256 of the bundle's manifest
    schedule: str  # the bundle's own
    guidance: float
    width: int  # of an image; 0 without a decoder
    height: int
    latent_channels: int
    latent_height: int
    latent_width: int
    cell_width: int  # pixels that one cell of the latent stands for
    cell_height: int
    class_count: int
    null_class: int  # the class that stands for none, or -1
    tiles: bool  # images can be asked to tile
    prompts: bool  # it takes them
    context_width: int  # floats of a context, or of each of its tokens; 0 if it takes none
    context_tokens: int  # 0 if contexts are one row
    preset_count: int
    threads: int  # that work on a request
    device: str  # "cpu" or "cuda:N"

    @classmethod
    def read(cls, raw: abi.ModelInfo) -> ModelInfo:
        values: dict[str, Any] = {name: getattr(raw, name) for name, *_ in abi.ModelInfo._fields_}
        values["tiles"], values["prompts"] = bool(raw.tiles), bool(raw.networks & abi.NETWORK_TEXT)
        values["device"] = "cpu" if raw.device == 0 else f"cuda:{raw.device - abi.DEVICES['cuda']}"
        for name in ("name", "description", "license", "hash", "schedule"):
            values[name] = None if values[name] is None else values[name].decode()
        return cls(**{field.name: values[field.name] for field in fields(cls)})


def number_of(device: str) -> int:
    """The library's number of a device."""
    kind, _, number = device.partition(":")
    if device in abi.DEVICES:
        return abi.DEVICES[device]
    if kind == "cuda" and number.isascii() and number.isdigit() and int(number) < abi.DEVICES["cuda"]:
        return abi.DEVICES["cuda"] + int(number)
    raise ValueError(f"device {device!r}: there are cpu, cuda, cuda:N and auto")


class Memory(NamedTuple):
    """Bytes that a request takes."""

    model: int  # held by the model, for all its sessions
    session: int  # held by a session once it has run the request
    passing: int  # taken for a moment besides


class Model:
    """A bundle or a plan, opened by `Model.open`. Any number of threads may have sessions of it."""

    def __init__(self, handle: int):
        self.handle = handle  # which the library knows for one that is freed
        self.reads = Lock()  # of texts that are the model's
        self.free = weakref.finalize(self, freed, library().ft_model_free, handle)
        raw = sized(abi.ModelInfo)
        check(library().ft_model_get_info(handle, byref(raw)))
        self.info = info = ModelInfo.read(raw)
        tokens, width = info.context_tokens, info.context_width
        self.shapes = Shapes(
            width=info.width,
            height=info.height,
            cell=(info.cell_height, info.cell_width),
            latent=(info.latent_channels, info.latent_height, info.latent_width),
            context=((tokens, width) if tokens else (width,)) if width else None,
        )

    @classmethod
    def open(
        cls,
        source: Source,
        *,
        threads: int = 0,
        precision: Precision = "f32",
        device: str = "cpu",
        deterministic: bool = False,
        batch: int = 1,
        release_conditioning: bool = False,
        limits: Mapping[str, int] | None = None,
        cancel: CancelToken | None = None,
    ) -> Self:
        """Opens a folder, a zip file or a plan by its path; or the bytes of a zip file or plan, or a file of them that
        is open for reading, both of which are kept until model and sessions are gone.

        `threads` is 0 for one per processor. `precision`: docs/precision.md. `device` is "cpu", "cuda", "cuda:N" or
        "auto", which `info.device` tells: docs/cuda.md. `deterministic` gives the same bits on
        every processor. `batch` is how many images are planned for now rather than when they are wanted.
        `release_conditioning` gives weights up that only new times and classes need. `limits` are other bounds than
        those of ft_limits, by their names. `cancel`, or Ctrl-C, stops the opening.
        """
        if precision not in abi.PRECISIONS:
            raise ValueError(f"precision {precision!r}: there are {', '.join(get_args(Precision))}")
        options = filled(abi.ModelOptions, library().ft_model_options_init)
        options.threads, options.batch = whole("threads", threads), whole("batch", batch)
        options.precision, options.device = abi.PRECISIONS.index(precision), number_of(device)
        options.deterministic, options.release_conditioning = bool(deterministic), bool(release_conditioning)
        if limits is not None:
            options.limits = pointer(given_limits(limits))
        run = Run(CancelToken.given(cancel) or CancelToken())
        options.cancel = run.token.handle
        if isinstance(source, str | PathLike):
            return cls(opened(run, library().ft_model_open, text("path", fspath(source)), byref(options)))
        if isinstance(source, bytes | bytearray | memoryview):
            return cls(open_memory(run, source, options))
        return cls(open_file(run, source, options))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees the model; its sessions stay usable. What nobody refers to any more is closed by itself."""
        with self.reads:
            self.free()

    def session(self) -> Session:
        return Session(self)

    def prepare(self, **request: Unpack[Request]) -> Memory:
        """Plans what a request needs, and tells the memory that it will take before any is taken for it."""
        told, given = sized(abi.Memory), Filled(request, self)
        run = Run(given.cancel or CancelToken())
        given.raw.cancel = run.token.handle
        run(library().ft_model_prepare, self.handle, byref(given.raw), byref(told))
        return Memory(told.model_bytes, told.session_bytes, told.passing_bytes)

    def find_class(self, name: str) -> int:
        """The number of a class by its label, one of its synonyms, or itself."""
        found = c_int64()
        check(library().ft_model_find_class(self.handle, text("class", name), byref(found)))
        return found.value

    @property
    def labels(self) -> list[str]:
        """Of the classes, by their numbers."""
        return self.texts(library().ft_model_class_label, self.info.class_count)

    @property
    def presets(self) -> list[str]:
        return self.texts(library().ft_model_preset_name, self.info.preset_count)

    def texts(self, function: Callable[..., int], count: int) -> list[str]:
        found = [c_char_p() for _ in range(count)]
        with self.reads:
            for number, place in enumerate(found):
                check(function(self.handle, number, byref(place)))
            return [place.value.decode() for place in found if place.value is not None]

    @property
    def maps(self) -> list[str]:
        """What `Session.map` gives: color, normal, height, ...; those packed of others last."""
        maps = c_uint32()
        check(library().ft_model_get_maps(self.handle, byref(maps)))
        return [name for name, bit in abi.MAPS.items() if maps.value & bit]

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        """Of one context: tokens and width, or width alone; None if the model takes none."""
        return self.shapes.context

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.shapes.latent


def given_limits(limits: Mapping[str, int]) -> abi.Limits:
    filled_in = filled(abi.Limits, library().ft_limits_init)
    bits = {name: 8 * ctypes.sizeof(kind) for name, kind, *_ in abi.Limits._fields_ if name != "struct_size"}
    for name, value in limits.items():
        if name not in bits:
            raise ValueError(f"limits: no {name!r}; there are {', '.join(bits)}")
        setattr(filled_in, name, whole(name, value, bits[name]))
    return filled_in


def opened(run: Run, function: Callable[..., int], *arguments: object) -> int:
    handle = c_void_p()
    try:
        run(function, *arguments, byref(handle))
    except BaseException:
        library().ft_model_free(handle)  # Ctrl-C may come when it is just there
        raise
    assert handle.value is not None
    return handle.value


# What was lent to the library, by the numbers that it knows them by.
LENT: dict[int, Any] = {}
NUMBERS = itertools.count(1)


def release(number: int) -> None:
    del LENT[number]


RELEASE = abi.ReleaseCallback(release)


def lend(what: object) -> int:
    number = next(NUMBERS)
    LENT[number] = what
    return number


def open_memory(run: Run, source: bytes | bytearray | memoryview, options: abi.ModelOptions) -> int:
    if not source:
        raise ValueError("source: no bytes")
    array = np.frombuffer(source, np.uint8)
    place = (array.ctypes.data, array.size)
    return opened(run, library().ft_model_open_memory, *place, RELEASE, lend(array), byref(options))


class File:
    """A file that is open for reading, as the library reads it."""

    def __init__(self, file: BinaryIO):
        self.file = file
        file.seek(0, io.SEEK_END)
        self.size = file.tell()  # which seek of an mmap does not give before Python 3.13
        self.failure: BaseException | None = None

    def read(self, offset: int, count: int) -> bytes:
        self.file.seek(offset)
        parts = []
        while count:
            part = self.file.read(count)
            if not part:
                raise EOFError(f"the file ends {count} bytes too early")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def read(number: int, offset: int, place: int, count: int) -> int:
    file: File = LENT[number]
    try:
        ctypes.memmove(place, file.read(offset, count), count)
    except BaseException as failure:  # noqa: BLE001 - open_file raises it
        file.failure = failure
        return 1
    return 0


READ = abi.ReadCallback(read)


def open_file(run: Run, source: BinaryIO, options: abi.ModelOptions) -> int:
    if not hasattr(source, "read") or not hasattr(source, "seek"):
        raise TypeError(f"source: {type(source).__name__}; a path, bytes, or a file that is open for reading is needed")
    if isinstance(source, io.TextIOBase):
        raise TypeError("source: a file that is open as text; open it as bytes, with 'rb'")
    file = File(source)
    reader = filled(abi.Reader, library().ft_reader_init)
    reader.size, reader.read, reader.release, reader.user_data = file.size, READ, RELEASE, lend(file)
    try:
        return opened(run, library().ft_model_open_reader, byref(reader), byref(options))
    except Error as error:
        raise error from file.failure
