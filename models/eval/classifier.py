"""Does a sample look like the class it was asked for? A linear classifier on frozen features says so.

It learns from training images alone. Few images are held out, so besides its accuracy on those, each training image is
classified by one of five classifiers that have not seen it. Both say how far agreement may be trusted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

DECAY = 1e-3  # of the squared weights; 1e-4 to 1e-2 cross-validate within 2 %
FOLDS = 5


@dataclass(frozen=True)
class Classifier:
    mean: np.ndarray  # [D]
    weight: np.ndarray  # [D,K], the division by the features' deviations included
    bias: np.ndarray  # [K]

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """The likeliest class of each of [N,D]."""
        return np.argmax((features - self.mean) @ self.weight + self.bias, axis=1)


def fit(features: np.ndarray, labels: np.ndarray, classes: int) -> Classifier:
    """Multinomial logistic regression of [N,D]; every class counts the same, however many images it has."""
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    x, y = torch.from_numpy((features - mean) / deviation).float(), torch.from_numpy(labels)
    share = torch.from_numpy(1 / np.bincount(labels, minlength=classes).clip(1)).float()
    weight = torch.zeros(x.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(x @ weight + bias, y, weight=share) + DECAY * weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    scaled = weight.detach().numpy() / deviation[:, None]
    return Classifier(mean, scaled, bias.detach().numpy())


def cross_validate(features: np.ndarray, labels: np.ndarray, images: np.ndarray, classes: int) -> np.ndarray:
    """Whether each of [N] was classified rightly by a classifier that saw no variant of its image; `images` [N] says
    whose."""
    fold = np.random.default_rng(0).permutation(images.max() + 1)[images] % FOLDS
    right = np.zeros(len(labels), bool)
    for number in range(FOLDS):
        out = fold == number
        right[out] = fit(features[~out], labels[~out], classes)(features[out]) == labels[out]
    return right


def balanced(right: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy with every class counting the same."""
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))
