"""all-MiniLM-L6-v2 as a bundle's text encoder: python models/export/text.py --out FOLDER, or --bundle BUNDLE

Writes text.onnx and tokenizer.json; with --out, text.json beside them has what goes into a bundle.json, with --bundle
it goes there: into the folder of a bundle whose predictor takes contexts of 384 floats.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import onnx
import onnxruntime

from export import ExportError, minilm
from export.bert import model

TOLERANCE = 1e-5  # of a number of an embedding, which is of length 1
INPUTS = ("tokens", "mask", "types")
OUTPUT = "context"


def write_encoder(folder: Path, packages: Path | None = None) -> dict:
    """Writes the two files to `folder`; what a bundle.json says of them. `packages` holds the files of the packages, or
    is where they go."""
    with tempfile.TemporaryDirectory() as scratch:
        network, tokenizer = minilm.files(packages or Path(scratch))
        bert = minilm.read(network)
        path = folder / "text.onnx"
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(model(bert, OUTPUT), path)
        verify(path, network, len(bert.tokens.values))
        shutil.copyfile(tokenizer, folder / "tokenizer.json")
    entry = listed(path) | {"inputs": {name: name for name in INPUTS}, "output": OUTPUT}
    text = {"width": bert.width, "max_tokens": minilm.MAX_TOKENS, "tokenizer": listed(folder / "tokenizer.json")}
    return {"text": text, "networks": {"text": entry}}


def listed(path: Path) -> dict:
    with path.open("rb") as file:
        return {"file": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def verify(path: Path, original: Path, vocabulary: int) -> None:
    """Holds the graph to the mean of the original's answers, for random tokens, alone and filled up."""
    ours, theirs = onnxruntime.InferenceSession(path), onnxruntime.InferenceSession(original)
    draw, worst = np.random.default_rng(0), 0.0
    for count in (2, 5, 17, 128):
        tokens = draw.integers(1, vocabulary, (1, count))
        feeds = (tokens, np.ones_like(tokens), np.zeros_like(tokens))
        names = ("input_ids", "attention_mask", "token_type_ids")
        (hidden,) = theirs.run(None, dict(zip(names, feeds, strict=True)))
        mean = hidden[0].mean(axis=0)
        for rest in {0, 128 - count}:
            filled = [np.pad(feed, ((0, 0), (0, rest))) for feed in feeds]
            (got,) = ours.run(None, dict(zip(INPUTS, filled, strict=True)))
            worst = max(worst, float(np.abs(got[0] - mean / np.linalg.norm(mean)).max()))
    if not worst <= TOLERANCE:
        raise ExportError(f"{path.name}: is {worst:.2g} away from {original.name}, more than {TOLERANCE:g}")


def add_encoder(bundle: Path, packages: Path | None = None) -> None:
    """Makes a bundle's folder one that takes prompts."""
    manifest = bundle / "bundle.json"
    try:
        data = json.loads(manifest.read_text(encoding="utf-8"))
        text, inputs = data.get("text", {}), data["networks"]["predictor"]["inputs"]
    except (OSError, ValueError, KeyError) as error:
        raise ExportError(f"{manifest}: cannot be read: {error!r}") from error
    if "context" not in inputs or text.get("tokens") or text.get("width") != minilm.WIDTH:
        raise ExportError(f"{manifest}: its predictor takes no contexts of {minilm.WIDTH} floats")
    made = write_encoder(bundle, packages)
    data["text"] = made["text"] | {key: text[key] for key in text if key == "no_prompt"}
    data["networks"] |= made["networks"]
    manifest.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, metavar="FOLDER", help="write the files there, and text.json")
    where.add_argument("--bundle", type=Path, metavar="BUNDLE", help="write the files to this bundle's folder")
    parser.add_argument("--packages", type=Path, metavar="FOLDER", help="keep what is downloaded there")
    arguments = parser.parse_args(argv)
    try:
        if arguments.bundle:
            add_encoder(arguments.bundle, arguments.packages)
        else:
            made = write_encoder(arguments.out, arguments.packages)
            (arguments.out / "text.json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    except (ExportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
