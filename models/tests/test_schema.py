"""`docs/bundle.schema.json` accepts the documented examples and every bundle in the repository, and refuses bad
ones."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest

jsonschema = pytest.importorskip("jsonschema")

REPOSITORY = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((REPOSITORY / "docs" / "bundle.schema.json").read_text(encoding="utf-8"))
EXAMPLES = [
    json.loads(text)
    for text in re.findall(
        r"```json\n(.*?)```", (REPOSITORY / "docs" / "bundle.md").read_text(encoding="utf-8"), re.DOTALL
    )
]
BUNDLES = [path for folder in ("tests", "models", "examples") for path in (REPOSITORY / folder).rglob("bundle.json")]


def validate(manifest: object) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(manifest)


def test_the_schema_is_a_schema_and_closes_every_object():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    def closed(node: object) -> bool:
        if isinstance(node, dict):
            if node.get("type") == "object" and "additionalProperties" not in node and "anyOf" not in node:
                return False
            return all(map(closed, node.values()))
        return all(map(closed, node)) if isinstance(node, list) else True

    assert closed(SCHEMA)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_a_documented_example_is_valid(example: dict):
    validate(example)


def test_the_examples_use_every_field():
    assert [sorted(example["networks"]) for example in EXAMPLES] == [
        ["predictor"],
        ["decoder", "encoder", "predictor", "refiner", "text"],
    ]
    full = EXAMPLES[1]
    assert set(full) == set(SCHEMA["properties"])
    for field in ("latent", "image", "classes", "text", "time", "guidance", "sampling", "networks"):
        assert set(full[field]) == set(SCHEMA["properties"][field]["properties"]), field


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: str(path.parent.relative_to(REPOSITORY)))
def test_a_bundle_in_the_repository_is_valid(path: Path):
    validate(json.loads(path.read_text(encoding="utf-8")))


ABSENT = object()


def changed(path: str, value: object) -> dict:
    """The example that uses every field, with another value at `path`."""
    manifest = copy.deepcopy(EXAMPLES[1])
    *parents, key = path.split(".")
    parent = manifest
    for name in parents:
        parent = parent[name]
    if value is ABSENT:
        del parent[key]
    else:
        parent[key] = value
    return manifest


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", "zip"),
        ("format_version", "2.0"),
        ("name", "a b"),
        ("name", ABSENT),
        ("description", None),
        ("description", "two\nlines"),
        ("colour", 1),
        ("latent", [8, 16, 16]),
        ("latent.channels", 0),
        ("latent.channels", 2**32),
        ("latent.scale", 0),
        ("latent.scale", 1e39),
        ("latent.depth", 1),
        ("image", ABSENT),
        ("image.height", 0),
        ("image.maps", []),
        ("image.maps", ["normal", "color"]),
        ("image.maps", ["color", "color"]),
        ("image.maps", ["color", "albedo"]),
        ("image.maps", "color"),
        ("image.maps", None),
        ("format_version", "1.0"),
        ("networks.decoder", ABSENT),
        ("classes.null", -1),
        ("classes.labels", ["brick", " ", "sand"]),
        ("classes.null", None),
        ("classes.labels", []),
        ("time.direction", "sideways"),
        ("time.scale", 0),
        ("time.velocity_sign", 0),
        ("guidance.channels", 0),
        ("sampling.schedule", ""),
        ("sampling.schedule", "X1"),
        ("sampling.schedule", "P0"),
        ("sampling.schedule", "R3"),
        ("sampling.schedule", "h1"),
        ("sampling.guidance", -1),
        ("sampling.presets", {"very fast": {"schedule": "H1", "guidance": 1}}),
        ("sampling.presets.fast.schedule", ABSENT),
        ("sampling.presets.fast.schedule", "R1"),
        ("sampling.presets.fast.guidance", -1),
        ("sampling.presets.fast.guidance", None),
        ("sampling.presets.fast.steps", 3),
        ("networks.predictor", ABSENT),
        ("networks.upscaler", {}),
        ("networks.predictor.file", "../predictor.onnx"),
        ("networks.predictor.file", "a..b"),
        ("networks.predictor.file", ".hidden"),
        ("networks.predictor.sha256", "AB"),
        ("networks.predictor.external_data", [{"file": "a/b", "sha256": "1" * 64}]),
        ("networks.refiner.inputs.v", ABSENT),
        ("networks.refiner.inputs.v", ""),
        ("networks.decoder.inputs.x", "x"),
        ("text", ABSENT),
        ("text.width", ABSENT),
        ("text.tokens", 0),
        ("text.no_prompt", "none"),
        ("text.tokenizer.sha256", "ab"),
        ("networks.predictor.inputs.context", ABSENT),
        ("networks.text.inputs.tokens", ABSENT),
    ],
)
def test_a_broken_rule_is_refused(path: str, value: object):
    with pytest.raises(jsonschema.ValidationError):
        validate(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("classes.null", ABSENT),
        ("classes.labels", ["crane", "tench, Tinca tinca", "crane"]),
        ("classes.labels", ["Cardigan", "cardigan", " Mörtel"]),
        ("networks.predictor.inputs.y", ABSENT),
        ("networks.refiner.inputs.y", ABSENT),
        ("networks.refiner.inputs.context", ABSENT),
        ("text.tokens", ABSENT),
        ("text.no_prompt", ABSENT),
        ("image.maps", ["color"]),
        ("image.maps", ["color", "occlusion", "metallic", "roughness", "height", "normal"]),
        ("image.maps", ABSENT),
    ],
)
def test_what_models_may_leave_out_or_repeat_is_valid(path: str, value: object):
    validate(changed(path, value))


def test_an_image_needs_a_decoder_or_an_encoder():
    manifest = copy.deepcopy(EXAMPLES[0])
    manifest["image"] = {"height": 128, "width": 128}
    with pytest.raises(jsonschema.ValidationError):
        validate(manifest)
