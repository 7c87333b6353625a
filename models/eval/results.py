"""What the tables and plots are made of: finished rows with their scores and times, and what the measures are worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eval.distances import margin
from eval.front import Point, Saving, saving
from eval.rows import EULER, FLOWTURBO, HEUN, Method, Row
from eval.timing import Times


@dataclass(frozen=True)
class Measure:
    """What real images score, and spoilt ones, by name; and how often the classifier is right, by what of."""

    floors: dict[str, dict]
    sanity: dict[str, dict]
    accuracy: dict[str, float]


@dataclass(frozen=True)
class Results:
    """Rows of the same `count` of images."""

    scores: dict[Row, dict]
    times: Times
    count: int

    def seconds(self, row: Row, decoding: bool = True) -> float:
        """Measured for schedules; for cached runs, evaluations times what the runtime takes for one: a lower bound."""
        score, costs = self.scores[row], self.times.costs
        name = time_name(row)
        whole = (
            self.times.seconds[name] if name in self.times.seconds else costs.of(score["predictor"], score["refiner"])
        )
        return whole if decoding else whole - costs.decoder

    def find(self, methods: tuple[Method, ...], refiner: str = "") -> list[Row]:
        """Those of the rows that are finished."""
        rows = (Row(method, refiner=refiner) for method in methods)
        return [row for row in rows if row in self.scores]

    @property
    def plain(self) -> list[Row]:
        return self.find(EULER + HEUN)

    @property
    def flowturbo(self) -> list[Row]:
        return self.find(FLOWTURBO)

    def points(self, rows: list[Row], measure: str, resample: int | None = None, decoding: bool = True) -> list[Point]:
        points = []
        for row in rows:
            score = self.scores[row]
            distance = score[measure] if resample is None else score[f"{measure}_resampled"][resample]
            points.append(Point(row.label, self.seconds(row, decoding), distance))
        return points

    def difference(self, row: Row, base: Row, measure: str) -> tuple[float, float]:
        """How much farther than `base` a row is, and the margin: much smaller than theirs, since resamples are
        paired."""
        ours, theirs = self.scores[row], self.scores[base]
        resampled = np.subtract(ours[f"{measure}_resampled"], theirs[f"{measure}_resampled"])
        return ours[measure] - theirs[measure], margin(resampled)

    def saving(self, row: Row, measure: str, decoding: bool = True) -> Saving:
        """Of a row's time, at equal distance, against the best Euler and Heun schedules."""
        return saving(*self.points([row], measure, None, decoding), self.points(self.plain, measure, None, decoding))

    def saving_interval(self, row: Row, measure: str) -> tuple[float, float]:
        """95 % of the resamples, each drawn alike from all rows; times are taken as they are."""
        repeats = range(len(self.scores[row][f"{measure}_resampled"]))
        shares = [
            saving(*self.points([row], measure, number), self.points(self.plain, measure, number)).share
            for number in repeats
        ]
        return tuple(np.percentile(shares, (2.5, 97.5)))


def time_name(row: Row) -> str:
    """What a row's time is filed under. Guidance of any scale but 1 takes as long."""
    guided = "" if row.guidance != 1 else " g1"
    return f"{row.method}{guided}" + (f" {row.refiner}" if row.refiner else "")


def timed(rows: list[Row]) -> dict[str, Row]:
    """The rows whose time has to be measured, each once."""
    return {time_name(row): row for row in rows if isinstance(row.method, str)}
