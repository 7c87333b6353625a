"""The maps that sets lack, as the decoder makes them of what they have.

A predictor that saw latents of sets without maps would learn to draw such: neither flat nor bumpy. It sees a guess
instead, which fits the colours; what a set has stays as it is.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from nets.autoencoder import CHANNELS, Autoencoder
from train.data import Images, spread, with_planes


@torch.no_grad()
def complete(images: Images, model: Autoencoder, device: torch.device) -> Images:
    """Images that lack nothing."""
    maps, colours = model.config.maps, CHANNELS["color"]
    if images.present is None or images.present.all():
        return images
    pixels = images.pixels.clone()
    for rows in torch.nonzero(~images.present.all(1)).flatten().split(16):
        has = images.present[rows]
        guess = model.decode(model.encode(with_planes(images.take(rows).to(device), has, maps)))
        guess = ((guess + 1) * 127.5).round().to(pixels)
        kept = torch.cat([torch.ones(len(rows), colours, dtype=torch.bool), spread(has, maps)], 1)
        pixels[rows] = torch.where(kept[:, :, None, None], pixels[rows], guess)
    return replace(images, pixels=pixels, present=torch.ones_like(images.present))
