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
from export import ExportError
from export.bundle import Classes, Latent, Manifest, write_bundle
from nets.autoencoder import FACTOR, Autoencoder, AutoencoderConfig
from nets.sit import SiT, SiTConfig
from train import autoencoder, evaluate, options, predictor, refiner
from train.data import Images, load_images, to_unit, write_smoke_images
from train.latents import Latents, encode
from train.sampler import Sampler
from train.sheets import save_curves, save_sheet
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
        return self.load(self.chosen.size)

    @cached_property
    def zoomed(self) -> Images:
        """The images to train on at twice the size."""
        return self.load(2 * self.chosen.size)[0]

    def load(self, size: int) -> tuple[Images, Images]:
        images = load_images(self.chosen.data, size)
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
            num_classes=len(self.work.classes()),
            mlp_hidden=4 * chosen.hidden,
            out_channels=chosen.latent_channels,
            refiner=refiner,
        )

    @cached_property
    def autoencoder(self) -> Autoencoder:
        return self.work.load_ema("autoencoder", Autoencoder(self.autoencoder_config)).to(self.device)

    @cached_property
    def final_autoencoder(self) -> Autoencoder:
        """The same latents, and the decoder as its own stage has left it, where that has run."""
        if not self.work.checkpoint("decoder").exists():
            return self.autoencoder
        return self.work.load_ema("decoder", Autoencoder(self.autoencoder_config)).to(self.device)

    @cached_property
    def predictor(self) -> SiT:
        return self.work.load_ema("predictor", SiT(self.transformer_config())).to(self.device)

    @cached_property
    def refiner(self) -> SiT:
        return self.work.load_ema("refiner", SiT(self.transformer_config(refiner=True))).to(self.device)

    def do(self, stage: str) -> None:
        if stage == "evaluate":
            self.evaluate()
        elif stage == "export":
            self.export()
        else:
            self.train(stage)

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
        if stage in ("autoencoder", "decoder"):
            start = self.autoencoder if stage == "decoder" else None
            config, (seen, unseen) = self.autoencoder_config, images
            autoencoder.train(seen, self.zoomed, unseen, config, budget, out, start=start, **common)
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
                watch=evaluate.Watch(
                    self.autoencoder, images[0].classes, self.chosen.preview_minutes, out, self.device
                ),
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

    def evaluate(self) -> None:
        """Writes `evaluation.json`, `samples.png`, `schedules.png` and `curves.png`."""
        chosen, out, device = self.chosen, self.chosen.out, self.device
        images, held_out = self.images
        classes = len(images.classes)
        schedules = list(dict.fromkeys([chosen.schedule, *evaluate.SCHEDULES]))
        sampler = Sampler(self.predictor, self.refiner, chosen.guidance)
        judge = evaluate.Judge(self.final_autoencoder, sampler, classes, chosen.samples, device)
        few = evaluate.Judge(self.final_autoencoder, sampler, classes, min(4, chosen.samples), device)
        samples = judge.images(judge.latents(chosen.schedule))
        save_sheet(out / "samples.png", samples, chosen.samples, names=images.classes)
        trained = [stage for stage in options.SHARES if self.work.checkpoint(stage).exists()]
        logs = [out / f"{stage}.csv" for stage in trained]
        save_curves(out / "curves.png", [log for log in logs if log.exists()])
        halves = {"held_out": self.held_out_latents, "training": self.latents}
        numbers = {
            "images": {"training": len(images.labels), "held_out": len(held_out.labels)},
            "trained": {stage: self.work.summary(stage) for stage in trained},
            "autoencoder": autoencoder.evaluate(self.autoencoder, held_out, device),
            "decoder": autoencoder.evaluate(self.final_autoencoder, held_out, device),
            "predictor": {name: predictor.evaluate(self.predictor, half, device) for name, half in halves.items()},
            "refiner": {
                name: refiner.evaluate(self.refiner, self.predictor, half, chosen.max_guidance, device)
                for name, half in halves.items()
            },
            "seam": {"training": evaluate.seam(to_unit(images.pixels)), "samples": evaluate.seam(samples)},
            "guidance": chosen.guidance,
            "reference": f"H{chosen.reference_steps}",
            "schedules": evaluate.compare_schedules(few, schedules, chosen.reference_steps, out, classes),
        }
        evaluate.write_json(out / "evaluation.json", numbers)

    def export(self) -> None:
        """Writes the bundle; every latent channel is guided."""
        chosen = self.chosen
        classes, edge = self.work.classes(), chosen.size // FACTOR
        manifest = Manifest(
            name=chosen.name,
            description=chosen.description,
            license=chosen.license,
            latent=Latent(chosen.latent_channels, edge, edge),
            image=(chosen.size, chosen.size),
            classes=Classes(len(classes), labels=classes),
            schedule=chosen.schedule,
            guidance=chosen.guidance,
        )
        networks = {
            "predictor": self.predictor,
            "refiner": self.refiner,
            "decoder": self.final_autoencoder.decoder,
            "encoder": self.autoencoder.encoder.folded(),
        }
        try:
            print(write_bundle(chosen.bundle, manifest, {role: n.cpu() for role, n in networks.items()}))
        except ExportError as error:
            raise SystemExit(f"error: {error}") from error


def main(arguments: list[str] | None = None) -> None:
    chosen = options.parse(arguments)
    torch.set_flush_denormal(True)  # a CPU takes a hundred times longer over numbers that near zero
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    run = Run(chosen)
    for stage in options.STAGES if chosen.stage == "all" else (chosen.stage,):
        run.do(stage)


if __name__ == "__main__":
    main()
