"""A rectified flow of text to images -> a bundle: python models/export/text_to_image.py --predictor DIR --out BUNDLE

DIR is a diffusers UNet2DConditionModel whose output is a velocity, as InstaFlow's and 2-rectified flow's
(arXiv 2309.06380): time from data to noise, 0 to 1000. The bundle takes contexts, `--tokens` of them; with --text, the
folder of a pipeline that has CLIP's `text_encoder` and `tokenizer`, it takes prompts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from nets.clip import ClipConfig
from nets.kl import KlConfig
from nets.unet import UNet, UNetConfig
from torch import nn

from export import ExportError, options
from export.bundle import Classes, Latent, Manifest, Text, Time
from export.clip_tokenizer import load_tokenizer
from export.diffusers import load_clip, load_unet
from export.program import find_program

SD_SCALE = 0.18215  # of the VAE of Stable Diffusion 1 and 2
GUIDANCE = 1.5  # what code/README.md of InstaFlow says of 2-rectified flow: 1 to 2
TIME = Time("data_to_noise", 1000.0, 1)
# Widths and layers of random networks: Stable Diffusion 1.5's, and a refiner of 4 % of its parameters.
SIZE, REFINER = ((320, 640, 1280, 1280), 2), ((128, 160, 288, 288), 1)
PROMPT = (77, 768)  # CLIP ViT-L/14: tokens and width


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--predictor", type=Path, metavar="DIR", help="a UNet2DConditionModel, or a pipeline that has one in `unet`")
    add("--refiner", type=Path, metavar="DIR", help="likewise, of twice the input channels")
    add("--text", type=Path, metavar="DIR", help="a pipeline whose text encoder and tokenizer make contexts of prompts")
    add("--random", action="store_true", help="random weights in the geometry of Stable Diffusion 1.5 instead")
    add("--tokens", type=int, default=PROMPT[0], metavar="L", help="tokens of a context (77)")
    add("--guidance", type=float, default=GUIDANCE, help="default guidance scale (1.5)")
    options.add_common(parser)
    arguments = parser.parse_args(argv)
    if (arguments.predictor is None) != arguments.random:
        parser.error("give --predictor or --random, one of them")
    if arguments.random and arguments.refiner:
        parser.error("--random makes its own refiner; leave --refiner out")
    if arguments.tokens < 1:
        parser.error("--tokens: 1 or more")
    options.check_common(parser, arguments)
    return arguments


def load_networks(a: argparse.Namespace) -> dict[str, nn.Module]:
    networks = random_networks(a.tokens) if a.random else load_flow(a)
    if a.text:
        networks["text"] = load_clip(a.text)
        check_text(networks["text"].config, networks["predictor"].config)
    return networks


def load_flow(a: argparse.Namespace) -> dict[str, nn.Module]:
    networks: dict[str, nn.Module] = {"predictor": load_unet(a.predictor, a.tokens)}
    if a.refiner:
        networks["refiner"] = load_unet(a.refiner, a.tokens, refiner=True)
        check_pair(networks["predictor"].config, networks["refiner"].config)
    return networks


def random_networks(tokens: int, seed: int = 0) -> dict[str, nn.Module]:
    torch.manual_seed(seed)

    def network(size: tuple[tuple[int, ...], int], channels: int) -> UNet:
        config = UNetConfig(
            in_channels=channels,
            block_out_channels=size[0],
            layers_per_block=size[1],
            cross_attention_dim=PROMPT[1],
            tokens=tokens,
        )
        return UNet(config).eval()

    return {"predictor": network(SIZE, 4), "refiner": network(REFINER, 8)}


def check_pair(predictor: UNetConfig, refiner: UNetConfig) -> None:
    for field in ("out_channels", "sample_size", "cross_attention_dim"):
        a, b = getattr(predictor, field), getattr(refiner, field)
        if a != b:
            raise ExportError(f"predictor and refiner do not belong together: {field} {a} and {b}")


def check_tokens(tokenizer: dict, text: ClipConfig) -> None:
    largest = max(tokenizer["model"]["vocab"].values())
    if largest >= text.vocab_size:
        raise ExportError(f"the tokenizer has a token {largest}, the text encoder knows {text.vocab_size}")


def check_text(text: ClipConfig, predictor: UNetConfig) -> None:
    for of, made, wanted in (
        ("width", text.hidden_size, predictor.cross_attention_dim),
        ("tokens", text.max_position_embeddings, predictor.tokens),
    ):
        if made != wanted:
            raise ExportError(f"text encoder and predictor do not belong together: {of} {made} and {wanted}")


def describe(
    a: argparse.Namespace, unet: UNetConfig, has_refiner: bool, tokenizer: dict | None, vae: KlConfig | None
) -> Manifest:
    channels, size = unet.out_channels, unet.sample_size
    if vae and vae.latent_channels != channels:
        raise ExportError(f"the VAE has {vae.latent_channels} latent channels, the predictor {channels}")
    scale, shift = (vae.scaling_factor, vae.shift_factor) if vae else (SD_SCALE, 0.0)
    return Manifest(
        **options.common_fields(a),
        latent=Latent(channels, size, size, scale, shift),
        image=(size * vae.factor, size * vae.factor) if vae else None,
        classes=Classes(1, given=False),
        text=Text(
            unet.cross_attention_dim,
            a.tokens,
            max_tokens=a.tokens,
            no_prompt="empty" if tokenizer else "zeros",
            tokenizer=tokenizer,
        ),
        time=TIME,
        schedule=options.schedule(a, has_refiner),
        guidance=a.guidance,
    )


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    try:
        program = None if arguments.no_run else find_program(arguments.flowturbo)
        networks = load_networks(arguments)
        tokenizer = load_tokenizer(arguments.text) if arguments.text else None
        if tokenizer:
            check_tokens(tokenizer, networks["text"].config)

        def described(vae: KlConfig | None) -> Manifest:
            return describe(arguments, networks["predictor"].config, "refiner" in networks, tokenizer, vae)

        print(options.write(arguments, networks, described, program))
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
