"""The binding against the shipped library: the structs' layout, images, and what is refused."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "bindings" / "python"))

import flowturbo
from flowturbo import Request, abi

TEXTURES = REPOSITORY / "models" / "textures"
MAPS = REPOSITORY / "tests" / "data" / "tiny-maps" / "bundle"
BUILT = REPOSITORY / "target" / "release" / "libflowturbo_capi.so"
LIBRARY = Path(os.environ.get("FLOWTURBO_LIBRARY", BUILT))


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    return flowturbo.load_library(LIBRARY)


@pytest.fixture(scope="module")
def session(library: ctypes.CDLL) -> Iterator[flowturbo.Session]:
    with flowturbo.Model(library, TEXTURES, threads=1) as model:
        session = model.session()
    with session:  # which outlives its model
        yield session


@pytest.mark.skipif(struct.calcsize("P") != 8, reason="the table is that of 64-bit machines")
def test_the_structs_lie_as_the_header_says() -> None:
    table = (REPOSITORY / "tests" / "c" / "layout.txt").read_text(encoding="utf-8")
    assert list(abi.layout()) == table.splitlines()


def test_every_struct_is_of_the_size_that_the_library_knows(library: ctypes.CDLL) -> None:
    for name in ("pixels", "reader", "model_options", "limits", "request"):
        filled = abi.filled(library, abi.STRUCTS[f"ft_{name}"], getattr(library, f"ft_{name}_init"))
        assert filled.struct_size == ctypes.sizeof(filled)


def test_a_model_says_what_it_is(library: ctypes.CDLL) -> None:
    with flowturbo.Model(library, TEXTURES) as model:
        assert model.labels[0] == "brick" and model.find_class("Brick") == 0 and model.find_class("3") == 3
        assert model.latent_shape == (8, 16, 16) and model.info.width == 128 and len(model.hash) == 64
        assert model.info.schedule.decode() == "H1P6R5"


def test_a_model_multiplies_in_other_numbers(library: ctypes.CDLL) -> None:
    latents = []
    for precision in ("f32", "f16-weights", "int8"):
        with flowturbo.Model(library, TEXTURES, threads=1, precision=precision) as model, model.session() as session:
            latents.append(session.generate(Request([4], seed=1, schedule="E1P1", images=False)).latents)
    assert np.array_equal(latents[0], latents[1])
    assert 0 < np.abs(latents[2] - latents[0]).max() < 0.3
    with pytest.raises(ValueError, match="precision 'int4': there are f32, f16-weights, bf16, int8"):
        flowturbo.Model(library, TEXTURES, precision="int4")


def test_images_are_the_seeds_and_steps_are_told(session: flowturbo.Session) -> None:
    request = Request([0, 4], seed=7, schedule="H1P2R1", guidance=2.0)
    made = session.generate(request)
    assert made.images.shape == (2, 128, 128, 3) and made.images.dtype == np.uint8 and made.images.std() > 10
    assert "".join(kind for kind, _ in made.steps) == "HPPR" and made.seconds > sum(took for _, took in made.steps)
    assert np.array_equal(session.generate(request).images, made.images)
    assert np.array_equal(session.decode(made.latents), made.images)
    again = session.generate(Request([4], seed=8, schedule="H1P2R1", guidance=2.0))
    assert not np.array_equal(again.images[0], made.images[1])


def test_presets_sizes_tiles_and_noise_are_passed_on(session: flowturbo.Session) -> None:
    preset = session.generate(Request([3], preset="fast", images=False))
    assert preset.images is None and "".join(kind for kind, _ in preset.steps) == "HPPPRRR"
    large = session.generate(Request([3], schedule="E1", tile="x", size=(256, 128)))
    assert large.images.shape == (1, 128, 256, 3) and large.latents.shape == (1, 8, 16, 32)
    noise = np.random.default_rng(0).standard_normal((1, 8, 16, 16), np.float32)
    given, other = (session.generate(Request([3], schedule="E1", noise=n, images=False)) for n in (noise, noise + 1))
    assert not np.array_equal(given.latents, other.latents)


def test_maps_are_arrays_of_what_numpy_makes_of_the_decoders_answer(library: ctypes.CDLL) -> None:
    with flowturbo.Model(library, MAPS, threads=1) as model, model.session() as session:
        assert model.maps == ["color", "normal", "height", "roughness", "orm", "mask"]
        made = session.generate(Request([0, 1], seed=3))
        assert np.array_equal(session.map("color"), made.images)
        normal, down = session.map("normal").astype(int), session.map("normal", normal_y="down").astype(int)
        assert normal.shape == (2, 16, 16, 3) and normal[..., :2].std() > 10
        assert abs(np.linalg.norm(normal / 127.5 - 1, axis=-1) - 1).max() < 0.02
        assert abs(normal[..., 1] + down[..., 1] - 255).max() <= 1 and (normal[..., ::2] == down[..., ::2]).all()
        height = session.map("height", np.float32)
        assert height.shape == (2, 16, 16) and height.min() >= 0 and height.max() <= 1 and height.std() > 0.05
        assert np.array_equal(session.map("height", ">u2"), session.map("height", "uint16"))
        assert abs(session.map("height", "uint16") - height.astype(float) * 65535).max() <= 0.51
        rough = session.map("roughness")
        expected = np.stack([np.full_like(rough, 255), rough, np.zeros_like(rough)], -1)
        assert np.array_equal(session.map("orm"), expected)
        mask = session.map("mask").astype(int)
        assert mask.shape == (2, 16, 16, 4) and abs(mask[..., 3] + rough - 255).max() <= 1
        larger = session.generate(Request([0], size=(24, 16)))
        assert session.map("normal", np.float16).shape == (1, 16, 24, 3) and larger.images.shape == (1, 16, 24, 3)
        with pytest.raises(ValueError, match="there are uint8, uint16, float32"):
            session.map("height", np.int32)
        with pytest.raises(ValueError, match="no map is called 'albedo'"):
            session.map("albedo")
        with pytest.raises(flowturbo.Error, match="has no metallic map; it has color, height"):
            session.map("metallic")


@pytest.mark.parametrize(("bundle", "shape"), [("pooled", (12,)), ("tokens", (7, 12))])
def test_contexts_are_passed_on(library: ctypes.CDLL, bundle: str, shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(0)
    given, away = draw.standard_normal((2, *shape), np.float32), draw.standard_normal((1, *shape), np.float32)
    with flowturbo.Model(library, REPOSITORY / "tests" / "data" / "contexts" / bundle, threads=1) as model:
        assert model.context_shape == shape
        with model.session() as session:

            def latents(**contexts: np.ndarray) -> np.ndarray:
                return session.generate(Request([0, 0], images=False, **contexts)).latents

            plain, with_contexts = latents(), latents(context=given)
            assert not np.array_equal(plain, with_contexts)
            assert np.array_equal(latents(context=np.zeros((1, *shape))), plain)
            assert not np.array_equal(latents(context=given[::-1]), with_contexts)
            assert not np.array_equal(latents(context=given, negative_context=away), with_contexts)
            with pytest.raises(flowturbo.Error, match="context: shape"):
                latents(context=np.zeros((3, *shape)))
            for astray in (np.zeros((1, *shape[::-1], 1)), np.zeros((1, 1, *shape)), np.zeros(shape[-1])):
                with pytest.raises(ValueError, match=r"negative_context: shape \[.*must be \[N, "):
                    latents(negative_context=astray)
            with pytest.raises(ValueError, match="complex128 numbers; floats are needed"):
                latents(context=np.zeros((1, *shape), complex))
            # Contexts alone are of no class.
            null = max(model.info.null_class, 0)
            alone = session.generate(Request(context=given, seed=1, images=False)).latents
            assert np.array_equal(
                alone, session.generate(Request([null, null], context=given, seed=1, images=False)).latents
            )


def test_prompts_are_passed_on(library: ctypes.CDLL, session: flowturbo.Session) -> None:
    bundle = REPOSITORY / "tests" / "data" / "prompts" / "bundle"
    with flowturbo.Model(library, bundle, threads=1) as model, model.session() as prompted:
        words = ["mossy stone wall", "木の床"]
        made = prompted.generate(Request(prompts=words, negative_prompt="rust", seed=3))
        assert made.images.shape == (2, 16, 16, 3) and made.latents.shape == (2, 4, 8, 8)
        null = Request([3, 3], prompts=words, negative_prompt="rust", seed=3)
        assert np.array_equal(prompted.generate(null).latents, made.latents)
        others = [Request(prompts=words, seed=3), Request([0, 0], prompts=words[:1], seed=3), Request([0, 0], seed=3)]
        for other in others:
            assert not np.array_equal(prompted.generate(other).latents, made.latents)
        alone = prompted.generate(Request(prompts=words)).images
        assert np.array_equal(prompted.map("color"), alone)
        with pytest.raises(TypeError, match="a list of texts"):
            prompted.generate(Request(prompts="moss"))
        with pytest.raises(ValueError, match="NUL"):
            prompted.generate(Request(prompts=["a\0b"]))
    with pytest.raises(flowturbo.Error, match="prompt: this bundle has no text encoder"):
        session.generate(Request(prompts=["moss"]))


def test_what_is_refused_is_one_line_with_its_status(library: ctypes.CDLL, session: flowturbo.Session) -> None:
    with pytest.raises(ValueError, match=r"classes \[0.9\]: must be whole numbers"):
        session.generate(Request([0.9]))
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match=f"seed {seed}: must be from 0"):
            session.generate(Request([0], seed=seed))
    with pytest.raises(flowturbo.Error, match="'Q' is no step") as refused:
        session.generate(Request([0], schedule="H1Q2"))
    assert refused.value.name == "FT_ERROR_INVALID_ARGUMENT" and "\n" not in str(refused.value)
    with pytest.raises(flowturbo.Error, match="class 99"):
        session.generate(Request([99]))
    with pytest.raises(flowturbo.Error) as refused:
        flowturbo.Model(library, TEXTURES / "nothing")
    assert refused.value.status != 0
    assert session.generate(Request([0], schedule="E1")).images is not None
