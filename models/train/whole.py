"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new, empty file beside `path` to be filled, which takes its place at the end.

    After a failure, a full disk or a kill the old one is as it was. A link stays one; the mode is kept.
    """
    path = path.resolve()
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        aside.touch(exist_ok=False)
        if path.exists():
            shutil.copymode(path, aside)
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replaces what a file holds, in UTF-8."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")
