"""Weights, containers and geometries: float16, zip, external data, learned sigma, patch sizes, random networks."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import TINY, Bundle, export, tiny_arguments
from export import ExportError
from export.bundle import Classes, Latent, Manifest, write_bundle
from export.synthetic import SIZES, enliven
from nets.autoencoder import AutoencoderConfig, Decoder, Encoder
from nets.sit import SiT, SiTConfig
from torch import nn

ALLOWED = """
    Add Cast Concat Conv Cos DepthToSpace Gather Gemm InstanceNormalization LayerNormalization MatMul Mul Pow Reshape
    Relu Resize Sigmoid Sin Slice Softmax Split Tanh Transpose Unsqueeze
"""
SMALL = SiTConfig(
    input_size=16,
    patch_size=2,
    latent_channels=4,
    hidden_size=64,
    depth=1,
    num_heads=4,
    num_classes=10,
    mlp_hidden=160,
    out_channels=8,
)


def small_network(**changes: object) -> SiT:
    torch.manual_seed(0)
    network = enliven(SiT(replace(SMALL, **changes)).initialise())
    for parameter in network.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, std=0.1)
    return network


def small_manifest(**changes: object) -> Manifest:
    return replace(Manifest("small", Latent(4, 16, 16), Classes(10), schedule="P8", guidance=2.0), **changes)


def saved(network: SiT, path: Path) -> Path:
    torch.save(network.state_dict(), path)
    return path


def call(bundle: Bundle, x: torch.Tensor) -> np.ndarray:
    return bundle.run("predictor", x=x.numpy(), t=np.full(len(x), 0.3, np.float32), y=np.arange(len(x)))


def expect(network: SiT, x: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return network(x, torch.full((len(x),), 0.3), torch.arange(len(x))).numpy()


def test_only_the_batch_is_symbolic_and_only_plain_operators_are_left(tiny: Bundle) -> None:
    for role in ("predictor", "refiner"):
        path = tiny.folder / tiny.manifest["networks"][role]["file"]
        onnx.checker.check_model(path, full_check=True)
        model = onnx.load(path)
        assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
        assert {node.op_type for node in model.graph.node} <= set(ALLOWED.split())
        for value in [*model.graph.input, *model.graph.output]:
            first, *rest = value.type.tensor_type.shape.dim
            assert first.dim_param == "N" and all(d.dim_value > 0 for d in rest)


def test_a_graph_says_nothing_about_the_machine_it_was_made_on(tiny: Bundle) -> None:
    data = (tiny.folder / "predictor.onnx").read_bytes()
    assert not any(word in data for word in (b".py", b"pkg.torch", str(TINY).encode(), b"site-packages"))


def test_f16_weights_are_half_the_size_and_their_numbers_are_near(tiny: Bundle, golden: dict, tmp_path: Path) -> None:
    assert export(*tiny_arguments(tmp_path / "half", dtype="f16")) == 0
    half = Bundle(tmp_path / "half")
    x, v, t, y = (golden[f"net_{name}"] for name in "xvty")
    for role, inputs in (("predictor", {"x": x, "t": t, "y": y}), ("refiner", {"x": x, "v": v, "t": t, "y": y})):
        want = golden[f"net_{role}_out"]
        assert np.abs(half.run(role, **inputs) - want).max() < 3e-3 * np.abs(want).max()
        file = half.manifest["networks"][role]["file"]
        assert (half.folder / file).stat().st_size < 0.6 * (tiny.folder / file).stat().st_size
        graph = onnx.load(half.folder / file).graph
        halves = {i.name for i in graph.initializer if i.data_type == onnx.TensorProto.FLOAT16}
        readers = [node.op_type for node in graph.node for name in node.input if name in halves]
        assert len(halves) > 10 and readers == ["Cast"] * len(halves)


def test_a_weight_too_large_for_f16_is_named(tmp_path: Path) -> None:
    network = small_network()
    network.blocks[0].attn.qkv.weight.data[0, 0] = 1e5
    with pytest.raises(ExportError, match=r"blocks\.0\.attn\.qkv.*1e\+05 does not fit in float16"):
        write_bundle(tmp_path / "out", small_manifest(), {"predictor": cut(network)}, dtype="f16")
    assert not list(tmp_path.iterdir())


def test_a_zip_holds_the_same_files_stored(tmp_path: Path) -> None:
    assert export("--predictor", TINY / "refiner.pt", "--heads", 4, "--out", tmp_path / "tiny.zip") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.zip"]
    with zipfile.ZipFile(tmp_path / "tiny.zip") as archive:
        assert archive.namelist() == ["bundle.json", "predictor.onnx"]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        manifest = json.loads(archive.read("bundle.json"))
        digest = hashlib.sha256(archive.read("predictor.onnx")).hexdigest()
    assert manifest["name"] == "tiny" and manifest["networks"]["predictor"]["sha256"] == digest


@pytest.mark.parametrize(("dtype", "tolerance"), [("f32", 1e-5), ("f16", 3e-3)])
def test_large_weights_go_to_one_external_file(dtype: str, tolerance: float, tmp_path: Path) -> None:
    network = cut(small_network())
    write_bundle(tmp_path / "out", small_manifest(), {"predictor": network}, dtype, external_threshold=1000)
    bundle = Bundle(tmp_path / "out")
    (external,) = bundle.manifest["networks"]["predictor"]["external_data"]
    data = (tmp_path / "out" / external["file"]).read_bytes()
    assert external["file"] == "predictor.onnx.data" and hashlib.sha256(data).hexdigest() == external["sha256"]
    assert (tmp_path / "out" / "predictor.onnx").stat().st_size < len(data)
    want = expect(network, x := torch.randn(2, 4, 16, 16))
    np.testing.assert_allclose(call(bundle, x), want, rtol=0, atol=tolerance * np.abs(want).max())


def cut(network: SiT) -> SiT:
    """The network as the command line loads it: learned sigma gone."""
    from export.checkpoint import cut_learned_sigma, fill

    state, config = cut_learned_sigma(network.state_dict(), network.config)
    fill(smaller := SiT(config), state)
    return smaller.eval()


@pytest.mark.parametrize(("patch", "sigma"), [(2, True), (4, True), (8, True), (2, False)])
def test_learned_sigma_is_never_computed_at_any_patch_size(patch: int, sigma: bool, tmp_path: Path) -> None:
    network = small_network(patch_size=patch, out_channels=8 if sigma else 4)
    path = saved(network, tmp_path / "net.pt")
    assert export("--predictor", path, "--heads", 4, "--dtype", "f32", "--out", tmp_path / "out") == 0
    graph = onnx.load(tmp_path / "out" / "predictor.onnx").graph
    shapes = {i.name: list(i.dims) for i in graph.initializer}
    assert shapes["final_layer.linear.bias"] == [patch * patch * 4]
    assert shapes["final_layer.linear/MatMul[1]"] == [64, patch * patch * 4]
    assert not any(node.op_type == "Slice" for node in graph.node)
    x = torch.randn(3, 4, 16, 16)
    np.testing.assert_allclose(call(Bundle(tmp_path / "out"), x), expect(network, x), rtol=0, atol=1e-5)


def test_eight_channels_are_all_guided_and_not_scaled(tmp_path: Path) -> None:
    path = saved(small_network(latent_channels=8, out_channels=8), tmp_path / "net.pt")
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"klasse-ß{i}" for i in range(10)) + "\n", encoding="utf-8")
    more = ["--labels", labels, "--license", "MIT", "--description", "ten classes", "--time-direction", "data_to_noise"]
    more += ["--time-scale", 1000, "--velocity-sign", -1, "--name", "eight"]
    assert export("--predictor", path, "--heads", 4, "--out", tmp_path / "out", *more) == 0
    manifest = Bundle(tmp_path / "out").manifest
    assert manifest["guidance"] == {"channels": 8} and manifest["latent"]["scale"] == 1.0
    assert manifest["classes"]["labels"][3] == "klasse-ß3" and manifest["license"] == "MIT"
    assert manifest["time"] == {"direction": "data_to_noise", "scale": 1000.0, "velocity_sign": -1}
    assert manifest["sampling"]["schedule"] == "P8" and manifest["name"] == "eight"


def test_the_chosen_half_of_a_training_checkpoint_is_taken(tmp_path: Path) -> None:
    import argparse

    ema, model = small_network(), small_network()
    model.pos_embed.data.zero_()
    checkpoint = {"model": model.state_dict(), "ema": ema.state_dict(), "opt": {}, "args": argparse.Namespace(lr=1e-4)}
    torch.save(checkpoint, tmp_path / "net.pt")
    x = torch.randn(1, 4, 16, 16)
    for more, network in (([], ema), (["--weights", "model"], model)):
        out = tmp_path / "out"
        assert export("--predictor", tmp_path / "net.pt", "--heads", 4, "--dtype", "f32", "--out", out, *more) == 0
        np.testing.assert_allclose(call(Bundle(out), x), expect(network, x), rtol=0, atol=1e-5)


def test_random_networks_are_lively(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "S", (384, 2, 6))  # fewer blocks, to be quick
    assert export("--random", "S/8", "--out", tmp_path / "s8") == 0
    bundle = Bundle(tmp_path / "s8")
    assert bundle.manifest["classes"]["count"] == 1000 and bundle.manifest["sampling"]["schedule"] == "H1P5R3"
    out = call(bundle, torch.randn(4, 4, 32, 32))
    assert out.shape == (4, 4, 32, 32) and 0.3 < out.std() < 3
    assert np.abs(out[0] - out[1]).mean() > 0.1


def test_the_texture_autoencoder_exports_without_padding_or_batch_norm(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = AutoencoderConfig(latent_channels=4, encoder_widths=(8, 16, 24), decoder_widths=(24, 16, 16, 8))
    encoder, decoder = Encoder(config), Decoder(config)
    encoder(3 * torch.randn(4, 3, 64, 64) + 1)  # gives the running norm statistics of its own
    expected = encoder.eval()(image := torch.randn(2, 3, 128, 128)).detach()
    encoder.train()
    networks = {"predictor": cut(small_network()), "decoder": decoder, "encoder": encoder}
    report = write_bundle(tmp_path / "out", small_manifest(image=(128, 128)), networks, dtype="f16")
    assert encoder.training and decoder.training and not networks["predictor"].training
    assert [line[0] for line in report.networks] == ["predictor", "decoder", "encoder"]
    for role in ("decoder", "encoder"):
        graph = onnx.load(tmp_path / "out" / f"{role}.onnx").graph
        assert {node.op_type for node in graph.node} <= set(ALLOWED.split())
    bundle = Bundle(tmp_path / "out")
    latent = np.random.default_rng(0).normal(size=(1, 4, 16, 16)).astype(np.float32)
    encoded = bundle.run("encoder", image=image.numpy())
    np.testing.assert_allclose(encoded, expected, rtol=0, atol=5e-3 * expected.abs().max())
    image = bundle.run("decoder", latent=latent)
    rolled = bundle.run("decoder", latent=np.roll(latent, 3, axis=3))
    np.testing.assert_allclose(np.roll(image, 24, axis=3), rolled, rtol=0, atol=1e-4)


def test_an_older_bundle_is_replaced_and_other_folders_are_not(tmp_path: Path) -> None:
    network = {"predictor": cut(small_network())}
    write_bundle(tmp_path / "out", small_manifest(presets={"fast": ("H1P1", 1.5)}), network)
    (tmp_path / "out" / "README.md").write_text("a card")
    (tmp_path / "out" / "sheets").mkdir()
    (tmp_path / "out" / "sheets" / "one.png").write_bytes(b"a sheet")
    (tmp_path / "out" / "refiner.onnx").write_bytes(b"of the older bundle alone")
    write_bundle(tmp_path / "out", small_manifest(name="newer"), network)
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert files == ["README.md", "bundle.json", "predictor.onnx", "sheets/one.png"]
    assert json.loads((tmp_path / "out" / "bundle.json").read_text())["name"] == "newer"
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("mine")
    with pytest.raises(ExportError, match="not a bundle"):
        write_bundle(tmp_path / "precious", small_manifest(), network)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "precious"]
