"""Stages 1 and 4: the autoencoder. L1 and perceptual losses, the contrast of neighbours, then a small patch
discriminator.

Stage 1 trains both halves. Stage 4 goes on with the decoder alone: the latents that the transformers were
trained on stay as they are, while what is seen of them gets sharper.

The decoder is trained on noised latents (standard deviation drawn from [0, `NOISE`]), because at run
time its latents come from a sampler that is never exact.

With maps, what an image lacks has no part in the loss, and half of the time the encoder sees colours alone: that is
what it is given once it is exported. Else it misses each map that there is in `MAP_DROPOUT` of the time.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from nets.autoencoder import CHANNELS, FACTOR, Autoencoder, AutoencoderConfig
from torch import Tensor, nn
from train.data import BalancedSampler, Images, augment, to_unit, with_planes
from train.losses import bands, map_bands, map_losses, style
from train.perceptual import Perceptual, distance
from train.sheets import save_sheet, views
from train.stage import Budget, Ema, Log, autocast, load_checkpoint, save_checkpoint

NOISE = 0.2
# What the losses weigh, beside an L1 of weight 1.
PERCEPTUAL, CONTRAST, CHEQUER, MATCHING, ADVERSARIAL = 0.25, 3.0, 5.0, 0.5, 0.05
STYLE, BANDS = 0.5, 2.0  # the same, times `texture`
ADVERSARIAL_FROM = 0.4  # share of the budget after which the discriminator joins
ZOOMED = 0.3  # share of the batches that see the images at twice the size, where there are such
MAPS = {"normal": 1.0, "height": 0.5, "roughness": 0.5}  # what a map's losses weigh
PATCHED = 1 << 27  # numbers of the images that the first encoder is made of; more are thinned out
SLOWLY = 0.1
COLOURS_ALONE, MAP_DROPOUT = 0.5, 0.3


class Discriminator(nn.Module):
    """PatchGAN: scores overlapping patches; returns its features for feature matching."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128)):
        super().__init__()
        layers, previous = [], 3
        for width in widths:
            layers.append(
                nn.utils.parametrizations.spectral_norm(nn.Conv2d(previous, width, 4, 2, 1, padding_mode="circular"))
            )
            previous = width
        self.layers = nn.ModuleList(layers)
        self.head = nn.utils.parametrizations.spectral_norm(nn.Conv2d(previous, 1, 3, 1, 1, padding_mode="circular"))

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        for layer in self.layers:
            image = F.leaky_relu(layer(image), 0.2)
            features.append(image)
        return self.head(image), features


def shift(generator: torch.Generator, *batches: Tensor) -> list[Tensor]:
    """All images rolled by the same random offset.

    What looks at images with a stride would else always meet the latent's cells at the same place, and what it
    prefers there would show as a grid.
    """
    offset = torch.randint(32, (2,), generator=generator).tolist()
    return [images.roll(offset, (2, 3)) for images in batches]


def drop_maps(present: Tensor, generator: torch.Generator) -> Tensor:
    """Which maps the encoder sees, of those that there are: bool [N,M]."""
    kept = torch.rand(present.shape, generator=generator) >= MAP_DROPOUT
    return present & kept & (torch.rand(len(present), 1, generator=generator) >= COLOURS_ALONE)


def contrast(images: Tensor, factor: int = FACTOR) -> Tensor:
    """How far neighbours in [N,3,H,W] differ, by axis and by their place in a latent's cell: [N,2,factor].

    A decoder's own images differ more at cells' edges than in their middle, which shows as a grid, and less on the
    whole, which shows as blur. Across the images' border, where crops do not go on, nothing is measured.
    """
    axes = []
    for axis in (2, 3):
        steps = images.diff(dim=axis).abs().movedim(axis, 1).flatten(2).mean(2)
        axes.append(steps[:, factor - 1 :].unflatten(1, (-1, factor)).mean(1))
    return torch.stack(axes, 1)


def chequers(images: Tensor, factor: int = FACTOR) -> Tensor:
    """How much of a chequerboard of single pixels each latent's cell has: [N,3,H,W] -> [N,3,H/factor,W/factor].

    It is the cheapest way to differ from a neighbour, and what asking for contrast alone would get.
    """
    rows, columns = (torch.arange(size, device=images.device) % 2 for size in images.shape[2:])
    return F.avg_pool2d(images * (1 - 2 * (rows[:, None] ^ columns)), factor)


def train(
    images: Images,
    zoomed: Images | None,
    held_out: Images,
    config: AutoencoderConfig,
    budget: Budget,
    checkpoint: Path,
    *,
    batch: int,
    rate: float,
    device: torch.device,
    bf16: bool,
    seed: int,
    start: Autoencoder | None = None,
    texture: float = 0.0,
    crop: float = 0.75,
) -> Autoencoder:
    """Stage 1; with `start`, stage 4, or stage 1 of what was grown: its encoder stays as it is and its decoder is
    trained on.

    `zoomed` are the same images, of twice the size, if there are any. `texture` is what `style`
    and `bands` weigh, `crop` how much of an image's edge is seen at once: the less, the more images for the same work.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Autoencoder(config)
    if start:
        model.load_state_dict(start.state_dict())
        model.encoder.requires_grad_(False).eval()
    else:
        some = images.pixels[:, : CHANNELS["color"]]
        model.start_from_patches(to_unit(some[:: max(1, some.numel() // PATCHED)]))
    model.to(device, memory_format=torch.channels_last)
    critic = Discriminator().to(device, memory_format=torch.channels_last)
    perceive = Perceptual().to(device, memory_format=torch.channels_last)
    ema = Ema(model, 0.999)
    optimiser = torch.optim.AdamW(groups(model), rate, betas=(0.9, 0.99), weight_decay=1e-4)
    critic_optimiser = torch.optim.AdamW(critic.parameters(), rate, betas=(0.5, 0.9), weight_decay=1e-4)
    parts = {
        "model": model,
        "critic": critic,
        "ema": ema.module,
        "optimiser": optimiser,
        "critic_optimiser": critic_optimiser,
    }
    log = Log(checkpoint.with_suffix(".csv"), load_checkpoint(checkpoint, budget, **parts) is not None)
    sampler = BalancedSampler(images.labels, generator)
    maps, factor = config.maps, config.factor
    edge = int(crop * images.pixels.shape[-1]) // factor * factor
    if device.type != "cpu":
        images = images.to(device)
        zoomed = zoomed and zoomed.to(device)

    budget.start()
    while budget.progress < 1:
        for group in optimiser.param_groups + critic_optimiser.param_groups:
            group["lr"] = budget.learning_rate(rate * group.get("share", 1.0))
        seen = zoomed if zoomed and torch.rand((), generator=generator) < ZOOMED else images
        rows = sampler.draw(batch)
        real = augment(seen.take(rows), generator, edge, maps, seen.wraps(rows))
        real = real.to(device, memory_format=torch.channels_last)
        present = seen.has(rows)
        shown = with_planes(real, drop_maps(present, generator) if len(maps) > 1 else present, maps)
        with autocast(device, bf16):
            with torch.set_grad_enabled(not start):
                latent = model.encoder(shown)
            level = NOISE * torch.rand(batch, 1, 1, 1, device=device)
            fake = model.decoder(latent + level * torch.randn_like(latent)).float()
            fits = map_losses(fake, real, present.to(device), maps)
            grains = map_bands(fake, real, present.to(device), maps) if len(maps) > 1 else 0.0
            fake, real = (part[:, : CHANNELS["color"]] for part in (fake, real))
            contrasts = F.l1_loss(contrast(fake, factor), contrast(real, factor))
            fake, real = shift(generator, fake, real)
            with torch.no_grad():
                wanted = perceive(real)
            looks = perceive(fake)
            perceptual = distance(looks, wanted)
        l1 = F.l1_loss(fake, real) + F.l1_loss(F.avg_pool2d(fake, factor), F.avg_pool2d(real, factor))
        chequer = F.l1_loss(chequers(fake, factor), chequers(real, factor))
        loss = l1 + PERCEPTUAL * perceptual + CONTRAST * contrasts + CHEQUER * chequer
        scores = {"l1": l1.item(), "perceptual": perceptual.item(), "contrast": contrasts.item()}
        scores |= {"chequer": chequer.item()}
        if texture:
            styles, details = style(looks, wanted), F.l1_loss(bands(fake), bands(real))
            loss = loss + texture * (STYLE * styles + BANDS * (details + grains))
            scores |= {"style": styles.item(), "bands": details.item()}
        for name, fit in fits.items():
            loss = loss + MAPS[name] * fit
            scores |= {name: fit.item()}
        scores |= {"matching": math.nan, "hinge": math.nan}
        adversarial = start or budget.progress >= ADVERSARIAL_FROM
        if adversarial:
            with autocast(device, bf16):
                judged, features = critic(fake)
                with torch.no_grad():
                    wanted = critic(real)[1]
            matching = sum(F.l1_loss(a.float(), b.float()) for a, b in zip(features, wanted))
            loss = loss + MATCHING * matching - ADVERSARIAL * judged.float().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        ema.update(model, budget.step)
        if adversarial:
            with autocast(device, bf16):
                on_real, on_fake = critic(real)[0].float(), critic(fake.detach())[0].float()
            hinge = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
            critic_optimiser.zero_grad(set_to_none=True)
            hinge.backward()
            critic_optimiser.step()
            scores |= {"matching": matching.item(), "hinge": hinge.item()}
        budget.advance()
        ends = budget.progress >= 1
        if budget.step % 50 == 0 or ends:
            judge = budget.step % 500 == 0 or ends
            scores["psnr"] = evaluate(ema.module, held_out, device)["psnr"] if judge else math.nan
            log.row(budget, **scores)
        if budget.step % 500 == 0 or ends:
            save_checkpoint(checkpoint, budget, **parts)
            preview(ema.module, held_out, checkpoint.with_suffix(".png"), device)
    return ema.module


def groups(model: Autoencoder) -> list[dict]:
    """What is trained. The encoder of maps, or of larger cells, has a share `SLOWLY` of the rate: its layers have more
    inputs, and at the full rate its latents move faster than a decoder can follow."""
    config = model.config
    parts = [(model, 1.0)]
    if len(config.maps) > 1 or config.factor > FACTOR:
        parts = [(model.encoder, SLOWLY), (model.decoder, 1.0)]
    found = [([p for p in part.parameters() if p.requires_grad], share) for part, share in parts]
    return [{"params": some, "share": share} for some, share in found if some]


def preview(model: Autoencoder, held_out: Images, path: Path, device: torch.device) -> None:
    """A sheet of held-out images (odd rows) above their reconstructions (even rows), of colours alone; with maps, each
    has a pair of rows below."""
    chosen = torch.linspace(0, len(held_out.labels) - 1, 16).long()
    images = held_out.take(chosen).to(device)
    rebuilt = model.decode(model.encode(images[:, : CHANNELS["color"]]))
    rows = []
    for some in (slice(0, 8), slice(8, 16)):
        has = held_out.has(chosen[some])
        pairs = zip(views(images[some], held_out.maps, has), views(rebuilt[some], held_out.maps))
        rows += [half for pair in pairs for half in pair]
    save_sheet(path, torch.cat(rows), columns=8)


@torch.no_grad()
def evaluate(model: Autoencoder, held_out: Images, device: torch.device) -> dict[str, float]:
    """Peak signal-to-noise ratio (dB, peak 2) and mean L1 of colours alone, of images the stage never saw."""
    squared, absolute = [], []
    for some in torch.arange(len(held_out.labels)).split(16):
        pixels = held_out.take(some)[:, : CHANNELS["color"]].to(device)
        off = model.decode(model.encode(pixels))[:, : CHANNELS["color"]] - pixels
        squared.append(off.square().mean(dim=(1, 2, 3)))
        absolute.append(off.abs().mean(dim=(1, 2, 3)))
    psnr = 10 * torch.log10(4 / torch.cat(squared))
    return {"psnr": psnr.mean().item(), "l1": torch.cat(absolute).mean().item()}
