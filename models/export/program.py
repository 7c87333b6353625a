"""Does flowturbo compute what the modules compute? Its program runs a bundle before the bundle is moved into place.

Predictor and refiner are compared by the states of a sampled latent, the decoder by an 8-bit image, the encoder by
the latent of one, the text encoder by the contexts of prompts.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from export import ExportError
from export.manifest import MAPS, Manifest
from export.signature import takes_class
from export.verify import reference

TOLERANCE = 1e-3  # of what the networks add to a latent, or of an image
PROMPTS = ["", "a mossy stone wall", "Rust's RED bricks, 1024x1024!", "木の床", "wet sand " * 60]
VARIABLE = "FLOWTURBO_PROGRAM"
NAME = "flowturbo.exe" if os.name == "nt" else "flowturbo"
BUILT = Path(__file__).resolve().parents[2] / "target" / "release" / NAME


def normal(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def with_z(want: np.ndarray) -> np.ndarray:
    """Normals [2,H,W] as unit vectors [3,H,W]; x and y are clamped to the unit disc."""
    xy = want / np.sqrt((want**2).sum(0)).clip(min=1)
    return np.concatenate([xy, np.sqrt((1 - (xy**2).sum(0, keepdims=True)).clip(min=0))])


def find_program(named: Path | None = None) -> Path:
    """The program at `named`, else where the variable says, else on PATH, else built in this repository."""
    for place, path in (("--flowturbo", named), (f"${VARIABLE}", os.environ.get(VARIABLE))):
        if path:
            found = shutil.which(path)
            if found is None:
                raise ExportError(f"{path}: no such program (from {place})")
            return Path(found).resolve()
    found = shutil.which(NAME) or shutil.which(BUILT)
    if found is None:
        raise ExportError(
            f"the flowturbo program, which is to run the bundle, is neither on PATH nor at {BUILT}: build it by "
            f"`cargo build --release`, name it by --flowturbo or ${VARIABLE}, or do without by --no-run"
        )
    return Path(found).resolve()


def compare(
    program: Path,
    bundle: Path,
    manifest: Manifest,
    networks: dict[str, nn.Module],
    dtype: str,
    batches: tuple[int, ...] = (1, 3),
) -> float:
    """Runs the bundle's networks; the largest error over what it is an error of, within TOLERANCE."""
    with tempfile.TemporaryDirectory(prefix="flowturbo-run-") as folder:
        run = Comparison(program, bundle, manifest, networks, dtype, Path(folder))
        errors = [run.latents(batch) for batch in batches]
        if "decoder" in networks:
            errors.append(run.decoder())
        if "encoder" in networks:
            errors.append(run.encoder())
        if "text" in networks:
            errors.append(run.text())
        return max(errors)


@dataclass
class Comparison:
    program: Path
    bundle: Path
    manifest: Manifest
    networks: dict[str, nn.Module]
    dtype: str
    folder: Path  # for what goes in and out

    def latents(self, batch: int) -> float:
        """A Heun step of the predictor from the same noise, then one of the refiner if there is one."""
        latent, labels = self.manifest.latent, self.manifest.classes.known
        chosen = [labels[0], labels[len(labels) // 2], labels[-1]][:batch]
        noise = normal((batch, latent.channels, latent.height, latent.width), seed=batch)
        np.save(self.folder / "noise.npy", noise.numpy())
        schedule = "H1R1" if "refiner" in self.networks else "H1"
        how = ["--class", ",".join(map(str, chosen)), "--schedule", schedule, "--guidance", "1"]
        files = ["--noise", "noise.npy", "--output", "latents.npy", "--trajectory", "states.npy"]
        contexts = self.contexts(batch)
        if contexts is not None:
            np.save(self.folder / "context.npy", contexts.numpy())
            files += ["--context", "context.npy"]
        self.run("latents", *how, *files)
        worst, before = 0.0, noise
        states = self.numbers("states.npy")
        for role, got, want in zip(("predictor", "refiner"), states, self.steps(noise, chosen, contexts), strict=False):
            scale = max(float((want - before).abs().max()), 1e-2 * float(want.abs().max()))
            worst = max(worst, self.held(role, np.abs(got - want.numpy()).max() / scale, batch))
            before = want
        return worst

    def contexts(self, batch: int) -> Tensor | None:
        """One for each image, or none where networks take none."""
        return None if self.manifest.text is None else normal((batch, *self.manifest.text.shape), seed=batch + 1)

    def steps(self, x: Tensor, classes: list[int], contexts: Tensor | None) -> list[Tensor]:
        """The states after each step, by the equations of docs/bundle.md and the modules themselves."""
        time, labels, v = self.manifest.time, torch.tensor(classes), None
        roles = [role for role in ("predictor", "refiner") if role in self.networks]
        step, states = 1 / len(roles), []
        for i, role in enumerate(roles):

            def ask(x: Tensor, s: float, role: str = role, v: Tensor | None = v) -> Tensor:
                t = time.scale * (s if time.direction == "noise_to_data" else 1 - s)
                arguments = [x] + ([] if v is None else [v]) + [torch.full((len(x),), t)]
                arguments += [labels] if takes_class(role, self.networks[role]) else []
                arguments += [] if contexts is None else [contexts]
                return torch.from_numpy(reference(self.networks[role], arguments, self.dtype))

            ends = (i * step, (i + 1) * step)
            d = ask(x, ends[0]) + (0 if v is None else v)
            after = ask(x + time.velocity_sign * step * d, ends[1]) + (0 if v is None else d)
            x = x + time.velocity_sign * step / 2 * (d + after)
            v = after
            states.append(x)
        return states

    def decoder(self) -> float:
        """The maps of a latent."""
        latent, maps = self.manifest.latent, self.manifest.maps
        sampled = normal((1, latent.channels, latent.height, latent.width), seed=1)
        np.save(self.folder / "latent.npy", sampled.numpy())
        self.run("decode", "latent.npy", "--output", "image.png", *([] if maps is None else ["--maps", "all"]))
        inner = sampled / latent.scale + latent.shift
        answer, worst = reference(self.networks["decoder"], [inner], self.dtype)[0], 0.0
        for name in maps or ["color"]:
            want, answer = answer[: MAPS[name]], answer[MAPS[name] :]
            file = "image.png" if maps is None else f"image_{name}.png"
            worst = max(worst, self.image("decoder", file, with_z(want) if name == "normal" else want))
        return worst

    def encoder(self) -> float:
        """The latent of an image."""
        latent, (height, width) = self.manifest.latent, self.manifest.image
        pixels = (normal((height, width, 3), seed=1) * 40 + 128).clamp(0, 255).to(torch.uint8)
        Image.fromarray(pixels.numpy()).save(self.folder / "image.png")
        self.run("encode", "image.png", "--output", "latent.npy")
        image = (pixels.permute(2, 0, 1)[None] / 127.5 - 1).contiguous()
        want = (reference(self.networks["encoder"], [image], self.dtype) - latent.shift) * latent.scale
        got = self.numbers("latent.npy")
        if got.shape != want.shape:
            raise ExportError(f"encoder: flowturbo makes latents of {got.shape}, PyTorch of {want.shape}")
        return self.held("encoder", np.abs(got - want).max() / np.abs(want).max(), 1)

    def text(self) -> float:
        """The contexts of prompts, by flowturbo's own tokenizer and by the package `tokenizers`."""
        from tokenizers import Tokenizer

        text = self.manifest.text
        words = Tokenizer.from_str(json.dumps(text.tokenizer))
        words.enable_truncation(text.max_tokens)
        words.enable_padding(**{**(words.padding or {}), "length": text.max_tokens})
        tokens = torch.tensor([words.encode(prompt).ids for prompt in PROMPTS])
        want = reference(self.networks["text"], [tokens], self.dtype)
        self.run("context", "--output", "contexts.npy", *PROMPTS)
        got = self.numbers("contexts.npy")
        if got.shape != want.shape:
            raise ExportError(f"text: flowturbo makes contexts of {got.shape}, PyTorch of {want.shape}")
        return self.held("text", np.abs(got - want).max() / np.abs(want).max(), 1)

    def image(self, role: str, name: str, want: np.ndarray) -> float:
        """How far a PNG is off, beyond what rounding to whole levels explains."""
        with Image.open(self.folder / name) as image:
            got = np.asarray(image, np.float32)
        got = got[..., None] if got.ndim == 2 else got
        most = 65535 if got.shape[-1] == 1 and image.mode.startswith("I") else 255
        levels = ((want.transpose(1, 2, 0) + 1) * (most / 2)).clip(0, most)
        if got.shape != levels.shape:
            raise ExportError(f"{role}: flowturbo makes images of {got.shape}, PyTorch of {levels.shape}")
        off = max(0.0, float(np.abs(got - levels).max()) - 0.5) / (most / 2)
        return self.held(role, off / max(1.0, float(np.abs(want).max())), 1)

    def numbers(self, name: str) -> np.ndarray:
        try:
            return np.load(self.folder / name)
        except (OSError, ValueError) as error:
            raise ExportError(f"flowturbo wrote no {name}") from error

    def held(self, role: str, error: float, batch: int) -> float:
        if not error <= TOLERANCE:
            images = "one image" if batch == 1 else f"{batch} images"
            raise ExportError(
                f"{role}.onnx: flowturbo is {error:.2g} away from PyTorch for {images}, more than {TOLERANCE:g}"
            )
        return float(error)

    def run(self, command: str, *arguments: object) -> None:
        rest = ["--bundle", self.bundle, "--threads", torch.get_num_threads(), "--quiet"]
        line = [self.program, command, *arguments, *rest]
        try:
            done = subprocess.run([str(a) for a in line], check=False, capture_output=True, cwd=self.folder)
        except OSError as error:
            raise ExportError(f"{self.program}: cannot be run: {error.strerror}") from error
        if done.returncode < 0:
            raise ExportError(f"flowturbo ended by {signal.Signals(-done.returncode).name} while it ran the bundle")
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise ExportError(f"flowturbo refuses the bundle: {said[-1].removeprefix('error: ')}")
