"""Training on materials: what is read of a folder, how normals turn, and the autoencoder that knows maps."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Bundle
from eval.phrases import read_phrases
from nets.autoencoder import Autoencoder, AutoencoderConfig, make_config
from PIL import Image
from torch import Tensor, nn
from train import options, run
from train.align import BLOCK
from train.autoencoder import COLOURS_ALONE, MAP_DROPOUT, SLOWLY, drop_maps, evaluate, groups
from train.data import Images, augment, mirror, to_unit, with_planes
from train.latents import Latents, Texts, encode
from train.losses import bands, map_bands, map_losses, style, vectors
from train.maps import agreement
from train.materials import CLASSES
from train.packed import choose, load_packed, pack
from train.perceptual import Perceptual
from train.sets import COLUMNS, MAPS, estimate_roughness, load_sets, write_smoke_materials
from train.source import class_names
from train.text import WIDTH

ALL = ("color", *MAPS)
SIZE = 32


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("materials")
    write_smoke_materials(made, SIZE)
    return made


@pytest.fixture(scope="module")
def images(folder: Path) -> Images:
    return load_sets(folder, SIZE, ALL)


# Reading


def test_a_folder_of_materials_brings_its_maps_captions_and_split(images: Images) -> None:
    assert images.pixels.shape == (12, 7, SIZE, SIZE) and images.classes == list(CLASSES)
    assert images.captions[0] == "red wavy brick"
    training, held_out = images.split(0.5, seed=3)
    assert len(training.labels) == 9 and held_out.labels.tolist() == [0, 1, 2], "the index says what is held out"
    assert training.captions[0] == "red wavy brick" and len(training.captions) == len(training.present) == 9
    assert images.present[:4].tolist() == [[True] * 3, [False] * 3, [True] * 3, [True] * 3]


def test_classes_are_numbered_by_the_materials_whatever_folders_there_are(folder: Path, tmp_path: Path) -> None:
    few = shutil.copytree(folder, tmp_path / "few")
    shutil.rmtree(few / "colour" / "brick")
    labels = load_sets(few, SIZE).labels
    assert labels.unique().tolist() == [CLASSES.index("cliff"), CLASSES.index("dirt")] == [1, 2]
    assert class_names(few) == list(CLASSES)


def test_heights_fit_normals_and_roughness_is_what_specular_leaves(folder: Path, images: Images) -> None:
    pixels = to_unit(images.pixels)
    normals = vectors(pixels[:1, 3:5])[0].permute(1, 2, 0).numpy()
    assert agreement(normals, (pixels[0, 5].numpy() + 1) / 2) > 0.95
    with Image.open(folder / "specular" / "brick" / "0.png") as file:
        np.testing.assert_array_equal(images.pixels[0, 6], estimate_roughness(np.asarray(file.convert("L"))))
    assert estimate_roughness(np.array([255, 0], np.uint8)).tolist() == [0, 255]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("class", "cheese", "class cheese is none of brick"), ("split", "both", "neither train nor test")],
)
def test_an_index_that_says_what_cannot_be_is_named(
    folder: Path, tmp_path: Path, column: str, value: str, message: str
) -> None:
    rows = list(csv.DictReader((folder / "index.csv").open()))
    rows[3][column] = value
    with (tmp_path / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(SystemExit, match=message):
        load_sets(tmp_path, SIZE)


def test_other_folders_and_files_are_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("file,class\na,brick\n")
    with pytest.raises(SystemExit, match=r"index\.csv: has no column split"):
        load_sets(tmp_path, SIZE)
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "normal" / "brick" / "0.png").write_bytes(b"no image")
    with pytest.raises(SystemExit, match=r"normal/brick/0\.png: not a map that can be read"):
        load_sets(broken, SIZE, ALL)
    (tmp_path / "some.pack").write_bytes(b"no zip")
    with pytest.raises(SystemExit, match=r"some\.pack: not a file that packed\.py made"):
        load_packed(tmp_path / "some.pack", SIZE, ALL)


def test_packed_materials_are_the_same_but_for_compression(folder: Path, images: Images, tmp_path: Path) -> None:
    pack(folder, tmp_path / "all.pack", SIZE, 95, None, text=False)
    packed = load_packed(tmp_path / "all.pack", SIZE, ALL)
    assert torch.equal(packed.present, images.present) and torch.equal(packed.labels, images.labels)
    assert packed.captions == images.captions and torch.equal(packed.test, images.test)
    off = (packed.pixels.float() - images.pixels.float()).abs().mean((0, 2, 3))
    assert off.max() < 5, "of 255, in every channel"
    height = load_packed(tmp_path / "all.pack", SIZE, ("color", "height"))
    assert torch.equal(height.pixels[:, 3], packed.pixels[:, 5]) and torch.equal(
        height.present[:, 0], packed.present[:, 1]
    )
    with pytest.raises(SystemExit, match="holds 32 x 32 pixels, --size is 64"):
        load_packed(tmp_path / "all.pack", 64, ALL)


def test_a_choice_of_sets_has_every_class_and_both_splits_and_the_most_maps() -> None:
    none = dict.fromkeys(("height", "specular"), "")
    rows = [
        none | {"class": name, "split": split, "file": f"{name}/{split}{i}", "normal": "x" * (i % 2)}
        for name in CLASSES
        for split, count in (("train", 6), ("test", 2))
        for i in range(count)
    ]
    chosen = choose(rows, 48)
    kinds = [(row["class"], row["split"]) for row in chosen]
    assert len(chosen) == 48 and all(kinds.count((name, "test")) == 1 for name in CLASSES)
    assert all(row["normal"] for row in chosen)


# Normals that are turned


def hill(size: int = 24) -> tuple[Tensor, Tensor]:
    """A lopsided height [1,S,S], and an image [6,S,S] of it with its normals."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    x, y = (2 * np.pi * part / size for part in (x, y))
    height = (torch.sin(x) + 0.7 * torch.sin(2 * y + 1) + 0.4 * torch.sin(x + 3 * y))[None] / 2.1
    return height, with_normals(height)


def with_normals(height: Tensor) -> Tensor:
    right, up = ((height.roll(by, axis) - height.roll(-by, axis)) * 2 for axis, by in ((2, 1), (1, -1)))
    normals = torch.cat([right, up]) / (1 + right.square() + up.square()).sqrt()
    return torch.cat([height.expand(3, -1, -1), normals, height])


@pytest.mark.parametrize("flips", range(8))
def test_turned_maps_are_those_of_the_turned_height(flips: int) -> None:
    maps = ("color", "normal", "height")
    _, image = hill()
    turned = mirror(image, maps, bool(flips & 1), bool(flips & 2), bool(flips & 4))
    torch.testing.assert_close(turned, with_normals(turned[5:]), rtol=0, atol=1e-5)
    if flips:
        assert (
            turned[3:5] - mirror(image, ("color",), *(bool(flips & bit) for bit in (1, 2, 4)))[3:5]
        ).abs().max() > 0.1


def test_augmented_maps_are_those_of_the_augmented_height() -> None:
    _, image = hill()
    batch = augment(image.expand(30, -1, -1, -1), generator(), maps=("color", "normal", "height"))
    for one in batch:
        torch.testing.assert_close(one, with_normals(one[5:]), rtol=0, atol=1e-5)


def test_what_does_not_tile_is_cropped_inside_and_never_rolled() -> None:
    ramp = torch.arange(16.0).expand(3, 16, 16)
    crops = augment(ramp.expand(60, -1, -1, -1), generator(), 8, tiles=torch.tensor([False, True] * 30))
    steps = torch.maximum(crops.diff(dim=3).abs().amax((1, 2, 3)), crops.diff(dim=2).abs().amax((1, 2, 3)))
    assert (steps[::2] == 1).all() and (steps[1::2] == 15).any()
    assert len(crops[::2, 0].amin((1, 2)).unique()) > 3


# The autoencoder


@pytest.fixture(scope="module", params=[8, 16])
def model(request: pytest.FixtureRequest) -> Autoencoder:
    torch.manual_seed(0)
    model = Autoencoder(make_config(request.param, 12, ALL)).eval()
    model.encoder.norm.running_mean.normal_()
    return model


def test_sizes_without_maps_are_as_they_were() -> None:
    assert make_config(8, 8) == AutoencoderConfig()


def test_rolling_an_image_by_a_cell_rolls_its_latent_and_its_maps(model: Autoencoder) -> None:
    factor = model.config.factor
    image = torch.randn(1, model.config.planes, 64, 64, generator=generator())
    latent = model.encode(image)
    assert latent.shape == (1, 12, 64 // factor, 64 // factor)
    rolled = model.encode(image.roll((factor, -2 * factor), (2, 3)))
    torch.testing.assert_close(rolled, latent.roll((1, -2), (2, 3)), rtol=0, atol=1e-4)
    decoded = model.decode(latent)
    assert decoded.shape == (1, 7, 64, 64)
    torch.testing.assert_close(model.decode(latent.roll(1, 2)), decoded.roll(factor, 2), rtol=0, atol=1e-4)


def test_colours_alone_are_an_image_whose_maps_are_missing(model: Autoencoder) -> None:
    image = torch.randn(2, 7, 64, 64, generator=generator())
    alone = with_planes(image, torch.zeros(2, 3, dtype=torch.bool), ALL)
    assert alone.shape[1] == model.config.planes and not alone[:, 3:].any()
    folded = model.encoder.folded()
    torch.testing.assert_close(model.encode(image[:, :3]), model.encode(alone), rtol=0, atol=1e-5)
    torch.testing.assert_close(folded(image[:, :3]), model.encode(alone), rtol=0, atol=1e-5)
    some = with_planes(image, torch.tensor([[True, False, True]] * 2), ALL)
    assert torch.equal(some[:, 3:5], image[:, 3:5]) and not some[:, 5].any() and torch.equal(some[:, 6], image[:, 6])
    assert some[:, 7:, 0, 0].tolist() == [[1, 0, 1]] * 2
    assert (model.encode(some) - model.encode(alone)).abs().max() > 0.01


def work(decoder: nn.Module, config: AutoencoderConfig, edge: int = 64) -> float:
    """Multiply-adds a pixel."""
    done = []
    hooks = [
        layer.register_forward_hook(lambda m, _, out: done.append(out.shape[2] * out.shape[3] * m.weight.numel()))
        for layer in decoder.modules() if isinstance(layer, nn.Conv2d)
    ]  # fmt: skip
    with torch.no_grad():
        decoder(torch.zeros(1, config.latent_channels, edge // config.factor, edge // config.factor))
    for hook in hooks:
        hook.remove()
    return sum(done) / edge**2


def test_a_decoder_of_maps_does_at_most_twice_the_work_for_a_pixel() -> None:
    today = AutoencoderConfig()
    least = work(Autoencoder(today).decoder, today)
    for factor, channels in ((8, 8), (16, 32)):
        config = make_config(factor, channels, ALL)
        assert least < work(Autoencoder(config).decoder, config) < 2 * least


def test_maps_are_dropped_at_random_and_never_made_up() -> None:
    present = torch.tensor([[True, True, False]]).expand(20000, -1)
    shown = drop_maps(present, generator())
    assert not shown[:, 2].any()
    both = (1 - COLOURS_ALONE) * (1 - MAP_DROPOUT) ** 2
    assert abs(shown[:, :2].all(1).float().mean() - both) < 0.02
    assert (~shown.any(1)).float().mean() > COLOURS_ALONE


# Losses


def test_a_missing_map_has_no_part_in_the_loss() -> None:
    wanted = torch.rand(3, 7, 16, 16, generator=generator()) - 0.5
    present = torch.tensor([[True, True, True], [False, True, True], [True, False, True]])
    spoilt = wanted.clone()
    spoilt[1, 3:5], spoilt[2, 5] = 0.9, -0.9
    fits = map_losses(spoilt, wanted, present, ALL)
    assert set(fits) == set(MAPS) and all(fit < 1e-5 for fit in fits.values())
    assert map_losses(spoilt, wanted, torch.ones(3, 3, dtype=torch.bool), ALL)["normal"] > 0.2
    nothing = map_losses(spoilt, wanted, torch.zeros(3, 3, dtype=torch.bool), ALL)
    assert all(fit == 0 for fit in nothing.values())


def test_detail_of_maps_is_compared_where_there_are_maps() -> None:
    wanted = torch.rand(2, 7, 32, 32, generator=generator()) - 0.5
    flat = wanted.clone()
    flat[:, 3:] = 0
    present = torch.tensor([[True, False, True], [False, False, False]])
    assert map_bands(flat, wanted, present, ALL) > 0.1
    kept = flat.clone()
    kept[0, 3:5], kept[0, 6] = wanted[0, 3:5], wanted[0, 6]
    assert map_bands(kept, wanted, present, ALL) == 0
    assert map_bands(flat, wanted, torch.zeros(2, 3, dtype=torch.bool), ALL) == 0


def test_normals_that_cannot_be_told_are_not_best_left_flat() -> None:
    """Three quarters of the places are flat and one leans: the median is flat, but the mean is nearer."""
    wanted = torch.zeros(1, 7, 8, 8)
    wanted[:, 3, :, ::4] = 0.8
    present = torch.ones(1, 3, dtype=torch.bool)
    flat, mean = torch.zeros_like(wanted), wanted.mean((2, 3), keepdim=True).expand_as(wanted)
    lost = [map_losses(made, wanted, present, ALL)["normal"].item() for made in (flat, mean)]
    assert (flat - wanted).abs().mean() < (mean - wanted).abs().mean() and lost[1] < lost[0]


def test_the_encoder_of_maps_is_moved_slowly_and_todays_as_ever(model: Autoencoder) -> None:
    shares = {group["share"]: sum(p.numel() for p in group["params"]) for group in groups(model)}
    encoder, decoder = (sum(p.numel() for p in part.parameters()) for part in (model.encoder, model.decoder))
    assert shares == {SLOWLY: encoder, 1.0: decoder}
    (today,) = groups(Autoencoder(AutoencoderConfig()))
    assert today["share"] == 1.0
    model.encoder.requires_grad_(False)
    assert [group["share"] for group in groups(model)] == [1.0], "the decoder's own stage"
    model.encoder.requires_grad_(True)


def test_normals_are_unit_vectors_even_where_the_decoder_overshoots() -> None:
    x = (3 * torch.randn(1, 2, 8, 8, generator=generator())).requires_grad_()
    made = vectors(x)
    torch.testing.assert_close(made.square().sum(1), torch.ones(1, 8, 8))
    made.sum().backward()
    assert x.grad.isfinite().all()


def test_style_and_bands_forgive_another_place_and_not_blur() -> None:
    perceive = Perceptual()
    noise = torch.randn(2, 3, 64, 64, generator=generator()).clamp(-1, 1)
    moved = noise.roll((16, 32), (2, 3))
    blurred = nn.functional.avg_pool2d(nn.functional.pad(noise, (1, 1, 1, 1), mode="circular"), 3, 1)
    with torch.no_grad():
        wanted = perceive(noise)
        assert style(perceive(moved), wanted) < 0.2 * style(perceive(blurred), wanted)
        assert style(wanted, wanted) == 0
    lost = bands(blurred) - bands(noise)
    assert lost.abs().mean() > 5 * (bands(moved) - bands(noise)).abs().mean()


# Latents


def test_latents_are_of_turned_maps_and_leave_what_does_not_tile_in_place(images: Images) -> None:
    torch.manual_seed(0)
    model = Autoencoder(make_config(8, 12, ALL)).eval()
    images = images.select(torch.tensor([True] + [False] * 9 + [True] * 2))
    images.tiles = torch.tensor([True, False, True])
    texts = Texts(torch.eye(3, WIDTH), torch.tensor([[0, 1], [1, 1], [2, 2]]))
    made = encode(images, model, Perceptual((BLOCK,)), 2, ["brick"], 0, torch.device("cpu"), bf16=False)
    latents = Latents(*made, images.labels, 8, generator(), texts, images.tiles)
    # The third image, of the class that may not turn, upside down and the left on the right, not yet shifted.
    assert latents.values.shape[:2] == (24, 12)
    fixed = latents.values[8:16]
    for variant, (down, across) in zip(fixed[:4], ((False, False), (True, False), (False, True), (True, True))):
        pixels = mirror(to_unit(images.pixels[1:2]), ALL, down, across)
        wanted = model.encode(with_planes(pixels, images.present[1:2], ALL))[0]
        torch.testing.assert_close(variant.float(), wanted, rtol=0, atol=5e-3)
    batch, asked = latents.batch(200)
    for latent, label, context in zip(batch, asked.labels, asked.context):
        row = images.labels.tolist().index(label) if label == 0 else int(context[2] > 0) + 1
        assert context.argmax() in texts.rows[row]
        if row == 1:
            assert any(torch.equal(latent, variant.float()) for variant in fixed)


# The whole command


@pytest.fixture(scope="module")
def work_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a finished run with maps and text."""
    out = tmp_path_factory.mktemp("maps") / "work"
    run.main(["--smoke", "--maps", "--text", "--out", str(out)])
    return out


def test_the_command_with_maps_and_text_ends_in_a_bundle_of_both(work_folder: Path) -> None:
    bundle = Bundle(work_folder / "bundle")
    manifest = bundle.manifest
    assert manifest["format_version"] == "1.1" and manifest["image"]["maps"] == list(ALL)
    assert manifest["text"] == {"width": WIDTH, "max_tokens": 128, "no_prompt": "zeros"}
    assert manifest["classes"]["labels"] == list(CLASSES) and manifest["license"] == "CC-BY-SA-3.0", "of no data"
    x, t, y = np.zeros((2, 8, 4, 4), np.float32), np.zeros(2, np.float32), np.array([0, 16])
    context = np.zeros((2, WIDTH), np.float32)
    velocity = bundle.run("predictor", x=x, t=t, y=y, context=context)
    assert bundle.run("refiner", x=x, v=velocity, t=t, y=y, context=context).shape == x.shape
    image = bundle.run("decoder", latent=x)
    assert image.shape == (2, 7, 32, 32)
    assert bundle.run("encoder", image=image[:, :3]).shape == x.shape


def test_the_evaluation_judges_maps_and_phrases(work_folder: Path) -> None:
    numbers = json.loads((work_folder / "evaluation.json").read_text())
    normals, heights = {"normal", "normal_of_sobel", "normal_of_flat"}, {"height", "height_of_lightness"}
    assert set(numbers["maps"]) == normals | heights | {"roughness"}
    assert 0 <= numbers["phrases"]["right"] <= 1
    for name in ("maps", "phrases", "autoencoder"):
        Image.open(work_folder / f"{name}.png").verify()
    with Image.open(work_folder / "phrases.png") as sheet:
        assert sheet.height > 30 * len(read_phrases())
    assert (work_folder / "report.html").read_text().count("<img") == 8


def test_what_is_trained_on_materials_has_their_licence(folder: Path, tmp_path: Path) -> None:
    for data, licence in ((folder, "CC-BY-SA-4.0"), (folder / "colour", "CC-BY-SA-3.0")):
        assert options.parse(["--data", str(data), "--out", str(tmp_path)]).license == licence
    named = ["--data", str(folder), "--out", str(tmp_path), "--license", "CC0-1.0"]
    assert options.parse(named).license == "CC0-1.0"


def test_another_choice_of_maps_or_text_is_refused_in_the_same_folder(work_folder: Path) -> None:
    again = ["--smoke", "--out", str(work_folder)]
    with pytest.raises(SystemExit, match="begun with --maps"):
        run.main([*again, "--text", "--maps", "normal"])
    with pytest.raises(SystemExit, match="begun with --text True, not False"):
        run.main([*again, "--maps"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--maps", "colour"], "the maps are normal,height,roughness"),
        (["--maps"], "has no index.csv"),
        (["--stage", "autoencoder,cooking"], "--stage cooking: the stages are"),
        (["--texture", "-1"], "0 or more is needed"),
        (["--local", "-1"], "--local -1: 0 or more is needed"),
        (["--text", "--start", "models/textures"], "without --maps and --text"),
    ],
)
def test_options_of_maps_that_cannot_work_are_refused(
    wrong: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(SystemExit):
        run.main(["--data", str(tmp_path), "--out", str(tmp_path / "work"), *wrong])
    assert message in capsys.readouterr().err


def test_the_autoencoder_is_judged_by_colours_alone(images: Images, model: Autoencoder) -> None:
    spoilt = images.select(torch.ones(12, dtype=torch.bool))
    spoilt.pixels = images.pixels.clone()
    spoilt.pixels[:, 3:] = 255
    device = torch.device("cpu")
    assert evaluate(model, spoilt, device) == evaluate(model, images, device)
