"""Puts the shared library into the wheel: the one that FLOWTURBO_LIBRARY names, or one that cargo makes."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path
from runpy import run_path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# The package itself wants numpy, which who builds it need not have.
SUFFIX = run_path(str(Path(__file__).parent / "flowturbo" / "abi.py"))["SUFFIX"]


class LibraryHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        named = os.environ.get("FLOWTURBO_LIBRARY")
        library = Path(named) if named else self.build()
        if library.suffix != SUFFIX or not library.is_file():
            raise SystemExit(f"{library}: no shared library there")
        # Of the interpreter the wheel asks nothing: ctypes needs no ABI of it.
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
        build_data["pure_python"] = False
        build_data["force_include"][str(library)] = f"flowturbo/libflowturbo{SUFFIX}"

    def build(self) -> Path:
        """As it is shipped: small, with the compiler of ONNX bundles and the tokenizer of prompts."""
        top = Path(self.root).parents[1]
        target = Path(os.environ.get("CARGO_TARGET_DIR", top / "target"))
        command = ["cargo", "build", "--profile", "dist", "--package", "flowturbo-capi", "--lib"]
        command += ["--no-default-features", "--features", "compile,text", "--target-dir", str(target)]
        subprocess.run(command, cwd=top, check=True)
        (made,) = (target / "dist").glob(f"*flowturbo_capi{SUFFIX}")
        return made
