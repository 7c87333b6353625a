"""Sessions: one generation at a time, at once or in pieces."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from ctypes import POINTER, byref, c_float, c_uint8, c_uint32
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from flowturbo import abi, bar
from flowturbo.cancel import CancelToken
from flowturbo.generation import Generation, Progress, Watcher
from flowturbo.native import check, library, made, number
from flowturbo.pixels import Array, Images, fits, given_floats, given_images, pixel_format, pixels
from flowturbo.request import Filled, Request
from flowturbo.running import WATCH, Run, freed

if TYPE_CHECKING:
    from flowturbo.model import Model

CHANNELS = {"color": 3, "normal": 3, "orm": 3, "mask": 4}  # of maps; others have one


class Session:
    """Scratch memory for one generation at a time, made by `Model.session`; it outlives its model. One thread's at a
    time: others get `Busy`."""

    def __init__(self, model: Model):
        self.model = model
        self.handle = made(library().ft_session_new, model.handle)
        self.free = weakref.finalize(self, freed, library().ft_session_free, self.handle)
        # Of the generation under way, or the last one: what the library took over.
        self.given: Filled | None = None
        self.run: Run | None = None

    @cached_property
    def token(self) -> CancelToken:
        """Stops what was given no token. One for all, since Ctrl-C that comes while a token is freed would be lost."""
        return CancelToken()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees the session. One that nobody refers to any more is closed by itself."""
        self.free()

    def generate(self, **request: Unpack[Request]) -> Generation:
        """Samples and decodes. Ctrl-C stops it, and what else stops it leaves the session ready for the next."""
        given, run = self.read(request)
        start = perf_counter()
        # The library looks at the size before memory is taken for it.
        run(library().ft_session_prepare, self.handle, byref(given.raw))
        images = np.empty((*given.images, 3), np.uint8) if given.wants_images else None
        there = None if images is None else place(images)
        self.take(given, run, library().ft_session_generate, there)
        return self.generation(given, run, images, perf_counter() - start)

    def prepare(self, **request: Unpack[Request]) -> None:
        """Does all that a request needs before its first step: for a loading screen."""
        given, run = self.read(request)
        run(library().ft_session_prepare, self.handle, byref(given.raw))

    def begin(self, **request: Unpack[Request]) -> None:
        """Begins a generation that `step` and `finish` carry out. One that was under way is given up."""
        self.take(*self.read(request), library().ft_session_begin)

    def step(self, seconds: float) -> bool:
        """Works on the generation for about `seconds`; whether it is done."""
        done, microseconds = c_uint8(), number("seconds", seconds) * 1e6
        if not 0 <= microseconds < 2**63:
            raise ValueError(f"seconds {seconds!r}: must be from 0, and below 2**63 microseconds")
        self.run_on()(library().ft_session_step, self.handle, int(microseconds), byref(done))
        return bool(done)

    def steps(self, **request: Unpack[Request]) -> Iterator[Progress]:
        """Begins a generation, and carries it out while it is looped over: what each step and each decoded image is
        told by. `finish` then gives the images."""
        told: list[Progress] = []
        watcher = watcher_of(request.get("progress"))

        def keep(progress: Progress) -> object:
            told.append(progress)
            return None if watcher is None else watcher(progress)

        request["progress"] = keep
        given, run = self.read(request)
        self.take(given, run, library().ft_session_begin)

        def carry_out() -> Iterator[Progress]:
            done = c_uint8()
            while not done:
                if self.run is not run:
                    raise RuntimeError("steps: the session has another generation by now")
                run(library().ft_session_step, self.handle, abi.WHOLE_STEP, byref(done))
                yield from told
                told.clear()

        return carry_out()

    def finish(self) -> Generation:
        """Does what is left of the generation that was begun, and gives its images."""
        start, given, run = perf_counter(), self.given, self.run_on()
        images = None
        if given is not None and not given.wants_images:
            while not self.step(1.0):
                pass
        else:
            images = np.empty((*(given.images if given else (0, 0, 0)), 3), np.uint8)
            run(library().ft_session_finish, self.handle, place(images))
        assert given is not None
        return self.generation(given, run, images, perf_counter() - start)

    def reset(self) -> None:
        """Gives the generation under way up, or forgets the last one."""
        check(library().ft_session_reset(self.handle))

    @property
    def steps_made(self) -> tuple[int, int]:
        """Steps of the schedule that are done, and all that there are."""
        made, every = c_uint32(), c_uint32()
        check(library().ft_session_get_steps(self.handle, byref(made), byref(every)))
        return made.value, every.value

    def preview(self, decoded: bool = False) -> NDArray[np.uint8]:
        """What the generation looks like so far, [N,H,W,3]: rough and of the latent's size, or as `decoded`, which
        takes as long as decoding does."""
        count, height, width = self.given.images if self.given else (0, 0, 0)
        if self.given and not decoded:
            height, width = self.given.latents[2:]
        images = np.empty((count, height, width, 3), np.uint8)
        kind = abi.PREVIEW_DECODED if decoded else abi.PREVIEW_LINEAR
        check(library().ft_session_preview(self.handle, kind, place(images)))
        return images

    def map(self, name: str, dtype: DTypeLike = np.uint8, normal_y: Literal["up", "down"] = "up") -> Array:
        """A map of the images that were generated last (docs/maps.md).

        `color`, `normal` and `orm` are [N,H,W,3] of uint8, float16 or float32, `height`, `roughness`, `metallic` and
        `occlusion` [N,H,W] of uint8, uint16 or float32, `mask` uint8 [N,H,W,4]. Floats are 0 to 1. `normal_y` is `up`,
        as in OpenGL, or `down`, as in DirectX.
        """
        if name not in abi.MAPS:
            raise ValueError(f"no map is called {name!r}; there are {', '.join(abi.MAPS)}")
        if normal_y not in abi.NORMAL_Y:
            raise ValueError(f"normal_y {normal_y!r}: up or down")
        channels, kind = CHANNELS.get(name, 1), np.dtype(dtype).newbyteorder("=")
        pixel_format(name, channels, kind)
        made = self.given.images if self.given else (0, 0, 0)
        images = np.empty((*made, channels) if channels > 1 else made, kind)
        check(
            library().ft_session_get_map(
                self.handle, abi.MAPS[name], abi.NORMAL_Y[normal_y], byref(pixels(images, channels))
            )
        )
        return images

    def encode(self, images: Images) -> NDArray[np.float32]:
        """float32 [N,C,h,w] of images [N,H,W,3], for models with an encoder."""
        given = given_images("images", images)
        count, height, width, channels = given.shape
        latents = np.empty(self.model.shapes.of(count, (width, height))[1], np.float32)
        there = byref(pixels(given, channels))
        sizes = (width, height, count)
        check(library().ft_session_encode(self.handle, there, *sizes, floats(latents), latents.size))
        return latents

    def decode(self, latents: ArrayLike) -> NDArray[np.uint8]:
        """uint8 [N,H,W,3] of latents [N,C,h,w]."""
        given = given_floats("latents", latents)
        shapes = self.model.shapes
        fits("latents", given, "N", shapes.latent[0], "h", "w")
        count, _, *cells = given.shape
        size = (cells[1] * shapes.cell[1], cells[0] * shapes.cell[0])
        images = np.empty((count, size[1], size[0], 3), np.uint8)
        check(library().ft_session_decode_sized(self.handle, floats(given), given.size, *size, place(images)))
        return images

    def read(self, request: Request) -> tuple[Filled, Run]:
        given = Filled(request, self.model)
        run = Run(given.cancel or self.token, watcher_of(given.progress), given.latents, resets=given.cancel is None)
        given.raw.cancel, given.raw.progress = run.token.handle, WATCH
        return given, run

    def take(self, given: Filled, run: Run, function: Callable[..., int], *memory: object) -> None:
        """Has the library take a request over, which is the session's only then: another may be under way."""

        def work() -> int:
            status = function(self.handle, byref(given.raw), *memory)
            if not status:
                self.given, self.run = given, run
            return status

        run(work)

    def run_on(self) -> Run:
        """That of the generation that was begun; without one the library refuses what is asked for."""
        return self.run or Run(self.token)

    def generation(self, given: Filled, run: Run, images: NDArray[np.uint8] | None, seconds: float) -> Generation:
        latents = np.empty(given.latents, np.float32)
        check(library().ft_session_get_latents(self.handle, floats(latents), latents.size))
        maps = {name: self.map(name, np.uint16 if name == "height" else np.uint8) for name in given.maps}
        return Generation(images, latents, run.steps, seconds, maps)


def watcher_of(progress: Watcher | bool | None) -> Watcher | None:
    if isinstance(progress, bool):
        return bar.draw() if progress else None
    if progress is not None and not callable(progress):
        raise TypeError(f"progress {progress!r}: must be a function, or True for a bar")
    return progress


def floats(array: NDArray[np.float32]) -> Any:
    return array.ctypes.data_as(POINTER(c_float))


def place(images: NDArray[np.uint8]) -> Any:
    return byref(pixels(images))
