"""The trainer: the whole command on tiny networks, and the parts whose rules matter."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TEXTURES, TINY, Bundle
from eval import refiners
from eval.alternatives import check_same_predictor
from export.checkpoint import load_sit
from export.preview import fit_preview
from nets.autoencoder import FACTOR, Autoencoder, AutoencoderConfig, RunningNorm
from nets.sit import SiT, SiTConfig
from PIL import Image
from torch import Tensor, nn
from train import run
from train.align import BLOCK, features
from train.autoencoder import chequers, contrast
from train.data import BalancedSampler, Images, augment, load_images, write_smoke_images
from train.evaluate import seam
from train.latents import Latents, encode
from train.muon import Muon
from train.perceptual import Perceptual
from train.sampler import Sampler
from train.stage import Budget, Ema, matrix_optimisers, read_log
from train.taken import Unfit, take
from train.work import kept_tensors

CASES = json.loads((TINY / "golden.json").read_text())["cases"]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the whole command on generated images."""
    folder = tmp_path_factory.mktemp("train") / "work"
    run.main(["--smoke", "--out", str(folder)])
    return folder


def again(folder: Path, *arguments: str) -> None:
    run.main(["--smoke", "--out", str(folder), *arguments])


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_command_ends_in_a_bundle_that_onnx_runtime_runs(smoke: Path) -> None:
    bundle = Bundle(smoke / "bundle")
    assert bundle.manifest["classes"]["labels"] == ["class0", "class1", "class2"]
    assert bundle.manifest["guidance"]["channels"] == bundle.manifest["latent"]["channels"] == 8
    x, t, y = np.zeros((2, 8, 4, 4), np.float32), np.zeros(2, np.float32), np.array([0, 3])
    velocity = bundle.run("predictor", x=x, t=t, y=y)
    assert bundle.run("refiner", x=x, v=velocity, t=t, y=y).shape == x.shape
    image = bundle.run("decoder", latent=x)
    assert image.shape == (2, 3, 32, 32)
    assert bundle.run("encoder", image=image).shape == x.shape


def test_the_bundle_decodes_and_encodes_images_of_any_size(smoke: Path) -> None:
    bundle = Bundle(smoke / "bundle")
    latent = np.random.default_rng(0).standard_normal((1, 8, 6, 10), np.float32)
    image = bundle.run("decoder", latent=latent)
    assert image.shape == (1, 3, 48, 80)
    tiled = bundle.run("decoder", latent=np.tile(latent, (1, 1, 2, 2)))
    np.testing.assert_allclose(tiled, np.tile(image, (1, 1, 2, 2)), rtol=0, atol=1e-5)
    assert bundle.run("encoder", image=image).shape == latent.shape


def test_the_evaluation_writes_its_numbers_and_sheets(smoke: Path) -> None:
    numbers = json.loads((smoke / "evaluation.json").read_text())
    assert numbers["schedules"]["H1P5R3"]["predictor_calls"] == 7
    assert numbers["schedules"]["H1P5R3"]["refiner_calls"] == 6
    assert numbers["schedules"]["P15"]["predictor_calls"] == 16
    assert set(numbers["schedules"]) >= {"H1P3R3", "H1P6R5", "H2P12R4"}
    assert numbers["parameters"]["refiner"] < numbers["parameters"]["predictor"]
    for name in ("autoencoder", "decoder", "predictor", "samples", "presets", "schedules", "curves"):
        Image.open(smoke / f"{name}.png").verify()


def test_the_report_is_one_page_that_shows_every_image(smoke: Path) -> None:
    page = (smoke / "report.html").read_text()
    assert page.count("<img") == page.count("data:image/webp;base64,") == 6
    assert "class0" in page and "H1P5R3" in page
    assert "$" not in page and "http" not in page


def test_the_presets_are_in_the_bundle(smoke: Path, tmp_path: Path) -> None:
    def presets(folder: Path) -> dict:
        return json.loads((folder / "bundle.json").read_text())["sampling"].get("presets", {})

    assert presets(smoke / "bundle")["fast"] == {"schedule": "H1P3R3", "guidance": 2.5}
    again(smoke, "--stage", "export", "--bundle", str(tmp_path / "a"), "--presets", "one=E4@1.5", "two=H1R2")
    one, two = {"schedule": "E4", "guidance": 1.5}, {"schedule": "H1R2", "guidance": 2.5}
    assert presets(tmp_path / "a") == {"one": one, "two": two}
    again(smoke, "--stage", "export", "--bundle", str(tmp_path / "b"), "--presets")
    assert presets(tmp_path / "b") == {}


def test_a_folder_holds_several_refiners(smoke: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(smoke, tmp_path / "work")
    before = (folder / "refiner.pt").read_bytes()
    other = ["--refiner-name", "wide", "--refiner-hidden", "32", "--refiner-depth", "2", "--max-delta", "0.3"]
    again(folder, "--stage", "refiner", *other)
    assert (folder / "refiner.pt").read_bytes() == before
    weights = torch.load(folder / "wide.pt", weights_only=True)["ema"]
    assert weights["blocks.1.mlp.fc1.weight"].shape == (128, 32)
    assert read_log(folder / "wide.csv")["step"] == [10]
    with pytest.raises(SystemExit, match=r"begun with --max-delta 0\.3, not 0\.2; choose another --refiner-name"):
        again(folder, "--stage", "export", *other[:-2])
    again(folder, "--stage", "export", *other)
    assert Bundle(folder / "bundle").run(
        "refiner", x=np.zeros((1, 8, 4, 4), np.float32), v=np.zeros((1, 8, 4, 4), np.float32),
        t=np.zeros(1, np.float32), y=np.array([0]),
    ).shape == (1, 8, 4, 4)  # fmt: skip


def test_training_can_start_from_a_bundle(smoke: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    bundle, folder, data = smoke / "bundle", tmp_path / "work", ("--data", str(smoke / "smoke-images"))
    again(folder, *data, "--start", str(bundle))
    assert not (folder / "predictor.pt").exists() and (folder / "report.html").exists()
    # Weights that were not trained on come out as they went in, rounded once.
    hashes = [json.loads((b / "bundle.json").read_text())["networks"] for b in (bundle, folder / "bundle")]
    same = {role: hashes[0][role]["sha256"] == hashes[1][role]["sha256"] for role in hashes[0]}
    assert same == {"predictor": True, "encoder": True, "refiner": False, "decoder": False}
    broken = shutil.copytree(bundle, tmp_path / "broken")
    (broken / "predictor.onnx").write_bytes(b"no graph")
    foreign = shutil.copytree(bundle, tmp_path / "foreign")
    text = (foreign / "bundle.json").read_text()
    (foreign / "bundle.json").write_text(text.replace('"noise_to_data"', '"data_to_noise"'))
    for arguments, message in (
        (("--start", str(bundle), "--stage", "predictor"), "--start takes what it would train"),
        (("--start", str(smoke)), "not the folder of a bundle"),
        (("--start", str(foreign)), "not a bundle of this trainer's"),
        (("--start", str(broken)), "predictor.onnx cannot be read"),
        (
            ("--start", str(bundle), "--latent-channels", "4", "--out", str(tmp_path / "other")),
            "wanted is .*: other sizes",
        ),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            again(folder, *data, *arguments)
        assert re.search(message, f"{ended.value} {capsys.readouterr().err}")


def test_refiners_of_the_ablation_differ_in_nothing_else(smoke: Path, tmp_path: Path) -> None:
    bundle = smoke / "bundle"
    data = ("--smoke", "--data", str(smoke / "smoke-images"), "--out", str(tmp_path))
    with pytest.raises(SystemExit, match="--start"):
        refiners.main([*data])
    refiners.main([*data, "--start", str(bundle)])
    before = (tmp_path / "refiners.pt").read_bytes()
    refiners.main([*data, "--start", str(bundle)])
    assert (tmp_path / "refiners.pt").read_bytes() == before
    with pytest.raises(SystemExit, match="begun with --guidance 2.5"):
        refiners.main([*data, "--start", str(bundle), "--guidance", "3"])
    folders = {path.parent.name: path.parent for path in (tmp_path / "refiners").glob("*/bundle.json")}
    assert folders.keys() == refiners.KINDS.keys()
    x, t, y = torch.randn(2, 8, 4, 4, generator=generator()).numpy(), np.full(2, 0.5, np.float32), np.array([0, 2])
    velocities = x[::-1].copy(), np.zeros_like(x)
    parameters = {}
    for name, folder in folders.items():
        check_same_predictor(bundle, folder)
        whole = [v + Bundle(folder).run("refiner", x=x, v=v, t=t, y=y) for v in velocities]
        parameters[name] = (folder / "refiner.onnx").stat().st_size
        # Only a network that stands on its own answers the same velocity whatever that of before was.
        assert np.allclose(*whole, rtol=0, atol=1e-5) == (name == "a small whole network")
    assert parameters["half as wide"] < parameters["default"] < parameters["twice as deep"]


def test_a_bundles_network_is_taken_whole_or_not_at_all() -> None:
    config = SiTConfig(16, 2, 8, 256, 6, 4, 11, 1024, 8)
    take(TEXTURES, "predictor", SiT(config))
    for changes, message in (
        ({"num_heads": 8}, "another number of heads"),
        ({"depth": 7}, "has no blocks.6"),
        ({"depth": 5}, "has blocks.5.* too"),
        ({"refiner": True}, "wanted is"),
    ):
        with pytest.raises(Unfit, match=message):
            take(TEXTURES, "predictor", SiT(replace(config, **changes)))


def test_a_finished_stage_is_skipped(smoke: Path, capsys: pytest.CaptureFixture) -> None:
    before = (smoke / "refiner.pt").read_bytes()
    again(smoke, "--stage", "refiner")
    assert "refiner: finished (10 steps" in capsys.readouterr().out
    assert (smoke / "refiner.pt").read_bytes() == before


def test_a_stage_goes_on_where_it_ended(smoke: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(smoke, tmp_path / "work")
    again(folder, "--stage", "refiner", "--refiner-steps", "13")
    state = torch.load(folder / "refiner.pt", weights_only=True)
    assert state["step"] == 13
    assert state["optimiser1"]["state"][0]["step"] == 13
    log = read_log(folder / "refiner.csv")
    assert log["step"] == [10, 13]
    assert log["seconds"][0] <= log["seconds"][1]


def test_the_decoder_stage_leaves_the_encoder_as_it_is(smoke: Path) -> None:
    before, after = (torch.load(smoke / f"{s}.pt", weights_only=True)["ema"] for s in ("autoencoder", "decoder"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("decoder.") for name in changed)


def test_a_stage_that_learnt_from_older_weights_is_refused(smoke: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(smoke, tmp_path / "work")
    again(folder, "--stage", "autoencoder", "--autoencoder-steps", "11")
    with pytest.raises(SystemExit, match=r"predictor\.pt: learnt from the autoencoder at step 10.* step 11"):
        again(folder, "--stage", "predictor")


def test_other_sizes_or_classes_than_the_folder_was_begun_with_are_refused(smoke: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"run\.json: begun with --latent-channels 8, not 4"):
        again(smoke, "--latent-channels", "4")
    write_smoke_images(tmp_path, 32, classes=2)
    with pytest.raises(SystemExit, match=r"run\.json: begun with classes"):
        again(smoke, "--data", str(tmp_path))


def test_a_bundles_networks_are_trained_on_for_other_classes(smoke: Path, tmp_path: Path) -> None:
    """Its encoder stays; the predictor and the refiner know as many classes as there are images of."""
    write_smoke_images(tmp_path / "images", 32, classes=2)
    bundle, folder = smoke / "bundle", tmp_path / "new"
    again(smoke, "--data", str(tmp_path / "images"), "--start", str(bundle), "--out", str(folder))
    trained = sorted(path.stem for path in folder.glob("*.pt"))
    assert trained == ["decoder", "predictor", "refiner"]
    before, after = (json.loads((b / "bundle.json").read_text()) for b in (bundle, folder / "bundle"))
    assert (before["classes"]["count"], after["classes"]["count"]) == (3, 2)
    changed = {role for role in before["networks"] if before["networks"][role] != after["networks"][role]}
    assert changed - {"decoder"} == {"predictor", "refiner"}
    # It began as the bundle's, not anew: a few steps leave most of the way between two random networks.
    begun = torch.load(smoke / "predictor.pt", weights_only=True)["ema"]["x_embedder.proj.weight"]
    now = torch.load(folder / "predictor.pt", weights_only=True)["ema"]["x_embedder.proj.weight"]
    assert (now - begun).abs().mean() < 0.2 * begun.abs().mean()


def test_a_budget_tells_what_fits_and_when_that_is_too_little(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(3, 1000, 3))
    monkeypatch.setattr("train.stage.time.monotonic", lambda: float(next(ticks)))
    for least, words in ((0, None), (500, "what 100 steps learn is not worth looking at; it takes 500 or more")):
        budget = Budget(10_000, 5, stage="predictor", least=least)
        budget.start()
        for _ in range(20):
            budget.advance()
        said = capsys.readouterr().out
        assert "predictor: 3.00 s a step, about 100 in all, 4.4 minutes left" in said
        assert "warning" not in said if words is None else words in said and "about 25 minutes" in said
        assert budget.left == pytest.approx(240)


def test_a_stage_without_the_one_before_it_says_which(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"autoencoder\.pt: no such checkpoint; run --stage autoencoder first"):
        again(tmp_path, "--stage", "predictor")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--schedule", "R3"],
        ["--heads", "3"],
        ["--size", "100"],
        ["--refiner-minutes", "0"],
        ["--presets", "fast=R3"],
        ["--presets", "fast=H1@x"],
        ["--refiner-hidden", "40"],
        ["--refiner-name", "decoder"],
        ["--max-delta", "2"],
    ],
)
def test_options_that_cannot_work_are_refused_at_once(wrong: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        run.main(["--data", str(tmp_path), "--out", str(tmp_path / "work"), *wrong])
    assert stop.value.code == 2
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n broken"])
def test_a_broken_image_is_named(content: bytes, tmp_path: Path) -> None:
    write_smoke_images(tmp_path, 32)
    (tmp_path / "class1" / "broken.png").write_bytes(content)
    with pytest.raises(SystemExit, match=r"class1/broken\.png: not an image") as stop:
        load_images(tmp_path, 32)
    assert "\n" not in str(stop.value)


def test_folders_that_hold_no_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="a class needs two images or more"):
        load_images(tmp_path, 32)
    with pytest.raises(SystemExit, match="absent: no such folder"):
        load_images(tmp_path / "absent", 32)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="empty: a class needs two images or more"):
        load_images(tmp_path, 32)


def test_a_folder_without_sub_folders_is_one_class(tmp_path: Path) -> None:
    write_smoke_images(tmp_path, 32)
    images = load_images(tmp_path / "class1", 32)
    assert images.classes == ["class1"] and images.labels.tolist() == [0] * 4


def test_classes_that_a_bundle_cannot_hold_are_refused_before_training(tmp_path: Path) -> None:
    write_smoke_images(tmp_path / "data", 32)
    (tmp_path / "data" / "class1").rename(tmp_path / "data" / "17")
    with pytest.raises(SystemExit, match="label '17' of class 0 reads as another class's number"):
        again(tmp_path / "work", "--data", str(tmp_path / "data"))
    assert not (tmp_path / "work" / "autoencoder.pt").exists()


def test_the_held_out_images_are_a_share_of_every_class_and_always_the_same() -> None:
    labels = torch.tensor([0] * 40 + [1] * 20 + [2] * 2)
    images = Images(torch.arange(62).reshape(62, 1, 1, 1), labels, ["a", "b", "c"])
    kept, held = images.split(0.1, seed=0)
    assert held.labels.bincount().tolist() == [4, 2, 1]
    assert sorted([*kept.pixels.flatten().tolist(), *held.pixels.flatten().tolist()]) == list(range(62))
    assert torch.equal(images.split(0.1, seed=0)[1].pixels, held.pixels)
    assert not torch.equal(images.split(0.1, seed=1)[1].pixels, held.pixels)


def test_batches_hold_every_class_equally_often() -> None:
    labels = torch.tensor([0] * 100 + [1] * 10 + [2])
    drawn = BalancedSampler(labels, generator()).draw(6000)
    assert (labels[drawn].bincount() / 6000 - 1 / 3).abs().max() < 0.03
    assert drawn.unique().tolist() == list(range(111))


def test_augmentation_moves_pixels_around_the_edges_and_changes_none() -> None:
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    image = torch.stack([rows, columns, 8 * rows + columns]).float()
    for out in augment(image.repeat(40, 1, 1, 1), generator()):
        assert out.flatten(1).T.sort(0).values[:, 2].tolist() == list(range(64))
        assert torch.equal(8 * out[0] + out[1], out[2])
        along = 0 if out[0, 0, 0] != out[0, 1, 0] else 1  # the axis that an image's rows have come to lie on
        for channel, axis in ((0, along), (1, 1 - along)):
            steps = (out[channel] - out[channel].roll(1, axis)) % 8
            assert len(steps.unique()) == 1 and steps[0, 0] in (1, 7)


def test_latents_of_the_classes_that_may_turn_lie_on_their_side_in_half_of_the_variants() -> None:
    torch.manual_seed(0)
    model = Autoencoder(AutoencoderConfig()).eval()
    pixels = torch.randint(256, (2, 3, 32, 32), generator=generator(), dtype=torch.uint8)
    images = Images(pixels, torch.tensor([0, 1]), ["fixed", "turns"])
    perceptual = Perceptual((BLOCK,))
    plain, turned = (
        encode(images, model, perceptual, 2, t, 0, torch.device("cpu"), bf16=False) for t in ([], ["turns"])
    )
    for before, after in zip(plain, turned, strict=True):
        changed = (before - after).flatten(1).abs().amax(1) > 0
        assert changed.tolist() == [False] * 12 + [True] * 4


def test_latent_batches_are_rolled_variants_of_their_own_image() -> None:
    values, features = (torch.randn(6, 2, edge, edge, generator=generator()).half() for edge in (8, 4))
    latents = Latents(values, features, torch.tensor([0, 1, 2]), variants=2, generator=generator())
    batch, asked, seen_at = latents.batch_with_features(50)
    for latent, label, seen in zip(batch, asked.labels, seen_at):
        rolls = [
            torch.equal(values[row].roll((2 * i, 2 * j), (1, 2)).float(), latent)
            and torch.equal(features[row].roll((i, j), (1, 2)).float(), seen)
            for row in (2 * label, 2 * label + 1) for i in range(4) for j in range(4)
        ]  # fmt: skip
        assert sum(rolls) == 1


def test_features_of_a_rolled_texture_are_rolled() -> None:
    network, images = Perceptual((BLOCK,)), torch.rand(1, 3, 128, 128, generator=generator())
    still, rolled = features(network, images), features(network, images.roll((16, -32), (2, 3)))
    assert (rolled - still.roll((1, -2), (2, 3))).abs().mean() < 0.1 * still.abs().mean()


@pytest.fixture
def autoencoder() -> Autoencoder:
    torch.manual_seed(0)
    model = Autoencoder(AutoencoderConfig()).eval()
    model.encoder.norm.running_mean.normal_()
    model.encoder.norm.running_var.uniform_(0.5, 2)
    return model


def test_rolling_the_image_by_eight_pixels_rolls_the_latent_by_one(autoencoder: Autoencoder) -> None:
    image = torch.randn(2, 3, 64, 64, generator=generator())
    latent = autoencoder.encode(image)
    rolled = autoencoder.encode(image.roll((FACTOR, -2 * FACTOR), (2, 3)))
    torch.testing.assert_close(rolled, latent.roll((1, -2), (2, 3)), rtol=0, atol=1e-4)
    image, rolled = autoencoder.decode(latent), autoencoder.decode(latent.roll((3, 1), (2, 3)))
    torch.testing.assert_close(rolled, image.roll((3 * FACTOR, FACTOR), (2, 3)), rtol=0, atol=1e-4)


def test_the_folded_encoder_gives_the_same_latent(autoencoder: Autoencoder) -> None:
    image = torch.randn(2, 3, 64, 64, generator=generator())
    folded = autoencoder.encoder.folded()
    torch.testing.assert_close(folded(image), autoencoder.encode(image), rtol=0, atol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())


def test_the_encoder_gains_nothing_by_growing() -> None:
    torch.manual_seed(0)
    norm, x, wanted = RunningNorm(4), torch.randn(8, 4, 6, 6, requires_grad=True), torch.randn(8, 4, 6, 6)
    (gradient,) = torch.autograd.grad((norm(x) - wanted).square().sum(), x)
    assert gradient.abs().mean() > 1
    for growth in (torch.ones_like(x), x - x.mean((0, 2, 3), keepdim=True)):
        assert (gradient * growth).sum((0, 2, 3)).abs().max() < 1e-4 * gradient.abs().sum()
    torch.testing.assert_close(norm(x), norm.eval()(x), rtol=0, atol=1e-4)


def test_averaged_weights_come_with_averaged_statistics() -> None:
    module = RunningNorm(2)
    ema = Ema(module, 0.9)
    module.running_mean.fill_(10)
    ema.update(module, 1000)
    torch.testing.assert_close(ema.module.running_mean, torch.ones(2))


def test_the_rate_stays_at_its_peak_until_the_last_third_of_the_budget() -> None:
    rates = [Budget(1000, 1e9, step=step).learning_rate(1.0) for step in (0, 100, 660, 840, 999, 1000)]
    assert rates == pytest.approx([0.01, 1, 1, 0.5, 0.023, 0.02])
    assert Budget(3000, 1e9, step=1000).learning_rate(1.0) == 1


@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (12, 12)])
def test_muon_steps_as_pytorchs_does_and_in_float32_nearly_so(shape: tuple[int, int]) -> None:
    begun = torch.randn(shape, generator=generator())
    gradients = torch.randn(4, *shape, generator=generator())

    def stepped(make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> Tensor:
        parameter = nn.Parameter(begun.clone())
        optimiser = make([parameter])
        for gradient in gradients:
            parameter.grad = gradient.clone()
            optimiser.step()
        return parameter.detach() - begun

    theirs = stepped(lambda p: torch.optim.Muon(p, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"))
    for dtype, near in ((torch.bfloat16, 1e-3), (torch.float32, 0.05)):
        ours = stepped(lambda p, dtype=dtype: Muon(p, lr=0.01, weight_decay=0.1, dtype=dtype))
        assert (ours - theirs).norm() < near * theirs.norm()


def test_every_trainable_weight_has_one_optimiser() -> None:
    config = SiTConfig(
        input_size=4, patch_size=2, latent_channels=2, hidden_size=16, depth=2, num_heads=2, num_classes=3,
        mlp_hidden=32, out_channels=2,
    )  # fmt: skip
    model = SiT(config)
    chosen = [p for o in matrix_optimisers(model, 1e-3) for group in o.param_groups for p in group["params"]]
    assert len(chosen) == len({id(p) for p in chosen})
    assert {id(p) for p in chosen} == {id(p) for p in model.parameters() if p.requires_grad}


@pytest.mark.parametrize("case", CASES, ids=[f"H{c['heun']}P{c['pseudo']}R{c['refine']}" for c in CASES])
def test_every_sampler_step_gives_the_golden_numbers(case: dict, golden: dict) -> None:
    predictor, refiner = (load_sit(TINY / f"{n}.pt", n == "refiner", heads=4) for n in ("predictor", "refiner"))
    sampler = Sampler(predictor, refiner, case["cfg_scale"], channels=3)
    noise, labels = torch.from_numpy(golden[f"case{case['case']}_noise"]), torch.tensor(case["classes"])
    schedule = "H" * case["heun"] + "P" * case["pseudo"] + "R" * case["refine"]
    states = torch.stack(list(sampler.trajectory(schedule, noise, labels)))
    np.testing.assert_allclose(states.numpy(), golden[f"case{case['case']}_traj"], rtol=0, atol=2e-4)


def test_contrast_tells_places_in_a_cell_apart() -> None:
    cells = torch.arange(24) // FACTOR % 2
    flat = contrast(cells.float().expand(2, 3, 24, 24))
    assert torch.equal(flat[:, 0], torch.zeros(2, FACTOR))  # down
    assert torch.equal(flat[:, 1], torch.tensor([1.0] + 7 * [0.0]).expand(2, FACTOR))  # across


def test_chequers_are_told_from_stripes_and_flats() -> None:
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(24), indexing="ij")
    board, stripes = 1.0 - 2 * ((rows + columns) % 2), 1.0 - 2 * (rows % 2)
    images = torch.stack([0.5 * board, stripes, torch.ones_like(board)]).expand(2, 3, 16, 24)
    wanted = torch.tensor([0.5, 0.0, 0.0])[:, None, None].expand(2, 3, 2, 3)
    assert torch.equal(chequers(images), wanted)


def test_previews_have_the_colours_that_cells_have() -> None:
    latents = torch.randn(4, 2, 3, 5, generator=generator())
    wanted = torch.tensor([[1.0, 0.0, 0.5], [0.25, -1.0, 0.0], [0.0, 0.0, -2.0]])
    colours = torch.einsum("kc,nchw->nkhw", wanted[:, :2], latents) + wanted[:, 2, None, None]
    images = colours.repeat_interleave(FACTOR, 2).repeat_interleave(FACTOR, 3)
    torch.testing.assert_close(torch.tensor(fit_preview(latents, images)), wanted, rtol=0, atol=1e-4)


def test_rows_that_a_resumed_stage_repeats_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("step,seconds,loss\n100,1,5\n200,2,4\n300,3,3\n200,2.5,9\n")
    assert read_log(tmp_path / "x.csv") == {"step": [100, 200], "seconds": [1, 2.5], "loss": [5, 9]}


def test_the_seam_of_images_that_tile_is_one() -> None:
    image = torch.randn(64, 3, 64, 64, generator=generator())
    assert abs(seam(image) - 1) < 0.02
    ramp = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    assert seam(ramp + ramp.mT) == pytest.approx(63, rel=1e-3)


def test_what_is_encoded_is_kept_as_long_as_it_is_made_of_the_same(tmp_path: Path) -> None:
    made = []

    def make() -> tuple[torch.Tensor, torch.Tensor]:
        made.append(1)
        return torch.arange(3.0) + len(made), torch.zeros(1).half()

    file, device = tmp_path / "work" / "training.latents", torch.device("cpu")
    first = kept_tensors(file, "autoencoder 10", make, device)
    again = kept_tensors(file, "autoencoder 10", make, device)
    assert torch.equal(first[0], again[0]) and again[1].dtype == torch.float16 and len(made) == 1
    assert kept_tensors(file, "autoencoder 20", make, device)[0][0] == 2 and len(made) == 2
