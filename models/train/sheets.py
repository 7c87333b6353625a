"""Pictures a person can judge: contact sheets and loss curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def save_sheet(path: Path, images: Tensor, columns: int, gap: int = 4) -> None:
    """Writes [K,3,H,W] in [-1, 1] as a grid, row by row."""
    count, _, h, w = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, 3), 255, np.uint8)
    pixels = ((images.float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    for i, image in enumerate(pixels):
        top, left = (i // columns) * (h + gap), (i % columns) * (w + gap)
        sheet[top : top + h, left : left + w] = image
    Image.fromarray(sheet).save(path)
