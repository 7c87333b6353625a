"""Arrays as the library's pixels, and back; PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import byref
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from flowturbo import abi
from flowturbo.native import check, filled, library, text

if TYPE_CHECKING:
    from PIL import Image

Array: TypeAlias = NDArray[Any]
Images: TypeAlias = "ArrayLike | Image.Image | Sequence[Image.Image]"


def pixels(images: Array, channels: int = 3) -> abi.Pixels:
    """Where images [N,H,W,channels], or [N,H,W] of one channel, lie."""
    filled_in = filled(abi.Pixels, library().ft_pixels_init)
    filled_in.format = pixel_format("images", channels, images.dtype)
    filled_in.data, filled_in.size = images.ctypes.data, images.nbytes
    return filled_in


def pixel_format(name: str, channels: int, dtype: DTypeLike) -> int:
    kind = np.dtype(dtype)
    if (channels, kind.name) not in abi.PIXELS or not kind.isnative:
        known = ", ".join(known for count, known in abi.PIXELS if count == channels)
        raise ValueError(f"{name}: no {channels} channels of {kind}; there are {known or 'three, or four of uint8'}")
    return abi.PIXELS[channels, kind.name]


def given_images(name: str, given: Images) -> Array:
    """[N,H,W,3] or [N,H,W,4] of what a caller gave, one image or several; of Pillow's, too."""
    pictures: Any = given if isinstance(given, Sequence) else [given]
    if pictures and all(hasattr(picture, "convert") for picture in pictures):
        images = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
    else:
        images = array(name, given)
    if images.dtype == np.float64:
        images = images.astype(np.float32)
    if images.ndim == 3:
        images = images[np.newaxis]
    if images.ndim != 4 or images.shape[3] not in (3, 4):
        raise ValueError(f"{name}: shape {list(images.shape)}, must be [H, W, 3] or [N, H, W, 3]")
    pixel_format(name, images.shape[3], images.dtype)
    return np.ascontiguousarray(images)


def array(name: str, given: Any) -> Array:
    try:
        return np.asarray(given)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def fits(name: str, given: Array, *wanted: int | str) -> None:
    """Refuses other shapes, of which the library knows the bytes alone; letters are any number. What has no size, as
    images have without a decoder, is the library's to refuse."""
    same = (own == each or isinstance(each, str) for own, each in zip(given.shape, wanted, strict=False))
    if 0 not in wanted and not (given.ndim == len(wanted) and all(same)):
        raise ValueError(f"{name}: shape {list(given.shape)}, must be [{', '.join(map(str, wanted))}]")


def given_floats(name: str, given: ArrayLike) -> NDArray[np.float32]:
    floats = array(name, given)
    if floats.dtype.kind not in "fiu":
        raise ValueError(f"{name}: {floats.dtype} numbers; floats are needed")
    return np.ascontiguousarray(floats, np.float32)


def save_png(image: Array, path: str | PathLike[str]) -> None:
    """Writes an image [H,W,3] or [H,W,4] of uint8, whose alpha is left out, or a map [H,W] of uint8 or uint16, to a
    PNG file; one that is there is replaced once the new one is whole."""
    image = np.ascontiguousarray(image)
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(f"image: shape {list(image.shape)}, must be [H, W, 3] or [H, W]")
    height, width, *rest = image.shape
    given = pixels(image, rest[0] if rest else 1)
    check(library().ft_pixels_save_png(byref(given), width, height, text("path", fspath(path))))
