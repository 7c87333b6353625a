"""How far two sets of feature vectors are apart: Fréchet and kernel distances, and their spread by bootstrap.

`weights` count how often each image was drawn by a bootstrap resample; without them each counts once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Gaussian:
    mean: Array  # [D]
    covariance: Array  # [D,D]

    @staticmethod
    def fit(features: Array, weights: Array | None = None) -> Gaussian:
        """Mean and unbiased covariance of [N,D]."""
        features = np.asarray(features, np.float64)
        weights = np.ones(len(features)) if weights is None else weights
        total = weights.sum()
        mean = weights @ features / total
        scaled = (features - mean) * np.sqrt(weights / (total - 1))[:, None]
        return Gaussian(mean, scaled.T @ scaled)


class Frechet:
    """Distances to one reference: `|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2))` (Heusel et al., arXiv 1706.08500, eq.
    6)."""

    def __init__(self, reference: Gaussian):
        self.reference = reference
        values, vectors = np.linalg.eigh(reference.covariance)
        self.root = (vectors * np.sqrt(values.clip(0))) @ vectors.T

    def __call__(self, other: Gaussian) -> float:
        mean = np.square(self.reference.mean - other.mean).sum()
        traces = np.trace(self.reference.covariance) + np.trace(other.covariance)
        # S S' has the eigenvalues of the symmetric root(S) S' root(S).
        values = np.linalg.eigvalsh(self.root @ other.covariance @ self.root)
        return float(mean + traces - 2 * np.sqrt(values.clip(0)).sum())


class Kernel:
    """The squared maximum mean discrepancy under `(x·y / D + 1)^3`, unbiased (Bińkowski et al., arXiv 1801.01401)."""

    def __init__(self, reference: Array):
        self.reference = np.asarray(reference, np.float64)
        self.own = among(polynomial(self.reference, self.reference), np.ones(len(reference)))

    def sums(self, features: Array) -> tuple[Array, Array]:
        """The kernel among the features [N,N], and its mean against the reference [N]: all that resamples need."""
        features = np.asarray(features, np.float64)
        return polynomial(features, features), polynomial(features, self.reference).mean(axis=1)

    def __call__(self, sums: tuple[Array, Array], weights: Array | None = None) -> float:
        inside, across = sums
        weights = np.ones(len(inside)) if weights is None else weights
        return float(among(inside, weights) + self.own - 2 * (weights @ across) / weights.sum())


def polynomial(a: Array, b: Array) -> Array:
    return (a @ b.T / a.shape[1] + 1) ** 3


def among(kernel: Array, weights: Array) -> float:
    """The mean over pairs of different draws."""
    total = weights.sum()
    return float((weights @ kernel @ weights - weights @ kernel.diagonal()) / (total * (total - 1)))


def resamples(count: int, repeats: int, seed: int = 0) -> Array:
    """How often each of `count` images is drawn, [repeats, count]. Equal for rows of equal size, which pairs them."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(count, np.full(count, 1 / count), size=repeats).astype(np.float64)


def margin(values: Array) -> float:
    """Half the width of a 95 % interval: 1.96 deviations of the resampled statistic.

    Percentiles would not do: resamples repeat images, which raises both distances, so their middle lies too high.
    """
    return float(1.96 * np.std(values, ddof=1))
