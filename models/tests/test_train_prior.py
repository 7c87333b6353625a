"""`--prior`, the best linear guess of a velocity, which the predictor adds to; `--local`, convolutions behind it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import Bundle
from nets.sit import LinearPrior, SiT, SiTConfig
from torch import Tensor
from train import run
from train.taken import Unfit, take

CONFIG = SiTConfig(
    input_size=8, patch_size=4, latent_channels=3, hidden_size=16, depth=1, num_heads=2, num_classes=2, mlp_hidden=64,
    out_channels=3, prior=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def data() -> Tensor:
    """Smooth noise, of another mean in each channel."""
    torch.manual_seed(0)
    noise = torch.randn(6000, 3, 8, 8)
    smooth = F.avg_pool2d(F.pad(noise, (1, 1, 1, 1), mode="circular"), 3, 1)
    return 2 * smooth + 0.2 * noise + torch.tensor([0.0, 1.0, -0.5]).view(3, 1, 1)


def patches(images: Tensor) -> Tensor:
    return F.unfold(images, 4, stride=4).transpose(1, 2).flatten(0, 1)


@torch.no_grad()
@pytest.mark.parametrize("time", [0.02, 0.3, 0.5, 0.9])
def test_no_linear_guess_is_better(data: Tensor, time: float) -> None:
    network = SiT(CONFIG).initialise()
    network.prior.fit(data)
    noise = torch.randn_like(data)
    x, wanted = time * data + (1 - time) * noise, data - noise
    guess = network(x, torch.full((len(x),), time), torch.zeros(len(x), dtype=torch.int64))
    loss = F.mse_loss(guess, wanted).item()
    columns = torch.cat([patches(x), torch.ones(len(patches(x)), 1)], 1).double()
    best = columns @ torch.linalg.lstsq(columns, patches(wanted).double()).solution
    least = F.mse_loss(best, patches(wanted).double()).item()
    assert least <= loss < 1.01 * least, "the fit by regression has seen this noise"
    assert loss < 0.9 * wanted.square().mean()


@torch.no_grad()
def test_it_is_not_trained_and_knows_both_ends(data: Tensor) -> None:
    prior = LinearPrior(CONFIG)
    prior.fit(data)
    assert not any(p.requires_grad for p in prior.parameters())
    network = SiT(CONFIG).initialise()
    network.prior.fit(data)
    labels = torch.zeros(4, dtype=torch.int64)
    noise = torch.randn(4, 3, 8, 8)
    mean = network.unpatchify(prior.back.bias.expand(4, 4, -1))
    torch.testing.assert_close(network(noise, torch.zeros(4), labels), mean - noise, rtol=0, atol=1e-4)
    torch.testing.assert_close(network(data[:4], torch.ones(4), labels), data[:4], rtol=0, atol=1e-4)


@torch.no_grad()
def test_convolutions_begin_as_nothing_wrap_around_and_see_three_cells_far() -> None:
    torch.manual_seed(0)
    network = SiT(replace(CONFIG, local=8)).initialise()
    x, t, y = torch.randn(2, 3, 8, 8), torch.tensor([0.2, 0.7]), torch.tensor([0, 1])
    bare = SiT(CONFIG)
    bare.load_state_dict({name: part for name, part in network.state_dict().items() if "local" not in name})
    torch.testing.assert_close(network(x, t, y), bare(x, t, y), rtol=0, atol=0)
    torch.nn.init.normal_(network.local.back.weight)
    torch.nn.init.normal_(network.local.adaLN_modulation[-1].weight)
    v, c = torch.randn_like(x), torch.randn(2, 16)
    answer = network.local(x, v, c)
    rolled = network.local(x.roll(3, 2), v.roll(3, 2), c).roll(-3, 2)
    torch.testing.assert_close(rolled, answer, rtol=0, atol=1e-5)
    assert (network.local(x, v, c + 1) - answer).std() > 1e-3, "times and classes are seen"
    x[:, :, 0, 0] += 1
    seen = (network.local(x, v, c) - answer).abs().amax((0, 1)) > 0
    assert seen.sum() == 49 and seen[:4, :4].all() and seen[-3:, -3:].all()


def test_a_refiner_has_neither_and_another_choice_is_refused(tmp_path: Path) -> None:
    command = ["--smoke", "--prior", "--local", "8", "--patch", "2", "--out", str(tmp_path)]
    run.main([*command, "--stage", "autoencoder,predictor,refiner,export"])
    began = run.begin(command)
    assert began.predictor_config == replace(began.predictor_config, prior=True, local=8)
    assert began.refiner_config == replace(began.refiner_config, prior=False, local=0)
    bundle = Bundle(tmp_path / "bundle")
    inputs = {
        "x": torch.randn(2, 8, 4, 4).numpy(),
        "t": torch.tensor([0.2, 0.7]).numpy(),
        "y": torch.tensor([0, 3]).numpy(),
    }
    ours = run.begin(command).predictor(*(torch.from_numpy(part) for part in inputs.values()))
    torch.testing.assert_close(torch.from_numpy(bundle.run("predictor", **inputs)), ours, rtol=0, atol=5e-3)
    again = take(tmp_path / "bundle", "predictor", SiT(began.predictor_config))
    assert again.local.back.weight.abs().max() > 0
    with pytest.raises(Unfit, match="the predictor has local.* too"):
        take(tmp_path / "bundle", "predictor", SiT(replace(began.predictor_config, local=0)))
    with pytest.raises(SystemExit, match="begun with --prior True, not False"):
        run.main(["--smoke", "--local", "8", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="begun with --local 8, not 0"):
        run.main(["--smoke", "--prior", "--out", str(tmp_path)])
