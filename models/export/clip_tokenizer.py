"""CLIP's tokenizer (arXiv 2103.00020, section 2.4) as a tokenizer.json: a pipeline's vocab.json and merges.txt."""

from __future__ import annotations

from pathlib import Path

from export import ExportError
from export.diffusers import read_json

START, END = "<|startoftext|>", "<|endoftext|>"
SUFFIX = "</w>"  # of what ends a word
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def load_tokenizer(folder: Path) -> dict:
    """The tokenizer in a folder of its own, or in `tokenizer` of a whole pipeline."""
    inner = folder / "tokenizer"
    folder = inner if inner.is_dir() else folder
    vocabulary, path = read_json(folder / "vocab.json"), folder / "merges.txt"
    if not all(isinstance(number, int) and number >= 0 for number in vocabulary.values()):
        raise ExportError(f"{folder / 'vocab.json'}: words and their numbers were expected")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise ExportError(f"{path}: cannot be read: {error}") from error
    pairs = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    if wrong := [pair for pair in pairs if len(pair) != 2]:
        raise ExportError(f"{path}: {' '.join(wrong[0])!r} is no two tokens")
    config = folder / "tokenizer_config.json"
    pad = read_json(config).get("pad_token") if config.is_file() else None
    pad = pad.get("content") if isinstance(pad, dict) else pad
    if not isinstance(pad, str | None):
        raise ExportError(f"{config}: pad_token is {pad!r}; a text was expected")
    try:
        return tokenizer(vocabulary, pairs, pad or END)
    except ExportError as error:
        raise ExportError(f"{folder / 'vocab.json'}: {error}") from error


def alphabet() -> list[str]:
    """The character that stands for each byte: itself where it can be seen, else one of those from 256 on."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return [chr(byte if byte in seen else next(others)) for byte in range(256)]


def tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]], pad: str = END) -> dict:
    """What transformers writes of CLIP's tokenizer; `pad` fills prompts up."""
    missing = [word for word in (START, END, pad) if word not in vocabulary]
    if missing:
        raise ExportError(f"the vocabulary lacks {', '.join(missing)}")
    own = dict.fromkeys(("single_word", "lstrip", "rstrip"), False) | {"normalized": True, "special": True}
    fixed = {"direction": "Right", "pad_to_multiple_of": None, "pad_type_id": 0}
    space = {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}
    words = {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Removed", "invert": True}
    in_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    ends = {"sep": [END, vocabulary[END]], "cls": [START, vocabulary[START]]}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": {"strategy": "BatchLongest", **fixed, "pad_id": vocabulary[pad], "pad_token": pad},
        "added_tokens": [{"id": vocabulary[word], "content": word} | own for word in (START, END)],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, space, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [words, in_bytes]},
        "post_processor": {"type": "RobertaProcessing", **ends, "trim_offsets": False, "add_prefix_space": False},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": END,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": SUFFIX,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [f"{left} {right}" for left, right in merges],
        },
    }
