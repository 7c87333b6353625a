"""How good a trained run is: sheets and curves to look at, and `evaluation.json` to compare.

`schedules` holds, for every schedule from the same noise, the network calls it makes, how far its latents end from
those of a long Heun run (root mean square over a latent, then the mean over samples), and how far its images do
(mean absolute difference, of a range of 2). `seam` is how much stronger the step across an image's border is than
such steps inside it: 1 for an image that tiles.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from nets.autoencoder import CHANNELS, FACTOR, Autoencoder
from nets.sit import SiT
from schedule import calls
from torch import Tensor
from train.conditions import Conditions, of_classes
from train.sampler import Sampler
from train.sheets import save_sheet, views
from train.stage import Budget
from train.whole import write_text

SCHEDULES = ("E8", "E16", "E25", "E50", "H4", "H8", "H12", "H25", "P15", "H1P5R3", "H1P9R3")
GOOD = "H15"  # where nothing is to be proved about schedules
CHUNK = 64  # samples drawn at once


class Judge:
    """Draws samples of everything that is asked for, such as each class, from fixed noise, and decodes them."""

    def __init__(self, autoencoder: Autoencoder, sampler: Sampler, asked: Conditions, each: int, device: torch.device):
        self.autoencoder, self.sampler = autoencoder, sampler
        config, count = sampler.predictor.config, len(asked.labels) * each
        shape = (count, config.latent_channels, config.input_size, config.input_size)
        self.noise = torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(device)
        self.asked = asked.take(torch.arange(count) // each).to(device)

    def latents(self, schedule: str) -> Tensor:
        parts = (slice(start, start + CHUNK) for start in range(0, len(self.noise), CHUNK))
        return torch.cat([self.sampler.sample(schedule, self.noise[some], self.asked.take(some)) for some in parts])

    def images(self, latents: Tensor) -> Tensor:
        """The colours."""
        return self.decode(latents)[:, : CHANNELS["color"]]

    def decode(self, latents: Tensor) -> Tensor:
        """With the maps that there are."""
        return torch.cat([self.autoencoder.decode(part) for part in latents.split(16)])


def save_maps(judge: Judge, schedule: str, path: Path, maps: tuple[str, ...], classes: list[str]) -> None:
    """A row for each class, and in it samples: each one's colours, then its maps."""
    drawn = torch.stack(views(judge.decode(judge.latents(schedule)), maps), 1)
    each = len(drawn) // len(classes)
    save_sheet(path, drawn.flatten(0, 1), each * len(maps), names=classes)


def seam(images: Tensor, token: int = 2 * FACTOR) -> float:
    """Mean step across the border over the mean step at the inner edges of the transformer's patches, `token` pixels
    wide, of [N,3,H,W]."""
    across = inside = 0.0
    for axis in (2, 3):
        steps = (images - images.roll(1, axis)).abs().movedim(axis, 0)[::token]
        across += steps[0].mean().item()
        inside += steps[1:].mean().item()
    return across / inside


def compare_schedules(judge: Judge, schedules: list[str], reference_steps: int, out: Path, classes: int) -> dict:
    """The numbers for each schedule, and `schedules.png`: a row for each, a column for each class."""
    reference = judge.latents(f"H{reference_steps}")
    reference_images = judge.images(reference)
    each = len(reference) // classes
    result, rows = {}, [reference_images[::each]]
    for schedule in schedules:
        latents = judge.latents(schedule)
        images = judge.images(latents)
        predictor_calls, refiner_calls = calls(schedule)
        result[schedule] = {
            "predictor_calls": predictor_calls,
            "refiner_calls": refiner_calls,
            "latent_rms": (latents - reference).square().mean(dim=(1, 2, 3)).sqrt().mean().item(),
            "image_l1": (images - reference_images).abs().mean().item(),
        }
        print(f"{schedule}: {result[schedule]}", flush=True)
        rows.append(images[::each])
    save_sheet(out / "schedules.png", torch.cat(rows), classes, names=[f"H{reference_steps}", *schedules])
    return result


def save_presets(presets: dict[str, tuple[Judge, str]], path: Path, classes: list[str]) -> None:
    """A row for each class, and in it every preset's samples from the same noise."""
    images = [
        judge.images(judge.latents(schedule)).unflatten(0, (len(classes), -1)) for judge, schedule in presets.values()
    ]
    if images:
        rows = torch.cat(images, dim=1)
        save_sheet(path, rows.flatten(0, 1), rows.shape[1], names=classes, heads=list(presets))


class Watch:
    """Draws `predictor.png` while the predictor trains, 4 samples of every class, every so many minutes."""

    def __init__(self, autoencoder: Autoencoder, classes: list[str], minutes: float, out: Path, device: torch.device):
        self.autoencoder, self.classes, self.minutes = autoencoder, classes, minutes
        self.path, self.device, self.next = out / "predictor.png", device, 0.0

    def __call__(self, predictor: SiT, budget: Budget) -> None:
        minutes = budget.seconds / 60
        if self.next == 0:
            self.next = minutes + self.minutes
        if minutes >= self.next or budget.progress >= 1:
            self.next = minutes + self.minutes
            asked = of_classes(torch.arange(len(self.classes)), predictor.config)
            judge = Judge(self.autoencoder, Sampler(predictor, None, s=2.5), asked, 4, self.device)
            save_sheet(self.path, judge.images(judge.latents(GOOD)), 4, names=self.classes)


def write_json(path: Path, numbers: dict) -> None:
    """Rounds to five digits; more would only be noise."""
    rounded = json.loads(json.dumps(numbers), parse_float=lambda text: float(f"{float(text):.5g}"))
    write_text(path, json.dumps(rounded, indent=2) + "\n")
