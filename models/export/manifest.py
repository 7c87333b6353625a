"""The fields of `bundle.json`, format version 1.1, and the rules they must keep."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, field

from export import ExportError

FORMAT_VERSION, WITH_MAPS = "1.0", "1.1"  # what every reader knows, and what those know that know maps and text
MAPS = {"color": 3, "normal": 2, "height": 1, "roughness": 1, "metallic": 1, "occlusion": 1}  # their channels
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
    """`null` is the label of the null class, `count` unless given.

    Not `guided`: the networks were trained without label dropout, so there is no null class and guidance is 1.
    Not `given`: the predictor takes no class at all; there is one, and nothing to guide away from.
    """

    count: int
    null: int | None = None
    labels: list[str] | None = None
    guided: bool = True
    given: bool = True

    @property
    def null_label(self) -> int | None:
        if not (self.guided and self.given):
            return None
        return self.count if self.null is None else self.null

    @property
    def known(self) -> list[int]:
        """Every label that the networks know."""
        return [*range(self.count), *([] if self.null_label is None else [self.null_label])]

    def as_json(self) -> dict:
        null = {} if self.null_label is None else {"null": self.null_label}
        labels = {} if self.labels is None else {"labels": list(self.labels)}
        return {"count": self.count} | null | labels


@dataclass(frozen=True)
class Time:
    """How sampler time (0 noise, 1 data) and velocity are told to the network."""

    direction: str = "noise_to_data"
    scale: float = 1.0
    velocity_sign: int = 1

    def as_json(self) -> dict:
        return {"direction": self.direction, "scale": self.scale, "velocity_sign": self.velocity_sign}


@dataclass(frozen=True)
class Text:
    """What networks are told of a prompt: a context of `width` numbers, or as many for each of `tokens`.

    `tokenizer` is a tokenizer.json, which a network of the role `text` needs; without both, prompts are not understood.
    `no_prompt` "zeros": no prompt is a context of zeros; "empty": what the network makes of the empty prompt.
    """

    width: int
    tokens: int | None = None
    max_tokens: int = 128
    no_prompt: str = "zeros"
    tokenizer: dict | None = None

    def as_json(self) -> dict:
        tokens = {} if self.tokens is None else {"tokens": self.tokens}
        return {"width": self.width} | tokens | {"max_tokens": self.max_tokens, "no_prompt": self.no_prompt}

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one context."""
        return (self.width,) if self.tokens is None else (self.tokens, self.width)


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
    maps: list[str] | None = None  # what the decoder's channels hold, colour first; None is colour alone
    preview: list[list[float]] | None = None  # red, green, blue: a factor for each latent channel, then a constant
    guided_channels: int | None = None
    refiner_guided: bool = False  # the refiner's answers are guided ones
    time: Time = field(default_factory=Time)
    description: str | None = None
    license: str | None = None
    presets: dict[str, tuple[str, float]] = field(default_factory=dict)  # name -> schedule, guidance
    text: Text | None = None  # of networks that take a context

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
        if self.maps is not None:
            check_maps(self.maps, self.image)
        if self.preview is not None:
            require(self.image is not None, "a preview needs the image size")
            shape = [len(row) for row in self.preview]
            require(
                shape == 3 * [latent.channels + 1], f"preview: 3 rows of {latent.channels + 1} numbers, not {shape}"
            )
            numbers = [float32(factor) for row in self.preview for factor in row]
            require(all(map(math.isfinite, numbers)), "preview: every number must be finite as float32")
        require(classes.count >= 1, "there must be one class or more")
        require(classes.given or classes.count == 1, f"a predictor that takes no class has one, not {classes.count}")
        if classes.null_label is None:
            require(classes.null is None, "a null label needs networks that were trained with label dropout")
            guided = self.guided or not self.refiner_guided
            require(guided, "the refiner's answers cannot be guided ones without a null class")
        else:
            require(
                classes.null_label >= classes.count,
                f"null label {classes.null_label} is one of the {classes.count} classes",
            )
        if classes.labels is not None:
            check_labels(classes.labels, classes.count)
        if self.text is not None:
            sizes = (*self.text.shape, self.text.max_tokens)
            require(min(sizes) >= 1, "text: width, tokens and max_tokens must be 1 or more")
            known = ("zeros", "empty") if self.text.tokenizer else ("zeros",)
            require(
                self.text.no_prompt in known, f"text no_prompt {self.text.no_prompt!r}: must be {' or '.join(known)}"
            )
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
            require(
                guidance == 1 or self.guided,
                f"guidance must be 1, not {guidance}: there is no null class to guide away from",
            )

    @property
    def guided(self) -> bool:
        """Whether there is something to guide away from: no class, or of networks that take none, no prompt."""
        return self.classes.null_label is not None or (self.text is not None and not self.classes.given)

    @property
    def map_channels(self) -> int:
        """Channels of what the decoder makes."""
        return sum(MAPS[name] for name in self.maps or ["color"])

    def as_json(self) -> dict:
        optional = {"description": self.description, "license": self.license}
        version = FORMAT_VERSION if self.maps is None and self.text is None else WITH_MAPS
        data = {"format": "flowturbo-bundle", "format_version": version, "name": self.name}
        data |= {key: value for key, value in optional.items() if value is not None}
        data["latent"] = dict(vars(self.latent))
        if self.image is not None:
            optional = ({"wraps": True} if self.wraps else {}) | ({"preview": self.preview} if self.preview else {})
            optional |= {} if self.maps is None else {"maps": list(self.maps)}
            data["image"] = {"height": self.image[0], "width": self.image[1]} | optional
        data["classes"] = self.classes.as_json()
        if self.text is not None:
            data["text"] = self.text.as_json()
        data["time"] = self.time.as_json()
        if self.guided:
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


def check_maps(maps: list[str], image: tuple[int, int] | None) -> None:
    require(image is not None, "maps need the image size")
    for name in maps:
        require(name in MAPS, f"map {name!r}: one of {', '.join(MAPS)}")
    require(maps[:1] == ["color"], f"maps begin with color, not {', '.join(maps[:1]) or 'nothing'}")
    require(len(set(maps)) == len(maps), f"maps {', '.join(maps)}: each once")


def check_labels(labels: list[str], count: int) -> None:
    """Published lists have duplicates, commas and pairs that differ in case; but `7` is asked for as class 7."""
    require(len(labels) == count, f"{len(labels)} labels for {count} classes")
    for number, label in enumerate(labels):
        require(label.strip(), f"label {number} must not be empty")
        digits = re.fullmatch(r"([+-]?)0*([0-9]+)", label.strip())
        own = digits is None or (digits[1] != "-" or digits[2] == "0") and digits[2] == str(number)
        require(own, f"label {label!r} of class {number} reads as another class's number")


def check_schedule(schedule: str) -> None:
    """`H1P5R3` or `HPPPPPRRR`: Euler, Heun, pseudo-corrector and refiner steps; a refiner step needs a velocity before
    it."""
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
