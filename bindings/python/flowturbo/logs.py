"""What the library has to tell while it works, by Python's logging."""

from __future__ import annotations

import atexit
import logging

from flowturbo import abi
from flowturbo.native import check, library

# logging's levels by the library's, from 1.
LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG, logging.DEBUG - 5)


def forward(_: int | None, level: int, target: bytes, message: bytes) -> None:
    # `flowturbo_runtime::bundle` is the crate's name for what users see as a part of flowturbo.
    name = target.decode(errors="replace").replace("::", ".").removeprefix("flowturbo").lstrip("_.")
    logging.getLogger(f"flowturbo.{name}").log(LEVELS[level - 1], "%s", message.decode(errors="replace"))


FORWARD = abi.LogCallback(forward)


def set_log_level(level: int | str) -> None:
    """Sends what the library logs, from `level` on, to loggers below `flowturbo`: `set_log_level("DEBUG")`. Until then
    it says nothing; a level above ERROR ends it."""
    if isinstance(level, str):
        known = logging.getLevelNamesMapping()
        if level not in known:
            raise ValueError(f"level {level!r}: there are {', '.join(known)}")
        level = known[level]
    taken = sum(level <= own for own in LEVELS)
    check(library().ft_log_set(FORWARD, None, taken))
    # The library's threads log no more once Python is gone.
    atexit.unregister(silence)
    atexit.register(silence)


def silence() -> None:
    library().ft_log_set(abi.LogCallback(), None, 0)
