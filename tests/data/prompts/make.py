"""Makes this folder: a tiny text encoder with its tokenizer, a bundle that has them, and what comes of prompts.

The bundle's other networks are those of ../contexts/pooled. Tokens are those of the `tokenizers` package, answers ONNX
Runtime's, the sampler is models/tests/sampler.py.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from tokenizers import Tokenizer
from words import PHRASES, tokenizer, vocabulary

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[2] / "models"), str(HERE.parents[2] / "models" / "tests")]

from export.bert import Bert, Layer, Linear, Norm, Quantized, model

WIDTH, HEADS, INNER, LAYERS, MAX_TOKENS, POSITIONS = 12, 2, 20, 2, 16, 24
OTHERS = HERE.parent / "contexts" / "pooled"

CASES = [
    # schedule, guidance, classes or none, prompts, negative prompt
    ("H1P2R2", 3.0, [0, 2], ["mossy stone wall", "old red brick"], None),
    ("H1P1R1", 2.5, [1, 1], ["wet sand"], "cracked paint"),
    ("E2P1R1", 1.0, None, ["a rough wooden floor"], None),
    ("H1R1", 3.0, None, ["木の床", ""], "[MASK]"),
]


def random_bert(draw: np.random.Generator) -> Bert:
    def numbers(*shape: int, scale: float = 0.4) -> np.ndarray:
        return (scale * draw.standard_normal(shape)).astype(np.float32)

    def quantized(rows: int, columns: int, axis: int) -> Quantized:
        """One scale for each row (axis 1 is gone) or each column."""
        values = numbers(rows, columns)
        scale = np.abs(values).max(axis=axis, keepdims=True) / 127
        return Quantized(np.rint(values / scale).astype(np.int8), scale)

    def linear(rows: int, columns: int) -> Linear:
        return Linear(quantized(rows, columns, 0), numbers(columns, scale=0.1))

    def norm() -> Norm:
        return Norm(1 + numbers(WIDTH, scale=0.1), numbers(WIDTH, scale=0.1))

    def layer() -> Layer:
        query, key, value, output = (linear(WIDTH, WIDTH) for _ in range(4))
        return Layer(query, key, value, output, norm(), linear(WIDTH, INNER), linear(INNER, WIDTH), norm())

    tokens = quantized(len(vocabulary()), WIDTH, 1)
    return Bert(tokens, numbers(POSITIONS, WIDTH), numbers(2, WIDTH), norm(), [layer() for _ in range(LAYERS)], HEADS)


def encode(words: Tokenizer, prompt: str) -> dict[str, np.ndarray]:
    """What a network takes: cut and filled up."""
    encoded = words.encode(prompt)
    rows = {"tokens": encoded.ids, "mask": encoded.attention_mask, "types": encoded.type_ids}
    return {name: np.array([row + [0] * (MAX_TOKENS - len(row))], np.int64) for name, row in rows.items()}


def open_tokenizer() -> Tokenizer:
    words = Tokenizer.from_file(str(HERE / "bundle" / "tokenizer.json"))
    words.no_padding()
    words.enable_truncation(MAX_TOKENS)
    words.encode_special_tokens = True  # what somebody types is text
    return words


def bundle() -> None:
    folder = HERE / "bundle"
    folder.mkdir(exist_ok=True)
    onnx.save(model(random_bert(np.random.default_rng(16)), "context"), folder / "text.onnx")
    text = json.dumps(tokenizer(MAX_TOKENS), ensure_ascii=False, separators=(",", ":"))
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    manifest = json.loads((OTHERS / "bundle.json").read_text(encoding="utf-8"))
    for network in manifest["networks"].values():
        shutil.copy(OTHERS / network["file"], folder)

    def listed(name: str) -> dict:
        return {"file": name, "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()}

    inputs = {name: name for name in ("tokens", "mask", "types")}
    manifest["name"] = "prompts"
    manifest["text"] |= {"max_tokens": MAX_TOKENS, "tokenizer": listed("tokenizer.json")}
    manifest["networks"]["text"] = listed("text.onnx") | {"inputs": inputs, "output": "context"}
    (folder / "bundle.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def characters() -> None:
    """The tokens of `a?b` for every character there is: where they change, and to what."""
    words, kinds, runs = open_tokenizer(), {}, []
    every = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    for code, made in zip(every, words.encode_batch_fast([f"a{chr(code)}b" for code in every]), strict=True):
        kind = kinds.setdefault(tuple(made.ids), len(kinds))
        if not runs or runs[-1][1] != kind:
            runs.append([code, kind])
    text = json.dumps({"tokens": list(kinds), "runs": runs}, separators=(",", ":"))
    (HERE / "characters.json").write_text(text + "\n", encoding="utf-8")


def golden() -> None:
    from conftest import Bundle
    from sampler import Sampler

    words, loaded = open_tokenizer(), Bundle(HERE / "bundle")
    phrases = [{"text": text, "tokens": words.encode(text).ids} for text in PHRASES]
    (HERE / "phrases.json").write_text(json.dumps(phrases, separators=(",", ":")) + "\n", encoding="utf-8")

    def context(prompt: str) -> np.ndarray:
        return loaded.run("text", **encode(words, prompt))[0]

    arrays = {"contexts": np.stack([context(text) for text in PHRASES])}
    draw, cases = np.random.default_rng(17), []
    for i, (schedule, guidance, classes, prompts, negative) in enumerate(CASES):
        count = len(classes or prompts)
        noise = draw.standard_normal((count, 4, 8, 8), np.float32)
        kinds = "".join(kind * int(count) for kind, count in zip(schedule[::2], schedule[1::2], strict=True))
        given = np.stack([context(prompt) for prompt in prompts])
        away = None if negative is None else context(negative)[None]
        null = loaded.manifest["classes"]["null"]
        steps = Sampler(loaded, classes or [null] * count, guidance, given, away).steps(noise, kinds)
        arrays |= {f"case{i}_noise": noise, f"case{i}_traj": np.stack(list(steps))}
        case = {"schedule": schedule, "guidance": guidance, "classes": classes or [], "prompts": prompts}
        cases.append(case | {"negative": negative})
    np.savez(HERE / "golden.npz", **arrays)
    (HERE / "golden.json").write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    print(f"onnxruntime {onnxruntime.__version__}")
    bundle()
    characters()
    golden()
