"""What every exporter's command line has."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from nets.kl import KlConfig
from torch import nn

from export.bundle import Manifest, Report, write_bundle
from export.graph import DTYPES
from export.preview import preview_of
from export.program import VARIABLE
from export.vae import load_kl


def add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="BUNDLE", help="a folder, or a file that ends in .zip")
    add("--vae", type=Path, metavar="DIR", help="folder of a diffusers AutoencoderKL, or of a pipeline that has one")
    add("--dtype", choices=DTYPES, default="f16", help="how weights are stored (f16); compute is float32")
    add("--name", help="name in the manifest; the name of BUNDLE without it")
    add("--description", metavar="TEXT", help="one line for the manifest")
    add("--license", metavar="SPDX", help="licence of the weights")
    add("--schedule", help="default schedule; H1P5R3 with a refiner, P8 without")
    add(
        "--flowturbo",
        type=Path,
        metavar="PROGRAM",
        help=f"runs the bundle before it is written (${VARIABLE}, on PATH, target/release)",
    )
    add("--no-run", action="store_true", help="write a bundle that flowturbo has not run")


def check_common(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if arguments.no_run and arguments.flowturbo:
        parser.error("--no-run leaves out what --flowturbo is for")


def common_fields(arguments: argparse.Namespace) -> dict[str, str | None]:
    """Of the manifest."""
    name = arguments.name or arguments.out.name.removesuffix(".zip")
    return {"name": name, "description": arguments.description, "license": arguments.license}


def write(
    arguments: argparse.Namespace,
    networks: dict[str, nn.Module],
    describe: Callable[[KlConfig | None], Manifest],
    program: Path | None,
) -> Report:
    """Writes the bundle of `networks`, and of the halves of --vae if there is one, as `describe` says."""
    vae = None
    if arguments.vae:
        vae, networks["encoder"], networks["decoder"] = load_kl(arguments.vae)
    manifest = describe(vae)
    if manifest.image:
        colours = preview_of(networks["encoder"], manifest.image, manifest.latent.scale, manifest.latent.shift)
        manifest = replace(manifest, preview=colours)
    return write_bundle(arguments.out, manifest, networks, arguments.dtype, program=program)


def schedule(arguments: argparse.Namespace, has_refiner: bool) -> str:
    return arguments.schedule or ("H1P5R3" if has_refiner else "P8")
