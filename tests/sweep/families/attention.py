"""Attention, rotary embeddings, and products of matrices."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from case import Case, given, ints, opsets, weights

MASK = np.where(np.random.default_rng(5).random((3, 4)) < 0.3, np.float32(-1e4), np.float32(0.5)).astype(np.float32)


def attend(
    name: str, q=(1, 2, 3, 4), k=(1, 2, 4, 4), v=(1, 2, 4, 2), rest=(), outputs=1, opset=23, kind="f32", **attributes
) -> Case:
    operands = [given(q, kind), given(k, kind), given(v, kind), *rest]
    return Case(f"Attention-{name}", "Attention", operands, attributes, opset=opset, outputs=outputs)


def attention() -> Iterator[Case]:
    flat = {"q": (2, 3, 8), "k": (2, 4, 8), "v": (2, 4, 4)}
    for opset in [23, 24]:
        yield attend(f"four-{opset}", opset=opset)
        yield attend(f"three-{opset}", **flat, q_num_heads=2, kv_num_heads=2, opset=opset)
        for number, scale in enumerate([0.3, 1.0]):
            yield attend(f"scale-{number}-{opset}", scale=scale, opset=opset)
        yield attend(f"causal-{opset}", is_causal=1, opset=opset)
        yield attend(f"causal-three-{opset}", **flat, q_num_heads=2, kv_num_heads=2, is_causal=1, opset=opset)
        yield attend(f"softcap-{opset}", softcap=0.7, opset=opset)
        yield attend(f"softcap-mask-{opset}", softcap=0.7, rest=[MASK], opset=opset)
        yield attend(f"causal-mask-{opset}", is_causal=1, rest=[MASK], opset=opset)
        yield attend(f"causal-softcap-{opset}", is_causal=1, softcap=2.0, opset=opset)
        yield attend(f"groups-{opset}", q=(1, 4, 3, 4), opset=opset)
        yield attend(f"groups-one-{opset}", q=(1, 4, 3, 4), k=(1, 1, 4, 4), v=(1, 1, 4, 2), opset=opset)
        yield attend(
            f"groups-three-{opset}", q=(2, 3, 16), k=(2, 4, 8), v=(2, 4, 4), q_num_heads=4, kv_num_heads=2, opset=opset
        )
        for number, shape in enumerate([(3, 4), (1, 3, 4), (1, 1, 3, 4), (1, 2, 3, 4), (2, 3, 4), (1, 4), (3, 1)]):
            mask = np.broadcast_to(MASK, shape) if shape not in [(1, 4), (3, 1)] else MASK[: shape[0], : shape[1]]
            yield attend(f"mask-{number}-{opset}", rest=[np.ascontiguousarray(mask)], opset=opset)
        yield attend(f"mask-bool-{opset}", rest=[MASK > 0], opset=opset)
        yield attend(f"mask-given-{opset}", rest=[given((3, 4))], opset=opset)
        yield attend(f"mask-bool-given-{opset}", rest=[given((3, 4), "bool")], opset=opset)
        past = [None, given((1, 2, 2, 4)), given((1, 2, 2, 2))]
        yield attend(f"past-{opset}", rest=past, outputs=3, opset=opset)
        yield attend(f"past-causal-{opset}", rest=past, outputs=3, is_causal=1, opset=opset)
        yield attend(f"present-{opset}", outputs=3, opset=opset)
        for mode in [0, 1, 2, 3]:
            yield attend(
                f"scores-{mode}-{opset}",
                rest=[MASK, None, None],
                outputs=[True, False, False, True],
                qk_matmul_output_mode=mode,
                softcap=1.5,
                opset=opset,
            )
        for precision in [1, 10, 11]:
            yield attend(f"precision-{precision}-{opset}", softmax_precision=precision, opset=opset)
        yield attend(f"f16-{opset}", kind="f16", opset=opset)
        yield attend(f"f64-{opset}", kind="f64", opset=opset)
    blind = np.array([[True, False, True, True], [False] * 4, [True] * 4])
    yield attend("blind", rest=[blind])
    yield attend("blind-given", rest=[given((1, 1), "bool")], q=(1, 2, 1, 4), k=(1, 2, 1, 4), v=(1, 2, 1, 2))
    yield attend("blind-window", q=(1, 2, 6, 4), left_window_size=0, right_window_size=0, opset=25)
    yield attend("lengths", rest=[None, None, None, ints(3)], opset=24)
    for number, (left, right) in enumerate([(1, 0), (1, -1), (-1, 1), (2, 1), (0, 0)]):
        yield attend(f"window-{number}", q=(1, 2, 4, 4), left_window_size=left, right_window_size=right, opset=27)


def rotary() -> Iterator[Case]:
    cosines, sines = weights(5, 2, seed=1), weights(5, 2, seed=2)
    places = np.array([[0, 2, 4], [1, 1, 3]])
    for interleaved in [0, 1]:
        attributes = {"interleaved": interleaved}
        operands = [given((2, 2, 3, 4)), cosines, sines, places]
        yield Case(
            f"RotaryEmbedding-four-{interleaved}", "RotaryEmbedding", operands, attributes, opset=23, image=False
        )
        operands = [given((2, 3, 8)), cosines, sines, places]
        yield Case(
            f"RotaryEmbedding-three-{interleaved}", "RotaryEmbedding", operands, attributes | {"num_heads": 2}, opset=23
        )
        operands = [given((2, 2, 3, 6)), cosines, sines, places]
        more = attributes | {"rotary_embedding_dim": 4}
        yield Case(f"RotaryEmbedding-part-{interleaved}", "RotaryEmbedding", operands, more, opset=23, image=False)
        operands = [given((2, 2, 3, 4)), weights(2, 3, 2, seed=3), weights(2, 3, 2, seed=4)]
        yield Case(
            f"RotaryEmbedding-no-places-{interleaved}", "RotaryEmbedding", operands, attributes, opset=23, image=False
        )


def products() -> Iterator[Case]:
    for number, (a, b) in enumerate(
        [
            ((3, 4), (4, 5)),
            ((2, 3, 4), (4, 5)),
            ((2, 3, 4), (2, 4, 5)),
            ((4,), (4, 5)),
            ((3, 4), (4,)),
            ((4,), (4,)),
            ((2, 1, 3, 4), (3, 4, 2)),
            ((1, 3, 4), (2, 4, 1)),
            ((2, 3, 4), (4,)),
            ((4,), (2, 4, 3)),
            ((2, 2, 9, 20), (2, 1, 20, 17)),
            ((2, 1, 19, 20), (1, 3, 20, 1)),
        ]
    ):
        yield Case(f"MatMul-{number}-given", "MatMul", [given(a), given(b)])
        yield Case(f"MatMul-{number}-right", "MatMul", [given(a), weights(*b, seed=1)])
        yield Case(f"MatMul-{number}-left", "MatMul", [weights(*a, seed=1), given(b)])
    for kind in ["f16", "f64", "i32", "i64", "u32"]:
        yield Case(f"MatMul-{kind}", "MatMul", [given((3, 4), kind), given((4, 2), kind)])
    for opset in opsets("Gemm"):
        for trans_a in [0, 1]:
            for trans_b in [0, 1]:
                a, b = ((4, 3) if trans_a else (3, 4)), ((5, 4) if trans_b else (4, 5))
                attributes = {"transA": trans_a, "transB": trans_b, "alpha": 0.5, "beta": 2.0}
                operands = [given(a), weights(*b, seed=1), weights(5, seed=2)]
                yield Case(f"Gemm-{opset}-{trans_a}-{trans_b}", "Gemm", operands, attributes, opset=opset)
    for number, shape in enumerate([(5,), (1, 5), (3, 1), (3, 5), (1,), ()]):
        for beta in [1.0, 0.5, 0.0]:
            operands = [given((3, 4)), weights(4, 5, seed=1), weights(*shape, seed=2)]
            yield Case(f"Gemm-bias-{number}-{beta}", "Gemm", operands, {"beta": beta})
    yield Case("Gemm-no-bias", "Gemm", [given((3, 4)), weights(4, 5)], {"alpha": 0.3, "beta": 0.7})
    yield Case("Gemm-given", "Gemm", [given((3, 4)), given((4, 5)), given((5,))], {"alpha": 0.3})
    for kind in ["f64", "f16"]:
        yield Case(
            f"Gemm-{kind}", "Gemm", [given((3, 4), kind), given((4, 5), kind), given((5,), kind)], {"alpha": 0.5}
        )


def einsums() -> Iterator[Case]:
    equations = {
        "ij,jk->ik": [(2, 3), (3, 4)],
        "ij,jk": [(2, 3), (3, 4)],
        "bij,bjk->bik": [(2, 2, 3), (2, 3, 4)],
        "...ij,...jk->...ik": [(2, 2, 3), (2, 3, 4)],
        "...ij,jk->...ik": [(2, 2, 3), (3, 4)],
        "i,j->ij": [(3,), (4,)],
        "i,i->": [(4,), (4,)],
        "ij->ji": [(3, 4)],
        "ij->i": [(3, 4)],
        "ij->": [(3, 4)],
        "ij->j": [(3, 4)],
        "ii->i": [(3, 3)],
        "ii": [(3, 3)],
        "ij": [(3, 4)],
        "ba": [(3, 4)],
        "ij,ij->ij": [(3, 4), (3, 4)],
        "ij,ij->i": [(3, 4), (3, 4)],
        "ij,kj->ik": [(3, 4), (2, 4)],
        "abc,cd,de->abe": [(2, 2, 3), (3, 2), (2, 4)],
        "bhqd,bhkd->bhqk": [(1, 2, 3, 4), (1, 2, 2, 4)],
        " i j , j k -> i k ": [(2, 3), (3, 4)],
        "...->...": [(2, 3)],
        "...i->...": [(2, 3)],
        "i...,i...->...": [(2, 3), (2, 3)],
        "Ab,bC->AC": [(2, 3), (3, 4)],
        "ij,j->i": [(3, 4), (4,)],
        "nhwpqc->nchpwq": [(1, 2, 2, 2, 2, 2)],
        "bij,kij->bk": [(2, 2, 3), (4, 2, 3)],
    }
    for number, (equation, shapes) in enumerate(equations.items()):
        operands = [given(shape) for shape in shapes]
        yield Case(f"Einsum-{number:02}", "Einsum", operands, {"equation": equation}, opset=12)
        if len(shapes) == 2:
            operands = [given(shapes[0]), weights(*shapes[1], seed=3)]
            yield Case(f"Einsum-{number:02}-constant", "Einsum", operands, {"equation": equation}, opset=12)
    yield Case("Einsum-one-wide", "Einsum", [given((3, 1)), given((4, 2))], {"equation": "ij,jk->ik"}, opset=12)


def cases() -> Iterator[Case]:
    for part in [attention, rotary, products, einsums]:
        yield from part()
