"""Where the shipped library, models and data are; the binding is imported after this."""

from __future__ import annotations

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
BINDING = REPOSITORY / "bindings" / "python"
sys.path.insert(0, str(BINDING))
# Where the binding, and programs that tests run, find it.
os.environ.setdefault("FLOWTURBO_LIBRARY", str(REPOSITORY / "target" / "release" / "libflowturbo_capi.so"))
LIBRARY = Path(os.environ["FLOWTURBO_LIBRARY"])

TEXTURES = REPOSITORY / "models" / "textures"
PLAN = TEXTURES.with_suffix(".ftplan")
DATA = REPOSITORY / "tests" / "data"
MAPS = DATA / "tiny-maps" / "bundle"  # a decoder and noise: the quickest generations
