"""The cases, by family of operators."""

from families import (
    attention,
    dynamic_products,
    elementwise,
    indexing,
    normalisations,
    others,
    pooling,
    quantised,
    recurrent,
    reductions,
    resizing,
    shapes,
    whole_weights,
)

FAMILIES = {
    "attention": attention.cases,
    "elementwise": elementwise.cases,
    "indexing": indexing.cases,
    "normalisations": normalisations.cases,
    "others": others.cases,
    "pooling": pooling.cases,
    "quantised": quantised.cases,
    "recurrent": recurrent.cases,
    "reductions": reductions.cases,
    "resizing": resizing.cases,
    "shapes": shapes.cases,
    "whole_numbers": lambda: [*whole_weights.cases(), *dynamic_products.cases()],
}
