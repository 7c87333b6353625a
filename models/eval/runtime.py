"""The shipped library, called through its C API (include/flowturbo.h): the pictures that are judged are the ones users
get.

The structs repeat the header's, field for field. The library is told their sizes and refuses ones that it does not
know.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import sys
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_float, c_int32, c_int64, c_size_t, c_void_p, sizeof
from ctypes import c_uint32 as u32
from ctypes import c_uint64 as u64
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Self

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = {"darwin": "libflowturbo.dylib", "win32": "flowturbo.dll"}
BUILD = "cargo rustc --release --lib --features capi --crate-type cdylib"
LIBRARY = REPOSITORY / "target" / "release" / NAMES.get(sys.platform, "libflowturbo.so")
RGB8, LATENTS_ONLY = 1, 1
TILES = {"": 0, "x": 1, "y": 2, "both": 3}


class Pixels(Structure):
    _fields_ = [
        ("struct_size", u32),
        ("format", u32),
        ("data", c_void_p),
        ("size", c_size_t),
        ("row_stride", c_size_t),
        ("image_stride", c_size_t),
    ]


class Options(Structure):
    _fields_ = [
        ("struct_size", u32),
        ("threads", u32),
        ("batch", u32),
        ("lanes", u32),
        ("parallel_for", c_void_p),
        ("parallel_data", c_void_p),
        ("options", c_void_p),
        ("option_count", c_size_t),
        ("limits", c_void_p),
        ("release_conditioning", u32),
        ("reserved", u32),
    ]


class Info(Structure):
    _fields_ = [
        ("struct_size", u32),
        ("width", u32),
        ("height", u32),
        ("latent_channels", u32),
        ("latent_height", u32),
        ("latent_width", u32),
        ("class_count", u32),
        ("networks", u32),
        ("null_class", c_int64),
        ("guidance", c_float),
        ("threads", u32),
        ("name", c_char_p),
        ("description", c_char_p),
        ("license", c_char_p),
        ("schedule", c_char_p),
        ("hash", c_char_p),
    ]


class Progress(Structure):
    _fields_ = [
        ("struct_size", u32),
        ("step", u32),
        ("steps", u32),
        ("kind", u32),
        ("microseconds", u64),
        ("latents", POINTER(c_float)),
        ("latent_count", c_size_t),
        ("preview", c_void_p),
        ("preview_size", c_size_t),
        ("preview_width", u32),
        ("preview_height", u32),
    ]


Watcher = CFUNCTYPE(c_int32, c_void_p, POINTER(Progress))


class Request(Structure):
    _fields_ = [
        ("struct_size", u32),
        ("image_count", u32),
        ("classes", POINTER(c_int64)),
        ("seed", u64),
        ("schedule", c_char_p),
        ("guidance", c_float),
        ("output", u32),
        ("noise", POINTER(c_float)),
        ("noise_count", c_size_t),
        ("cancel", c_void_p),
        ("progress", Watcher),
        ("progress_data", c_void_p),
        ("preview", u32),
        ("reserved", u32),
        ("preset", c_char_p),
        ("tile", u32),
        ("width", u32),
        ("height", u32),
        ("strength", c_float),
        ("init", c_void_p),
        ("init_count", u32),
        ("variation", c_float),
        ("variation_seed", u64),
        ("mask", c_void_p),
        ("mask_size", c_size_t),
        ("morph_classes", c_void_p),
        ("morph_amounts", c_void_p),
    ]


class RuntimeFailure(Exception):
    """What the library had to say of a call that failed."""


@dataclass(frozen=True)
class Generation:
    """`images` uint8 [N,H,W,3] (None if they were not asked for), `latents` float32 [N,C,h,w], and the time it took."""

    images: np.ndarray | None
    latents: np.ndarray
    steps: list[tuple[str, float]]  # each step's letter and seconds
    seconds: float  # of the whole call, decoding included


def load_library(path: Path = LIBRARY) -> ctypes.CDLL:
    if not path.is_file():
        raise SystemExit(f"{path}: no library there; build it with `{BUILD}`, or name one by --library")
    library = ctypes.CDLL(str(path))
    library.ft_last_error_message.restype = library.ft_version_string.restype = c_char_p
    for name in ("ft_model_free", "ft_session_free"):
        getattr(library, name).argtypes, getattr(library, name).restype = [c_void_p], None
    return library


class Model:
    """A bundle, opened, and one session of it."""

    def __init__(self, library: ctypes.CDLL, bundle: Path, threads: int = 0):
        self.library, self.model, self.session = library, c_void_p(), c_void_p()
        options = self.initialise(Options(), library.ft_model_options_init)
        options.threads = threads
        self.check(library.ft_model_open(str(bundle).encode(), byref(options), byref(self.model)))
        self.manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
        self.check(library.ft_session_new(self.model, byref(self.session)))
        self.info = Info(struct_size=sizeof(Info))
        self.check(library.ft_model_get_info(self.model, byref(self.info)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.library.ft_session_free(self.session)
        self.library.ft_model_free(self.model)

    @property
    def hash(self) -> str:
        return self.info.hash.decode()

    def sampler_hash(self, refines: bool) -> str:
        """Of what a latent depends on: all but names, decoder and encoder, and the refiner only where it has steps."""
        networks = {"predictor", "refiner"} if refines else {"predictor"}
        parts = {name: self.manifest["networks"][name] for name in networks}
        parts |= {name: self.manifest.get(name) for name in ("latent", "classes", "time", "guidance")}
        if not refines:
            parts["guidance"] = (parts["guidance"] or {}).get("channels")
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]

    @property
    def labels(self) -> list[str]:
        labels = [c_char_p() for _ in range(self.info.class_count)]
        for number, label in enumerate(labels):
            self.check(self.library.ft_model_class_label(self.model, c_int64(number), byref(label)))
        return [label.value.decode() for label in labels]

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return self.info.latent_channels, self.info.latent_height, self.info.latent_width

    @property
    def cell(self) -> int:
        """Pixels that a cell of the latent stands for, a side."""
        return self.info.width // self.info.latent_width

    def generate(
        self,
        schedule: str,
        guidance: float,
        classes: np.ndarray,
        noise: np.ndarray,
        pictures: bool = True,
        tile: str = "",
    ) -> Generation:
        """From noise [N,C,h,w], a picture for each of `classes` [N], larger than the model's own where the noise is."""
        kept, noise = np.ascontiguousarray(classes, np.int64), np.ascontiguousarray(noise, np.float32)
        channels, *own = self.latent_shape
        if noise.shape[:2] != (len(kept), channels) or any(n < least for n, least in zip(noise.shape[2:], own)):
            raise ValueError(f"noise of shape {noise.shape} for {len(kept)} latents of {self.latent_shape}")
        height, width = (cells * self.cell for cells in noise.shape[2:])
        request = self.initialise(Request(), self.library.ft_request_init)
        request.width, request.height, request.tile = width, height, TILES[tile]
        request.image_count, request.classes = len(kept), kept.ctypes.data_as(POINTER(c_int64))
        request.noise, request.noise_count = noise.ctypes.data_as(POINTER(c_float)), noise.size
        request.schedule, request.guidance = schedule.encode(), guidance
        request.output = 0 if pictures else LATENTS_ONLY
        steps: list[tuple[str, float]] = []

        @Watcher
        def watch(_: int | None, progress: POINTER(Progress)) -> int:
            steps.append((chr(progress.contents.kind), progress.contents.microseconds / 1e6))
            return 0

        request.progress = watch
        images = np.empty((len(kept), height, width, 3), np.uint8) if pictures else None
        pixels = None if images is None else byref(self.pixels(images))
        start = perf_counter()
        self.check(self.library.ft_session_generate(self.session, byref(request), pixels))
        seconds = perf_counter() - start
        return Generation(images, self.last_latents(noise.shape), steps, seconds)

    def pixels(self, images: np.ndarray) -> Pixels:
        pixels = self.initialise(Pixels(), self.library.ft_pixels_init)
        pixels.format, pixels.data, pixels.size = RGB8, images.ctypes.data, images.nbytes
        return pixels

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """uint8 [N,H,W,3] of float32 [N,C,h,w]."""
        latents = np.ascontiguousarray(latents, np.float32)
        images = np.empty((len(latents), self.info.height, self.info.width, 3), np.uint8)
        data = latents.ctypes.data_as(POINTER(c_float))
        pixels = byref(self.pixels(images))
        self.check(self.library.ft_session_decode(self.session, data, c_size_t(latents.size), pixels))
        return images

    def last_latents(self, shape: tuple[int, ...]) -> np.ndarray:
        latents = np.empty(shape, np.float32)
        data = latents.ctypes.data_as(POINTER(c_float))
        self.check(self.library.ft_session_get_latents(self.session, data, c_size_t(latents.size)))
        return latents

    def initialise(self, struct, function):
        self.check(function(byref(struct), c_size_t(sizeof(struct))))
        return struct

    def check(self, status: int) -> None:
        if status:
            raise RuntimeFailure(self.library.ft_last_error_message().decode())
