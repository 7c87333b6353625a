"""Bundles whose decoder makes maps beside the colour: what the manifest says, what is refused, what flowturbo makes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, Bundle
from export import ExportError
from export.bundle import write_bundle
from export.manifest import MAPS, Manifest
from export.program import compare, with_z
from test_export_run import MANIFEST, make_networks
from torch import Tensor, nn

sys.path.insert(0, str(REPOSITORY / "tests" / "graphs"))

import maps as tiny

ALL = list(MAPS)


class Maps(nn.Module):
    """The colour of a decoder, and as many channels more."""

    def __init__(self, decoder: nn.Module, more: int):
        super().__init__()
        self.decoder, self.more = decoder, nn.Conv2d(3, more, 3, padding=1, padding_mode="circular")
        self.any_size = True

    def forward(self, latent: Tensor) -> Tensor:
        colour = self.decoder(latent)
        return torch.cat([colour, 4 * self.more(colour)], 1)


def networks(channels: int) -> dict[str, nn.Module]:
    made = make_networks()
    made["decoder"] = Maps(made["decoder"], channels - 3)
    return made


def test_maps_are_written_verified_and_run(tmp_path: Path, program: Path) -> None:
    manifest, made = replace(MANIFEST, maps=ALL), networks(9)
    assert write_bundle(tmp_path / "bundle", manifest, made, program=program).run < 1e-4
    written = Bundle(tmp_path / "bundle")
    assert written.manifest["format_version"] == "1.1" and written.manifest["image"]["maps"] == ALL
    assert written.run("decoder", latent=np.zeros((2, 4, 4, 4), np.float32)).shape == (2, 9, 32, 32)
    # Each map is looked at.
    for channel in range(3, 9):
        with torch.no_grad():
            made["decoder"].more.bias[channel - 3] += 0.3
        with pytest.raises(ExportError, match=r"decoder.onnx: flowturbo is .* away from PyTorch"):
            compare(program, tmp_path / "bundle", manifest, made, "f16")
        with torch.no_grad():
            made["decoder"].more.bias[channel - 3] -= 0.3
    assert compare(program, tmp_path / "bundle", manifest, made, "f16") < 1e-4


def test_a_bundle_without_maps_stays_as_it_was(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", MANIFEST, make_networks())
    manifest = json.loads((tmp_path / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    assert manifest["format_version"] == "1.0" and "maps" not in manifest["image"]
    assert MANIFEST.map_channels == 3 and replace(MANIFEST, maps=ALL).map_channels == 9


@pytest.mark.parametrize(
    ("maps", "channels", "message"),
    [
        (
            ["color", "normal"],
            9,
            r"decoder.onnx: makes \[1, 9, 32, 32\], but \[N, 5, H, W\] is wanted \(color, normal\)",
        ),
        (None, 4, r"decoder.onnx: makes \[1, 4, 32, 32\], but \[N, 3, H, W\] is wanted \(color\)"),
        ([], 3, "maps begin with color, not nothing"),
        (["normal", "color"], 5, "maps begin with color, not normal"),
        (["color", "height", "height"], 5, "maps color, height, height: each once"),
        (["color", "orm"], 4, "map 'orm': one of color, normal, height, roughness, metallic, occlusion"),
    ],
)
def test_a_decoder_or_a_list_that_does_not_fit_is_refused(
    tmp_path: Path, maps: list[str] | None, channels: int, message: str
) -> None:
    made = networks(channels) if channels > 3 else make_networks()
    with pytest.raises(ExportError, match=message) as caught:
        write_bundle(tmp_path / "bundle", replace(MANIFEST, maps=maps), made)
    assert len(str(caught.value).splitlines()) == 1 and not any(tmp_path.iterdir())


def test_maps_want_a_decoder() -> None:
    made = make_networks()
    del made["decoder"]
    with pytest.raises(ExportError, match="maps need a decoder"):
        write_bundle(Path("nowhere"), replace(MANIFEST, maps=["color"]), made)
    with pytest.raises(ExportError, match="maps need the image size"):
        Manifest("x", MANIFEST.latent, MANIFEST.classes, "P1", 1.0, maps=["color"]).check()


def test_normals_are_unit_vectors_within_the_disc() -> None:
    vectors = with_z(np.array([[[0.6, 3.0, 0.0]], [[0.0, 4.0, 0.0]]], np.float32))
    np.testing.assert_allclose(vectors[:, 0], [[0.6, 0.6, 0.0], [0.0, 0.8, 0.0], [0.8, 0.0, 1.0]], atol=1e-4)


def test_the_committed_numbers_are_those_of_the_committed_decoder() -> None:
    stored, bundle = np.load(tiny.FOLDER / "maps.npz"), Bundle(tiny.FOLDER / "bundle")
    answer = bundle.run("decoder", latent=stored["latents"] / tiny.SCALE + tiny.SHIFT)
    np.testing.assert_allclose(answer, stored["answer"], rtol=0, atol=1e-5)
    for name, pixels in tiny.pixels(stored["answer"]).items():
        assert pixels.dtype == stored[name].dtype and np.array_equal(pixels, stored[name]), name
    sizes = [file.stat().st_size for file in tiny.FOLDER.rglob("*") if file.is_file()]
    assert sum(sizes) < 100_000
