"""What the refiner learns from, by itself and beside the others of the ablation."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import TINY
from eval import refiners
from export.checkpoint import load_sit
from nets.sit import SiTConfig
from schedule import guide
from train.refiner import REMEMBERED, SHORT_STEPS, TOGETHER, Memory, Paths, Pupil, Questions, Walker, teach
from train.sampler import Sampler
from train.stage import Budget, matrix_optimisers, read_log


def test_the_refiner_learns_where_the_sampler_goes() -> None:
    predictor = load_sit(TINY / "predictor.pt", heads=4)
    walker = Walker(
        predictor, max_delta=0.2, guidance=2.5, max_guidance=4.0, device=torch.device("cpu"), seed=3, bf16=False
    )
    for _ in range(50):
        times, long = walker.grid()
        assert times[0] == 0 and times[-1] == pytest.approx(1) and len(times) == long + 1 + SHORT_STEPS
        assert max(np.diff(times[: long + 1])) <= 0.2 + 1e-9 and np.all(np.diff(times) > 0)
    # On an even grid it takes the sampler's own states.
    walker.grid = lambda: ([i / 16 for i in range(17)], 2)
    walker.generator.manual_seed(4)
    paths = walker.walk()
    drawn = torch.Generator().manual_seed(4)
    noise = torch.randn((TOGETHER, *paths.x.shape[2:]), generator=drawn)
    labels = torch.randint(predictor.config.num_classes, (TOGETHER,), generator=drawn)
    scales = 1 + 3 * torch.rand(TOGETHER, generator=drawn)
    scales[::2] = 2.5
    assert torch.equal(paths.labels, labels) and paths.t == [i / 16 for i in range(2, 17)]
    for image in (0, 7):
        sampler, one = Sampler(predictor, None, scales[image].item()), slice(image, image + 1)
        states = torch.cat(list(sampler.trajectory("P16", noise[one], labels[one])))
        torch.testing.assert_close(paths.x[image], states[1:], rtol=0, atol=1e-4)
        both = torch.tensor([labels[image], predictor.config.num_classes])
        answers = predictor(paths.x[image, -1:].repeat(2, 1, 1, 1), torch.ones(2), both)
        velocity = guide(answers, sampler.s, answers.shape[1])[0]
        assert (paths.v[image, -1] - velocity).abs().mean() < 0.1 * velocity.abs().mean()


def test_questions_are_of_the_latest_paths_and_of_no_older_velocities_than_refiner_steps_use() -> None:
    moments = torch.arange(SHORT_STEPS + 1.0)
    memory = Memory(seed=0)

    def numbered(first: int) -> Paths:
        # In states the number of the path, in velocities the moment.
        x = (torch.arange(first, first + TOGETHER) / 8)[:, None, None, None, None].expand(-1, len(moments), 1, 1, 1)
        v = moments[None, :, None, None, None].expand(x.shape)
        return Paths(x, v, (0.3 + 0.05 * moments).tolist(), torch.arange(first, first + TOGETHER))

    count = REMEMBERED + 5 * TOGETHER
    for first in range(0, count, TOGETHER):
        memory.add(numbered(first))
    asked = memory.ask(4000, max_delta=0.15)
    assert asked.labels.min() >= count - REMEMBERED and len(asked.labels.unique()) > 0.8 * REMEMBERED
    np.testing.assert_allclose(8 * asked.x.flatten(), asked.labels, rtol=1e-3)
    now = (asked.t - 0.3) / 0.05
    torch.testing.assert_close((asked.v + asked.wanted).flatten(), now, rtol=0, atol=1e-3)
    ages = (now - asked.v.flatten()).round()
    assert ages.min() == 0 and ages.max() == 6
    assert asked.loss_of_reuse() == asked.wanted.square().mean()
    assert asked.loss(lambda x, v, t, y: asked.wanted, bf16=False) == 0


def test_pupils_are_asked_equally_often_about_steps_as_long_as_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ask(memory: Memory, count: int, max_delta: float) -> Questions:
        asked.append((count, max_delta))
        return ask_memory(memory, count, max_delta)

    ask_memory = Memory.ask
    monkeypatch.setattr(Memory, "ask", ask)
    predictor = load_sit(TINY / "predictor.pt", heads=4)
    walker = Walker(predictor, 0.2, 2.5, 4.0, torch.device("cpu"), seed=3, bf16=False)
    pupils = {
        name: Pupil(load_sit(TINY / "refiner.pt", refiner=True, heads=4), 1e-3, length)
        for name, length in (("a", 0.1), ("b", 0.2))
    }
    teach(pupils, walker, Budget(2, 10.0), tmp_path / "refiner.pt", {"a": pupils["a"].model}, 16)
    assert asked == [(16, 0.1), (16, 0.2)] * 2
    logged = read_log(tmp_path / "refiner.csv")
    assert list(logged) == ["step", "seconds", "a", "b", "reuse"] and 0 < logged["b"][0] < 10
    walked = walker.generator.initial_seed()
    teach(pupils, walker, Budget(3, 10.0), tmp_path / "refiner.pt", {"a": pupils["a"].model}, 16)
    assert asked[4:] == [(16, 0.1), (16, 0.2)]
    assert walked == 3 and walker.generator.initial_seed() == 3 + 2  # what is gone on with takes other paths


def test_kinds_of_refiners_differ_as_they_say() -> None:
    usual = SiTConfig(16, 2, 8, 128, 1, 2, 11, 512, 8, refiner=True)
    networks = {name: kind.network(usual) for name, kind in refiners.KINDS.items()}
    assert networks["default"].config == networks["half the longest step"].config == usual
    assert (networks["twice as deep"].config.depth, networks["half as wide"].config.hidden_size) == (2, 64)
    for network in networks.values():
        # A block's matrices are moved alike in all kinds.
        muon, _ = matrix_optimisers(network, 1e-3)
        assert len(muon.param_groups[0]["params"]) == 5 * network.config.depth
    chosen = SimpleNamespace(seed=0, refiner_rate=1e-3, max_delta=0.1)
    pupils = refiners.pupils_of(SimpleNamespace(chosen=chosen, refiner_config=usual, device=torch.device("cpu")))
    longest = {name: pupil.max_delta for name, pupil in pupils.items()}
    others = dict.fromkeys(set(pupils) - {"half the longest step", "twice the longest step"}, 0.1)
    assert longest == others | {"half the longest step": 0.05, "twice the longest step": 0.2}
