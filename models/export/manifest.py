"""The fields of `bundle.json`, format version 1.0, and the rules they must keep."""

from __future__ import annotations

import math
import re
import string
import struct
from dataclasses import dataclass, field

from export import ExportError

FORMAT_VERSION = "1.0"
MAX_STEPS = 1000  # of a schedule; what the loader allows unless told otherwise


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
    wraps: bool = False  # decoder and encoder pad circularly, at any size
    preview: list[list[float]] | None = None  # red, green, blue: a factor for each latent channel, then a constant
    guided_channels: int | None = None
    refiner_guided: bool = False  # the refiner's answers are guided ones
    time: Time = field(default_factory=Time)
    description: str | None = None
    license: str | None = None
    presets: dict[str, tuple[str, float]] = field(default_factory=dict)  # name -> schedule, guidance

    def check(self) -> None:
        check_name("name", self.name)
        check_line("description", self.description)
        check_line("license", self.license)
        latent, classes, time = self.latent, self.classes, self.time
        require(min(latent.channels, latent.height, latent.width) >= 1, "latent sizes must be 1 or more")
        check_factor("latent scale", latent.scale)
        require(math.isfinite(float32(latent.shift)), f"latent shift {latent.shift}: must be finite as float32")
        if self.image is not None:
            for edge, pixels, size in zip(("height", "width"), self.image, (latent.height, latent.width), strict=True):
                require(
                    pixels >= 1 and pixels % size == 0,
                    f"image {edge} {pixels} is not a whole multiple of the latent's, {size}",
                )
        if self.preview is not None:
            require(self.image is not None, "a preview needs the image size")
            shape = [len(row) for row in self.preview]
            require(
                shape == 3 * [latent.channels + 1], f"preview: 3 rows of {latent.channels + 1} numbers, not {shape}"
            )
            numbers = [float32(factor) for row in self.preview for factor in row]
            require(all(map(math.isfinite, numbers)), "preview: every number must be finite as float32")
        require(classes.count >= 1, "there must be one class or more")
        require(
            classes.null_label >= classes.count,
            f"null label {classes.null_label} is one of the {classes.count} classes",
        )
        if classes.labels is not None:
            check_labels(classes.labels, classes.count)
        require(time.direction in ("noise_to_data", "data_to_noise"), f"time direction {time.direction!r} is not known")
        check_factor("time scale", time.scale)
        require(time.velocity_sign in (1, -1), "velocity sign must be 1 or -1")
        if self.guided_channels is not None:
            require(1 <= self.guided_channels <= latent.channels, f"guided channels must be 1 to {latent.channels}")
        if self.refiner_guided:
            all_guided = self.guided_channels in (None, latent.channels)
            require(all_guided, "the refiner's answers cannot be guided ones where some channels are not guided")
        for preset in self.presets:
            check_name("preset name", preset)
        for schedule, guidance in [(self.schedule, self.guidance), *self.presets.values()]:
            check_schedule(schedule)
            require(
                math.isfinite(float32(guidance)) and guidance >= 0,
                f"guidance must be finite as float32 and 0 or more, not {guidance}",
            )

    def as_json(self) -> dict:
        optional = {"description": self.description, "license": self.license}
        data = {"format": "flowturbo-bundle", "format_version": FORMAT_VERSION, "name": self.name}
        data |= {key: value for key, value in optional.items() if value is not None}
        data["latent"] = dict(vars(self.latent))
        if self.image is not None:
            optional = ({"wraps": True} if self.wraps else {}) | ({"preview": self.preview} if self.preview else {})
            data["image"] = {"height": self.image[0], "width": self.image[1]} | optional
        data["classes"] = self.classes.as_json()
        data["time"] = self.time.as_json()
        data["guidance"] = {"channels": self.guided_channels or self.latent.channels}
        if self.refiner_guided:
            data["guidance"]["refiner_guided"] = True
        data["sampling"] = {"schedule": self.schedule, "guidance": self.guidance}
        if self.presets:
            data["sampling"]["presets"] = {n: {"schedule": s, "guidance": g} for n, (s, g) in self.presets.items()}
        return data


def float32(value: float) -> float:
    """The number as the loader reads it: infinite if it does not fit, 0 if it vanishes."""
    try:
        return struct.unpack("f", struct.pack("f", float(value)))[0]
    except OverflowError:
        return math.inf


def check_factor(what: str, value: float) -> None:
    require(
        math.isfinite(float32(value)) and float32(value) != 0, f"{what} {value}: must be finite and not 0 as float32"
    )


def check_name(what: str, text: str) -> None:
    require(re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text), f"{what} {text!r}: 1 to 64 of A-Z a-z 0-9 . _ -")


def check_line(what: str, text: str | None) -> None:
    require(
        not re.search(r"[\x00-\x1f\x7f]", text or ""), f"{what} {text!r}: must be one line, without control characters"
    )


LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def check_labels(labels: list[str], count: int) -> None:
    """A class is asked for by its label, where ASCII case does not count, or by its number."""
    require(len(labels) == count, f"{len(labels)} labels for {count} classes")
    seen: dict[str, str] = {}
    for label in labels:
        require(label, "labels must not be empty")
        require(not re.fullmatch(r"[+-]?[0-9]+", label), f"label {label!r} reads as a number")
        key = label.translate(LOWER)
        require(key not in seen, f"labels must be unique, in any case: {seen.get(key)!r} and {label!r}")
        seen[key] = label


def check_schedule(schedule: str) -> None:
    """`H1P5R3` or `HPPPPPRRR`: Euler, Heun, pseudo-corrector and refiner steps; a refiner step needs a velocity before it."""
    steps = re.findall(r"([EHPR])([0-9]*)", schedule)
    written = "".join(kind + count for kind, count in steps)
    require(steps and written == schedule, f"schedule {schedule!r}: write it like H1P5R3 or HPPPPPRRR")
    total = 0
    for kind, digits in steps:
        count = (digits or "1").lstrip("0")
        require(count, f"schedule {schedule!r}: {kind}0 is no step; leave the letter out")
        total += int(count) if len(count) <= len(str(MAX_STEPS)) else MAX_STEPS + 1  # int refuses very long ones
    require(total <= MAX_STEPS, f"schedule {schedule!r}: more than {MAX_STEPS} steps")
    require(steps[0][0] != "R", f"schedule {schedule!r}: a refiner step needs a predictor step before it")
