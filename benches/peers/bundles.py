"""The models that are compared: bundles in folders, made with random weights where a size such as S/2 is named."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "models"))  # where the networks and the sampler are
INPUTS = ("x", "v", "t", "y", "latent")  # in the order in which a torch module takes them
GUIDED_BATCH = 2  # one image, its class and null half
COMPARED = ("predictor", "refiner", "decoder")


@dataclass(frozen=True)
class Network:
    """One graph, with the names and fixed shapes that the engines bind it to."""

    role: str
    path: Path
    inputs: dict[str, str]  # the contract's name -> the graph's
    output: str
    shapes: dict[str, tuple[int, ...]]  # by the contract's names, batch included
    cache: Path  # where what is made of the graph is kept
    digest: str

    @property
    def batch(self) -> int:
        return next(iter(self.shapes.values()))[0]

    @property
    def torch_file(self) -> Path:
        """See weights.py."""
        return self.cache / "torch" / f"{self.digest}.pt"

    def quantized(self, kind: str) -> Path:
        """A folder that quantize.py makes."""
        return self.cache / "quantized" / f"{self.digest}-{kind}"


class Bundle:
    """A bundle in a folder; `cache` is where its weights for PyTorch and its quantized graphs are kept."""

    def __init__(self, folder: Path, cache: Path):
        self.folder, self.cache = folder, cache
        self.manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        time = self.manifest.get("time", {})
        if (time.get("direction"), time.get("scale"), time.get("velocity_sign")) != ("noise_to_data", 1.0, 1):
            sys.exit(f"{folder}: sampler.py knows only time from noise to data, scale 1, velocity sign 1")
        self.networks = {role: self.network(role) for role in COMPARED if role in self.manifest["networks"]}

    @property
    def name(self) -> str:
        return self.manifest["name"]

    @property
    def latent(self) -> tuple[int, int, int]:
        latent = self.manifest["latent"]
        return latent["channels"], latent["height"], latent["width"]

    @property
    def guidance(self) -> float:
        """The scale that it is made for."""
        return self.manifest["sampling"]["guidance"]

    @property
    def refiner_guided(self) -> bool:
        """Whether the refiner's answers are guided ones, and are asked for once."""
        return self.manifest.get("guidance", {}).get("refiner_guided", False)

    def network(self, role: str) -> Network:
        entry = self.manifest["networks"][role]
        batch = 1 if role == "refiner" and self.refiner_guided else GUIDED_BATCH
        state, vector = (batch, *self.latent), (batch,)
        shapes = {"x": state, "v": state, "t": vector, "y": vector, "latent": (1, *self.latent)}
        inputs = {name: entry["inputs"][name] for name in INPUTS if name in entry["inputs"]}
        return Network(
            role,
            self.folder / entry["file"],
            inputs,
            entry["output"],
            {name: shapes[name] for name in inputs},
            self.cache,
            entry["sha256"][:16],
        )

    def make_torch_files(self) -> None:
        """In a process of its own, which takes the memory it needs with it."""
        missing = [network for network in self.networks.values() if not network.torch_file.is_file()]
        if missing:
            command = [sys.executable, Path(__file__).with_name("weights.py"), self.folder, self.cache]
            subprocess.run([*command, *(network.role for network in missing)], check=True)

    def make_quantized(self, kinds: Iterable[str]) -> None:
        """Likewise."""
        for kind in kinds:
            missing = [role for role, network in self.networks.items() if not network.quantized(kind).is_dir()]
            if missing:
                print(f"making {kind} of {self.name}: {', '.join(missing)}", file=sys.stderr)
                command = [sys.executable, Path(__file__).with_name("quantize.py"), self.folder, self.cache, kind]
                subprocess.run([*command, *missing], check=True, stdout=sys.stderr)

    def warm_file_cache(self) -> None:
        for file in sorted(self.folder.iterdir()):
            with file.open("rb") as stream:
                while stream.read(1 << 24):
                    pass


def find(text: str, dtype: str, cache: Path) -> Bundle:
    """`text` is a folder, or a published size such as XL/2 to be made in `cache`."""
    if re.fullmatch(r"(S|B|L|XL)/[248]", text) is None:
        return Bundle(Path(text).resolve(), cache)
    name = text.lower().replace("/", "-")
    folder = cache / f"{name}-{dtype}"
    if not (folder / "bundle.json").is_file():
        print(f"making {folder}", file=sys.stderr)
        command = [sys.executable, REPOSITORY / "models" / "export" / "sit.py", "--random", text, "--dtype", dtype]
        command += ["--name", f"sit-{name}-random", "--out", folder]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return Bundle(folder.resolve(), cache)
