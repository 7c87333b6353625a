"""What this machine is, what runs on it, and what processes use (Linux; elsewhere what is known)."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

PACKAGES = ("onnxruntime", "openvino", "nncf", "torch", "numpy")
TICK = os.sysconf("SC_CLK_TCK")


def describe() -> dict:
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    name = field("/proc/cpuinfo", "model name") or platform.machine()
    family, model = (field("/proc/cpuinfo", key) for key in ("cpu family", "model"))
    return {
        "processor": f"{name} (family {family}, model {model})" if family else name,
        "processors": processors,
        "memory_bytes": pages,
        "system": f"{platform.system()} {platform.release()}",
    }


def versions(program: Path) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            pass
    found["flowturbo"] = output([program, "--version"]).removeprefix("flowturbo ")
    found["commit"] = output(["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"])
    return found


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def output(command: list) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def field(path: str, key: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next(
        (value.strip() for name, _, value in (line.partition(":") for line in lines) if name.strip() == key), None
    )


def has_vnni() -> bool:
    """Whether the processor adds four 8-bit products to 32 bits in one instruction; unknown is no."""
    return not {"avx512_vnni", "avx_vnni"}.isdisjoint((field("/proc/cpuinfo", "flags") or "").split())


def peak_memory() -> int:
    """The most this process has held, in bytes, mapped files included."""
    if kibibytes := field("/proc/self/status", "VmHWM"):
        return int(kibibytes.split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def cpu_seconds(pid: int) -> float:
    """Processor time a process has used."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK


class Watch:
    """How busy the rest was during a measurement, in processors: our idle workers, and processes that are not ours."""

    def __init__(self, idle: list[int], active: list[int]):
        self.idle, self.active = idle, active
        self.started, self.before = time.perf_counter(), self.read()

    def read(self) -> tuple[float, float]:
        idle = sum(map(cpu_seconds, self.idle))
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = time.process_time() + children.ru_utime + children.ru_stime + sum(map(cpu_seconds, self.active))
        return idle, busy_seconds() - own - idle

    def stop(self) -> tuple[float, float]:
        wall = time.perf_counter() - self.started
        return tuple(max(0.0, after - before) / wall for after, before in zip(self.read(), self.before))


def busy_seconds() -> float:
    """Processor time of all processes, and what the host took away."""
    try:
        user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    except (OSError, ValueError):
        return 0.0
    return (user + nice + system + irq + softirq + steal) / TICK
