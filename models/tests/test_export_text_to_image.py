"""Rectified flows of text to images: diffusers' folders to a bundle on which all engines agree."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, Bundle
from export.text_to_image import main
from nets.clip import ClipConfig
from test_export_diffusers import TINY
from test_nets_unet import their_clip, their_unet
from tokenizers import Tokenizer

TOKENIZER = REPOSITORY / "tests" / "data" / "prompts" / "clip" / "tokenizer.json"

REFINER = dataclasses.replace(TINY, in_channels=8, block_out_channels=(8, 16), layers_per_block=1)
REFINER = dataclasses.replace(
    REFINER,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
)


def export(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flow")
    their_unet(TINY).save_pretrained(folder / "predictor" / "unet")
    their_unet(REFINER).save_pretrained(folder / "refiner")
    return folder


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The halves of a pipeline that make contexts of prompts, as such are published."""
    folder, model = tmp_path_factory.mktemp("pipeline"), json.loads(TOKENIZER.read_text(encoding="utf-8"))["model"]
    their_clip(ClipConfig(len(model["vocab"]), 24, 48, 2, 4, 7)).save_pretrained(folder / "text_encoder")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    lines = ["#version: 0.2", *model["merges"], ""]
    (folder / "tokenizer" / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_what_flowturbo_makes_is_what_the_package_makes(folders: Path, program: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "flow"
    networks = ["--predictor", folders / "predictor", "--refiner", folders / "refiner", "--tokens", 7]
    # The program samples a Heun step of each, with contexts, for one image and three.
    assert export(*networks, "--dtype", "f32", "--out", out, "--flowturbo", program) == 0
    assert "run by flowturbo" in capsys.readouterr().out
    bundle = Bundle(out)
    assert bundle.manifest["format_version"] == "1.1"
    assert bundle.manifest["text"] == {"width": 24, "tokens": 7, "max_tokens": 7, "no_prompt": "zeros"}
    assert bundle.manifest["time"] == {"direction": "data_to_noise", "scale": 1000.0, "velocity_sign": 1}
    assert bundle.manifest["classes"] == {"count": 1} and bundle.manifest["sampling"]["guidance"] == 1.5
    x, v = torch.randn(2, 1, 4, 16, 16)
    t, context = torch.tensor([640.0]), torch.randn(1, 7, 24)
    feeds = {"t": t.numpy(), "context": context.numpy()}
    with torch.no_grad():
        want = their_unet(TINY)(x, t, context).sample.numpy()
        np.testing.assert_allclose(bundle.run("predictor", x=x.numpy(), **feeds), want, rtol=0, atol=2e-4)
        want = their_unet(REFINER)(torch.cat([x, v], 1), t, context).sample.numpy()
        np.testing.assert_allclose(bundle.run("refiner", x=x.numpy(), v=v.numpy(), **feeds), want, rtol=0, atol=2e-4)


def test_nothing_of_it_is_left_to_another_engine(folders: Path, program: Path, tmp_path: Path) -> None:
    out = tmp_path / "flow"
    networks = ["--predictor", folders / "predictor", "--refiner", folders / "refiner", "--tokens", 7]
    assert export(*networks, "--out", out, "--no-run") == 0
    # A plan refuses what has no kernel.
    plan = tmp_path / "flow.ftplan"
    done = subprocess.run([program, "compile", out, "-o", plan], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # And it samples what the bundle does.
    np.save(tmp_path / "context.npy", np.random.default_rng(0).standard_normal((1, 7, 24), np.float32))
    made = []
    for model in (out, plan):
        file = tmp_path / f"{model.name}.npy"
        how = ["--class", "0", "--schedule", "H1R1", "--seed", "1", "--context", tmp_path / "context.npy", "--quiet"]
        subprocess.run([program, "latents", "-m", model, *how, "-o", file], check=True)
        made.append(np.load(file))
    assert np.array_equal(*made)


def test_prompts_are_what_the_package_makes_of_them(
    folders: Path, pipeline: Path, program: Path, tmp_path: Path
) -> None:
    out = tmp_path / "flow"
    networks = ["--predictor", folders / "predictor", "--refiner", folders / "refiner", "--tokens", 7]
    assert export(*networks, "--text", pipeline, "--out", out, "--flowturbo", program) == 0
    text = json.loads((out / "bundle.json").read_text(encoding="utf-8"))["text"]
    assert (text["no_prompt"], text["tokenizer"]["file"]) == ("empty", "tokenizer.json")
    words = Tokenizer.from_file(str(TOKENIZER))
    words.enable_truncation(7)
    words.enable_padding(**{**words.padding, "length": 7})
    prompts = ["", "old red brick", "don't!", "木", "seamless texture of wet sand with moss"]
    subprocess.run([program, "context", "-m", out, "-o", tmp_path / "made.npy", "--quiet", "--", *prompts], check=True)
    their = their_clip(ClipConfig(len(words.get_vocab()), 24, 48, 2, 4, 7))
    with torch.no_grad():
        want = their(torch.tensor([words.encode(prompt).ids for prompt in prompts])).last_hidden_state
    # Weights are rounded to float16.
    np.testing.assert_allclose(np.load(tmp_path / "made.npy"), want.numpy(), rtol=0, atol=1e-2)
    # A plan has it all, and samples from a prompt what the bundle does.
    plan, made = tmp_path / "flow.ftplan", []
    subprocess.run([program, "compile", out, "-o", plan, "--quiet"], check=True)
    for model in (out, plan):
        how = ["--prompt", "old red brick", "--schedule", "H1R1", "--guidance", "2", "--seed", "1", "--quiet"]
        subprocess.run([program, "latents", "-m", model, *how, "-o", tmp_path / "latents.npy"], check=True)
        made.append(np.load(tmp_path / "latents.npy"))
    assert np.array_equal(*made) and np.isfinite(made[0]).all()


def test_a_text_encoder_that_does_not_fit_is_named(folders: Path, pipeline: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    networks = ["--predictor", folders / "predictor", "--text", pipeline, "--out", out, "--no-run"]
    assert export(*networks, "--tokens", 9) == 2
    assert "do not belong together: tokens 7 and 9" in capsys.readouterr().err
    tokenizer = tmp_path / "tokenizer"
    (tmp_path / "text_encoder").symlink_to(pipeline / "text_encoder")
    networks[3] = tmp_path
    tokenizer.mkdir()
    for vocabulary, merges, said in (
        ("[]", "", "an object was expected"),
        ('{"a": "b"}', "", "words and their numbers were expected"),
        ('{"a": 1}', "a b c", "'a b c' is no two tokens"),
        ('{"a": 1}', "a b", "the vocabulary lacks <|startoftext|>, <|endoftext|>"),
    ):
        (tokenizer / "vocab.json").write_text(vocabulary, encoding="utf-8")
        (tokenizer / "merges.txt").write_text(merges, encoding="utf-8")
        assert export(*networks, "--tokens", 7) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, error
    assert not out.exists()


def test_what_does_not_belong_together_is_named(folders: Path, tmp_path: Path, capsys) -> None:
    other = dataclasses.replace(REFINER, cross_attention_dim=32)
    their_unet(other).save_pretrained(tmp_path / "other")
    networks = ["--predictor", folders / "predictor", "--refiner", tmp_path / "other"]
    assert export(*networks, "--out", tmp_path / "out", "--no-run") == 2
    assert "cross_attention_dim 24 and 32" in capsys.readouterr().err
    assert export("--predictor", folders / "refiner", "--out", tmp_path / "out", "--no-run") == 2
    assert "in_channels is 8; a predictor of 4 output channels takes 4" in capsys.readouterr().err
    for wrong in (["--random", "--predictor", folders], [], ["--random", "--tokens", 0]):
        with pytest.raises(SystemExit):
            export(*wrong, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
