"""Training on text: captions, their embeddings, what is dropped, and networks that take a context."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from eval import phrases
from nets.sit import SiT, SiTConfig
from train import text
from train.captions import VARIANTS, caption_of, texts_of, variants
from train.conditions import BOTH, CLASS, TEXT, Conditions, of_classes, of_texts
from train.data import Images
from train.materials import CLASSES, read_index
from train.predictor import flow_matching_loss
from train.refiner import Memory, Walker, start_from
from train.sampler import Sampler
from train.stage import Budget, descend, matrix_optimisers
from train.text import TextEncoder, embed, read_embeddings, write_embeddings

PHRASED = {"a", "of", "in", "is", "and", "that", "seamless", "texture", "material", "photo", "surface"}
CONFIG = SiTConfig(4, 2, 2, 32, 1, 2, 3, 64, 2, context=8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(refiner: bool = False) -> SiT:
    """With weights everywhere, so that every input has a say."""
    torch.manual_seed(0)
    model = SiT(replace(CONFIG, refiner=refiner))
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


# Conditions


def test_classes_and_texts_are_dropped_each_by_itself_and_both() -> None:
    asked = Conditions(torch.ones(40_000, dtype=torch.int64), torch.ones(40_000, 2))
    dropped = asked.drop(CONFIG, 0.9, generator())
    kinds = Counter(zip((dropped.labels == 3).tolist(), (dropped.context[:, 0] == 0).tolist()))
    shares = {kind: count / 40_000 for kind, count in kinds.items()}
    wanted = {(False, False): BOTH, (False, True): CLASS, (True, False): TEXT, (True, True): 1 - BOTH - CLASS - TEXT}
    assert shares == pytest.approx(wanted, abs=0.02)
    assert set(dropped.labels.tolist()) == {1, 3} and torch.equal(dropped.context[:, 0], dropped.context[:, 1])


def test_without_text_the_same_classes_are_dropped_as_ever() -> None:
    labels = torch.arange(1000) % 3
    dropped = Conditions(labels).drop(CONFIG, 0.1, generator())
    wanted = torch.where(torch.rand(1000, generator=generator()) < 0.1, 3, labels)
    assert dropped.context is None and torch.equal(dropped.labels, wanted)


def test_guidance_is_away_from_no_class_and_no_prompt() -> None:
    both = Conditions(torch.tensor([0, 2]), torch.eye(2, 8)).with_null(CONFIG)
    assert both.labels.tolist() == [0, 2, 3, 3]
    assert torch.equal(both.context, torch.cat([torch.eye(2, 8), torch.zeros(2, 8)]))
    assert of_classes(torch.tensor([1]), CONFIG).context.tolist() == [[0] * 8]
    assert of_classes(torch.tensor([1]), replace(CONFIG, context=0)).context is None
    assert of_texts(torch.eye(1, 8), CONFIG).labels.tolist() == [3]


# Networks


def test_a_context_is_one_more_summand_of_the_conditioning() -> None:
    model, plain = network(), SiT(replace(CONFIG, context=0))
    names = set(model.state_dict()) - set(plain.state_dict())
    layers = [f"context_embedder.mlp.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")]
    assert names == set(layers), "every other name is that of a checkpoint without"
    x, t, y, context = torch.randn(2, 2, 4, 4), torch.rand(2), torch.tensor([0, 3]), torch.randn(2, 8)
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if name not in names})
    told = model(x, t, y, context)
    assert (told - model(x, t, y, torch.zeros(2, 8))).abs().max() > 1e-3
    # Without the context's own part, it is the network without one.
    torch.nn.init.zeros_(model.context_embedder.mlp[2].weight)
    torch.nn.init.zeros_(model.context_embedder.mlp[2].bias)
    torch.testing.assert_close(model(x, t, y, context), plain(x, t, y))
    with pytest.raises(TypeError):
        model(x, t, y)


def test_a_network_learns_what_a_text_means_with_and_without_a_class() -> None:
    torch.manual_seed(0)
    config = replace(CONFIG, hidden_size=64, mlp_hidden=128)
    model = SiT(config).initialise()
    optimisers = matrix_optimisers(model, 1e-2)
    contexts, budget, draw = torch.nn.functional.normalize(torch.randn(2, 8), dim=1), Budget(150, 10), generator()
    budget.start()
    for _ in range(150):
        kinds = torch.randint(2, (32,), generator=draw)
        data = (2.0 * kinds - 1)[:, None, None, None].expand(-1, 2, 4, 4)
        asked = Conditions(torch.zeros(32, dtype=torch.int64), contexts[kinds]).drop(config, 0.1, draw)
        noise, t = torch.randn(data.shape, generator=draw), torch.rand(32, generator=draw)
        descend(flow_matching_loss(model, data, noise, t, asked, bf16=False), model, optimisers, budget)
        budget.advance()
    sampler = Sampler(model, None, s=1.5)
    noise = torch.randn(2, 2, 4, 4, generator=draw)
    for asked in (of_texts(contexts, config), Conditions(torch.zeros(2, dtype=torch.int64), contexts)):
        means = sampler.sample("H4", noise, asked).mean((1, 2, 3))
        assert means[0] < -0.3 and means[1] > 0.3
    # With no prompt it may be either: not as sure as with one.
    alike = sampler.sample("H4", noise[:1].expand(2, -1, -1, -1), of_classes(torch.zeros(2, dtype=torch.int64), config))
    torch.testing.assert_close(alike[0], alike[1])


def test_the_refiner_is_asked_by_classes_and_texts_of_the_images() -> None:
    teacher = network()
    pool = Conditions(torch.tensor([0, 0, 2]), torch.eye(3, 8))
    walker = Walker(teacher, 0.2, 2.0, 3.0, torch.device("cpu"), seed=0, bf16=False, pool=pool)
    memory, pairs = Memory(seed=0), Counter()
    for _ in range(20):
        memory.add(walker.walk())
    asked = memory.ask(2000, 0.2)
    for label, context in zip(asked.labels.tolist(), asked.context):
        pairs[label, int(context.argmax()) if context.any() else None] += 1
    of_an_image = {(0, 0), (0, 1), (2, 2)}
    assert set(pairs) >= of_an_image | {(0, None), (2, None), (3, 0), (3, 2), (3, None)}
    assert set(pairs) <= of_an_image | {(label, row) for label in (0, 2, 3) for row in (None,)} | {
        (3, r) for r in range(3)
    }
    refiner = start_from(teacher, network(refiner=True))
    assert torch.equal(refiner.context_embedder.mlp[0].weight, teacher.context_embedder.mlp[0].weight)
    assert asked.loss(refiner, bf16=False).isfinite()


# Captions


def test_variants_keep_some_of_the_captions_words_and_their_share() -> None:
    rows = read_index()[::7]
    colours = classes = 0
    for row in rows:
        written = variants(row["caption"], row["class"])
        assert (
            len(written) == VARIANTS
            and written[0] == row["caption"]
            and written == variants(row["caption"], row["class"])
        )
        known = {*row["caption"].split(), *row["class"].split("_")}
        for phrase in written:
            words = re.findall(r"\w+", phrase)
            assert known & set(words), phrase
            assert set(words) <= known | PHRASED
            classes += set(row["class"].split("_")) <= set(words)
            colours += row["caption"].split()[0] in words or row["caption"].split()[1] in words
    assert 0.85 < classes / len(rows) / VARIANTS < 0.98 and 0.75 < colours / len(rows) / VARIANTS < 0.95


def test_an_image_without_a_caption_is_called_by_its_colours_and_class() -> None:
    red = np.full((3, 8, 8), 20, np.uint8)
    red[0] = 200
    assert caption_of(red, "forest_floor") == "red forest floor"


def test_texts_are_embedded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    asked = []

    class Counted:
        def __call__(self, phrase: str) -> np.ndarray:
            asked.append(phrase)
            return np.full(4, len(phrase), np.float32)

    monkeypatch.setattr(text, "TextEncoder", Counted)
    first = embed(["a", "bb", "a"], tmp_path / "texts.npz")
    assert first[:, 0].tolist() == [1, 2, 1] and asked == ["a", "bb"]
    assert embed(["bb", "ccc"], tmp_path / "texts.npz")[:, 0].tolist() == [2, 3] and asked == ["a", "bb", "ccc"]
    images = Images(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]), ["brick", "sand"])
    texts = texts_of(images, tmp_path / "texts.npz")
    assert texts.rows.shape == (2, VARIANTS) and texts.captions[:, 0].tolist() == [11, 10], "black brick, black sand"


def test_embeddings_are_kept_to_a_thousandth(tmp_path: Path) -> None:
    known = {"a": np.linspace(-0.2, 0.2, 384, dtype=np.float32)}
    write_embeddings(tmp_path / "x.npz", known)
    assert np.abs(read_embeddings(tmp_path / "x.npz")["a"] - known["a"]).max() < 2e-4


# The text encoder


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder()


def test_embeddings_have_unit_length_and_no_padding(encoder: TextEncoder) -> None:
    one = encoder("red brick wall")
    assert one.shape == (384,) and np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    assert len(encoder.tokenizer.encode("red brick wall").ids) == 5, "two special tokens, none that pads"
    assert len(encoder.tokenizer.encode("brick " * 500).ids) == 128
    # So is what a program gets that asks many at once, padded and masked.
    ids = encoder.tokenizer.encode("red brick wall").ids + [0] * 20
    mask = np.array([[1] * 5 + [0] * 20])
    feeds = {"input_ids": np.array([ids]), "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}
    mean = encoder.session.run(None, feeds)[0][0, :5].mean(axis=0)
    np.testing.assert_allclose(mean / np.linalg.norm(mean), one, rtol=0, atol=1e-6)


def test_embeddings_tell_materials_apart(encoder: TextEncoder) -> None:
    brick, wall, water = (encoder(phrase) for phrase in ("red brick", "masonry wall of red bricks", "deep sea"))
    assert brick @ wall > 0.7 > brick @ water + 0.2


def test_another_file_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"another")
    with pytest.raises(SystemExit, match="its SHA-256 is"):
        text.checked(tmp_path / "model.onnx", text.MODEL_SHA256)


# The free phrases


def test_the_phrases_are_no_captions_and_name_classes_and_colours_that_there_are() -> None:
    read = phrases.read_phrases()
    assert len(read) == len({phrase.text for phrase in read}) == 38
    assert {phrase.name for phrase in read} == set(CLASSES)
    assert not {phrase.text for phrase in read} & {row["caption"] for row in read_index()}
    for phrase in read:
        assert phrase.colour == "" or phrase.colour in phrases.HUES or phrase.colour in phrases.LIGHTNESS
    assert sum(bool(phrase.colour) for phrase in read) == 24


def test_the_text_encoder_itself_knows_most_phrases_classes(encoder: TextEncoder) -> None:
    read = phrases.read_phrases()
    found = phrases.nearest(
        [phrase.text for phrase in read], list(CLASSES), lambda texts: np.stack([encoder(t) for t in texts])
    )
    assert sum(name == phrase.name for name, phrase in zip(found, read)) == 35


@pytest.mark.parametrize(
    ("colour", "rgb"),
    [
        ("red", (170, 40, 30)), ("brown", (110, 75, 45)), ("green", (60, 110, 40)), ("blue", (40, 70, 160)),
        ("yellow", (220, 190, 60)), ("orange", (230, 120, 20)), ("gray", (120, 122, 118)), ("white", (235, 235, 230)),
        ("black", (25, 25, 27)),
    ],
)  # fmt: skip
def test_a_colour_word_is_told_by_the_mean_hue(colour: str, rgb: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(0).normal(0, 12, (16, 16, 3))
    image = (np.array(rgb) + noise).clip(0, 255).astype(np.uint8)
    assert phrases.has_colour(image, colour)
    far = {"white": {"black", "red"}, "orange": {"blue", "gray"}}.get(
        colour, {"green", "blue", "red", "gray"} - {colour}
    )
    assert not any(phrases.has_colour(image, other) for other in far)


def test_the_share_of_right_colours_is_beside_what_chance_gives() -> None:
    asked = [
        phrases.Phrase("red brick", "brick", "red"),
        phrases.Phrase("grass", "grass", ""),
        phrases.Phrase("sea", "tiles", "blue"),
    ]
    red, blue = (torch.tensor(rgb)[:, None, None].expand(3, 8, 8) for rgb in ((0.4, -0.7, -0.8), (-0.7, -0.5, 0.3)))
    images = torch.stack([torch.stack([red, blue]), torch.stack([red, red]), torch.stack([blue, blue])])
    assert phrases.score_colours(images, asked) == {"right": 0.75, "by_chance": 3 / 8}
