"""What the evaluation's tests share: images, and the network that they are compared by."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import TEXTURES
from eval.features import Extractor
from PIL import Image


@pytest.fixture(scope="session")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return Extractor(tmp_path_factory.mktemp("features"), threads=2)


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """uint8 [44,128,128,3]: the bundled model's own, four of each class, cut from their sheet with its gaps of 4
    pixels."""
    sheet = np.asarray(Image.open(TEXTURES / "samples.png").convert("RGB"))
    corners = [(132 * row, 132 * column) for row in range(11) for column in range(4)]
    return np.stack([sheet[top : top + 128, left : left + 128] for top, left in corners])
