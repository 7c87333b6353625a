"""`--grow`: what a bundle's networks know is what the larger ones begin with, and maps that sets lack are guessed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import Bundle
from nets.autoencoder import Autoencoder, make_config
from nets.sit import SiT, SiTConfig
from torch import Tensor
from train import run
from train.complete import complete
from train.data import Images, to_unit, with_planes
from train.grow import enlarged, grow_autoencoder, grow_transformer
from train.sets import MAPS
from train.taken import Unfit, take, take_autoencoder

ALL = ("color", *MAPS)
TEXTURES = Path(__file__).parents[1] / "textures"
PREDICTOR = SiTConfig(
    input_size=16, patch_size=2, latent_channels=8, hidden_size=256, depth=6, num_heads=4, num_classes=11,
    mlp_hidden=1024, out_channels=8,
)  # fmt: skip
REFINER = replace(PREDICTOR, hidden_size=128, depth=1, num_heads=2, mlp_hidden=512, refiner=True)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def images() -> Images:
    """Four of noise; the last two lack the height, the last one has no map."""
    pixels = torch.randint(256, (4, 7, 64, 64), generator=generator(), dtype=torch.uint8)
    present = torch.tensor([[True] * 3, [True] * 3, [True, False, True], [False] * 3])
    return Images(pixels, torch.arange(4), list("abcd"), ALL, present)


@pytest.fixture(scope="module")
def grown(images: Images) -> Autoencoder:
    torch.manual_seed(0)
    return grow_autoencoder(TEXTURES, Autoencoder(make_config(8, 12, ALL)), images).eval()


@torch.no_grad()
def test_a_grown_autoencoder_does_with_colours_what_the_bundles_does(grown: Autoencoder, images: Images) -> None:
    begun = take_autoencoder(TEXTURES, Autoencoder(make_config(8, 8))).eval()
    colours = to_unit(images.pixels[:, :3])
    torch.testing.assert_close(grown.decode(grown.encode(colours))[:, :3], begun.decode(begun.encode(colours)))


def test_its_latents_are_standard_and_the_added_ones_tell_of_maps(grown: Autoencoder, images: Images) -> None:
    latents = grown.encode(with_planes(images.take(torch.arange(4)), images.present, ALL))
    variance, mean = torch.var_mean(latents, dim=(0, 2, 3))
    torch.testing.assert_close(mean, torch.zeros(12), rtol=0, atol=1e-4)
    torch.testing.assert_close(variance, torch.ones(12), rtol=0, atol=1e-3)
    without = grown.encode(to_unit(images.pixels[:, :3]))
    torch.testing.assert_close(without[:, :8], latents[:, :8])
    assert (without[:2, 8:] - latents[:2, 8:]).std() > 0.5 and without[:, 8:].std((2, 3)).max() < 1e-5


@torch.no_grad()
def test_its_maps_are_those_that_the_added_latents_tell_of(grown: Autoencoder, images: Images) -> None:
    whole = torch.arange(2)
    shown = with_planes(images.take(whole), images.present[whole], ALL)
    latents = grown.encode(shown)
    maps = grown.decoder(latents)[:, 3:]
    again = grown.encode(torch.cat([shown[:, :3], maps, shown[:, 7:]], 1))
    torch.testing.assert_close(again[:, 8:], latents[:, 8:], rtol=0, atol=1e-3)
    missed = (maps - shown[:, 3:7]).square().mean((0, 2, 3)) / shown[:, 3:7].var((0, 2, 3))
    assert missed.max() < 1 and missed[:2].mean() < missed[2:].mean(), "normals weigh more"


def low(latents: Tensor, times: int) -> Tensor:
    """The sums of cells that a larger patch starts with."""
    return F.avg_pool2d(latents, times) * times


@torch.no_grad()
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(("role", "config"), [("predictor", PREDICTOR), ("refiner", REFINER)])
def test_a_grown_transformer_answers_as_the_bundles_for_sums_of_cells(role: str, config: SiTConfig, times: int) -> None:
    torch.manual_seed(0)
    begun = take(TEXTURES, role, SiT(config))
    larger = replace(
        config, input_size=16 * times, patch_size=2 * times, latent_channels=12, out_channels=12, num_classes=16,
        context=384, depth=config.depth + 1,
    )  # fmt: skip
    grown = grow_transformer(TEXTURES, role, SiT(larger).initialise())
    x, v = (torch.randn(3, 8, 16, 16) for _ in range(2))
    large = [F.pad(enlarged(part, times) / times, (0, 0, 0, 0, 0, 4)) for part in (x, v)]
    count, when = 1 + config.refiner, (torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0, 10, 11]))
    wanted = begun(*(x, v)[:count], *when)
    when = (when[0], torch.tensor([0, 10, 16]))  # the null class comes last
    answer = grown(*large[:count], *when, torch.zeros(3, 384))
    assert (low(answer[:, :8], times) - wanted).abs().max() < 1e-2 * wanted.abs().max()
    assert answer[:, 8:].abs().max() == 0
    torch.testing.assert_close(enlarged(low(answer, times), times) / times, answer, rtol=0, atol=1e-5)
    large[0][:, 8:] = torch.randn(3, 4, *large[0].shape[2:])
    assert (grown(*large[:count], *when, torch.zeros(3, 384)) - answer).std() > 1e-3, "added channels are seen"
    table = grown.y_embedder.embedding_table.weight
    torch.testing.assert_close(table[11:16], table[:11].mean(0).expand(5, -1))


def test_what_cannot_grow_is_refused(images: Images) -> None:
    wider = replace(PREDICTOR, hidden_size=320, num_heads=5, mlp_hidden=1280)
    with pytest.raises(Unfit, match="the predictor has 8 x 8 tokens of 256"):
        grow_transformer(TEXTURES, "predictor", SiT(wider))
    for fewer in ({"depth": 5}, {"latent_channels": 7, "out_channels": 7}, {"num_classes": 10}):
        with pytest.raises(Unfit, match=f"the predictor has a {next(iter(fewer))} of .*, which is more"):
            grow_transformer(TEXTURES, "predictor", SiT(replace(PREDICTOR, **fewer)))
    for config in (make_config(16, 12, ALL), make_config(8, 4, ALL)):
        with pytest.raises(Unfit, match="another factor or more latent channels"):
            grow_autoencoder(TEXTURES, Autoencoder(config), images)


def test_missing_maps_are_the_decoders_guess_and_others_stay(grown: Autoencoder, images: Images) -> None:
    whole = complete(images, grown, torch.device("cpu"))
    assert whole.present.all() and torch.equal(whole.pixels[:2], images.pixels[:2])
    assert torch.equal(whole.pixels[:, :3], images.pixels[:, :3])
    assert torch.equal(whole.pixels[2, [3, 4, 6]], images.pixels[2, [3, 4, 6]])
    guess = grown.decode(grown.encode(with_planes(images.take(torch.tensor([3])), images.present[3:], ALL)))
    assert (to_unit(whole.pixels[3, 3:]) - guess[0, 3:]).abs().max() < 0.01
    assert images.present.sum() == 8, "what was given is as it was"


def test_the_command_grows_a_bundle_of_colours_into_one_of_maps_and_text(tmp_path: Path) -> None:
    small = ["--smoke", "--out", str(tmp_path / "small")]
    run.main([*small, "--stage", "autoencoder,predictor,refiner,export"])
    grow = ["--smoke", "--maps", "--text", "--latent-channels", "10", "--out", str(tmp_path / "large")]
    grow += ["--grow", str(tmp_path / "small" / "bundle"), "--stage", "autoencoder,predictor,refiner,export"]
    run.main(grow)
    manifest = Bundle(tmp_path / "large" / "bundle").manifest
    assert manifest["latent"]["channels"] == 10 and manifest["image"]["maps"] == list(ALL)
    with pytest.raises(SystemExit, match="begun with a --grow of predictor"):
        run.main(grow[:-4] + grow[-2:])
