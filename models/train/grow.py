"""Networks out of a bundle that this trainer has made, grown to larger ones: `--grow BUNDLE`.

What a network has more of begins as nothing, or nearly: the autoencoder starts as good with colours as the bundle's is,
and every block of a transformer with what it knows. A larger patch starts with the sum of its cells in the place of
the bundle's cells, which for a flow is the same question at half the resolution: noise summed so keeps its deviation.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import torch
import torch.nn.functional as F
from nets.autoencoder import CHANNELS, Autoencoder, Decoder, ResBlock, make_config
from nets.sit import SiT, SiTConfig
from torch import Tensor, nn
from train.data import Images, spread, to_unit, with_planes
from train.taken import Unfit, read_manifest, take, take_autoencoder

SETS = 256  # whose maps the first added latent channels are made of
WEIGHTS = {"normal": 2.0}  # of maps in these: a map that is much the same all over a cell would take them all


def grow_autoencoder(bundle: Path, network: Autoencoder, images: Images) -> Autoencoder:
    """Fills `network`, of the same factor, with that of a bundle of colours; its added latent channels begin as the
    principal components of a cell's maps."""
    manifest = read_manifest(bundle)
    factor, channels = manifest["image"]["height"] // manifest["latent"]["height"], manifest["latent"]["channels"]
    config = network.config
    if "maps" in manifest["image"] or factor != config.factor or channels > config.latent_channels:
        raise Unfit(f"--grow {bundle}: has maps, another factor or more latent channels")
    begun = take_autoencoder(bundle, Autoencoder(make_config(factor, channels)))
    with torch.no_grad():
        for mine, theirs in zip(layers(network.encoder), layers(begun.encoder), strict=True):
            put(mine, theirs, zero_rest=True)
        for name in ("running_mean", "running_var"):
            getattr(network.encoder.norm, name)[:channels] = getattr(begun.encoder.norm, name)
        grow_decoder(network.decoder, begun.decoder)
        if channels < config.latent_channels and images.present is not None:
            whole = torch.nonzero(images.present.all(1)).flatten()
            begin_channels(network, channels, to_unit(images.pixels[whole[:SETS]]))
        standardise(network, images)
    return network


def layers(network: nn.Module) -> list[nn.Module]:
    """Those with weights, in order."""
    return [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]


def put(mine: nn.Module, theirs: nn.Module, *, zero_rest: bool = False) -> None:
    """Weights of a smaller layer into the first rows and columns; what these rows see besides is nothing. Further rows
    stay as they are, unless they are to be nothing too."""
    rows, columns = theirs.weight.shape[:2]
    kept = slice(None) if zero_rest else slice(rows)
    mine.weight[kept] = 0
    mine.bias[kept] = 0
    mine.weight[:rows, :columns] = theirs.weight
    mine.bias[:rows] = theirs.bias


def grow_decoder(mine: Decoder, theirs: Decoder) -> None:
    """Blocks that a level has more stand behind the bundle's own, and do nothing at first."""
    begun = list(theirs.layers)
    for module in mine.layers:
        if isinstance(module, ResBlock) and not isinstance(begun[0], ResBlock):
            nn.init.zeros_(module.conv2.weight)
            continue
        for own, other in zip(layers(module), layers(begun.pop(0)), strict=True):
            put(own, other)


def begin_channels(network: Autoencoder, first: int, images: Tensor) -> None:
    """Latent channels from `first` on: the principal components of a cell's maps in `images` [K,C,H,W]. The decoder
    begins with their inverse, and its layers add nothing to it."""
    config, colours, into = network.config, CHANNELS["color"], network.encoder.patches
    factor, channels, count = config.factor, config.channels, config.latent_channels - first
    weights = torch.tensor([WEIGHTS.get(name, 1.0) for name in config.maps[1:]])
    weights = spread(weights[None], config.maps).T.expand(-1, factor**2).flatten()
    patches = F.pixel_unshuffle(images[:, colours:], factor).permute(0, 2, 3, 1).flatten(0, 2) * weights
    mean = patches.mean(0)
    values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
    vectors, deviations = vectors[:, -count:].T, values[-count:].sqrt()[:, None]
    basis = vectors / deviations
    into.weight[first:, colours:channels] = (basis * weights).reshape(count, channels - colours, factor, factor)
    into.bias[first:] = -basis @ mean
    guess, pixels = network.decoder.cells[0], colours * factor**2
    guess.weight[pixels:, first:] = (vectors * deviations / weights).T[:, :, None, None]
    guess.bias[pixels:] = mean / weights
    last = network.decoder.layers[-1]
    last.weight[colours:] = 0
    last.bias[colours:] = 0


def standardise(network: Autoencoder, images: Images) -> None:
    """Latents of these images get zero mean and unit variance; the decoder takes the difference over."""
    rows = torch.linspace(0, len(images.labels) - 1, min(SETS, len(images.labels))).long()
    encoder, decoder = network.encoder.eval(), network.decoder
    parts = [encoder(with_planes(images.take(some), images.has(some), network.config.maps)) for some in rows.split(16)]
    variance, mean = torch.var_mean(torch.cat(parts), dim=(0, 2, 3))
    norm, deviation = encoder.norm, variance.sqrt()
    before = (norm.running_var + norm.eps).sqrt()
    norm.running_mean += mean * before
    norm.running_var.copy_(variance * before.square() - norm.eps)
    for first in [decoder.layers[0], *(decoder.cells or [])[:1]]:
        first.bias += (first.weight * mean[:, None, None]).sum((1, 2, 3))
        first.weight *= deviation[:, None, None]
    network.train()


def grow_transformer(bundle: Path, role: str, network: SiT) -> SiT:
    """Fills a predictor or a refiner, `initialise`d, with the smaller one of a bundle, of as many tokens and the same
    width. Classes keep their numbers; each new one begins as the mean of the bundle's."""
    config, had = network.config, smaller(bundle, role, network.config)
    if (had.grid, had.hidden_size) != (config.grid, config.hidden_size) or config.patch_size % had.patch_size:
        raise Unfit(f"--grow {bundle}: the {role} has {had.grid} x {had.grid} tokens of {had.hidden_size}")
    for name in ("depth", "latent_channels", "num_classes"):
        if getattr(had, name) > getattr(config, name):
            raise Unfit(f"--grow {bundle}: the {role} has a {name} of {getattr(had, name)}, which is more")
    begun = take(bundle, role, SiT(had))
    with torch.no_grad():
        put_patches(network, begun)
        for name in ("t_embedder", "final_layer.adaLN_modulation"):
            network.get_submodule(name).load_state_dict(begun.get_submodule(name).state_dict())
        for mine, theirs in zip(network.blocks, begun.blocks, strict=False):
            mine.load_state_dict(theirs.state_dict())
        table, ours = begun.y_embedder.embedding_table.weight, network.y_embedder.embedding_table.weight
        ours[:] = table[: had.num_classes].mean(0)
        ours[: had.num_classes], ours[-1] = table[: had.num_classes], table[-1]
    return network


def smaller(bundle: Path, role: str, config: SiTConfig) -> SiTConfig:
    """The sizes of the bundle's network, which its weights and its manifest tell; heads are as wanted."""
    manifest = read_manifest(bundle)
    graph = onnx.load(bundle / manifest["networks"][role]["file"], load_external_data=False).graph
    names = {tensor.name.removesuffix(".f16"): tensor.dims for tensor in graph.initializer}
    hidden, _, patch, _ = names["x_embedder.proj.weight"]
    channels = manifest["latent"]["channels"]
    return replace(
        config,
        input_size=manifest["latent"]["height"],
        patch_size=patch,
        latent_channels=channels,
        out_channels=channels,
        hidden_size=hidden,
        mlp_hidden=4 * hidden,
        depth=sum(name.startswith("blocks.") and name.endswith(".attn.qkv.bias") for name in names),
        num_classes=manifest["classes"]["count"],
        context=0,
        prior=False,
        local=0,
    )


def put_patches(mine: SiT, theirs: SiT) -> None:
    """What tokens are made of, and what is made of them. Besides sums of cells tokens see the rest as they begin to,
    and answer nothing else; with a prior, nothing."""
    channels, patch = theirs.config.latent_channels, theirs.config.patch_size
    times = mine.config.patch_size // patch
    halves = 1 + mine.config.refiner  # x, and a refiner's v behind it
    into, given = (part.x_embedder.proj.weight.unflatten(1, (halves, -1)) for part in (mine, theirs))
    seen = into[:, :, :channels]
    rest = F.avg_pool2d(seen.flatten(1, 2), times).unflatten(1, (halves, -1))
    seen += enlarged(given, times) / times - enlarged(rest, times)
    mine.x_embedder.proj.bias.copy_(theirs.x_embedder.proj.bias)
    if mine.config.prior:
        return
    last, answered = mine.final_layer.linear, theirs.final_layer.linear
    for kept, found in ((last.weight, answered.weight), (last.bias, answered.bias)):
        cells = found.reshape(patch, patch, channels, -1).permute(3, 2, 0, 1)
        own = kept.new_zeros(cells.shape[0], mine.config.latent_channels, *into.shape[-2:])
        own[:, :channels] = enlarged(cells, times) / times
        kept.copy_(own.permute(2, 3, 1, 0).reshape(kept.shape))


def enlarged(cells: Tensor, times: int) -> Tensor:
    return cells.repeat_interleave(times, -2).repeat_interleave(times, -1)
