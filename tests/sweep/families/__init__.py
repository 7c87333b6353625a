"""The cases, by family of operators."""

from families import (
    attention,
    dynamic_products,
    elementwise,
    indexing,
    normalisations,
    others,
    pooling,
    quantized,
    recurrent,
    reductions,
    resizing,
    shapes,
    static_products,
    whole_weights,
)

FAMILIES = {
    "attention": attention.cases,
    "elementwise": elementwise.cases,
    "indexing": indexing.cases,
    "normalisations": normalisations.cases,
    "others": others.cases,
    "pooling": pooling.cases,
    "quantized": quantized.cases,
    "recurrent": recurrent.cases,
    "reductions": reductions.cases,
    "resizing": resizing.cases,
    "shapes": shapes.cases,
    "whole_numbers": lambda: [*whole_weights.cases(), *dynamic_products.cases(), *static_products.cases()],
}
