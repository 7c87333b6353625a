"""The folder of one training run: `run.json` (what it was begun with), and a checkpoint for each stage."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from train.stage import Budget
from train.whole import replacing, write_text

GEOMETRY = (
    "size", "latent_channels", "hidden", "depth", "heads", "factor", "patch", "prior", "local", "maps", "text"
)  # fmt: skip
# What an older folder was begun with.
SINCE = {
    "start": None,
    "grow": None,
    "factor": 8,
    "patch": 2,
    "prior": False,
    "local": 0,
    "maps": ["color"],
    "text": False,
}
REFINER = ("refiner_depth", "refiner_hidden", "max_delta", "guidance", "max_guidance")
SOURCES = {"predictor": "autoencoder", "refiner": "predictor", "decoder": "autoencoder"}  # what each stage learns from


class Work:
    """Refuses to go on with other sizes or classes than the folder was begun with, or with a stage gone stale."""

    def __init__(self, chosen: argparse.Namespace):
        self.chosen = chosen
        self.folder: Path = chosen.out
        self.file = self.folder / "run.json"
        self.facts = json.loads(self.file.read_text(encoding="utf-8")) if self.file.exists() else {}
        self.said: dict[str, object] = {}  # who said what the folder does not hold yet
        if self.facts:
            self.facts = SINCE | self.facts
        for name in GEOMETRY:
            value = getattr(chosen, name)
            self.keep(name, list(value) if isinstance(value, tuple) else value, f"--{name.replace('_', '-')}")

    def keep(self, name: str, value: object, called: str, other: str = "--out", source: object = None) -> None:
        """Notes a fact, or compares it with the one noted before: in the folder, or just now by `source`."""
        if name not in self.facts:
            self.facts[name], self.said[name] = value, source
        elif self.facts[name] != value and self.said.get(name) is not None:
            raise SystemExit(
                f"{source or 'this command'}: has {called} {value}, but {self.said[name]} has {self.facts[name]}"
            )
        elif self.facts[name] != value:
            raise SystemExit(
                f"{self.file}: begun with {called} {self.facts[name]}, not {value}; choose another {other}"
            )

    def keep_refiner(self) -> None:
        """The same for what the refiner of this name was begun with."""
        for name in REFINER:
            fact = f"{self.name('refiner')}.{name}"
            if not self.checkpoint("refiner").exists():
                self.facts.pop(fact, None)
            self.keep(fact, getattr(self.chosen, name), f"--{name.replace('_', '-')}", "--refiner-name")

    def classes(self) -> list[str]:
        if "classes" not in self.facts:
            raise SystemExit(f"{self.folder}: nothing is trained here yet; run the stages in order")
        return self.facts["classes"]

    def name(self, stage: str) -> str:
        """What a stage's files are called: after the stage, but a folder may hold several refiners."""
        return self.chosen.refiner_name if stage == "refiner" else stage

    def checkpoint(self, stage: str) -> Path:
        return self.folder / f"{self.name(stage)}.pt"

    def spent(self, stage: str, budget: Budget) -> Budget:
        """The budget with what the stage's checkpoint has used of it, if there is one."""
        if self.checkpoint(stage).exists():
            state = torch.load(self.checkpoint(stage), map_location="cpu", weights_only=True, mmap=True)
            budget.step, budget.seconds = state["step"], state["seconds"]
        return budget

    def summary(self, stage: str) -> dict[str, float]:
        """What a stage's checkpoint has cost."""
        spent = self.spent(stage, Budget(1, 1))
        return {"steps": spent.step, "minutes": spent.seconds / 60}

    def begin(self, stage: str) -> None:
        """Writes the facts down, the stage's source among them: it is of use only with the weights it learnt from."""
        if stage in SOURCES:
            source, name = SOURCES[stage], f"{self.name(stage)}.learnt_from_step"
            step = self.spent(source, Budget(1, 1)).step
            if not self.checkpoint(stage).exists():
                self.facts.pop(name, None)
            if self.facts.setdefault(name, step) != step:
                raise SystemExit(
                    f"{self.checkpoint(stage)}: learnt from the {source} at step {self.facts[name]}, which has gone on "
                    f"to step {step}; delete this file to train the {stage} again"
                )
        if stage == "refiner":
            self.keep_refiner()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.file, json.dumps(self.facts, indent=2) + "\n")

    def load_ema(self, stage: str, network: nn.Module) -> nn.Module:
        """Fills the network with the averaged weights of a stage's checkpoint."""
        path = self.checkpoint(stage)
        if not path.exists():
            raise SystemExit(f"{path}: no such checkpoint; run --stage {stage} first")
        if stage == "refiner":
            self.keep_refiner()
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        network.load_state_dict(state["ema"])
        return network.eval().requires_grad_(False)


def kept_tensors(path: Path, made_of: str, make: Callable[[], tuple[Tensor, ...]], device: torch.device) -> tuple:
    """What the file holds, on the device, if it was made of the same; else it is made, and kept there."""
    if path.exists():
        held = torch.load(path, map_location=device, weights_only=True)
        if held["made_of"] == made_of:
            return held["tensors"]
    tensors = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as aside:
        torch.save({"made_of": made_of, "tensors": tensors}, aside)
    return tensors
