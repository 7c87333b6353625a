"""SiT and FlowTurbo checkpoints -> a bundle: python models/export/sit.py --predictor predictor.pt --out BUNDLE"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nets.kl import KlConfig
from nets.sit import SiTConfig
from torch import nn

from export import ExportError, options
from export.bundle import Classes, Latent, Manifest, Time
from export.checkpoint import load_sit
from export.program import find_program
from export.synthetic import random_networks

SD_SCALE = 0.18215  # of the Stable Diffusion VAE that published SiT checkpoints were trained with
OFFICIAL_GUIDED = 3  # of its 4 latent channels
GUIDANCE = 4.0


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--predictor", type=Path, metavar="FILE", help="velocity predictor, a state dict or a training checkpoint")
    add("--refiner", type=Path, metavar="FILE", help="velocity refiner, likewise")
    add("--random", metavar="SIZE/PATCH", help="random weights of a published size instead, such as XL/2 or S/8")
    add("--weights", choices=("ema", "model"), default="ema", help="which half of a training checkpoint (ema)")
    add("--trust", action="store_true", help="load checkpoints that hold more than tensors (can run code)")
    add("--heads", type=int, metavar="N", help="attention heads, where the width is not a published one")
    add("--labels", type=Path, metavar="FILE", help="class labels, one a line")
    add(
        "--classes",
        type=int,
        metavar="N",
        help="how many classes; a label table of just as many rows has no null class, so no guidance "
        "(from --labels or the training checkpoint, else one less than there are rows)",
    )
    add("--guidance", type=float, help="default guidance scale (4.0; 1 where there is no null class)")
    add(
        "--guided-channels", type=int, metavar="N", help="guided latent channels; 3 of 4 as the official code, else all"
    )
    add("--latent-scale", type=float, metavar="X", help="from the VAE, 0.18215 for 4 channels, else 1")
    add("--latent-shift", type=float, metavar="X", help="from the VAE, else 0")
    add(
        "--time-direction",
        choices=("noise_to_data", "data_to_noise"),
        default="noise_to_data",
        help="which way `t` runs (noise_to_data)",
    )
    add("--time-scale", type=float, default=1.0, metavar="X", help="what `t` is at its end (1)")
    add("--velocity-sign", type=int, choices=(1, -1), default=1, help="-1 where the network gives noise minus data")
    options.add_common(parser)
    arguments = parser.parse_args(argv)
    if (arguments.predictor is None) == (arguments.random is None):
        parser.error("give --predictor or --random, one of them")
    if arguments.random and arguments.refiner:
        parser.error("--random makes its own refiner; leave --refiner out")
    options.check_common(parser, arguments)
    return arguments


def load_networks(a: argparse.Namespace, labels: list[str] | None) -> dict[str, nn.Module]:
    if a.random:
        return random_networks(a.random)
    classes = len(labels) if a.classes is None and labels else a.classes
    how = {"heads": a.heads, "classes": classes, "weights": a.weights, "trust": a.trust}
    networks: dict[str, nn.Module] = {"predictor": load_sit(a.predictor, **how)}
    if a.refiner:
        networks["refiner"] = load_sit(a.refiner, refiner=True, **how)
        check_pair(networks["predictor"].config, networks["refiner"].config)
    return networks


def check_pair(predictor: SiTConfig, refiner: SiTConfig) -> None:
    for field in ("latent_channels", "input_size", "num_classes", "null_class"):
        a, b = getattr(predictor, field), getattr(refiner, field)
        if a != b:
            raise ExportError(f"predictor and refiner do not belong together: {field.replace('_', ' ')} {a} and {b}")


def describe(
    a: argparse.Namespace, labels: list[str] | None, sit: SiTConfig, has_refiner: bool, vae: KlConfig | None
) -> Manifest:
    channels, size = sit.latent_channels, sit.input_size
    scale, shift = (vae.scaling_factor, vae.shift_factor) if vae else (SD_SCALE if channels == 4 else 1.0, 0.0)
    if vae and vae.latent_channels != channels:
        raise ExportError(f"the VAE has {vae.latent_channels} latent channels, the predictor {channels}")
    guided = OFFICIAL_GUIDED if channels == 4 else channels
    return Manifest(
        **options.common_fields(a),
        latent=Latent(
            channels,
            size,
            size,
            scale if a.latent_scale is None else a.latent_scale,
            shift if a.latent_shift is None else a.latent_shift,
        ),
        image=(size * vae.factor, size * vae.factor) if vae else None,
        classes=Classes(sit.num_classes, labels=labels, guided=sit.null_class),
        time=Time(a.time_direction, a.time_scale, a.velocity_sign),
        guided_channels=guided if a.guided_channels is None else a.guided_channels,
        schedule=options.schedule(a, has_refiner),
        guidance=(GUIDANCE if sit.null_class else 1.0) if a.guidance is None else a.guidance,
    )


def read_labels(path: Path) -> list[str]:
    """The lines as they are; published lists have duplicates, commas and any script."""
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{path}: cannot read the labels: {error}") from error
    lines = [line.removesuffix("\r") for line in lines]
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    try:
        program = None if arguments.no_run else find_program(arguments.flowturbo)
        labels = read_labels(arguments.labels) if arguments.labels else None
        networks = load_networks(arguments, labels)

        def described(vae: KlConfig | None) -> Manifest:
            return describe(arguments, labels, networks["predictor"].config, "refiner" in networks, vae)

        print(options.write(arguments, networks, described, program))
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
