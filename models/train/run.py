"""From a folder of images to a bundle: python models/train/run.py --data FOLDER --out WORK --bundle BUNDLE

WORK holds a checkpoint, a CSV log and sheets for each stage; running the same command again goes on where it
ended, and skips what is finished.
"""

from __future__ import annotations

import argparse
import sys
from functools import cached_property
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from nets.autoencoder import FACTOR, Autoencoder, AutoencoderConfig
from nets.sit import SiT, SiTConfig
from train import autoencoder, options, predictor, refiner
from train.data import Images, load_images, write_smoke_images
from train.latents import Latents, encode
from train.stage import Budget
from train.work import Work


class Run:
    """One call of the command: its options, and what the stages share, made when first asked for."""

    def __init__(self, chosen: argparse.Namespace):
        self.chosen, self.device, self.work = chosen, torch.device(chosen.device), Work(chosen)
        if chosen.smoke and chosen.data is None:
            chosen.data = chosen.out / "smoke-images"
            write_smoke_images(chosen.data, chosen.size)

    @cached_property
    def images(self) -> tuple[Images, Images]:
        """What to train on, and what training never sees."""
        images = load_images(self.chosen.data, self.chosen.size)
        self.work.keep("classes", images.classes, "classes")
        return images.split(self.chosen.held_out, self.chosen.seed)

    @cached_property
    def latents(self) -> Latents:
        return self.encode(self.images[0])

    @cached_property
    def held_out_latents(self) -> Latents:
        return self.encode(self.images[1])

    def encode(self, images: Images) -> Latents:
        print(f"encoding {len(images.labels)} images", flush=True)
        return encode(images, self.autoencoder, self.chosen.shifts, self.chosen.seed, self.device)

    @property
    def autoencoder_config(self) -> AutoencoderConfig:
        return AutoencoderConfig(latent_channels=self.chosen.latent_channels)

    def transformer_config(self, refiner: bool = False) -> SiTConfig:
        chosen = self.chosen
        return SiTConfig(
            input_size=chosen.size // FACTOR,
            patch_size=2,
            latent_channels=chosen.latent_channels,
            hidden_size=chosen.hidden,
            depth=1 if refiner else chosen.depth,
            num_heads=chosen.heads,
            num_classes=len(self.work.facts["classes"]),
            mlp_hidden=4 * chosen.hidden,
            out_channels=chosen.latent_channels,
            refiner=refiner,
        )

    @cached_property
    def autoencoder(self) -> Autoencoder:
        return self.work.load_ema("autoencoder", Autoencoder(self.autoencoder_config)).to(self.device)

    @cached_property
    def predictor(self) -> SiT:
        return self.work.load_ema("predictor", SiT(self.transformer_config())).to(self.device)

    def train(self, stage: str) -> None:
        """Trains a stage until its budget is used up."""
        steps, minutes, batch, rate = (
            getattr(self.chosen, f"{stage}_{name}") for name in ("steps", "minutes", "batch", "rate")
        )
        images = self.images
        self.work.begin(stage)
        spent = self.work.spent(stage, Budget(steps, minutes))
        if spent.progress >= 1:
            print(f"{stage}: finished ({spent.step} steps, {spent.seconds / 60:.1f} minutes)", flush=True)
            return
        # A resumed stage must not draw its first batches again.
        seed = self.chosen.seed + spent.step
        common = {"batch": batch, "rate": rate, "device": self.device, "bf16": self.chosen.bf16, "seed": seed}
        budget, out = Budget(steps, minutes), self.chosen.out
        if stage == "autoencoder":
            autoencoder.train(*images, self.autoencoder_config, budget, out, **common)
            return
        self.latents.generator.manual_seed(seed)
        if stage == "predictor":
            predictor.train(
                self.latents,
                self.held_out_latents,
                self.transformer_config(),
                budget,
                out,
                compiled=self.chosen.compile,
                **common,
            )
        else:
            refiner.train(
                self.latents,
                self.predictor,
                self.transformer_config(refiner=True),
                budget,
                out,
                max_guidance=self.chosen.max_guidance,
                **common,
            )


def main() -> None:
    chosen = options.parse()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    run = Run(chosen)
    for stage in options.STAGES if chosen.stage == "all" else (chosen.stage,):
        run.train(stage)


if __name__ == "__main__":
    main()
