"""Edits: what docs/editing.md names, by keywords."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import flowturbo

pytest_plugins = ("shipped_models",)
QUICK = {"schedule": "E2", "guidance": 1.0}


@pytest.fixture(scope="module")
def grass(model: flowturbo.Model) -> np.ndarray:
    with model.session() as session:
        return session.generate(classes="grass", seed=7, schedule="H1P2R2").images


def test_an_image_is_changed_by_its_strength(session: flowturbo.Session, grass: np.ndarray) -> None:
    far = [
        np.abs(session.generate(classes="snow", init=grass, strength=s, **QUICK).images.astype(int) - grass).mean()
        for s in (0.1, 0.9)
    ]
    assert 0 < far[0] < 0.8 * far[1]


def test_images_may_be_arrays_or_pillows_of_any_layout(session: flowturbo.Session, grass: np.ndarray) -> None:
    def edited(init: object) -> np.ndarray:
        return session.generate(classes=["snow"], init=init, strength=0.5, **QUICK).images

    expected = edited(grass)
    with_alpha = np.concatenate([grass, np.zeros((1, 128, 128, 1), np.uint8)], -1)
    upside = np.ascontiguousarray(grass[:, ::-1])[:, ::-1]  # rows from the last to the first
    picture = Image.fromarray(grass[0])
    for init in (grass[0], with_alpha, upside, picture, [picture], picture.convert("RGBA")):
        assert np.array_equal(edited(init), expected)
    for floats in (np.float16, np.float32, np.float64):
        assert np.abs(edited((grass / 255).astype(floats)).astype(int) - expected).max() <= 3
    for astray in (grass[0, 0], grass[..., :1], grass[..., :2]):
        with pytest.raises(ValueError, match=r"init: shape \[.*must be \[H, W, 3\]"):
            edited(astray)
    for astray in (grass.astype(np.int64), with_alpha.astype(np.float32)):
        with pytest.raises(ValueError, match="init: no . channels of "):
            edited(astray)


def test_what_a_mask_keeps_is_kept_to_the_bit(session: flowturbo.Session, grass: np.ndarray) -> None:
    mask = np.zeros((128, 128), np.uint8)
    mask[:, :64] = 255
    made = session.generate(classes="snow", init=grass, mask=mask, **QUICK).images
    assert np.array_equal(made[:, :, 64:], grass[:, :, 64:])
    assert np.abs(made[:, :, :48].astype(int) - grass[:, :, :48]).mean() > 10
    assert np.array_equal(session.generate(classes="snow", init=grass, mask=mask > 0, **QUICK).images, made)
    with pytest.raises(ValueError, match=r"mask: float64 \[128, 128\], must be uint8 or bool"):
        session.generate(classes="snow", init=grass, mask=mask / 255, **QUICK)


def test_variations_and_morphs_are_passed_on(session: flowturbo.Session) -> None:
    def latents(**more: object) -> np.ndarray:
        return session.generate(classes="grass", seed=7, images=False, schedule="E2", **more).latents

    plain = latents()
    near, far = (np.abs(latents(variation=v, variation_seed=8) - plain).mean() for v in (0.1, 0.9))
    assert 0 < near < far
    morphed = session.generate(
        classes=["grass"] * 2,
        seeds=[7, 7],
        schedule="E2",
        images=False,
        morph_classes=["snow", "snow"],
        morph_amounts=[0.0, 1.0],
    ).latents
    snow = session.generate(classes="snow", seed=7, schedule="E2", images=False).latents
    assert np.allclose(morphed[0], plain[0], atol=1e-3) and np.allclose(morphed[1], snow[0], atol=1e-3)
    # The library could not tell how many there are.
    with pytest.raises(ValueError, match="morph_classes: 2 of them for 1 images"):
        latents(morph_classes=["snow", "sand"], morph_amounts=[1])
    with pytest.raises(ValueError, match="morph_amounts: 2 of them for 1 images"):
        latents(morph_classes="snow", morph_amounts=[1, 1])


def test_images_are_encoded(session: flowturbo.Session, grass: np.ndarray) -> None:
    latents = session.encode(grass)
    assert latents.shape == (1, 8, 16, 16) and latents.dtype == np.float32
    assert np.abs(session.decode(latents).astype(int) - grass).mean() < 12
    wide = np.concatenate([grass, grass], 2)
    assert session.encode(wide).shape == (1, 8, 16, 32)
    with pytest.raises(flowturbo.Error, match="120"):
        session.encode(grass[:, :121, :120])
