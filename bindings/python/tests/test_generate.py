"""Images at once: what is asked for by keywords arrives, and what makes no sense is refused in one line."""

from __future__ import annotations

import pickle
from hashlib import sha256

import numpy as np
import pytest
from shipped import DATA, MAPS, TEXTURES

import flowturbo

pytest_plugins = ("shipped_models",)


def test_a_model_says_what_it_is(model: flowturbo.Model) -> None:
    assert model.labels[0] == "brick" and model.find_class("Brick") == 0 and model.find_class("3") == 3
    assert model.latent_shape == (8, 16, 16) and model.presets == ["balanced", "best", "fast"]
    info = model.info
    assert (info.name, info.width, info.height, info.schedule) == ("textures", 128, 128, "H1P6R5")
    assert len(info.hash) == 64 and info.tiles and not info.prompts and model.maps == ["color"]
    memory = model.prepare(classes="brick")
    assert memory.model > 1e7 and memory.session > 1e6
    assert model.prepare(classes=["brick"] * 4).session > memory.session


def test_a_model_multiplies_in_other_numbers() -> None:
    latents = []
    for precision in ("f32", "f16-weights", "int8", "auto"):
        with flowturbo.Model.open(TEXTURES, threads=1, precision=precision) as model, model.session() as session:
            latents.append(session.generate(classes=4, seed=1, schedule="E1P1", images=False).latents)
    assert np.array_equal(latents[0], latents[1])
    assert 0 < np.abs(latents[2] - latents[0]).max() < 0.3
    assert np.array_equal(latents[0], latents[3]), "nothing was measured of this bundle"
    with pytest.raises(ValueError, match="precision 'int4': there are f32, f16-weights, bf16, int8, f16, tf32"):
        flowturbo.Model.open(TEXTURES, precision="int4")
    for device in ("gpu", "cuda:", "cuda:-1", "cuda:4096", "cpu:0"):
        with pytest.raises(ValueError, match=f"device '{device}': there are cpu, cuda, cuda:N and auto"):
            flowturbo.Model.open(TEXTURES, device=device)
    with flowturbo.Model.open(TEXTURES, threads=1, device="auto") as model:
        assert model.info.device == "cpu"
    with pytest.raises(flowturbo.Unsupported, match="this build has no CUDA"):
        flowturbo.devices()


def test_a_deterministic_models_images_are_every_other_languages() -> None:
    known = dict(line.split(": ") for line in (DATA / "deterministic.txt").read_text().splitlines())
    requests = {
        "image": flowturbo.Request(classes=4, schedule="H1P1R2", seed=1),
        "seamless image": flowturbo.Request(classes=5, schedule="E1", seed=2, seamless="both"),
        "unguided image": flowturbo.Request(classes=0, schedule="H1R1", seed=3, guidance=1.0),
    }
    with flowturbo.Model.open(TEXTURES, threads=1, deterministic=True) as model, model.session() as session:
        for name, request in requests.items():
            assert sha256(session.generate(**request).images.tobytes()).hexdigest() == known[name], name


def test_images_are_the_seeds_and_steps_are_told(session: flowturbo.Session) -> None:
    request = flowturbo.Request(classes=[0, "grass"], seed=7, schedule="H1P2R1", guidance=2.0)
    made = session.generate(**request)
    assert made.images.shape == (2, 128, 128, 3) and made.images.dtype == np.uint8 and made.images.std() > 10
    assert "".join(kind for kind, _ in made.steps) == "HPPR" and made.seconds > sum(took for _, took in made.steps)
    assert np.array_equal(session.generate(**request).images, made.images)
    assert np.array_equal(session.decode(made.latents), made.images)
    again = session.generate(**request | {"classes": np.array(4, np.uint8), "seed": 8})
    assert not np.array_equal(again.images[0], made.images[1])
    whole = session.generate(**request | {"classes": np.array([0.0, 4.0])})
    assert np.array_equal(whole.images, made.images)


def test_each_image_may_have_a_seed_or_a_stream_of_its_own(session: flowturbo.Session) -> None:
    two = session.generate(classes=["sand", "sand"], seeds=[7, 8], schedule="E1", images=False).latents
    alone = session.generate(classes="sand", seed=8, schedule="E1", images=False).latents
    assert np.allclose(two[1], alone[0], atol=1e-4) and not np.allclose(two[0], alone[0], atol=0.1)
    batch = session.generate(classes=["sand"] * 3, seed=7, schedule="E1", images=False).latents
    third = session.generate(classes="sand", seed=7, streams=[2], schedule="E1", images=False).latents
    assert np.allclose(batch[2], third[0], atol=1e-4)


def test_presets_sizes_tiles_and_noise_are_passed_on(session: flowturbo.Session) -> None:
    preset = session.generate(classes=3, preset="fast", images=False)
    assert preset.images is None and "".join(kind for kind, _ in preset.steps) == "HPPPRRR"
    large = session.generate(classes=3, schedule="E1", seamless="x", size=(256, 128))
    assert large.images.shape == (1, 128, 256, 3) and large.latents.shape == (1, 8, 16, 32)
    assert np.abs(session.decode(large.latents).astype(int) - large.images).mean() < 8  # decoded without the border
    noise = np.random.default_rng(0).standard_normal((1, 8, 16, 16), np.float32)
    given, other = (session.generate(classes=3, schedule="E1", noise=n, images=False) for n in (noise, noise + 1))
    assert not np.array_equal(given.latents, other.latents)


def test_maps_are_arrays_of_what_numpy_makes_of_the_decoders_answer() -> None:
    with flowturbo.Model.open(MAPS, threads=1) as model, model.session() as session:
        assert model.maps == ["color", "normal", "height", "roughness", "orm", "mask"]
        made = session.generate(classes=[0, 1], seed=3, maps=["height", "mask"])
        assert np.array_equal(session.map("color"), made.images)
        normal, down = session.map("normal").astype(int), session.map("normal", normal_y="down").astype(int)
        assert normal.shape == (2, 16, 16, 3) and normal[..., :2].std() > 10
        assert abs(np.linalg.norm(normal / 127.5 - 1, axis=-1) - 1).max() < 0.02
        assert abs(normal[..., 1] + down[..., 1] - 255).max() <= 1 and (normal[..., ::2] == down[..., ::2]).all()
        height = session.map("height", np.float32)
        assert height.shape == (2, 16, 16) and height.min() >= 0 and height.max() <= 1 and height.std() > 0.05
        assert np.array_equal(session.map("height", ">u2"), made.maps["height"])
        assert abs(made.maps["height"] - height.astype(float) * 65535).max() <= 0.51
        rough = session.map("roughness")
        expected = np.stack([np.full_like(rough, 255), rough, np.zeros_like(rough)], -1)
        assert np.array_equal(session.map("orm"), expected)
        mask = made.maps["mask"].astype(int)
        assert mask.shape == (2, 16, 16, 4) and abs(mask[..., 3] + rough - 255).max() <= 1
        larger = session.generate(classes=0, size=(24, 16), maps="all")
        assert list(larger.maps) == ["color", "normal", "height", "roughness"]
        assert session.map("normal", np.float16).shape == (1, 16, 24, 3) and larger.images.shape == (1, 16, 24, 3)
        with pytest.raises(ValueError, match="there are uint8, uint16, float32"):
            session.map("height", np.int32)
        with pytest.raises(ValueError, match="no map is called 'albedo'"):
            session.map("albedo")
        with pytest.raises(flowturbo.Error, match="has no metallic map; it has color, height"):
            session.map("metallic")
        with pytest.raises(ValueError, match="maps: the model makes no 'metallic'; it makes color, normal"):
            session.generate(classes=0, maps=["metallic"])


@pytest.mark.parametrize(("bundle", "shape"), [("pooled", (12,)), ("tokens", (7, 12))])
def test_contexts_are_passed_on(bundle: str, shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(0)
    given, away = draw.standard_normal((2, *shape), np.float32), draw.standard_normal((1, *shape), np.float32)
    with flowturbo.Model.open(DATA / "contexts" / bundle, threads=1) as model:
        assert model.context_shape == shape
        with model.session() as session:

            def latents(**contexts: np.ndarray) -> np.ndarray:
                return session.generate(classes=[0, 0], images=False, **contexts).latents

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
            alone = session.generate(context=given, seed=1, images=False)
            assert np.array_equal(
                alone.latents, session.generate(classes=[null, null], context=given, seed=1, images=False).latents
            )


def test_prompts_are_passed_on(session: flowturbo.Session) -> None:
    with flowturbo.Model.open(DATA / "prompts" / "bundle", threads=1) as model, model.session() as prompted:
        words = ["mossy stone wall", "木の床"]
        assert model.info.prompts
        made = prompted.generate(prompts=words, negative_prompt="rust", seed=3)
        assert made.images.shape == (2, 16, 16, 3) and made.latents.shape == (2, 4, 8, 8)
        null = prompted.generate(classes=[3, 3], prompts=words, negative_prompt="rust", seed=3)
        assert np.array_equal(null.latents, made.latents)
        for other in ({"prompts": words}, {"classes": [0, 0], "prompts": words[0]}, {"classes": [0, 0]}):
            assert not np.array_equal(prompted.generate(seed=3, **other).latents, made.latents)
        alone = prompted.generate(prompts="moss").images
        assert alone.shape == (1, 16, 16, 3) and np.array_equal(prompted.map("color"), alone)
        with pytest.raises(TypeError, match="prompt 7: must be a text"):
            prompted.generate(prompts=[7])
        with pytest.raises(ValueError, match="NUL"):
            prompted.generate(prompts=["a\0b"])
    with pytest.raises(flowturbo.Error, match="prompt: this bundle has no text encoder"):
        session.generate(prompts=["moss"])


def test_what_makes_no_sense_is_refused_by_name(session: flowturbo.Session) -> None:
    for classes in (0.9, [0.9], [[0], [1]], "brik"):
        with pytest.raises(ValueError, match=r"must be whole numbers, or labels|no class 'brik'; nearest is 'brick'"):
            session.generate(classes=classes)
    for seed in (-1, 2**64, 0.5):
        with pytest.raises(ValueError, match=f"seed {seed}: must be a whole number from 0"):
            session.generate(classes=0, seed=seed)
    with pytest.raises(ValueError, match="size -8: must be a whole number from 0"):
        session.generate(classes=0, size=(-8, 128))
    with pytest.raises(ValueError, match="seamless 'z': there are x, y, both"):
        session.generate(classes=0, seamless="z")
    with pytest.raises(TypeError, match="no keyword 'sed'; there are classes, prompts, "):
        session.generate(classes=0, sed=7)
    with pytest.raises(flowturbo.InvalidArgument, match="classes"):
        session.generate(seed=7)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"cancel": 3}, "cancel 3: must be a CancelToken"),
        ({"size": 128}, "size 128: must be width and height"),
        ({"size": (1, 2, 3)}, r"size \(1, 2, 3\): must be width and height"),
        ({"size": (0, 128)}, r"size \(0, 128\): must be 1 or more"),
        ({"seeds": 5}, "seeds 5: must be whole numbers, in a list"),
        ({"streams": ["a"]}, "streams 'a': must be a whole number"),
        ({"maps": True}, "maps True: must be names, in a list"),
        ({"prompts": 5}, "prompts 5: must be texts, in a list"),
        ({"prompts": "\udcff"}, r"prompt '\\udcff': is not Unicode"),
        ({"schedule": "\udcff"}, r"schedule '\\udcff': is not Unicode"),
        ({"guidance": "x"}, "guidance 'x': must be a number"),
        ({"strength": [1]}, r"strength \[1\]: must be a number"),
        ({"progress": 3}, "progress 3: must be a function"),
        ({"seamless": ["x"]}, r"seamless \['x'\]: there are x, y, both"),
        ({"noise": [[1], [2, 3]]}, "noise: setting an array element"),
        ({"mask": [[1], [2, 3]]}, "mask: setting an array element"),
        ({"init": [[1], [2, 3]]}, "init: setting an array element"),
        *(
            ({name: astray}, f"{name} .*: must be whole numbers, or labels")
            for name in ("classes", "morph_classes")
            for astray in ({1, 2}, (one for one in "ab"), [None], 2**64, np.zeros((1, 100), int), b"a", np.array(0.5))
        ),
    ],
)
def test_a_keyword_of_another_kind_is_refused_by_its_name(
    session: flowturbo.Session, request_: flowturbo.Request, message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{message}") as refused:
        session.generate(**{"classes": 0} | request_)
    assert "\n" not in str(refused.value)


def test_arrays_of_another_shape_are_refused_though_of_as_many_numbers(session: flowturbo.Session) -> None:
    def refused(message: str, **request: object) -> None:
        with pytest.raises(ValueError, match=message):
            session.generate(classes=[0, 0], schedule="E1", **request)

    image = np.zeros((128, 128, 3), np.uint8)
    for shape in ((64, 256), (256, 64)):
        refused(r"init: shape \[1, .*, 3\], must be \[N, 128, 128, C\]", init=np.zeros((*shape, 3), np.uint8))
        refused(r"mask: shape \[.*\], must be \[128, 128\]", init=image, mask=np.ones(shape, bool))
        refused(r"mask: shape \[2, .*\], must be \[N, 128, 128\]", init=image, mask=np.ones((2, *shape), bool))
    # Of a size that is asked for, too.
    refused(r"init: .* must be \[N, 128, 256, C\]", init=np.zeros((256, 128, 3), np.uint8), size=(256, 128))
    for shape in ((2, 16, 16, 8), (16, 8, 16, 16), (2, 8, 8, 32), (2, 2048)):
        refused(r"noise: shape \[.*\], must be \[2, 8, 16, 16\]", noise=np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match=r"latents: shape \[1, 16, 16, 8\], must be \[N, 8, h, w\]"):
        session.decode(np.zeros((1, 16, 16, 8), np.float32))


def test_sizes_are_looked_at_before_memory_is_taken_for_them(session: flowturbo.Session) -> None:
    for size in ((100_000, 100_000), (2**31, 2**31)):
        with pytest.raises(flowturbo.LimitExceeded, match=f"size: {size[0]} x {size[1]} .*max_edge"):
            session.generate(classes=0, size=size)


def test_what_the_library_refuses_is_an_exception_of_its_status(session: flowturbo.Session) -> None:
    with pytest.raises(flowturbo.InvalidArgument, match="'Q' is no step") as refused:
        session.generate(classes=0, schedule="H1Q2")
    assert refused.value.name == "FT_ERROR_INVALID_ARGUMENT" and "\n" not in str(refused.value)
    assert isinstance(refused.value, ValueError) and refused.value.status == 1
    again = pickle.loads(pickle.dumps(refused.value))
    assert (type(again), str(again), again.status) == (flowturbo.InvalidArgument, str(refused.value), 1)
    with pytest.raises(flowturbo.InvalidArgument, match="class 99"):
        session.generate(classes=99)
    with pytest.raises(flowturbo.LimitExceeded, match="image_count"):
        session.generate(classes=[0] * 5000)
    with pytest.raises(flowturbo.IOFailed) as missing:
        flowturbo.Model.open(TEXTURES / "nothing")
    assert isinstance(missing.value, OSError)
    assert session.generate(classes=0, schedule="E1").images is not None


def test_what_is_closed_is_told(model: flowturbo.Model) -> None:
    other = flowturbo.Model.open(MAPS, threads=1)
    session = other.session()
    other.close()
    other.close()
    with session:  # which outlives its model
        assert session.generate(classes=0).images.shape == (1, 16, 16, 3)
    for call in (
        lambda: session.generate(classes=0),
        lambda: session.step(1),
        lambda: session.steps(classes=0),
        lambda: session.steps_made,
        session.finish,
        session.preview,
        session.reset,
    ):
        with pytest.raises(flowturbo.InvalidHandle, match="ft_session was freed already"):
            call()
    for call in (
        other.session,
        lambda: other.labels,
        lambda: other.maps,
        lambda: other.find_class("0"),
        lambda: other.prepare(classes=0),
    ):
        with pytest.raises(flowturbo.InvalidHandle, match="ft_model was freed already"):
            call()
