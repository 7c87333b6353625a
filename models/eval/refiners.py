"""The refiners of the ablation, trained together: python models/eval/refiners.py --start models/textures --data FOLDER --out WORK

They see the same paths, for as many steps, from scratch, and are put into WORK/refiners, a bundle each, for `run.py
--alternatives`. Options are those of models/train/run.py; `--refiner-minutes` is for all of them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from export.bundle import signature
from export.graph import write_graph
from nets.sit import SiT, SiTConfig
from torch import Tensor, nn
from train.refiner import Memory, Pupil, Walker
from train.run import Run, begin
from train.stage import Budget, Log, load_checkpoint, save_checkpoint

from eval.alternatives import replace_refiner


class Whole(nn.Module):
    """A small velocity predictor in a refiner's place: what it answers for is the whole velocity, not a change of it."""

    def __init__(self, network: SiT):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, v: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return self.network(x, t, y) - v


@dataclass(frozen=True)
class Kind:
    """How a refiner differs from the default one."""

    depth: int = 1
    width: float = 1.0
    max_delta: float = 1.0  # in multiples
    whole: bool = False

    def network(self, usual: SiTConfig) -> nn.Module:
        hidden = int(usual.hidden_size * self.width)
        heads = max(1, int(usual.num_heads * self.width))
        config = replace(
            usual,
            hidden_size=hidden,
            num_heads=heads,
            mlp_hidden=4 * hidden,
            depth=self.depth * usual.depth,
            refiner=not self.whole,
        )
        network = SiT(config).initialise()
        return Whole(network) if self.whole else network


KINDS = {
    "default": Kind(),
    "half the longest step": Kind(max_delta=0.5),
    "twice the longest step": Kind(max_delta=2),
    "half as wide": Kind(width=0.5),
    "twice as deep": Kind(depth=2),
    "a small whole network": Kind(whole=True),
}


def train(run: Run, folder: Path) -> dict[str, nn.Module]:
    chosen = run.chosen
    budget, checkpoint = Budget(chosen.refiner_steps, chosen.refiner_minutes), folder / "refiners.pt"
    torch.manual_seed(chosen.seed)
    pupils = {name: Pupil(kind.network(run.refiner_config), chosen.refiner_rate) for name, kind in KINDS.items()}
    parts = {f"{name}.{key}": part for name, pupil in pupils.items() for key, part in pupil.parts.items()}
    log = Log(checkpoint.with_suffix(".csv"), load_checkpoint(checkpoint, budget, **parts) is not None)
    seed = chosen.seed + budget.step
    scales = (chosen.guidance, chosen.max_guidance)
    walker = Walker(run.predictor, chosen.max_delta, *scales, run.device, seed, chosen.bf16)
    memory = Memory(seed)
    budget.start()
    losses = {name: [] for name in KINDS}
    learnt = 0
    while budget.progress < 1:
        memory.keep_up(walker, learnt)
        learnt += chosen.refiner_batch
        for name, kind in KINDS.items():
            questions = memory.ask(chosen.refiner_batch, kind.max_delta * chosen.max_delta)
            losses[name].append(pupils[name].learn(questions, budget, chosen.bf16))
        budget.advance()
        if budget.step % 100 == 0 or budget.progress >= 1:
            log.row(budget, **{name: fmean(some) for name, some in losses.items()})
            losses = {name: [] for name in KINDS}
            save_checkpoint(checkpoint, budget, **parts)
    return {name: pupil.ema.module for name, pupil in pupils.items()}


def write(run: Run, networks: dict[str, nn.Module], folder: Path) -> None:
    for name, network in networks.items():
        shape = signature("refiner", run.manifest, network)
        path = folder / "refiner.onnx"
        write_graph(network, shape, path, "f16")
        inputs = {name: name for name in shape.inputs}
        print(replace_refiner(run.chosen.start, folder / name, path.read_bytes(), inputs, shape.output))
        path.unlink()


def main(arguments: list[str] | None = None) -> None:
    run = begin(arguments)
    if run.chosen.start is None:
        raise SystemExit("--start: which bundle are the refiners for?")
    folder = run.chosen.out / "refiners"
    folder.mkdir(parents=True, exist_ok=True)
    write(run, train(run, folder), folder)


if __name__ == "__main__":
    main()
