"""What a generation gives, as other libraries and notebooks want it."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import flowturbo

pytest_plugins = ("shipped_models",)


@pytest.fixture(scope="module")
def made(model: flowturbo.Model) -> flowturbo.Generation:
    with model.session() as session:
        return session.generate(classes=["brick", "grass", "sand"], schedule="E2")


def test_images_are_pillows(made: flowturbo.Generation) -> None:
    pictures = made.pil()
    assert [picture.size for picture in pictures] == 3 * [(128, 128)]
    assert all(np.array_equal(picture, image) for picture, image in zip(pictures, made.images, strict=True))


def test_what_is_not_installed_is_named(
    made: flowturbo.Generation, session: flowturbo.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    for absent in ("PIL", "tqdm.auto"):
        monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(ImportError, match=r"pip install 'flowturbo\[pillow\]'"):
        made.pil()
    with pytest.raises(ImportError, match=r"pip install 'flowturbo\[progress\]'"):
        session.generate(classes=0, progress=True)


def test_arrays_go_to_other_libraries_without_a_copy(made: flowturbo.Generation) -> None:
    images, latents = torch.from_dlpack(made.images), torch.from_dlpack(made.latents)
    assert images.shape == (3, 128, 128, 3) and images.data_ptr() == made.images.ctypes.data
    assert latents.dtype == torch.float32 and latents.data_ptr() == made.latents.ctypes.data


def test_a_notebook_shows_all_images_as_one(made: flowturbo.Generation, session: flowturbo.Session) -> None:
    sheet = np.asarray(Image.open(io.BytesIO(made._repr_png_())))
    assert sheet.shape == (256, 256, 3) and np.array_equal(sheet, made.sheet())
    assert np.array_equal(sheet[:128, 128:], made.images[1]) and np.array_equal(sheet[128:, :128], made.images[2])
    assert not sheet[128:, 128:].any()
    assert repr(made) == "<Generation: images [3, 128, 128, 3], EE>"
    latents = session.generate(classes=0, schedule="E1", images=False)
    assert latents._repr_png_() is None and repr(latents) == "<Generation: latents [1, 8, 16, 16], E>"
    with pytest.raises(ValueError, match="latents alone were asked for"):
        latents.pil()


def test_png_files_hold_images_and_maps(made: flowturbo.Generation, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    heights = np.arange(6, dtype=np.uint16).reshape(2, 3) * 10_000
    turned = made.images[0].swapaxes(0, 1)
    for image in (made.images[0], turned, heights, heights.astype(np.uint8)):
        flowturbo.save_png(image, path)
        assert np.array_equal(Image.open(path), image)
    before = path.read_bytes()
    for astray, message in (
        (made.images, r"image: shape \[3, 128, 128, 3\]"),
        (made.images[0].astype(np.int32), "no 3 channels of int32; there are uint8, float16, float32"),
        (made.images[0][..., :2], "no 2 channels"),
        (made.images[0] / np.float32(255), "PNG files take formats of 8 bits, and GREY16"),
    ):
        with pytest.raises(ValueError, match=message):
            flowturbo.save_png(astray, path)
    with pytest.raises(flowturbo.IOFailed):
        flowturbo.save_png(made.images[0], tmp_path / "no" / "a.png")
    assert path.read_bytes() == before
