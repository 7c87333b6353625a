"""The golden states of tests/data/contexts are what ONNX Runtime and the plain sampler make."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import REPOSITORY, Bundle
from sampler import Sampler

CONTEXTS = REPOSITORY / "tests" / "data" / "contexts"
CASES = json.loads((CONTEXTS / "golden.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("i", range(len(CASES)))
def test_a_golden_case_is_what_the_sampler_makes(i: int):
    case, arrays = CASES[i], np.load(CONTEXTS / "golden.npz")
    given = [arrays[name] if (name := f"case{i}_{what}") in arrays else None for what in ("context", "negative")]
    kinds = "".join(kind * int(count) for kind, count in zip(case["schedule"][::2], case["schedule"][1::2]))
    sampler = Sampler(Bundle(CONTEXTS / case["bundle"]), case["classes"], case["guidance"], *given)
    states = np.stack(list(sampler.steps(arrays[f"case{i}_noise"], kinds)))
    np.testing.assert_allclose(states, arrays[f"case{i}_traj"], atol=1e-5)
    if case["guidance"] != 1 and given[0] is not None:
        # Guidance 1 is another image: the cases do hold the two halves apart.
        sampler = Sampler(Bundle(CONTEXTS / case["bundle"]), case["classes"], 1.0, *given)
        assert np.abs(np.stack(list(sampler.steps(arrays[f"case{i}_noise"], kinds))) - states).max() > 1e-2
