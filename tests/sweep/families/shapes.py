"""Operators that move numbers about: slices, pads, joins, transposes, tiles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from case import Case, given, ints, opsets

X = (2, 3, 4, 5)
MOST, LEAST = 2**63 - 1, -(2**63)


def slices() -> Iterator[Case]:
    several = {
        "plain": ([1], [3], [2], None),
        "pair": ([1, 0], [3, 2], [2, 3], None),
        "no-axes": ([0, 1], [2, 3], None, None),
        "negative-axis": ([1], [3], [-1], None),
        "order": ([1, 0], [3, 2], [3, 1], None),
        "negative": ([-3], [-1], [2], None),
        "past-end": ([1], [99], [3], None),
        "before-start": ([-99], [2], [3], None),
        "most": ([1], [MOST], [3], None),
        "most-32": ([1], [2**31 - 1], [3], None),
        "beyond-32": ([1], [2**31 + 5], [3], None),
        "least": ([LEAST], [3], [3], None),
        "steps": ([0], [5], [3], [2]),
        "steps-odd": ([1], [4], [3], [2]),
        "steps-past": ([0], [5], [3], [7]),
        "backward": ([4], [0], [3], [-1]),
        "backward-all": ([-1], [LEAST], [3], [-1]),
        "backward-by-two": ([-1], [-99], [3], [-2]),
        "backward-most": ([MOST], [LEAST], [2], [-1]),
        "backward-pair": ([3, -1], [0, -99], [2, 3], [-1, -2]),
        "backward-clamped": ([99], [-99], [3], [-1]),
        "one-step": ([1], [3], [2], [1]),
    }
    for name, (starts, ends, axes, steps) in several.items():
        operands = [given(X), ints(*starts), ints(*ends)]
        if axes is not None:
            operands.append(ints(*axes))
            if steps is not None:
                operands.append(ints(*steps))
        for opset in [10, 13]:
            yield Case(f"Slice-{opset}-{name}", "Slice", operands, opset=opset)
        if steps is None:
            attributes = {"starts": starts, "ends": ends} | ({} if axes is None else {"axes": axes})
            yield Case(f"Slice-9-{name}", "Slice", [given(X)], attributes, opset=9)
    bounds = [np.array([1], np.int32), np.array([3], np.int32), np.array([2], np.int32), np.array([1], np.int32)]
    yield Case("Slice-i32", "Slice", [given(X), *bounds])
    yield Case(
        "Slice-no-axes-steps", "Slice", [given(X), ints(0, 0, 3, 4), ints(2, 3, -9, -9), None, ints(1, 2, -1, -2)]
    )
    yield Case("Slice-given-start", "Slice", [given((6,)), given((1,), "i64", "natural"), ints(6), ints(0)])
    for kind in ["i64", "bool", "f16", "u8"]:
        yield Case(f"Slice-{kind}", "Slice", [given((3, 4), kind), ints(1), ints(3), ints(1)])


def pads() -> Iterator[Case]:
    several = {
        "plain": [0, 0, 1, 2, 0, 0, 2, 1],
        "batch": [1, 0, 0, 0, 0, 1, 0, 0],
        "none": [0] * 8,
        "crop": [0, 0, -1, 0, 0, 0, 0, -2],
        "crop-and-pad": [0, 0, -1, 2, 0, 0, 1, -1],
    }
    for name, amounts in several.items():
        for mode in ["constant", "reflect", "edge", "wrap"]:
            for opset in [9, 11, 13, 18, 19, 21, 23]:
                if mode == "wrap" and opset < 19:
                    continue
                if opset < 11:
                    yield Case(
                        f"Pad-{opset}-{mode}-{name}",
                        "Pad",
                        [given(X)],
                        {"mode": mode, "pads": amounts, "value": 0.5},
                        opset=opset,
                    )
                elif opset in (11, 19) or name in ("plain", "crop"):
                    operands = [given(X), ints(*amounts)] + ([np.float32(0.5)] if mode == "constant" else [])
                    yield Case(f"Pad-{opset}-{mode}-{name}", "Pad", operands, {"mode": mode}, opset=opset)
    for mode in ["constant", "reflect", "edge", "wrap"]:
        for name, axes, amounts in [
            ("two", [2, 3], [1, 2, 0, 1]),
            ("order", [3, 1], [1, 0, 2, 1]),
            ("negative", [-1], [2, 1]),
            ("mixed", [-2, 3], [1, 0, 1, 2]),
        ]:
            operands = [given(X), ints(*amounts), np.float32(-1) if mode == "constant" else None, ints(*axes)]
            yield Case(f"Pad-axes-{mode}-{name}", "Pad", operands, {"mode": mode}, opset=19)
        yield Case(f"Pad-wide-{mode}", "Pad", [given((1, 6)), ints(0, 5, 0, 5)], {"mode": mode}, opset=19)
        yield Case(f"Pad-all-{mode}", "Pad", [given((2, 3)), ints(1, 2, 1, 2)], {"mode": mode}, opset=19)
    yield Case("Pad-no-value", "Pad", [given(X), ints(0, 0, 1, 1, 0, 0, 1, 1)], opset=13)
    for kind, dtype in [
        ("i32", np.int32),
        ("i64", np.int64),
        ("f16", np.float16),
        ("bool", np.bool_),
        ("u8", np.uint8),
    ]:
        yield Case(f"Pad-{kind}", "Pad", [given((3, 4), kind), ints(1, 0, 0, 2), dtype(1)], opset=13)
    yield Case("Pad-given-value", "Pad", [given((3, 4)), ints(1, 0, 0, 2), given(())], opset=13)


def joins() -> Iterator[Case]:
    for axis in [0, 1, 2, -1, -3]:
        for opset in [9, 13]:
            if axis < 0 and opset < 11:
                continue
            operands = [given((2, 3, 4)), given((2, 3, 4)), given((2, 3, 4))]
            yield Case(f"Concat-{opset}-{axis}", "Concat", operands, {"axis": axis}, opset=opset)
    yield Case(
        "Concat-uneven", "Concat", [given((2, 1, 3)), given((2, 4, 3)), np.ones((2, 2, 3), np.float32)], {"axis": 1}
    )
    yield Case("Concat-one", "Concat", [given((2, 3))], {"axis": 1})
    yield Case("Concat-empty", "Concat", [given((2, 3)), np.zeros((2, 0), np.float32)], {"axis": 1})
    yield Case("Concat-i64", "Concat", [given((2, 3), "i64"), ints(1, 2, 3).reshape(1, 3)], {"axis": 0})
    for axis in [0, 1, 2, -1]:
        attributes = {"axis": axis}
        size = (2, 3, 4)[axis]
        parts = [1, size - 1]
        yield Case(f"Split-9-{axis}", "Split", [given((2, 3, 4))], attributes | {"split": parts}, opset=11, outputs=2)
        yield Case(f"Split-13-{axis}", "Split", [given((2, 3, 4)), ints(*parts)], attributes, opset=13, outputs=2)
    for opset in [9, 11, 13]:
        yield Case(f"Split-even-{opset}", "Split", [given((4, 6))], {"axis": 1}, opset=opset, outputs=3)
    for count, outputs in [(3, 3), (4, 4), (2, 2), (1, 1)]:
        yield Case(
            f"Split-18-{count}", "Split", [given((2, 10))], {"axis": 1, "num_outputs": count}, opset=18, outputs=outputs
        )
        yield Case(
            f"Split-18-{count}-even",
            "Split",
            [given((2, 12))],
            {"axis": -1, "num_outputs": count},
            opset=18,
            outputs=outputs,
        )
    yield Case("Split-18-input", "Split", [given((2, 10)), ints(3, 7)], {"axis": 1}, opset=18, outputs=2)
    yield Case("Split-empty", "Split", [given((2, 4)), ints(0, 4)], {"axis": 1}, opset=13, outputs=2)


def turns() -> Iterator[Case]:
    for number, order in enumerate(
        [None, [0, 1, 2, 3], [3, 2, 1, 0], [0, 2, 3, 1], [0, 3, 1, 2], [1, 0, 3, 2], [2, 3, 0, 1]]
    ):
        attributes = {} if order is None else {"perm": order}
        for opset in opsets("Transpose")[:1] + [21]:
            yield Case(f"Transpose-{number}-{opset}", "Transpose", [given(X)], attributes, opset=opset)
    for kind in ["i64", "bool", "f16"]:
        yield Case(f"Transpose-{kind}", "Transpose", [given((3, 4), kind)], {"perm": [1, 0]})
    for number, shape in enumerate([[6, 20], [0, -1], [0, 0, 20], [-1], [2, -1, 1, 5], [1, 2, 3, 4, 5], [0, 0, -1, 1]]):
        for opset in [9, 14, 21]:
            yield Case(f"Reshape-{number}-{opset}", "Reshape", [given(X), ints(*shape)], opset=opset)
    yield Case("Reshape-allow-zero-off", "Reshape", [given(X), ints(0, -1)], {"allowzero": 0}, opset=14)
    yield Case("Reshape-allow-zero", "Reshape", [given(X), ints(6, 20)], {"allowzero": 1}, opset=14)
    for axis in [0, 1, 2, 3, 4, -1, -3]:
        for opset in [9, 13]:
            if axis < 0 and opset < 11:
                continue
            yield Case(f"Flatten-{opset}-{axis}", "Flatten", [given(X)], {"axis": axis}, opset=opset)
    yield Case("Flatten-default", "Flatten", [given(X)])
    for number, axes in enumerate([[0], [1, 2], [-1], [2, 0], [-1, 0], [0, 4]]):
        yield Case(f"Unsqueeze-11-{number}", "Unsqueeze", [given((3, 4, 5))], {"axes": axes}, opset=11)
        yield Case(f"Unsqueeze-13-{number}", "Unsqueeze", [given((3, 4, 5)), ints(*axes)], opset=13)
        yield Case(f"Unsqueeze-21-{number}", "Unsqueeze", [given((3, 4, 5)), ints(*axes)], opset=21)
    for number, axes in enumerate([None, [0], [2, 0], [-2], [-4, 2]]):
        operands = [given((1, 3, 1, 5))]
        yield Case(f"Squeeze-11-{number}", "Squeeze", operands, {} if axes is None else {"axes": axes}, opset=11)
        yield Case(f"Squeeze-13-{number}", "Squeeze", operands + ([] if axes is None else [ints(*axes)]), opset=13)
    for mode in ["DCR", "CRD"]:
        for opset in [11, 13]:
            yield Case(
                f"DepthToSpace-{opset}-{mode}",
                "DepthToSpace",
                [given((2, 8, 2, 3))],
                {"blocksize": 2, "mode": mode},
                opset=opset,
            )
        yield Case(f"DepthToSpace-three-{mode}", "DepthToSpace", [given((1, 18, 2, 1))], {"blocksize": 3, "mode": mode})
    yield Case("DepthToSpace-9", "DepthToSpace", [given((2, 8, 2, 3))], {"blocksize": 2}, opset=9)
    for size in [1, 2, 3]:
        yield Case(f"SpaceToDepth-{size}", "SpaceToDepth", [given((2, 2, 6, 6))], {"blocksize": size})


def copies() -> Iterator[Case]:
    for number, repeats in enumerate([[1, 1, 1, 2], [2, 3, 1, 1], [1, 1, 1, 1], [2, 2, 2, 2]]):
        yield Case(f"Tile-{number}", "Tile", [given((2, 1, 2, 3)), ints(*repeats)])
    yield Case("Tile-zero", "Tile", [given((2, 3)), ints(0, 1)])
    for number, shape in enumerate([[2, 3, 4], [1, 1], [3, 4], [2, 1, 3, 4], [1, 3, 1], [4]]):
        source = (3, 1) if number != 5 else (1,)
        yield Case(f"Expand-{number}", "Expand", [given(source), ints(*shape)])
    yield Case("Expand-smaller", "Expand", [given((2, 3, 4)), ints(1)])
    yield Case("Expand-ones", "Expand", [given((2, 3, 4)), ints(3, 1)])
    for upper in [0, 1]:
        for number, k in enumerate([None, 0, 1, -1, 2, -3, 9, -9]):
            operands = [given((2, 4, 5))] + ([] if k is None else [np.int64(k)])
            yield Case(f"Trilu-{upper}-{number}", "Trilu", operands, {"upper": upper}, opset=14)
        yield Case(f"Trilu-i64-{upper}", "Trilu", [given((4, 4), "i64")], {"upper": upper}, opset=14)
        yield Case(f"Trilu-bool-{upper}", "Trilu", [given((4, 4), "bool")], {"upper": upper}, opset=14)
    for number, (k, dtype) in enumerate([(0, None), (1, None), (-2, None), (0, 7), (1, 10), (0, 11), (9, None)]):
        attributes = {"k": k} | ({} if dtype is None else {"dtype": dtype})
        yield Case(f"EyeLike-{number}", "EyeLike", [given((4, 5))], attributes)
    for start, limit, delta, dtype in [
        (0, 5, 1, np.float32),
        (1, 8, 3, np.int64),
        (7, 1, -2, np.int32),
        (0.5, 2, 0.25, np.float32),
        (3, 1, 1, np.int64),
    ]:
        yield Case(f"Range-{start}-{limit}-{delta}", "Range", [dtype(start), dtype(limit), dtype(delta)], opset=11)
    for opset, attributes in [
        (9, {}),
        (15, {}),
        (15, {"start": 1}),
        (15, {"end": -1}),
        (15, {"start": 1, "end": 3}),
        (15, {"start": -2, "end": 99}),
        (15, {"start": -99}),
        (15, {"start": 3, "end": 1}),
    ]:
        name = "-".join(f"{key}{value}" for key, value in attributes.items())
        yield Case(f"Shape-{opset}-{name}", "Shape", [given(X)], attributes, opset=opset)
    yield Case("Size", "Size", [given(X)])
    for axis in [0, 1, -1, None]:
        condition = np.array([True, False, True])
        attributes = {} if axis is None else {"axis": axis}
        yield Case(f"Compress-{axis}", "Compress", [given((3, 3, 4)), condition], attributes, opset=11)
    yield Case("Compress-short", "Compress", [given((4, 5)), np.array([False, True])], {"axis": 1}, opset=11)
    yield Case("NonZero", "NonZero", [np.array([[1, 0, 2], [0, 3, 0]], np.float32)])
    for time in [0, 1]:
        operands = [given((4, 2, 3)), ints(4, 2)]
        yield Case(
            f"ReverseSequence-{time}", "ReverseSequence", operands, {"time_axis": time and 0, "batch_axis": 1}, opset=10
        )


def cases() -> Iterator[Case]:
    for part in [slices, pads, joins, turns, copies]:
        yield from part()
