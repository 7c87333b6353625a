"""Makes clip: a tiny tokenizer of CLIP's kind, and the tokens that the package `tokenizers` makes by it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

from tokenizers import Tokenizer
from words import PHRASES, TEXT

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "models"))

from export.clip_tokenizer import END, START, SUFFIX, alphabet, tokenizer

MERGES, MAX_TOKENS = 160, 16
BLOCK, BLOCKS = 0x1000, 0x110
MORE = [
    "don't we'll they've",
    "I'm he'd 're",
    "rust's 'sand 'S",
    "stone!'s ''s 's",
    "a1b22c",
    "!!! ?!",
    "x" * 40,
    "wooden wooded wood",
    "<|endoftext|>",
    "a<|startoftext|>b",
    "ΟΔΟΣ",
    "가 각",
]


def merges(text: str) -> list[tuple[str, str]]:
    """The pairs that are most often found, one after another; of equals the first by its letters."""
    plain = (word for word in text.split() if word.isascii() and word.isalpha() and len(word) < 13)
    words = Counter((*word[:-1], word[-1] + SUFFIX) for word in plain)
    made: list[tuple[str, str]] = []
    while len(made) < MERGES:
        pairs: Counter = Counter()
        for word, times in words.items():
            for pair in pairwise(word):
                pairs[pair] += times
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        made.append(best)
        words = Counter({joined(word, best): times for word, times in words.items()})
    return made


def joined(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    made: list[str] = []
    for part in word:
        if made and (made[-1], part) == pair:
            made[-1] += part
        else:
            made.append(part)
    return tuple(made)


def small() -> dict:
    pairs = merges(" ".join([TEXT, *PHRASES]).lower())
    words = [form for end in ("", SUFFIX) for form in (letter + end for letter in alphabet())]
    words += [left + right for left, right in pairs] + [START, END]
    return tokenizer({word: number for number, word in enumerate(dict.fromkeys(words))}, pairs)


def open_tokenizer(path: Path) -> Tokenizer:
    words = Tokenizer.from_file(str(path))
    words.no_padding()
    words.enable_truncation(MAX_TOKENS)
    words.encode_special_tokens = True  # what somebody types is text
    return words


def written(name: str, data: object) -> None:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    (HERE / "clip" / name).write_text(text + "\n", encoding="utf-8")


def block_hash(words: Tokenizer, block: int) -> str:
    """FNV-1a over the tokens of `a?b` for each character of a block in the place of `?`."""
    every = [code for code in range(block * BLOCK, (block + 1) * BLOCK) if not 0xD800 <= code < 0xE000]
    found = 0xCBF29CE484222325
    for made in words.encode_batch_fast([f"a{chr(code)}b" for code in every]):
        for token in made.ids:
            found = (found ^ token) * 0x100000001B3 % (1 << 64)
    return f"{found:016x}"


if __name__ == "__main__":
    (HERE / "clip").mkdir(exist_ok=True)
    written("tokenizer.json", small())
    made = open_tokenizer(HERE / "clip" / "tokenizer.json")
    written("phrases.json", [{"text": text, "tokens": made.encode(text).ids} for text in [*PHRASES, *MORE]])
    written("characters.json", [block_hash(made, block) for block in range(BLOCKS)])
