"""What a generation tells while it runs, and what it gives."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowturbo.pixels import Array, save_png

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a generation is: after a step of its schedule, or, with `decoded`, after an image is decoded."""

    step: int  # steps done, from 1
    steps: int  # in all
    kind: str  # of the step: E, H, P or R
    seconds: float  # that it took, or the image
    decoded: int  # images decoded; 0 as long as there are steps left
    images: int  # that will be; 0 for latents alone
    latents: NDArray[np.float32]  # [N,C,h,w], the state after the step
    preview: NDArray[np.uint8] | None  # [N,h,w,3], if it was asked for

    @classmethod
    def read(cls, told: Any, latents: tuple[int, ...]) -> Progress:
        """A copy of an ft_progress, which is the library's."""
        state = np.ctypeslib.as_array(told.latents, (told.latent_count,)).reshape(latents).copy()
        preview = None
        if told.preview_size:
            shape = (-1, told.preview_height, told.preview_width, 3)
            preview = np.ctypeslib.as_array(told.preview, (told.preview_size,)).reshape(shape).copy()
        took = told.microseconds / 1e6
        return cls(told.step, told.steps, chr(told.kind), took, told.decoded, told.pictures, state, preview)


# False stops the generation; an exception does too, and is raised where the generation was asked for.
Watcher: TypeAlias = Callable[[Progress], object]


@dataclass(frozen=True, eq=False, repr=False)
class Generation:
    """Images and what they were made of. The arrays are the caller's."""

    images: NDArray[np.uint8] | None  # [N,H,W,3]; None if they were not asked for
    latents: NDArray[np.float32]  # [N,C,h,w]
    steps: list[tuple[str, float]]  # each step's letter and seconds
    seconds: float  # of the whole call, decoding included
    maps: Mapping[str, Array] = field(default_factory=dict)  # those that were asked for, as `Session.map` gives them

    def pil(self) -> list[Image.Image]:
        """The images as Pillow's."""
        try:
            from PIL import Image
        except ImportError:
            raise ImportError("Pillow is not installed: pip install 'flowturbo[pillow]'") from None
        return [Image.fromarray(image) for image in self.all_images()]

    def all_images(self) -> NDArray[np.uint8]:
        if self.images is None:
            raise ValueError("latents alone were asked for: Session.decode makes images of them")
        return self.images

    def sheet(self) -> NDArray[np.uint8]:
        """All images as one, row by row, uint8 [H,W,3]: as square as can be."""
        images = self.all_images()
        count, height, width, _ = images.shape
        columns = ceil(sqrt(count))
        rows = ceil(count / columns)
        cells = np.zeros((rows * columns, height, width, 3), np.uint8)
        cells[:count] = images
        return cells.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, -1, 3)

    def __repr__(self) -> str:
        kinds = "".join(kind for kind, _ in self.steps)
        what = "latents" if self.images is None else "images"
        return f"<Generation: {what} {list((self.latents if self.images is None else self.images).shape)}, {kinds}>"

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows."""
        if self.images is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "sheet.png")
            save_png(self.sheet(), path)
            return path.read_bytes()
