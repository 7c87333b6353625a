"""What is asked of a session, by keywords, and the library's struct of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ctypes import POINTER, c_char_p, c_float, c_int64, c_uint64, c_void_p, cast, pointer
from dataclasses import dataclass
from reprlib import repr as shown
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowturbo import abi
from flowturbo.cancel import CancelToken
from flowturbo.generation import Watcher
from flowturbo.native import filled, integer, library, number, text, whole
from flowturbo.pixels import Array, Images, array, fits, given_floats, given_images, pixels

if TYPE_CHECKING:
    from flowturbo.model import Model

Classes: TypeAlias = "str | int | Sequence[str | int] | NDArray[Any]"


class Request(TypedDict, total=False):
    """The keywords of `Session.generate` and its like: an image for each class, or for each prompt if there are no
    classes. What is not given, or None, is the model's own. docs/editing.md says what each of those below `size` does.
    """

    classes: Classes | None  # labels or numbers
    prompts: str | Sequence[str] | None  # what the images show: one for all, or one for each
    negative_prompt: str | None  # what they do not
    context: ArrayLike | None  # float32 [N,D] or [N,L,D], or [1,...] for all images
    negative_context: ArrayLike | None  # likewise, what guidance goes away from
    seed: int | None  # 0
    seeds: Sequence[int] | None  # one for each image
    streams: Sequence[int] | None  # of the seed's noise, one for each image
    schedule: str | None  # such as H1P5R3
    preset: str | None  # a schedule and a guidance by their name in the bundle
    guidance: float | None  # 1 is none
    noise: ArrayLike | None  # float32 [N,C,h,w], instead of the seed's
    size: tuple[int, int] | None  # width and height in pixels, not below the model's own
    seamless: Literal["x", "y", "both"] | None  # the axes along which the images tile
    init: Images | None  # images to begin with: one for all, or one for each
    strength: float | None  # how much of the way from noise to `init` is done anew: 1, all
    mask: ArrayLike | None  # uint8 or bool [H,W] or [N,H,W]: what of `init` is made anew
    variation: float | None  # how far the noise is turned to that of `variation_seed`: 0 to 1
    variation_seed: int | None
    morph_classes: Classes | None  # a second class for each image, mixed into the first
    morph_amounts: ArrayLike | None  # how much of it, 0 to 1, for each image
    images: bool | None  # False for latents alone
    maps: Sequence[str] | Literal["all"] | None  # of materials, for `Generation.maps`
    progress: Watcher | bool | None  # called after each step and image; True draws a bar, by tqdm
    preview: bool | None  # `Progress.preview` is wanted
    cancel: CancelToken | None  # stops the generation; Ctrl-C cancels it too


@dataclass(frozen=True)
class Shapes:
    """What a model says of the arrays that a request has."""

    width: int
    height: int
    cell: tuple[int, int]  # height and width
    latent: tuple[int, int, int]
    context: tuple[int, ...] | None

    def of(self, count: int, size: tuple[int, int] | None) -> tuple[tuple[int, int, int], tuple[int, int, int, int]]:
        """Of images [N,H,W] and of latents."""
        width, height = size or (self.width, self.height)
        channels, *cells = self.latent
        if size is not None and 0 not in self.cell:
            cells = [height // self.cell[0], width // self.cell[1]]
        return (count, height, width), (count, channels, cells[0], cells[1])


class Filled:
    """A request as the library takes it. `raw` is good as long as this lives: it points at what is kept here."""

    def __init__(self, request: Request, model: Model):
        unknown = set(request) - set(Request.__annotations__)
        if unknown:
            names = ", ".join(Request.__annotations__)
            raise TypeError(f"no keyword {min(unknown)!r}; there are {names}")
        given: dict[str, Any] = {name: value for name, value in request.items() if value is not None}
        self.raw = filled(abi.Request, library().ft_request_init)
        self.kept: list[object] = []
        self.find_class = model.find_class
        self.cancel: CancelToken | None = CancelToken.given(given.get("cancel"))
        self.progress: Watcher | bool = given.get("progress", False)
        self.maps = given_maps(given.get("maps", ()), model)
        count = self.set_subjects(given, model.shapes)
        self.set_sampling(given)
        self.images, self.latents = model.shapes.of(count, self.set_size(given))
        self.set_noise(given)
        self.set_edits(given, count)
        self.wants_images = bool(given.get("images", True))
        self.raw.output = abi.OUTPUT_IMAGES if self.wants_images else abi.OUTPUT_LATENTS

    def set_subjects(self, given: dict[str, Any], shapes: Shapes) -> int:
        """What the images show; gives how many there are."""
        classes = self.class_numbers("classes", given.get("classes", ()))
        prompts = given.get("prompts", ())
        prompts = [prompts] if isinstance(prompts, str) else several("prompts", prompts, "texts")
        rows = 0
        for name in ("context", "negative_context"):
            if name in given:
                floats = contexts(name, given[name], shapes.context)
                self.point(name, floats, c_float)
                setattr(self.raw, f"{name}_count", floats.size)
                setattr(self.raw, f"{name}_rows", len(floats))
                rows = rows or (len(floats) if name == "context" else 0)
        if len(classes):
            self.point("classes", classes, c_int64)
        if prompts:
            self.raw.prompts = (c_char_p * len(prompts))(*(text("prompt", prompt) for prompt in prompts))
            self.raw.prompt_count = len(prompts)
        if "negative_prompt" in given:
            self.raw.negative_prompt = text("negative_prompt", given["negative_prompt"])
        count = len(classes) or len(prompts) or rows
        self.raw.image_count = count
        return count

    def set_sampling(self, given: dict[str, Any]) -> None:
        for name in ("schedule", "preset"):
            if name in given:
                setattr(self.raw, name, text(name, given[name]))
        for name in ("guidance", "strength", "variation"):
            if name in given:
                setattr(self.raw, name, number(name, given[name]))
        if given.get("preview"):
            self.raw.preview = abi.PREVIEW_LINEAR

    def set_noise(self, given: dict[str, Any]) -> None:
        for name in ("seed", "variation_seed"):
            if name in given:
                setattr(self.raw, name, whole(name, given[name], 64))
        for name, counted in (("seeds", "seed_count"), ("streams", "stream_count")):
            if name in given:
                numbers = [whole(name, number, 64) for number in several(name, given[name], "whole numbers")]
                setattr(self.raw, name, (c_uint64 * len(numbers))(*numbers))
                setattr(self.raw, counted, len(numbers))
        if "noise" in given:
            noise = given_floats("noise", given["noise"])
            fits("noise", noise, *self.latents)
            self.point("noise", noise, c_float)
            self.raw.noise_count = noise.size

    def set_size(self, given: dict[str, Any]) -> tuple[int, int] | None:
        if "seamless" in given:
            if given["seamless"] not in tuple(abi.SEAMLESS):
                raise ValueError(f"seamless {given['seamless']!r}: there are {', '.join(abi.SEAMLESS)}")
            self.raw.tile = abi.SEAMLESS[given["seamless"]]
        if "size" not in given:
            return None
        edges = several("size", given["size"], "width and height")
        if len(edges) != 2:
            raise ValueError(f"size {shown(given['size'])}: must be width and height")
        width, height = (whole("size", edge) for edge in edges)
        if 0 in (width, height):
            raise ValueError(
                f"size {shown(given['size'])}: must be 1 or more; without it images are of the model's own"
            )
        self.raw.width, self.raw.height = width, height
        return width, height

    def set_edits(self, given: dict[str, Any], count: int) -> None:
        if "init" in given:
            images = given_images("init", given["init"])
            fits("init", images, "N", *self.images[1:], "C")
            self.kept.append(images)
            self.raw.init = pointer(pixels(images, images.shape[3]))
            self.raw.init_count = len(images)
        if "mask" in given:
            mask = given_mask(given["mask"])
            fits("mask", mask, *"N"[: mask.ndim - 2], *self.images[1:])
            self.kept.append(mask)
            self.raw.mask, self.raw.mask_size = mask.ctypes.data, mask.size
        if "morph_classes" in given:
            self.point("morph_classes", self.one_each("morph_classes", given, count), c_int64)
        if "morph_amounts" in given:
            self.point("morph_amounts", self.one_each("morph_amounts", given, count), c_float)

    def one_each(self, name: str, given: dict[str, Any], count: int) -> Array:
        """The library cannot tell how many there are."""
        values: Array
        if name == "morph_classes":
            values = self.class_numbers(name, given[name])
        else:
            values = np.atleast_1d(given_floats(name, given[name]))
        if values.shape != (count,):
            raise ValueError(f"{name}: {values.size} of them for {count} images")
        return values

    def class_numbers(self, name: str, given: Classes) -> NDArray[np.int64]:
        """Numbers of classes of any type, labels among them."""
        asked: Any = [given]
        if isinstance(given, np.ndarray):
            asked = np.atleast_1d(given)
        elif isinstance(given, Sequence) and not isinstance(given, str | bytes):
            asked = given
        numbers = []
        for one in asked:
            if isinstance(one, float | np.floating) and one.is_integer():  # as numpy makes zeros
                one = int(one)
            number = self.find_class(one) if isinstance(one, str) else integer(one)
            if number is None or not -(2**63) <= number < 2**63:
                raise ValueError(f"{name} {shown(one)}: must be whole numbers, or labels")
            numbers.append(number)
        return np.array(numbers, np.int64)

    def point(self, name: str, array: Array, kind: type[Any]) -> None:
        self.kept.append(array)
        setattr(self.raw, name, cast(c_void_p(array.ctypes.data), POINTER(kind)))


def several(name: str, given: Iterable[Any], what: str) -> list[Any]:
    try:
        return list(given)
    except TypeError:
        raise TypeError(f"{name} {shown(given)}: must be {what}, in a list") from None


def contexts(name: str, given: ArrayLike, shape: tuple[int, ...] | None) -> NDArray[np.float32]:
    """Contexts as the library takes them, of the model's own shape; those of a model without are its to refuse."""
    floats = given_floats(name, given)
    if shape is not None:
        fits(name, floats, "N", *shape)
    return floats


def given_mask(given: ArrayLike) -> NDArray[np.uint8]:
    mask = array("mask", given)
    if mask.dtype == np.bool_:
        mask = mask * np.uint8(255)
    if mask.dtype != np.uint8 or mask.ndim not in (2, 3):
        raise ValueError(f"mask: {mask.dtype} {list(mask.shape)}, must be uint8 or bool [H, W] or [N, H, W]")
    return np.ascontiguousarray(mask)


def given_maps(given: Sequence[str], model: Model) -> list[str]:
    """`all` is what the decoder makes, without what is packed of it."""
    if isinstance(given, str):
        if given != "all":
            raise ValueError(f"maps {given!r}: a list of names is needed, or 'all'")
        return [name for name in model.maps if name not in ("orm", "mask")]
    names = several("maps", given, "names")
    for name in names:
        if name not in model.maps:
            raise ValueError(f"maps: the model makes no {name!r}; it makes {', '.join(model.maps)}")
    return names
