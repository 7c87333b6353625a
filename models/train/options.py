"""The command line of run.py: what can be chosen, its defaults, and what `auto` means on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from export import ExportError
from export.manifest import check_schedule
from nets.autoencoder import FACTOR
from train.sets import MAPS, is_materials
from train.source import is_plain
from train.stage import native_bf16
from train.taken import stages

STAGES = ("autoencoder", "predictor", "refiner", "decoder", "export", "evaluate")
SHARES = {"autoencoder": 0.25, "predictor": 0.5, "refiner": 0.1, "decoder": 0.15}  # of --minutes
STEPS = {"autoencoder": 20_000, "predictor": 200_000, "refiner": 60_000, "decoder": 20_000}
BATCHES = {"autoencoder": 16, "predictor": 64, "refiner": 128, "decoder": 16}
RATES = {"autoencoder": 8e-4, "predictor": 1e-3, "refiner": 1e-3, "decoder": 4e-4}
GOING_ON = 4e-4  # the predictor's rate where a bundle's goes on with other classes
# Steps below which a stage comes to nothing, by batches as above: from scratch about a third of what the bundled model
# took, from a bundle's weights about half of what was tried and looked at (README.md).
LEAST = {"autoencoder": 1500, "predictor": 2500, "refiner": 300, "decoder": 0}
LEAST_GOING_ON = {"predictor": 150, "refiner": 100, "decoder": 0}
PRESETS = ("fast=H1P3R3", "balanced=H1P6R5", "best=H2P12R4")
SMOKE = {"size": 32, "hidden": 32, "depth": 1, "heads": 2, "held_out": 0.25, "samples": 1, "reference_steps": 4}
SMOKE_STEPS, SMOKE_BATCH = 10, 4


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run.py",
        description="From a folder of images, one sub-folder a class, to a flowturbo bundle. Every stage resumes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="images, FOLDER/<class>/*.jpg; or what materials.py made, or the one file that packed.py makes of it",
    )
    add("--out", type=Path, required=True, metavar="WORK", help="checkpoints, logs and sheets; run again to resume")
    add("--bundle", type=Path, help="what to export: a folder, or a file that ends in .zip; WORK/bundle without it")
    add(
        "--start",
        type=Path,
        metavar="BUNDLE",
        help="take its encoder, and go on from its decoder and refiner; of the same classes as --data its predictor is "
        "taken too, of others it is trained on for those",
    )
    add(
        "--grow",
        type=Path,
        metavar="BUNDLE",
        help="every stage begins with a bundle's network, of colours and fewer latent channels, classes or blocks, or "
        "of a smaller patch; of these the encoder alone stays as it is",
    )
    add("--stage", default="all", metavar="STAGE,...", help=f"all, or some of {', '.join(STAGES)}")
    add("--size", type=int, default=128, help="edge of the images, a multiple of 32")
    add(
        "--maps",
        type=parse_maps,
        nargs="?",
        const=("color", *MAPS),
        default=("color",),
        metavar="MAP,...",
        help=f"draw maps beside the colours, {','.join(MAPS)} if it names none; --data is a folder of materials",
    )
    add("--text", action="store_true", help="take texts beside classes; captions are --data's, or colours and class")
    add("--factor", type=int, choices=(8, 16), default=FACTOR, help="pixels of a latent's cell, each way")
    add("--latent-channels", type=int, default=8)
    add("--patch", type=int, default=2, help="latent cells of a token, each way")
    add("--prior", action="store_true", help="the predictor learns what the best linear guess of a patch lacks")
    add("--local", type=int, default=0, metavar="N", help="channels of convolutions behind the predictor; 0 for none")
    add("--hidden", type=int, default=256, help="width of the predictor")
    add("--depth", type=int, default=6, help="blocks of the predictor")
    add("--heads", type=int, default=4, help="of the predictor; the refiner's are as wide")
    add("--refiner-hidden", type=int, metavar="W", help="width of the refiner; half of --hidden without it")
    add("--refiner-depth", type=int, default=1, help="blocks of the refiner")
    add("--refiner-name", default="refiner", metavar="NAME", help="WORK/NAME.pt: a folder may hold several refiners")
    add("--minutes", type=float, default=120, help="for all the stages that train")
    for stage, share in SHARES.items():
        add(
            f"--{stage}-minutes",
            type=float,
            metavar="M",
            help=f"without it a share of --minutes: {100 * share:.0f} parts",
        )
        add(f"--{stage}-steps", type=int, default=STEPS[stage], metavar="K", help="whichever ends first")
        add(f"--{stage}-batch", type=int, default=BATCHES[stage], metavar="N")
        add(f"--{stage}-rate", type=float, metavar="X", help=f"peak learning rate; {RATES[stage]:g} without it")
    add("--batch", type=int, metavar="N", help="of all four, instead of the above")
    add("--held-out", type=float, default=0.05, metavar="X", help="share of every class that training never sees")
    add("--shifts", type=int, default=4, help="shifts inside a latent cell at which every image is encoded")
    add("--texture", type=float, metavar="X", help="weight of losses for how a texture looks; 1 with maps, else 0")
    add("--crop", type=float, default=0.75, help="of an image's edge that the autoencoder sees at once")
    add("--turn", default="", metavar="CLASS,...", help="classes that may lie on their side, or all")
    add(
        "--align", type=float, default=0.5, help="what alignment with EfficientNet-lite0 weighs in the predictor's loss"
    )
    add("--max-delta", type=float, default=0.2, help="the longest step that the refiner learns to correct, of 1")
    add("--max-guidance", type=float, default=4.0, help="the refiner learns from velocities guided up to this scale")
    add("--preview-minutes", type=float, default=10.0, metavar="M", help="between sheets of the predictor's samples")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    add("--bf16", choices=("auto", "on", "off"), default="auto", help="bfloat16 products; auto: where they are native")
    add("--compile", choices=("auto", "on", "off"), default="auto", help="torch.compile the predictor; auto: on CUDA")
    add("--threads", type=int, help="CPU threads; all cores without it")
    add("--seed", type=int, default=0)
    add("--samples", type=int, default=8, help="of every class, in the evaluation")
    add("--reference-steps", type=int, default=100, help="Heun steps of the reference in the evaluation")
    add("--name", default="textures", help="of the bundle")
    add("--description", metavar="TEXT")
    add("--license", metavar="SPDX", help="CC-BY-SA-3.0 without it, that of textures.py's; CC-BY-SA-4.0 of materials")
    add("--schedule", default="H1P6R5", help="the bundle's default")
    add(
        "--guidance",
        type=float,
        default=2.5,
        help="the bundle's default, and what half of the refiner's paths are guided by",
    )
    add(
        "--presets",
        type=parse_preset,
        nargs="*",
        default=[parse_preset(text) for text in PRESETS],
        metavar="NAME=SCHEDULE[@GUIDANCE]",
        help=f"the bundle's choices of speed; without it {' '.join(PRESETS)}",
    )
    add("--smoke", action="store_true", help="tiny networks, a few steps, and generated images where --data is absent")
    chosen = parser.parse_args(arguments)
    if chosen.smoke:
        shrink(chosen)
    elif chosen.data is None and chosen.stage != "export":
        parser.error("--data is required")
    complete(chosen)
    if problem := find_problem(chosen):
        parser.error(problem)
    return chosen


def parse_maps(text: str) -> tuple[str, ...]:
    """Names in their own order, the colours before them."""
    names = text.split(",")
    if unknown := set(names) - set(MAPS):
        raise argparse.ArgumentTypeError(f"{','.join(sorted(unknown))}: the maps are {','.join(MAPS)}")
    return ("color", *(name for name in MAPS if name in names))


def parse_preset(text: str) -> tuple[str, str, float | None]:
    """Name, schedule, and guidance where it is not the bundle's."""
    name, _, what = text.partition("=")
    schedule, at, guidance = what.partition("@")
    return name, schedule, float(guidance) if at else None


def shrink(chosen: argparse.Namespace) -> None:
    """Makes the run last seconds."""
    vars(chosen).update(SMOKE)
    chosen.threads = chosen.threads or 1
    for stage in SHARES:
        if getattr(chosen, f"{stage}_steps") == STEPS[stage]:
            setattr(chosen, f"{stage}_steps", SMOKE_STEPS)
        setattr(chosen, f"{stage}_batch", SMOKE_BATCH)


def complete(chosen: argparse.Namespace) -> None:
    """Replaces `auto` and what depends on other options."""
    chosen.taken = stages(chosen.start, chosen.data) if chosen.start else ()
    whole = sum(share for stage, share in SHARES.items() if stage not in chosen.taken)
    for stage, share in SHARES.items():
        if getattr(chosen, f"{stage}_minutes") is None:
            setattr(chosen, f"{stage}_minutes", share / whole * chosen.minutes)
        if getattr(chosen, f"{stage}_rate") is None:
            going_on = chosen.start and stage == "predictor"
            setattr(chosen, f"{stage}_rate", GOING_ON if going_on else RATES[stage])
        if chosen.batch is not None:
            setattr(chosen, f"{stage}_batch", chosen.batch)
    if chosen.device == "auto":
        chosen.device = "cuda" if torch.cuda.is_available() else "cpu"
    cuda = chosen.device.startswith("cuda")
    chosen.bf16 = chosen.bf16 == "on" or (chosen.bf16 == "auto" and (cuda or native_bf16()))
    chosen.compile = chosen.compile == "on" or (chosen.compile == "auto" and cuda)
    chosen.bundle = chosen.bundle or chosen.out / "bundle"
    chosen.refiner_hidden = chosen.refiner_hidden or chosen.hidden // 2
    if chosen.license is None:
        materials = chosen.data and chosen.data.exists() and not is_plain(chosen.data)
        chosen.license = "CC-BY-SA-4.0" if materials else "CC-BY-SA-3.0"
    if chosen.texture is None:
        chosen.texture = 1.0 if len(chosen.maps) > 1 else 0.0
    chosen.presets = {name: (schedule, chosen.guidance if g is None else g) for name, schedule, g in chosen.presets}


def find_problem(chosen: argparse.Namespace) -> str | None:
    if chosen.start and (len(chosen.maps) > 1 or chosen.text):
        return f"--start {chosen.start}: goes on from bundles of colours and classes alone, without --maps and --text"
    if chosen.start and chosen.grow:
        return "--grow: not together with --start"
    if len(chosen.maps) > 1 and chosen.data and chosen.data.is_dir() and not is_materials(chosen.data):
        return f"--maps: {chosen.data} has no index.csv: it is no folder of materials.py's"
    if not chosen.texture >= 0:
        return f"--texture {chosen.texture}: 0 or more is needed"
    if chosen.size < 32 or chosen.size % 32:
        return f"--size {chosen.size}: a multiple of 32 is needed"
    if chosen.patch * chosen.factor not in (16, 32):
        return (
            f"--patch {chosen.patch}: tokens are 16 or 32 pixels wide, {chosen.patch} cells of {chosen.factor} are not"
        )
    if chosen.local < 0:
        return f"--local {chosen.local}: 0 or more is needed"
    if not 16 / chosen.size <= chosen.crop <= 1:
        return f"--crop {chosen.crop}: between 16 pixels of {chosen.size} and 1 is needed"
    if chosen.hidden % (4 * chosen.heads):
        return f"--hidden {chosen.hidden}: a multiple of 4 times --heads ({chosen.heads}) is needed"
    if chosen.refiner_hidden % (chosen.hidden // chosen.heads):
        return f"--refiner-hidden {chosen.refiner_hidden}: a multiple of {chosen.hidden // chosen.heads} is needed"
    if chosen.refiner_name in SHARES and chosen.refiner_name != "refiner":
        return f"--refiner-name {chosen.refiner_name}: another stage is called so"
    stages = [] if chosen.stage == "all" else chosen.stage.split(",")
    if unknown := [stage for stage in stages if stage not in STAGES]:
        return f"--stage {unknown[0]}: the stages are {', '.join(STAGES)}, or all"
    if set(stages) & set(chosen.taken):
        return f"--stage {chosen.stage}: --start takes what it would train out of a bundle"
    if not 0.02 <= chosen.max_delta <= 1:
        return f"--max-delta {chosen.max_delta}: a step between 0.02 and 1 is needed"
    if not 0 < chosen.held_out < 1:
        return f"--held-out {chosen.held_out}: a share between 0 and 1 is needed"
    try:
        for schedule in (chosen.schedule, *(schedule for schedule, _ in chosen.presets.values())):
            check_schedule(schedule)
    except ExportError as error:
        return str(error)
    for name in ("depth", "refiner_depth", "latent_channels", "shifts", "samples", "reference_steps"):
        if getattr(chosen, name) < 1:
            return f"--{name.replace('_', '-')}: 1 or more is needed"
    for stage in SHARES:
        for name in ("minutes", "steps", "batch", "rate"):
            if not getattr(chosen, f"{stage}_{name}") > 0:
                return f"--{stage}-{name}: more than 0 is needed"
    return None
