"""Images, perhaps with maps, as training batches in [-1, 1]; and a plain folder of them, one sub-folder a class.

Augmentation keeps a seamless texture seamless: it only rolls (wrapping around), flips and turns. Normals point where
they did in what is seen: a flip across negates their x, one down their y, and a turn swaps the two. Batches are
class-balanced: the class is drawn first, then one of its images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from nets.autoencoder import CHANNELS, count_channels
from PIL import Image, ImageOps
from torch import Tensor

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
MOST_PIXELS = 16384 * 16384
Image.MAX_IMAGE_PIXELS = None  # read_image has a limit of its own, and says which


@dataclass
class Images:
    """`pixels` uint8 [K,C,S,S], the colours and then the channels of `maps`; `labels` int64 [K], `classes` in label
    order."""

    pixels: Tensor
    labels: Tensor
    classes: list[str]
    maps: tuple[str, ...] = ("color",)
    present: Tensor | None = None  # bool [K,len(maps)-1], whether an image has each map; without any, colours alone
    captions: list[str] | None = None
    test: Tensor | None = None  # bool [K], what is held out where the data itself says so
    tiles: Tensor | None = None  # bool [K], whether an image wraps around; all do where None

    def split(self, held_out: float, seed: int) -> tuple[Images, Images]:
        """What the data holds out, or else the same fraction of every class; deterministic for a seed."""
        if self.test is not None:
            return self.select(~self.test), self.select(self.test)
        generator = torch.Generator().manual_seed(seed)
        out = torch.zeros(len(self.labels), dtype=torch.bool)
        for label in range(len(self.classes)):
            members = torch.nonzero(self.labels == label).flatten()
            count = min(max(1, round(held_out * len(members))), len(members) - 1) if held_out > 0 else 0
            out[members[torch.randperm(len(members), generator=generator)[:count]]] = True
        return self.select(~out), self.select(out)

    def select(self, mask: Tensor) -> Images:
        present, test, tiles = (part if part is None else part[mask] for part in (self.present, self.test, self.tiles))
        rows = torch.nonzero(mask).flatten().tolist()
        captions = self.captions and [self.captions[row] for row in rows]
        return Images(self.pixels[mask], self.labels[mask], self.classes, self.maps, present, captions, test, tiles)

    def to(self, device: torch.device) -> Images:
        """With the pixels there."""
        return replace(self, pixels=self.pixels.to(device))

    def take(self, rows: Tensor) -> Tensor:
        """Images [N,C,S,S] in [-1, 1], where the pixels are."""
        return to_unit(self.pixels[rows.to(self.pixels.device)])

    def has(self, rows: Tensor) -> Tensor:
        """Which maps some images have: bool [N,len(maps)-1]."""
        return torch.zeros(len(rows), 0, dtype=torch.bool) if self.present is None else self.present[rows]

    def wraps(self, rows: Tensor) -> Tensor:
        return torch.ones(len(rows), dtype=torch.bool) if self.tiles is None else self.tiles[rows]


def class_folders(folder: Path) -> list[Path]:
    """In the order of their labels."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")) or [folder.resolve()]


def class_names(folder: Path) -> list[str]:
    return [place.name for place in class_folders(folder)]


def load_images(folder: Path, size: int) -> Images:
    """Reads every image under `folder`/<class>/ and resizes it (area average) to `size` x `size`; says what it passes
    over.

    A folder without sub-folders is one class, of its own name.
    """
    if not folder.is_dir():
        raise SystemExit(f"{folder}: no such folder")
    classes = class_folders(folder)
    pixels, labels, others = [], [], []
    for label, place in enumerate(classes):
        files = [path for path in sorted(place.iterdir()) if path.is_file() and not path.name.startswith(".")]
        paths = [path for path in files if path.suffix.lower() in SUFFIXES]
        others += [path for path in files if path not in paths]
        if len(paths) < 2:
            raise SystemExit(f"{place}: a class needs two images or more ({', '.join(sorted(SUFFIXES))})")
        pixels += [read_image(path, size) for path in paths]
        labels += [label] * len(paths)
    if others:
        print(f"passed over {len(others)} files that are not {', '.join(sorted(SUFFIXES))}: {others[0]}", flush=True)
    return Images(torch.from_numpy(np.stack(pixels)), torch.tensor(labels), [place.name for place in classes])


def read_image(path: Path, size: int) -> np.ndarray:
    """uint8 [3,size,size], upright as the camera was held, on white where it is transparent."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise SystemExit(
                    f"{path}: {image.width} x {image.height} pixels; at most {MOST_PIXELS} are read, such as "
                    "16384 x 16384: make it smaller first"
                )
            pixels = plain(ImageOps.exif_transpose(image)).resize((size, size), Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError, MemoryError) as error:
        raise SystemExit(f"{path}: not an image that can be read: {error}") from error
    return np.asarray(pixels).transpose(2, 0, 1)


def plain(image: Image.Image) -> Image.Image:
    """RGB in 8 bits. Pillow by itself would cut 16 bits off at 255, and show the colours that transparency hides."""
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def write_smoke_images(folder: Path, size: int, classes: int = 3, each: int = 4) -> None:
    """Seamless stripes of random direction, colour and phase, to try the stages on."""
    rng = np.random.default_rng(0)
    rows, columns = np.meshgrid(*(2 * np.pi * np.arange(size) / size,) * 2, indexing="ij")
    for kind in range(classes):
        (folder / f"class{kind}").mkdir(parents=True, exist_ok=True)
        for index in range(each):
            wave = np.sin(rng.integers(1, 4) * rows + rng.integers(1, 4) * columns + rng.uniform(0, 6))
            pixels = 128 + 100 * wave[..., None] * rng.uniform(0.2, 1, 3)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"class{kind}" / f"{index}.png")


class BalancedSampler:
    """Draws indices: a class uniformly, then one of its members uniformly."""

    def __init__(self, labels: Tensor, generator: torch.Generator):
        self.members = [torch.nonzero(labels == k).flatten() for k in labels.unique().tolist()]
        self.generator = generator

    def draw(self, count: int) -> Tensor:
        kinds = torch.randint(len(self.members), (count,), generator=self.generator).tolist()
        picks = torch.rand(count, generator=self.generator).tolist()
        return torch.stack([self.members[k][int(u * len(self.members[k]))] for k, u in zip(kinds, picks)])


def augment(
    batch: Tensor,
    generator: torch.Generator,
    edge: int | None = None,
    maps: tuple[str, ...] = ("color",),
    tiles: Tensor | None = None,
) -> Tensor:
    """Flips, turns and rolls each image of [N,C,S,S] on its own, by any number of cells, and crops it to `edge`.

    What doesn't tile by `tiles` [N] is cropped anywhere inside instead of rolled.
    """
    n, c, h, w = batch.shape
    edge = edge or h
    out = batch.new_empty(n, c, edge, edge)
    flips = torch.randint(8, (n,), generator=generator).tolist()
    rows = torch.randint(h, (n,), generator=generator).tolist()
    columns = torch.randint(w, (n,), generator=generator).tolist()
    for i in range(n):
        image = mirror(batch[i], maps, bool(flips[i] & 1), bool(flips[i] & 2), bool(flips[i] & 4))
        by = rows[i], columns[i]
        if tiles is not None and not tiles[i]:
            by = tuple(-(place % (h - edge + 1)) for place in by)
        out[i] = image.roll(by, (1, 2))[:, :edge, :edge]
    return out


def mirror(images: Tensor, maps: tuple[str, ...], down: bool, across: bool, turned: bool = False) -> Tensor:
    """[...,C,S,S] in [-1, 1], upside down, the left on the right, then mirrored by the diagonal from the upper left;
    `down` and `turned` together are a quarter turn."""
    axes = [axis for axis, wanted in ((-2, down), (-1, across)) if wanted]
    if axes:
        images = images.flip(axes)
    if turned:
        images = images.mT
    if "normal" not in maps or not (axes or turned):
        return images
    at = count_channels(maps[: maps.index("normal")])
    images = images.clone()
    x, y = images[..., at, :, :].clone(), images[..., at + 1, :, :].clone()
    x, y = (-x if across else x), (-y if down else y)
    images[..., at, :, :], images[..., at + 1, :, :] = (-y, -x) if turned else (x, y)
    return images


def with_planes(images: Tensor, present: Tensor, maps: tuple[str, ...]) -> Tensor:
    """What an encoder takes: images with maps [N,C,H,W], those that are missing 0, and a plane for each map,
    `present` [N,len(maps)-1]."""
    if len(maps) == 1:
        return images
    planes = present.to(images)[:, :, None, None]
    colours, rest = images.split([CHANNELS["color"], images.shape[1] - CHANNELS["color"]], 1)
    return torch.cat([colours, rest * spread(planes, maps), planes.expand(-1, -1, *images.shape[2:])], 1)


def spread(values: Tensor, maps: tuple[str, ...]) -> Tensor:
    """One value for each map but the colours [N,len(maps)-1,...] -> one for each of their channels."""
    counts = torch.tensor([CHANNELS[name] for name in maps[1:]], device=values.device)
    return values.repeat_interleave(counts, dim=1)


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 [0, 255] -> float32 [-1, 1]."""
    return pixels.float() / 127.5 - 1
