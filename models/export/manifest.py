"""The fields of `bundle.json`, format version 1.0, and the rules they must keep."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from export import ExportError

FORMAT_VERSION = "1.0"


def require(condition: object, message: str) -> None:
    if not condition:
        raise ExportError(message)


@dataclass(frozen=True)
class Latent:
    """Stored latent = (encoder mean - shift) * scale."""

    channels: int
    height: int
    width: int
    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Classes:
    """`null` is the label of the null class, `count` unless given."""

    count: int
    null: int | None = None
    labels: list[str] | None = None

    @property
    def null_label(self) -> int:
        return self.count if self.null is None else self.null

    def as_json(self) -> dict:
        labels = {} if self.labels is None else {"labels": list(self.labels)}
        return {"count": self.count, "null": self.null_label} | labels


@dataclass(frozen=True)
class Time:
    """How sampler time (0 noise, 1 data) and velocity are told to the network."""

    direction: str = "noise_to_data"
    scale: float = 1.0
    velocity_sign: int = 1

    def as_json(self) -> dict:
        return {"direction": self.direction, "scale": self.scale, "velocity_sign": self.velocity_sign}


@dataclass(frozen=True)
class Manifest:
    """Everything in `bundle.json` but the networks. `guided_channels` None means all."""

    name: str
    latent: Latent
    classes: Classes
    schedule: str
    guidance: float
    image: tuple[int, int] | None = None  # height, width
    guided_channels: int | None = None
    time: Time = field(default_factory=Time)
    description: str | None = None
    license: str | None = None
    presets: dict[str, tuple[str, float]] = field(default_factory=dict)  # name -> schedule, guidance

    def check(self) -> None:
        require(re.fullmatch(r"[A-Za-z0-9._-]{1,64}", self.name), f"name {self.name!r}: 1 to 64 of A-Z a-z 0-9 . _ -")
        latent, classes, time = self.latent, self.classes, self.time
        require(min(latent.channels, latent.height, latent.width) >= 1, "latent sizes must be 1 or more")
        require(math.isfinite(latent.scale) and latent.scale != 0, "latent scale must be finite and not 0")
        require(math.isfinite(latent.shift), "latent shift must be finite")
        require(classes.count >= 1, "there must be one class or more")
        require(
            classes.null_label >= classes.count,
            f"null label {classes.null_label} is one of the {classes.count} classes",
        )
        if classes.labels is not None:
            labels = classes.labels
            require(len(labels) == classes.count, f"{len(labels)} labels for {classes.count} classes")
            require(all(labels) and len(set(labels)) == len(labels), "labels must be unique and not empty")
        require(time.direction in ("noise_to_data", "data_to_noise"), f"time direction {time.direction!r} is not known")
        require(math.isfinite(time.scale) and time.scale != 0, "time scale must be finite and not 0")
        require(time.velocity_sign in (1, -1), "velocity sign must be 1 or -1")
        if self.guided_channels is not None:
            require(1 <= self.guided_channels <= latent.channels, f"guided channels must be 1 to {latent.channels}")
        for schedule, guidance in [(self.schedule, self.guidance), *self.presets.values()]:
            check_schedule(schedule)
            require(math.isfinite(guidance) and guidance >= 0, "guidance must be finite and 0 or more")

    def as_json(self) -> dict:
        optional = {"description": self.description, "license": self.license}
        data = {"format": "flowturbo-bundle", "format_version": FORMAT_VERSION, "name": self.name}
        data |= {key: value for key, value in optional.items() if value is not None}
        data["latent"] = dict(vars(self.latent))
        if self.image is not None:
            data["image"] = {"height": self.image[0], "width": self.image[1]}
        data["classes"] = self.classes.as_json()
        data["time"] = self.time.as_json()
        data["guidance"] = {"channels": self.guided_channels or self.latent.channels}
        data["sampling"] = {"schedule": self.schedule, "guidance": self.guidance}
        if self.presets:
            data["sampling"]["presets"] = {n: {"schedule": s, "guidance": g} for n, (s, g) in self.presets.items()}
        return data


def check_schedule(schedule: str) -> None:
    """`H1P5R3` or `HPPPPPRRR`: Euler, Heun, pseudo-corrector and refiner steps; a refiner step needs a velocity before it."""
    steps = re.findall(r"([EHPR])(\d*)", schedule)
    written = "".join(kind + count for kind, count in steps)
    require(steps and written == schedule, f"schedule {schedule!r}: write it like H1P5R3 or HPPPPPRRR")
    kinds = [kind for kind, count in steps if count == "" or int(count) > 0]
    require(kinds, f"schedule {schedule!r} has no step")
    require(kinds[0] != "R", f"schedule {schedule!r}: a refiner step needs a predictor step before it")
