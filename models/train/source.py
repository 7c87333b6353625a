"""What `--data` names: a plain folder of images, a folder of materials, or a packed file of them."""

from __future__ import annotations

from pathlib import Path

from train import data
from train.data import Images
from train.materials import CLASSES
from train.packed import load_packed
from train.sets import is_materials, load_sets


def is_plain(source: Path) -> bool:
    return source.is_dir() and not is_materials(source)


def class_names(source: Path) -> list[str]:
    """In the order of their labels."""
    return data.class_names(source) if is_plain(source) else list(CLASSES)


def load(source: Path, size: int, maps: tuple[str, ...] = ("color",)) -> Images:
    if is_materials(source):
        return load_sets(source, size, maps)
    return load_packed(source, size, maps) if source.is_file() else data.load_images(source, size)
