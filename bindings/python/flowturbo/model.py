"""Models, their sessions, and what is asked of them; arrays are numpy's."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_float, c_int64, c_size_t, c_void_p, sizeof
from dataclasses import dataclass
from os import PathLike, fsencode
from time import perf_counter
from typing import Self

import numpy as np

from flowturbo import abi


@dataclass
class Request:
    """One generation: an image for each of `classes`, or for each prompt if there are none. What is not given is the
    bundle's own."""

    classes: Sequence[int] | np.ndarray = ()
    seed: int = 0
    schedule: str | None = None  # such as H1P5R3
    guidance: float | None = None  # from 1 on
    preset: str | None = None
    noise: np.ndarray | None = None  # float32 [N,C,h,w], instead of the seed's
    tile: str = ""  # x, y or both: seamless along these axes
    size: tuple[int, int] | None = None  # width and height in pixels, not below the model's own
    images: bool = True  # False for latents alone
    context: np.ndarray | None = None  # float32 [N,D] or [N,L,D], or [1,...] for all images
    negative_context: np.ndarray | None = None  # likewise, what guidance goes away from
    prompts: list[str] | tuple[str, ...] = ()  # what the images show: one for all, or one for each
    negative_prompt: str | None = None  # what they do not


def utf8(prompt: str) -> bytes:
    if "\0" in prompt:
        raise ValueError(f"prompt {prompt!r}: has a NUL, where the library would take it to end")
    return prompt.encode()


@dataclass(frozen=True)
class Generation:
    """`images` uint8 [N,H,W,3] (None if they were not asked for), `latents` float32 [N,C,h,w], and the time it took."""

    images: np.ndarray | None
    latents: np.ndarray
    steps: list[tuple[str, float]]  # each step's letter and seconds
    seconds: float  # of the whole call, decoding included


class Model:
    """A bundle, opened: a folder, a zip file or a plan. Any number of threads may have sessions of it. `precision`, one
    of `abi.PRECISIONS`, is what its networks multiply in."""

    def __init__(self, library: ctypes.CDLL, bundle: str | PathLike, threads: int = 0, precision: str = "f32"):
        self.library, self.handle = library, c_void_p()
        options = abi.filled(library, abi.ModelOptions, library.ft_model_options_init)
        options.threads = threads
        if precision not in abi.PRECISIONS:
            raise ValueError(f"precision {precision!r}: there are {', '.join(abi.PRECISIONS)}")
        options.precision = abi.PRECISIONS.index(precision)
        abi.check(library, library.ft_model_open(fsencode(bundle), byref(options), byref(self.handle)))
        self.info = abi.ModelInfo(struct_size=sizeof(abi.ModelInfo))
        abi.check(library, library.ft_model_get_info(self.handle, byref(self.info)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees the model; its sessions stay usable."""
        self.library.ft_model_free(self.handle)
        self.handle = c_void_p()

    def session(self) -> Session:
        return Session(self)

    def find_class(self, name: str) -> int:
        """The number of a class by its label, one of its synonyms, or itself."""
        found = c_int64()
        abi.check(self.library, self.library.ft_model_find_class(self.handle, name.encode(), byref(found)))
        return found.value

    @property
    def hash(self) -> str:
        return self.info.hash.decode()

    @property
    def labels(self) -> list[str]:
        labels = [c_char_p() for _ in range(self.info.class_count)]
        for number, label in enumerate(labels):
            abi.check(self.library, self.library.ft_model_class_label(self.handle, c_int64(number), byref(label)))
        return [label.value.decode() for label in labels]

    @property
    def maps(self) -> list[str]:
        """What `Session.map` gives beside the colour: normal, height, ...; those packed of others last."""
        maps = ctypes.c_uint32()
        abi.check(self.library, self.library.ft_model_get_maps(self.handle, byref(maps)))
        return [name for name, bit in abi.MAPS.items() if maps.value & bit]

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        """Of one context: tokens and width, or width alone; None if the model takes none."""
        tokens, width = self.info.context_tokens, self.info.context_width
        return ((tokens, width) if tokens else (width,)) if width else None

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.info.latent_channels, self.info.latent_height, self.info.latent_width


class Session:
    """The memory to run one generation at a time: one thread's."""

    def __init__(self, model: Model):
        self.library, self.info, self.handle = model.library, model.info, c_void_p()
        self.context_shape = model.context_shape
        self.made = (0, 0, 0)  # images, height and width of the last generation
        abi.check(self.library, self.library.ft_session_new(model.handle, byref(self.handle)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.library.ft_session_free(self.handle)
        self.handle = c_void_p()

    def generate(self, request: Request) -> Generation:
        """Samples and decodes."""
        asked = np.atleast_1d(request.classes)
        with np.errstate(invalid="ignore"):
            classes = np.ascontiguousarray(asked, np.int64)
        if not np.array_equal(classes, asked):
            raise ValueError(f"classes {asked.tolist()}: must be whole numbers")
        if not 0 <= request.seed < 2**64:
            raise ValueError(f"seed {request.seed}: must be from 0 to 2**64 - 1")
        raw = abi.filled(self.library, abi.Request, self.library.ft_request_init)
        if isinstance(request.prompts, str | bytes):
            raise TypeError("prompts: a list of texts is needed, not one text")
        contexts = {name: self.contexts(name, getattr(request, name)) for name in ("context", "negative_context")}
        given = contexts["context"]
        count = len(classes) or len(request.prompts) or (0 if given is None else len(given))
        raw.image_count = count
        if len(classes):
            raw.classes = classes.ctypes.data_as(POINTER(c_int64))
        if len(request.prompts):
            raw.prompts = (c_char_p * len(request.prompts))(*map(utf8, request.prompts))
            raw.prompt_count = len(request.prompts)
        if request.negative_prompt is not None:
            raw.negative_prompt = utf8(request.negative_prompt)
        raw.seed, raw.tile = request.seed, abi.TILES[request.tile]
        width, height = request.size or (self.info.width, self.info.height)
        if request.size is not None:
            raw.width, raw.height = width, height
        for name in ("schedule", "preset"):
            if (text := getattr(request, name)) is not None:
                setattr(raw, name, text.encode())
        if request.guidance is not None:
            raw.guidance = request.guidance
        if request.noise is not None:
            noise = np.ascontiguousarray(request.noise, np.float32)
            raw.noise, raw.noise_count = noise.ctypes.data_as(POINTER(c_float)), noise.size
        for name, floats in contexts.items():
            if floats is not None:
                setattr(raw, name, floats.ctypes.data_as(POINTER(c_float)))
                setattr(raw, f"{name}_count", floats.size)
                setattr(raw, f"{name}_rows", len(floats))
        raw.output = abi.OUTPUT_IMAGES if request.images else abi.OUTPUT_LATENTS
        steps: list[tuple[str, float]] = []

        @abi.ProgressCallback
        def watch(_: int | None, progress: POINTER(abi.Progress)) -> int:
            now = progress.contents
            if now.decoded == 0:
                steps.append((chr(now.kind), now.microseconds / 1e6))
            return 0

        raw.progress = watch
        images = np.empty((count, height, width, 3), np.uint8) if request.images else None
        pixels = None if images is None else byref(self.pixels(images))
        self.made = (count, height, width)
        start = perf_counter()
        abi.check(self.library, self.library.ft_session_generate(self.handle, byref(raw), pixels))
        seconds = perf_counter() - start
        info, own = self.info, (self.info.latent_height, self.info.latent_width)
        cells = own if request.size is None else (height // info.cell_height, width // info.cell_width)
        latents = np.empty((count, info.latent_channels, *cells), np.float32)
        place = latents.ctypes.data_as(POINTER(c_float))
        abi.check(self.library, self.library.ft_session_get_latents(self.handle, place, c_size_t(latents.size)))
        return Generation(images, latents, steps, seconds)

    def map(self, name: str, dtype: type[np.generic] | str = np.uint8, normal_y: str = "up") -> np.ndarray:
        """A map of the images that were generated last (docs/maps.md).

        `color`, `normal` and `orm` are [N,H,W,3] of uint8, float16 or float32, `height`, `roughness`, `metallic` and
        `occlusion` [N,H,W] of uint8, uint16 or float32, `mask` uint8 [N,H,W,4]. Floats are 0 to 1. `normal_y` is `up`,
        as in OpenGL, or `down`, as in DirectX.
        """
        if name not in abi.MAPS:
            raise ValueError(f"no map is called {name!r}; there are {', '.join(abi.MAPS)}")
        if normal_y not in abi.NORMAL_Y:
            raise ValueError(f"normal_y {normal_y!r}: up or down")
        channels = {"color": 3, "normal": 3, "orm": 3, "mask": 4}.get(name, 1)
        kind = np.dtype(dtype).newbyteorder("=")
        if (channels, kind.name) not in abi.PIXELS:
            known = ", ".join(known for count, known in abi.PIXELS if count == channels)
            raise ValueError(f"{name} is not to be had as {kind}; there are {known}")
        images = np.empty((*self.made, channels) if channels > 1 else self.made, kind)
        pixels = self.pixels(images)
        pixels.format = abi.PIXELS[channels, kind.name]
        flags = abi.NORMAL_Y[normal_y]
        abi.check(self.library, self.library.ft_session_get_map(self.handle, abi.MAPS[name], flags, byref(pixels)))
        return images

    def contexts(self, name: str, given: np.ndarray | None) -> np.ndarray | None:
        """Contexts as the library takes them, of the model's own shape; those of a model without are its to refuse."""
        if given is None:
            return None
        given, shape = np.asarray(given), self.context_shape
        if given.dtype.kind not in "fiu":
            raise ValueError(f"{name}: {given.dtype} numbers; floats are needed")
        if shape is not None and (given.ndim != 1 + len(shape) or given.shape[1:] != shape):
            wanted = ", ".join(map(str, shape))
            raise ValueError(f"{name}: shape {list(given.shape)}, must be [N, {wanted}]")
        return np.ascontiguousarray(given, np.float32)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """uint8 [N,H,W,3] of latents float32 [N,C,h,w] of the model's own size."""
        latents = np.ascontiguousarray(latents, np.float32)
        images = np.empty((len(latents), self.info.height, self.info.width, 3), np.uint8)
        place, pixels = latents.ctypes.data_as(POINTER(c_float)), byref(self.pixels(images))
        count = c_size_t(latents.size)
        abi.check(self.library, self.library.ft_session_decode(self.handle, place, count, pixels))
        return images

    def pixels(self, images: np.ndarray) -> abi.Pixels:
        """Where images uint8 [N,H,W,3] go."""
        pixels = abi.filled(self.library, abi.Pixels, self.library.ft_pixels_init)
        pixels.format, pixels.data, pixels.size = abi.PIXEL_RGB8, images.ctypes.data, images.nbytes
        return pixels
