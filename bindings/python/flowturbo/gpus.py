"""What computes networks beside the processor."""

from __future__ import annotations

from ctypes import byref, c_uint32
from typing import NamedTuple

from flowturbo import abi
from flowturbo.native import check, library, sized


class DeviceInfo(NamedTuple):
    """A GPU as its driver describes it: ft_device_info."""

    name: str
    uuid: str
    memory: int  # bytes
    capability: tuple[int, int]
    driver: tuple[int, int]  # the newest CUDA that it speaks
    integrated: bool  # its memory is the processor's too


def devices() -> list[DeviceInfo]:
    """The GPUs that "cuda:N" names by their places; raises where there are none, and says why."""
    count = c_uint32()
    check(library().ft_device_count(byref(count)))
    found = []
    for index in range(count.value):
        raw = sized(abi.DeviceInfo)
        check(library().ft_device_get_info(index, byref(raw)))
        found.append(
            DeviceInfo(
                name=raw.name.decode(),
                uuid=raw.uuid.decode(),
                memory=raw.memory_bytes,
                capability=(raw.capability_major, raw.capability_minor),
                driver=(raw.driver_major, raw.driver_minor),
                integrated=bool(raw.integrated),
            )
        )
    return found
