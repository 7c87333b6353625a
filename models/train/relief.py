"""Gives a bundle of colours maps: python models/train/relief.py --start BUNDLE --data MATERIALS --out WORK

Its predictor, refiner and encoder stay as they are, and so do the colours that its decoder makes, to the bit: behind it
comes a network that learns which normals, heights and roughness belong to colours (nets/relief.py), from materials that
have them. Their colours are changed at random on the way, since paint says nothing of relief. Such maps are an
estimate; a model that is trained with maps from the start (run.py --maps) draws them itself.

Run again, it goes on where it ended. WORK/bundle has the bundle with maps, format 1.1.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import torch.nn.functional as F
from eval.relief import judge
from export import ExportError
from export.bundle import Classes, Latent, Manifest, Time, write_network
from export.program import Comparison, find_program
from nets.autoencoder import CHANNELS, AutoencoderConfig, Decoder
from nets.relief import MapDecoder, Relief
from torch import Tensor, nn
from train import source
from train.autoencoder import BANDS, preview
from train.autoencoder import MAPS as WEIGHTS
from train.data import Images, augment
from train.losses import map_bands, map_losses
from train.sets import MAPS
from train.stage import Budget, Ema, Log, autocast, load_checkpoint, native_bf16, save_checkpoint
from train.taken import read_manifest, take
from train.whole import replacing, write_text

# How far colours are changed: the logarithm of their contrast, and their mean, of all three and of each.
CONTRAST, TINT = (0.25, 0.12), (0.15, 0.08)
BLURRED = 0.3  # share of the images that are seen through a blur: a decoder's are softer than photographs


class OfColours(nn.Module):
    """What `eval.relief` judges, with colours in place of latents."""

    def __init__(self, relief: Relief):
        super().__init__()
        self.relief = relief

    def encode(self, colours: Tensor) -> Tensor:
        return colours

    @torch.no_grad()
    def decode(self, colours: Tensor) -> Tensor:
        return torch.cat([colours, self.relief(colours).clamp(-1, 1)], dim=1)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--start", type=Path, required=True, metavar="BUNDLE", help="a folder; of this trainer's, without maps")
    add("--data", type=Path, required=True, metavar="MATERIALS", help="what materials.py or packed.py made")
    add("--out", type=Path, required=True, metavar="WORK", help="checkpoints, log, sheet, and the bundle")
    add("--minutes", type=float, default=60.0)
    add("--steps", type=int, default=20_000)
    add("--batch", type=int, default=8)
    add("--rate", type=float, default=2e-3, help="the highest learning rate")
    add("--seed", type=int, default=0)
    add("--license", metavar="SPDX", help="of the bundle; that of --start without it")
    add("--flowturbo", type=Path, metavar="PROGRAM", help="runs the bundle before it is written")
    add("--no-run", action="store_true", help="write a bundle that flowturbo has not run")
    chosen = parser.parse_args(arguments)
    if chosen.minutes <= 0 or min(chosen.steps, chosen.batch) < 1:
        parser.error("--minutes, --steps and --batch: above 0")
    return chosen


def repaint(colours: Tensor, generator: torch.Generator) -> Tensor:
    """Colours [N,3,H,W] with another contrast and another mean."""

    def draw(of_all: float, of_each: float) -> Tensor:
        n = len(colours)
        all_of_it = of_all * torch.randn(n, 1, 1, 1, generator=generator)
        return all_of_it + of_each * torch.randn(n, 3, 1, 1, generator=generator)

    mean = colours.mean((2, 3), keepdim=True)
    return ((colours - mean) * torch.exp(draw(*CONTRAST)) + (mean + draw(*TINT)).clamp(-0.9, 0.9)).clamp(-1, 1)


def soften(colours: Tensor, generator: torch.Generator) -> Tensor:
    """Some of the images blurred by a binomial filter of three pixels, some twice."""
    for _ in range(2):
        around = F.pad(colours, (1, 1, 1, 1), mode="circular")
        soft = F.avg_pool2d(F.avg_pool2d(around, 2, 1), 2, 1)
        chosen = torch.rand(len(colours), 1, 1, 1, generator=generator) < BLURRED
        colours = torch.where(chosen, soft, colours)
    return colours


def train(relief: Relief, images: Images, held_out: Images, budget: Budget, chosen: argparse.Namespace) -> OfColours:
    """Gives it averaged. Resumes from its checkpoint."""
    generator = torch.Generator().manual_seed(chosen.seed)
    torch.manual_seed(chosen.seed)
    cpu, checkpoint = torch.device("cpu"), chosen.out / "relief.pt"
    relief.to(memory_format=torch.channels_last)
    ema = Ema(relief, 0.998)
    optimiser = torch.optim.AdamW(relief.parameters(), chosen.rate, betas=(0.9, 0.99), weight_decay=1e-4)
    parts = {"model": relief, "ema": ema.module, "optimiser": optimiser}
    log = Log(checkpoint.with_suffix(".csv"), load_checkpoint(checkpoint, budget, **parts) is not None)
    some = torch.nonzero(images.present.any(1)).flatten()
    budget.start()
    while budget.progress < 1:
        rows = some[torch.randint(len(some), (chosen.batch,), generator=generator)]
        wanted = augment(images.take(rows), generator, None, images.maps, images.wraps(rows))
        colours = soften(repaint(wanted[:, : CHANNELS["color"]], generator), generator)
        with autocast(cpu, native_bf16()):
            maps = relief(colours.contiguous(memory_format=torch.channels_last)).float()
        ours, present = torch.cat([colours, maps], dim=1), images.has(rows)
        losses = map_losses(ours, wanted, present, images.maps)
        losses["bands"] = map_bands(ours, wanted, present, images.maps)
        for group in optimiser.param_groups:
            group["lr"] = budget.learning_rate(chosen.rate)
        optimiser.zero_grad(set_to_none=True)
        sum(WEIGHTS.get(name, BANDS) * loss for name, loss in losses.items()).backward()
        nn.utils.clip_grad_norm_(relief.parameters(), 1.0)
        optimiser.step()
        ema.update(relief, budget.step)
        budget.advance()
        if budget.step % 50 == 0 or budget.progress >= 1:
            log.row(budget, **{name: loss.item() for name, loss in losses.items()})
        if budget.step % 500 == 0 or budget.progress >= 1:
            save_checkpoint(checkpoint, budget, **parts)
    model = OfColours(ema.module)
    preview(model, held_out, checkpoint.with_suffix(".png"), cpu)
    return model


def export(
    relief: Relief, start: Path, out: Path, maps: tuple[str, ...], license: str | None, program: Path | None
) -> float | None:
    """Writes `start` with the new decoder to `out`; gives how far flowturbo is off, if it was asked."""
    data = read_manifest(start)
    manifest = Manifest(
        name=data["name"],
        latent=Latent(**data["latent"]),
        classes=Classes(data["classes"]["count"]),
        schedule=data["sampling"]["schedule"],
        guidance=data["sampling"]["guidance"],
        image=(data["image"]["height"], data["image"]["width"]),
        maps=list(maps),
        time=Time(**data["time"]),
    )
    config = AutoencoderConfig(data["latent"]["channels"])
    decoder = MapDecoder(take(start, "decoder", Decoder(config)), maps).eval()
    decoder.relief.load_state_dict(relief.state_dict())
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        folder = Path(scratch) / "bundle"
        shutil.copytree(start, folder)
        entry, _ = write_network("decoder", manifest, decoder, folder, "f16", sys.maxsize)
        data["format_version"] = manifest.as_json()["format_version"]
        data["license"] = license or data["license"]
        data["image"]["maps"] = list(maps)
        data["networks"]["decoder"] = entry
        write_text(folder / "bundle.json", json.dumps(data, indent=2, ensure_ascii=False) + "\n")
        off = None
        if program is not None:
            off = Comparison(program, folder, manifest, {"decoder": decoder}, "f16", Path(scratch)).decoder()
        if out.exists():
            out.rename(Path(scratch) / "replaced")
        folder.rename(out)
    return off


def main(arguments: list[str] | None = None) -> int:
    chosen = parse(arguments)
    try:
        program = None if chosen.no_run else find_program(chosen.flowturbo)
        manifest = read_manifest(chosen.start)
        if "maps" in manifest["image"]:
            raise ExportError(f"--start {chosen.start}: has maps already")
        maps = ("color", *MAPS)
        images = source.load(chosen.data, manifest["image"]["height"], maps)
        if images.present is None:
            raise ExportError(f"--data {chosen.data}: a plain folder of images; maps are learnt from materials")
        training, held_out = images.split(0, chosen.seed)
        chosen.out.mkdir(parents=True, exist_ok=True)
        budget = Budget(chosen.steps, chosen.minutes)
        model = train(Relief(maps), training, held_out, budget, chosen)
        found = judge(model, training, held_out, torch.device("cpu"))
        with replacing(chosen.out / "relief.json") as aside:
            aside.write_text(json.dumps({"steps": budget.step, **found}, indent=2) + "\n", encoding="utf-8")
        print("  ".join(f"{name} {value:.3g}" for name, value in found.items()))
        off = export(model.relief, chosen.start, chosen.out / "bundle", maps, chosen.license, program)
        print(f"wrote {chosen.out / 'bundle'}" + ("" if off is None else f", run by flowturbo: {off:.1e} off at most"))
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
