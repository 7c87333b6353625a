"""The evaluation: statistics against known answers, step caching on flows that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from eval import front, neighbours, real, report, rows, seams
from eval.caching import EasyCache, TaylorSeer
from eval.classifier import balanced, cross_validate, fit
from eval.coherence import apart, quarters
from eval.distances import Frechet, Gaussian, Kernel, margin, resamples
from eval.features import Extractor
from eval.reference import Reference
from eval.runtime import BUILD
from eval.sanity import FAULTS, spoil
from eval.store import Store
from schedule import calls
from train import options
from uncached import sample

pytest_plugins = ("eval_images",)

# Distances


def test_the_frechet_distance_of_gaussians_is_the_formula() -> None:
    # Diagonal covariances: |m - m'|^2 + sum (s - s')^2.
    a = Gaussian(np.array([0.0, 1.0]), np.diag([1.0, 4.0]))
    b = Gaussian(np.array([3.0, 1.0]), np.diag([9.0, 1.0]))
    assert Frechet(a)(b) == pytest.approx(9 + (1 - 3) ** 2 + (2 - 1) ** 2)
    assert Frechet(a)(a) == pytest.approx(0, abs=1e-9)
    # Covariances that do not commute, by the eigenvalues of their product.
    rng = np.random.default_rng(0)
    c, d = (Gaussian(np.zeros(3), m @ m.T) for m in rng.standard_normal((2, 3, 3)))
    roots = np.sqrt(np.linalg.eigvals(c.covariance @ d.covariance)).sum().real
    assert Frechet(c)(d) == pytest.approx(np.trace(c.covariance) + np.trace(d.covariance) - 2 * roots)


def test_many_samples_of_two_gaussians_are_as_far_apart_as_the_gaussians() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (20_000, 4)), rng.normal(0.5, 2, (20_000, 4))
    assert Frechet(Gaussian.fit(a))(Gaussian.fit(b)) == pytest.approx(4 * (0.25 + 1), rel=0.03)


def test_weights_count_like_repeated_rows() -> None:
    features = np.random.default_rng(0).standard_normal((5, 3))
    weights = np.array([2.0, 0, 1, 3, 1])
    repeated = np.repeat(features, weights.astype(int), axis=0)
    one, other = Gaussian.fit(features, weights), Gaussian.fit(repeated)
    np.testing.assert_allclose(one.mean, other.mean)
    np.testing.assert_allclose(one.covariance, other.covariance)
    np.testing.assert_allclose(other.covariance, np.cov(repeated.T))
    kernel = Kernel(np.random.default_rng(1).standard_normal((6, 3)))
    assert kernel(kernel.sums(features), weights) == pytest.approx(kernel(kernel.sums(repeated)))


def test_the_kernel_distance_is_unbiased_for_equal_sources_and_positive_for_others() -> None:
    rng = np.random.default_rng(0)
    same, shifted, with_diagonal = [], [], []
    for _ in range(400):
        a, b = rng.standard_normal((2, 12, 4))
        kernel = Kernel(a)
        inside, across = kernel.sums(b)
        same.append(kernel((inside, across)))
        with_diagonal.append(inside.mean() + kernel.own - 2 * across.mean())
        shifted.append(kernel(kernel.sums(b + 1)))
    error = np.std(same) / 20
    assert abs(np.mean(same)) < 3 * error
    assert np.mean(with_diagonal) > 10 * error  # what leaving the pairs of equal draws in would make of it
    assert np.mean(shifted) > 10 * error


def test_the_margin_is_that_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(5, 2, 500)
    resampled = resamples(500, 2000) @ values / 500
    assert margin(resampled) == pytest.approx(1.96 * values.std() / 500**0.5, rel=0.1)
    assert (resamples(7, 3) == resamples(7, 3)).all() and (resamples(7, 3).sum(axis=1) == 7).all()


# Features and faults


def test_distances_grow_with_every_fault(extractor: Extractor, images: np.ndarray) -> None:
    own = extractor(images)
    assert own.content.shape == (44, 352) and own.texture.shape == (44, 240) and own.head.shape == (44, 1280)
    reference = Reference(own)
    for name, (fault, levels) in FAULTS.items():
        spoilt = [extractor(spoil(images, fault, level)) for level in levels]
        scores = [reference.compare(s.content, s.texture, np.ones((2, 44))) for s in spoilt]
        for measure in ("content", "texture", "kernel"):
            values = [score[measure] for score in scores]
            assert values == sorted(values), f"{name}: {measure} {values}"
            assert values[-1] > 2 * abs(values[0]), f"{name}: {measure} {values}"


def test_images_are_looked_at_one_by_one(extractor: Extractor, images: np.ndarray) -> None:
    together, alone = extractor(images[:3]), extractor(images[2:3])
    np.testing.assert_allclose(together.content[2], alone.content[0], atol=1e-3)


def test_what_is_of_several_pieces_is_further_apart(extractor: Extractor, images: np.ndarray) -> None:
    """Four times one image has no distance; one of another class among them has, and in colour by half its own."""
    whole, mixed = (
        np.block([[[a], [b]], [[c], [d]]]) for a, b, c, d in ([images[0]] * 4, [*[images[0]] * 3, images[16]])
    )
    assert quarters(mixed).shape == (4, 128, 128, 3) and np.array_equal(quarters(mixed)[3], images[16])
    one, several = apart(extractor, [whole]), apart(extractor, [mixed])
    assert one.content[0] < 1e-3 and one.colour[0] == 0 and several.content[0] > 5
    between = np.linalg.norm(images[0].mean((0, 1)) - images[16].mean((0, 1)))
    assert several.colour[0] == pytest.approx(between / 2)  # three pairs of six


def test_the_classifier_tells_classes_apart_by_images_it_has_not_seen() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0] * 40 + [1] * 8 + [2] * 20)
    features = rng.standard_normal((68, 10)) + 4 * np.eye(10)[labels]
    assert balanced(fit(features, labels, 3)(features) == labels, labels) == 1
    assert balanced(cross_validate(features, labels, np.arange(68), 3), labels) > 0.9
    # Two variants of an image that is unlike its class: seen or not is the difference.
    odd = np.concatenate([features, 50 * np.eye(10)[[5, 5]]])
    right = cross_validate(odd, np.append(labels, [1, 1]), np.append(np.arange(68), [68, 68]), 3)
    assert right[-1] == right[-2]


def test_a_rolled_and_flipped_training_image_is_found_and_laid_on_it(images: np.ndarray) -> None:
    training = images[:10]
    sample = np.roll(training[7][:, ::-1], (12, -20), (0, 1))
    match = neighbours.in_pixels(np.stack([sample, images[30]]), training)
    assert match.image[0] == 7 and match.distance[0] < 1e-5 and match.distance[1] > 0.05
    assert (neighbours.align(training[7], match.flip[0], match.roll[0]) == sample).all()
    features = np.eye(3) + 0.1
    np.testing.assert_allclose(neighbours.in_features(features[:2] * [[2], [5]], features), 0, atol=1e-12)


def test_held_out_images_are_those_of_training() -> None:
    chosen = options.parse(["--data", "x", "--out", "y"])
    assert (real.HELD_OUT, real.SPLIT_SEED) == (chosen.held_out, chosen.seed)


# Step caching


class Flow:
    """dx/dt of a known form, and how often it was asked for, by image."""

    def __init__(self, velocity, count: int):
        self.velocity, self.calls = velocity, np.zeros(count, int)

    def __call__(self, x: np.ndarray, t: float, which: np.ndarray) -> np.ndarray:
        self.calls[which] += 1
        return self.velocity(x, t)


START = np.random.default_rng(0).standard_normal((3, 2, 4, 4))


def test_euler_and_heun_compound_growth() -> None:
    grow = Flow(lambda x, t: x, 3)
    np.testing.assert_allclose(sample(grow, "E10", START), START * 1.1**10, rtol=1e-6)
    np.testing.assert_allclose(sample(grow, "H10", START), START * 1.105**10, rtol=1e-6)
    assert (grow.calls == 30).all()


def test_taylorseer_is_exact_for_a_velocity_that_changes_evenly() -> None:
    full, cached = (Flow(lambda x, t: np.full_like(x, 1 + 5 * t), 3) for _ in range(2))
    expected = sample(full, "E21", START)
    np.testing.assert_allclose(TaylorSeer(21, 3).sample(cached, START), expected, rtol=1e-6)
    assert (cached.calls == 2 + 6 + 1).all()  # steps 0 and 1; 4, 7 ... 19; 20


def test_taylorseer_extrapolates_by_the_published_formula() -> None:
    # v = step^2, full at steps 0, 3 and 6: Dv = (36 - 9) / 3 = 9, D^2 v = (9 - 3) / 3 = 2.
    flow = Flow(lambda x, t: np.full_like(x, (9 * t) ** 2), 3)
    got = TaylorSeer(9, 3, 2, warm=1).sample(flow, np.zeros((3, 1, 1, 1)))
    steps = [0, 0, 0, 9, 9 + 3, 9 + 6, 36, 36 + 9 + 2 / 2, 64]  # the last step is full
    np.testing.assert_allclose(got.ravel(), sum(steps) / 9, rtol=1e-6)
    assert (flow.calls == 4).all()


def test_easycache_is_exact_where_velocity_and_state_change_alike() -> None:
    target = np.ones_like(START)
    full, cached = (Flow(lambda x, t: target[: len(x)] - x, 3) for _ in range(2))
    expected = sample(full, "E20", START)
    got = EasyCache(20, 0.3).sample(cached, START)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert (cached.calls < 20).all()


def test_easycache_with_no_tolerance_is_euler() -> None:
    flow = Flow(lambda x, t: np.sin(3 * x) + t, 3)
    got = EasyCache(9, 0.0).sample(flow, START)
    assert (flow.calls == 9).all()
    np.testing.assert_allclose(got, sample(flow, "E9", START), rtol=1e-6)


def test_easycache_decides_for_each_image_alone() -> None:
    scale = np.array([0.5, 3, 9])[:, None, None, None]
    together = Flow(lambda x, t: np.sin(x), 3)
    got = EasyCache(30, 0.2).sample(together, scale * START)
    for i in range(3):
        alone = Flow(lambda x, t: np.sin(x), 1)
        np.testing.assert_allclose(EasyCache(30, 0.2).sample(alone, (scale * START)[i : i + 1])[0], got[i])
        assert alone.calls[0] == together.calls[i]
    assert len(set(together.calls)) > 1


# Plan, store, report


def test_the_plan_holds_the_rows_that_were_promised() -> None:
    others = rows.plan_others(["reuse"])
    for planned in (rows.plan(), others):
        assert len({row.label for row in planned}) == len(planned)
    assert {rows.Row(rows.BASE), rows.Row("H1P5R3", refiner="reuse"), rows.Row("H1P6R5", 6.0)} <= set(others)
    assert {rows.Row(method) for table in rows.OTHERS.values() for method in table} <= set(others)
    assert len(rows.FLOWTURBO) >= 12 and {"H1P5R3", "H2P4R2", "H8P9R5"} <= set(rows.FLOWTURBO)
    assert {"E4", "E50"} <= set(rows.EULER) and {"H2", "H25"} <= set(rows.HEUN)
    assert min(rows.SCALES) == 1 and max(rows.SCALES) == 6
    assert [calls(s) for s in ("H1P5R3", "P9", "E9", "H8P9R5")] == [(7, 6), (10, 0), (9, 0), (25, 10)]


def test_the_front_holds_what_nothing_beats_and_savings_are_read_off_it() -> None:
    points = [front.Point(str(i), s, d) for i, (s, d) in enumerate([(1, 8), (2, 4), (3, 5), (4, 2)])]
    assert [p.label for p in front.pareto(points)] == ["0", "1", "3"]
    assert front.saving(front.Point("", 1.0, 4.0), points) == front.Saving(pytest.approx(0.5), at_least=False)
    between = front.saving(front.Point("", 1.0, 3.0), points)  # half-way from 2 to 4 seconds on a log scale
    assert between.share == pytest.approx(1 - 1 / 8**0.5)
    assert front.saving(front.Point("", 1.0, 1.0), points) == front.Saving(0.75, at_least=True)
    assert front.saving(front.Point("", 0.5, 9.0), points).share == pytest.approx(0.5)


def test_another_point_of_the_baseline_never_makes_a_saving_larger() -> None:
    points = [front.Point("", s, d) for s, d in [(1, 8), (2, 4), (4, 2), (16, 1)]]
    dent = front.Point("", 3.9, 3.0)  # nothing beats it, but it is above the line from its neighbour to the next
    assert dent in front.pareto([*points, dent]) and front.hull([*points, dent]) == points
    generator = np.random.default_rng(0)
    for seconds, distance, more, much in generator.uniform(0.5, 20, (200, 4)):
        point, baseline = front.Point("", seconds, distance), [*points, front.Point("", more, much)]
        assert front.saving(point, baseline).share <= front.saving(point, points).share + 1e-12


def test_the_store_makes_everything_once(tmp_path: Path) -> None:
    made = []

    def make() -> dict:
        made.append(1)
        return {"x": len(made)}

    assert Store(tmp_path).result({"row": "E4"}, make) == Store(tmp_path).result({"row": "E4"}, make) == {"x": 1}
    assert Store(tmp_path).result({"row": "E5"}, make) == {"x": 2}
    arrays = [Store(tmp_path).arrays({"row": "E4"}, lambda: {"a": np.arange(len(made))})["a"] for _ in range(2)]
    made.append(1)
    assert [list(a) for a in arrays] == [[0, 1], [0, 1]]
    assert list(Store(tmp_path).arrays({"row": "E4"}, lambda: {"a": np.arange(9)})["a"]) == [0, 1]


@pytest.mark.parametrize("place", ["models/eval/README.md", "docs/quality.md"])
def test_the_library_is_built_alike_everywhere(place: str) -> None:
    assert BUILD in (REPOSITORY / place).read_text(encoding="utf-8")


def test_tables_go_between_their_markers() -> None:
    text = "a\n<!-- begin one -->\nold\n<!-- end one -->\nb <!-- begin two -->kept<!-- end two -->"
    got = report.insert(text, {"one": "| \\1 |"})
    assert got == text.replace("old", "| \\1 |")
    assert report.number(0.01236, 0.00067) == "0.01236 ± 0.00067"
    assert report.number(443.2, 12.3) == "443 ± 12"


def waves(phase: float) -> np.ndarray:
    """An image that tiles: whole waves, from `phase` on."""
    angle = 2 * np.pi * np.arange(64) / 64
    across = np.sin(3 * angle + phase)[None, :] + np.sin(5 * angle + 2 * phase)[:, None]
    return np.repeat((127 + 60 * across)[..., None], 3, axis=2).astype(np.uint8)


def test_a_seam_is_told_by_its_axis_and_an_image_that_tiles_has_none() -> None:
    images = np.stack([waves(phase) for phase in np.linspace(0, 6, 40)])
    seamless = seams.ratios(images, 8)
    assert all(
        abs(seamless[key] - 1) < 0.15 and seamless[f"{key} margin"] > 0 for key in ("x", "y", "x edges", "y edges")
    )
    # Twice the images, 1 / sqrt(2) of the margin; and none where all images are alike.
    more = seams.ratios(np.concatenate([images, images]), 8)
    assert more["x margin"] / seamless["x margin"] == pytest.approx(0.5**0.5, rel=0.2)
    assert seams.ratios(images[:1].repeat(9, 0), 8)["y margin"] == pytest.approx(0, abs=1e-6)
    cut = seams.ratios(images[:, :, :-5], 8)  # no longer whole waves across
    assert cut["x"] > 3 and abs(cut["y"] - 1) < 0.15
    lined = images + 30 * (np.arange(64) // 8 % 2).astype(np.uint8)[:, None, None]  # the decoder's cells, row by row
    ratio = seams.ratios(lined, 8)
    assert ratio["y"] > 1.5 and abs(ratio["y edges"] - 1) < 0.15 and abs(ratio["x"] - 1) < 0.15


def test_the_mean_of_shifts_prefers_no_place_that_they_swap() -> None:
    height, width = 4, 8
    place = np.random.default_rng(0).standard_normal((1, 2, height, width)).astype(np.float32)

    def biased(x: np.ndarray, t: float, which: np.ndarray) -> np.ndarray:
        return x * t + place

    x, shift, all_of_them = np.zeros_like(place), (2, 4), np.arange(1)
    mean = seams.Shifted(biased, ((0, 0), shift))
    np.testing.assert_allclose(mean(x, 0.5, all_of_them), np.roll(mean(x, 0.5, all_of_them), shift, (2, 3)), atol=1e-6)
    exact = seams.Shifted(lambda x, t, which: 3 * x, ((0, 0), shift))
    np.testing.assert_allclose(exact(place, 0.5, all_of_them), 3 * place, atol=1e-6)
