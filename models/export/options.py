"""What every exporter's command line has."""

from __future__ import annotations

import argparse
from pathlib import Path

from export.graph import DTYPES
from export.program import VARIABLE


def add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="BUNDLE", help="a folder, or a file that ends in .zip")
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


def schedule(arguments: argparse.Namespace, has_refiner: bool) -> str:
    return arguments.schedule or ("H1P5R3" if has_refiner else "P8")
