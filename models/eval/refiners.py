"""The refiners of the ablation: python models/eval/refiners.py --start models/textures --data FOLDER --out WORK

They are trained side by side, from scratch, with equally many questions about the same paths, and are put into
WORK/refiners, a bundle each, for `run.py --alternatives`. Options are those of models/train/run.py; the budget,
`--refiner-minutes` or `--refiner-steps`, is that of all together.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from export.bundle import write_network
from export.graph import EXTERNAL_THRESHOLD
from nets.sit import SiT, SiTConfig
from torch import Tensor, manual_seed, nn
from train.refiner import Pupil, Walker, teach
from train.run import Run, begin
from train.stage import Budget
from train.taken import read_manifest

from eval.alternatives import replace_refiner


class Whole(SiT):
    """A small velocity predictor in a refiner's place: it answers for the whole velocity, whatever the cached one
    was."""

    def forward(self, x: Tensor, v: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return super().forward(x, t, y) - v


@dataclass(frozen=True)
class Kind:
    """How a refiner differs from the default one: factors of its sizes and of --max-delta."""

    depth: int = 1
    width: float = 1.0
    max_delta: float = 1.0
    whole: bool = False

    def network(self, usual: SiTConfig) -> SiT:
        hidden = int(usual.hidden_size * self.width)
        heads, depth = max(1, int(usual.num_heads * self.width)), usual.depth * self.depth
        sizes = {"hidden_size": hidden, "num_heads": heads, "mlp_hidden": 4 * hidden, "depth": depth}
        config = replace(usual, refiner=not self.whole, **sizes)
        return (Whole if self.whole else SiT)(config).initialise()


KINDS = {
    "default": Kind(),
    "half the longest step": Kind(max_delta=0.5),
    "twice the longest step": Kind(max_delta=2),
    "half as wide": Kind(width=0.5),
    "twice as deep": Kind(depth=2),
    "a small whole network": Kind(whole=True),
}


def pupils_of(run: Run) -> dict[str, Pupil]:
    """One for each kind, untaught."""
    chosen = run.chosen
    manual_seed(chosen.seed)
    networks = {name: kind.network(run.refiner_config).to(run.device) for name, kind in KINDS.items()}
    return {
        name: Pupil(networks[name], chosen.refiner_rate, kind.max_delta * chosen.max_delta)
        for name, kind in KINDS.items()
    }


def train(run: Run) -> dict[str, nn.Module]:
    """The mean weights of each kind. Goes on from its checkpoint."""
    chosen, pupils = run.chosen, pupils_of(run)
    walker = Walker(
        run.predictor, chosen.max_delta, chosen.guidance, chosen.max_guidance, run.device, chosen.seed, chosen.bf16
    )
    budget = Budget(chosen.refiner_steps, chosen.refiner_minutes)
    parts = {f"{name}.{key}": part for name, pupil in pupils.items() for key, part in pupil.parts.items()}
    teach(pupils, walker, budget, run.work.checkpoint("refiner"), parts, chosen.refiner_batch)
    return {name: pupil.ema.module for name, pupil in pupils.items()}


def write(run: Run, networks: dict[str, nn.Module], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, network in networks.items():
        entry, _ = write_network("refiner", run.manifest, network.cpu(), folder, "f16", EXTERNAL_THRESHOLD)
        path = folder / entry["file"]
        print(replace_refiner(run.chosen.start, folder / name, path.read_bytes(), entry["inputs"], entry["output"]))
        path.unlink()


def main(arguments: list[str] | None = None) -> None:
    run = begin(arguments)
    start = run.chosen.start
    if start is None:
        raise SystemExit("--start: which bundle are the refiners for?")
    if not read_manifest(start).get("guidance", {}).get("refiner_guided"):
        raise SystemExit(f"--start {start}: its refiner steps want unguided answers, these give guided ones")
    run.chosen.refiner_name = "refiners"
    run.work.keep("refiners.kinds", list(KINDS), "the kinds")
    run.work.begin("refiner")
    write(run, train(run), run.chosen.out / "refiners")


if __name__ == "__main__":
    main()
