"""Seconds for one image, measured by the runtime: schedules take turns, so that a busy machine disturbs all alike."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
from schedule import CALLS

from eval.runtime import Generation, Model


@dataclass(frozen=True)
class Costs:
    """Seconds of one guided evaluation of each network for one image, and of decoding it."""

    predictor: float
    refiner: float
    decoder: float

    def of(self, predictor: float, refiner: float) -> float:
        """Seconds of an image that takes so many evaluations."""
        return predictor * self.predictor + refiner * self.refiner + self.decoder


@dataclass(frozen=True)
class Times:
    """Job -> median seconds of an image, decoding included, and half the range of the middle half of the runs."""

    seconds: dict[str, float]
    spread: dict[str, float]
    costs: Costs
    machine: str
    threads: int
    rounds: int

    def as_json(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_json(data: dict) -> Times:
        return Times(**{**data, "costs": Costs(**data["costs"])})


@dataclass(frozen=True)
class Job:
    model: Model
    schedule: str
    guidance: float


def measure(jobs: dict[str, Job], rounds: int) -> Times:
    """Costs are those of the guided jobs."""
    whole, steps, decoding = defaultdict(list), defaultdict(list), []
    for job in jobs.values():
        generate(job)  # plans it, and computes what depends on its times alone
    for number in range(rounds):
        for name in np.random.default_rng(number).permutation(list(jobs)):
            made = generate(jobs[name])
            whole[str(name)].append(made.seconds)
            decoding.append(made.seconds - sum(seconds for _, seconds in made.steps))
            if jobs[name].guidance != 1:
                for kind, seconds in made.steps:
                    steps[kind].append(seconds / max(CALLS[kind]))
    costs = Costs(median(steps["E"] + steps["H"]), median(steps["R"] or [0.0]), median(decoding))
    spread = {name: float(np.subtract(*np.percentile(times, (75, 25))) / 2) for name, times in whole.items()}
    seconds = {name: median(times) for name, times in whole.items()}
    return Times(seconds, spread, costs, machine(), next(iter(jobs.values())).model.info.threads, rounds)


def generate(job: Job) -> Generation:
    noise = np.random.default_rng(0).standard_normal((1, *job.model.latent_shape))
    return job.model.generate(job.schedule, job.guidance, np.zeros(1), noise)


def machine() -> str:
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} processors"
