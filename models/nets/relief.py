"""Maps that belong to colours: [N,3,H,W] in [-1, 1] -> normal x and y, height, roughness; and a decoder with them.

A network in the shape of a U (Ronneberger, arXiv 1505.04597) without anything across pixels but convolutions that pad
circularly: any size, and what tiles in its colours tiles in its maps. It sees the colours alone, so it goes behind any
decoder, which stays as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nets.autoencoder import CHANNELS, ResBlock, Upsample, conv

WIDTHS = (24, 48, 96)  # at 1/2, 1/4 and 1/8 of the resolution
LAST = 16  # channels at full resolution


class Relief(nn.Module):
    def __init__(self, maps: tuple[str, ...]):
        super().__init__()
        a, b, c = WIDTHS
        colours = CHANNELS["color"]
        self.down = nn.ModuleList(
            nn.Sequential(conv(before, width, stride=2), nn.ReLU(), ResBlock(width))
            for before, width in ((colours, a), (a, b), (b, c))
        )
        self.deep = ResBlock(c)
        self.wider = nn.ModuleList([Upsample(c, b), Upsample(b, a)])
        self.up = nn.ModuleList([ResBlock(b), ResBlock(a)])
        self.shuffle = nn.Sequential(conv(a, 4 * LAST), nn.PixelShuffle(2), nn.ReLU())
        self.mix = nn.Sequential(conv(LAST + colours, LAST), nn.ReLU())
        self.last = conv(LAST, sum(CHANNELS[name] for name in maps[1:]))
        with torch.no_grad():
            self.last.weight.mul_(0.1)

    def forward(self, colours: Tensor) -> Tensor:
        x, skips = colours, []
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        x = self.deep(skips.pop())
        for wider, block in zip(self.wider, self.up):
            x = block(wider(x) + skips.pop())
        return self.last(self.mix(torch.cat([self.shuffle(x), colours], dim=1)))


class MapDecoder(nn.Module):
    """Latent -> [N,channels,H,W]: a decoder's colours, and the maps that belong to them."""

    any_size = True

    def __init__(self, decoder: nn.Module, maps: tuple[str, ...]):
        super().__init__()
        self.decoder, self.relief = decoder, Relief(maps)

    def forward(self, latent: Tensor) -> Tensor:
        colours = self.decoder(latent)
        return torch.cat([colours, self.relief(colours.clamp(-1, 1))], dim=1)
