"""The plan: every row of the tables in docs/quality.md. A row is a way to sample, a guidance scale, and a refiner.

Change the evaluation here; finished rows are kept, so only what is new is sampled.
"""

from __future__ import annotations

from dataclasses import dataclass

from eval.caching import EasyCache, TaylorSeer

GUIDANCE = 2.5  # of every table but the one over guidance; the bundled model's own
REFERENCE = "H200"
BASE = "E25"  # the row that others are told as differences from

EULER = tuple(f"E{n}" for n in (4, 6, 8, 12, 25, 50))
HEUN = tuple(f"H{n}" for n in (2, 3, 4, 6, 8, 12, 25))
FLOWTURBO = (
    *("H1R2", "H1P1R2", "H1P2R2", "H1P2R3", "H1P3R3", "H1P4R3", "H1P4R4", "H1P5R3", "H1P6R5", "H1P8R4"),
    *("H2P4R2", "H2P8R4", "H2P12R4", "H8P9R5"),
)
PSEUDO = ("P4", "P8", "P12", "P20", "H1P5", "H1P6R5")  # FlowTurbo without a refiner, and with
EULER_END = ("H3E2", "H7E1", "H1P5E1", "H1P5R1", "H1P6R5")
CACHING = (
    *(TaylorSeer(20, 2), TaylorSeer(20, 2, order=2), TaylorSeer(20, 3), TaylorSeer(30, 5)),
    *(EasyCache(20, 0.1), EasyCache(30, 0.1), EasyCache(30, 0.2)),
)

SCALES = (1.0, 1.5, 2.5, 4.0, 6.0)
AT_SCALES = ("H8", "H1P3R3", "H1P6R5")

REFINER_COUNT = tuple(f"H1P5R{n}" if n else "H1P5" for n in (0, 1, 2, 3, 4, 6))
PSEUDO_COUNT = tuple(f"H1P{n}R3" if n else "H1R3" for n in (0, 1, 2, 3, 5, 7, 9))
BLOCK_ORDER = ("H1P5R3", "P5H1R3", "H1R3P5", "H1P3R3P2", "H1P2R1P2R1P1R1", "H1R1P2R1P2R1P1")
WITH_OTHERS = ("H1P5R3",)  # schedules that other refiners are tried in

SCHEDULES = {"Euler": EULER, "Heun": HEUN, "FlowTurbo": FLOWTURBO}
OTHERS = {  # with fewer images a row: distances compare within these tables
    "refiner count": REFINER_COUNT,
    "pseudo count": PSEUDO_COUNT,
    "block order": BLOCK_ORDER,
    "pseudo-corrector alone": PSEUDO,
    "an Euler step at the end": EULER_END,
    "step caching": (*AT_SCALES, *CACHING),
}

Method = str | TaylorSeer | EasyCache


@dataclass(frozen=True)
class Row:
    method: Method  # a schedule of the runtime's, or a cached run
    guidance: float = GUIDANCE
    refiner: str = ""  # name of an alternative bundle; the bundle's own without it

    @property
    def label(self) -> str:
        """Unique among rows, and what results are filed under."""
        return f"{self.method} g{self.guidance:g}" + (f" {self.refiner}" if self.refiner else "")


def plan() -> list[Row]:
    return [Row(method) for table in SCHEDULES.values() for method in table]


def plan_others(alternatives: list[str]) -> list[Row]:
    """Every row once, and the one that differences are from."""
    rows = [Row(BASE), *(Row(method) for table in OTHERS.values() for method in table)]
    rows += [Row(method, scale) for scale in SCALES for method in AT_SCALES]
    rows += [Row(method, refiner=name) for name in alternatives for method in WITH_OTHERS]
    return list(dict.fromkeys(rows))
