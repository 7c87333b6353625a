"""Quality against time: which schedules nothing beats, and how much less time one takes for the same quality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Point:
    label: str
    seconds: float
    distance: float


def pareto(points: list[Point]) -> list[Point]:
    """Those that no other is as quick as and nearer than, quickest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.seconds, p.distance)):
        if not front or point.distance < front[-1].distance:
            front.append(point)
    return front


def hull(points: list[Point]) -> list[Point]:
    """The front without its dents: those below the line between any two others, time on a log scale."""
    kept: list[Point] = []
    for point in pareto(points):
        while len(kept) > 1 and not below(kept[-1], kept[-2], point):
            kept.pop()
        kept.append(point)
    return kept


def below(point: Point, before: Point, after: Point) -> bool:
    gone, whole = (np.log(p.seconds / before.seconds) for p in (point, after))
    return (point.distance - before.distance) * whole < (after.distance - before.distance) * gone


@dataclass(frozen=True)
class Saving:
    """`share` of the baseline's time that is saved at equal distance. `at_least`: the baseline never came so near, and
    its nearest point is what is compared with."""

    share: float
    at_least: bool


def saving(point: Point, baseline: list[Point]) -> Saving:
    """Of `point` against the hull of `baseline`, whose time between two points is interpolated on a log scale."""
    front = hull(baseline)
    distances = [p.distance for p in front]
    if point.distance < distances[-1]:
        return Saving(1 - point.seconds / front[-1].seconds, at_least=True)
    # Farther than the quickest point: that one is both quicker to beat and nearer, so it is what is compared with.
    log_time = np.interp(-point.distance, [-d for d in distances], np.log([p.seconds for p in front]))
    return Saving(float(1 - point.seconds / np.exp(log_time)), at_least=False)
