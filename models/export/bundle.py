"""Networks + manifest -> a bundle: verified ONNX graphs and `bundle.json`, in a folder or a stored zip.

Everything is built in a temporary folder beside the target and moved into place at the end, so a failure
leaves nothing behind and an older bundle as it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from export import ExportError
from export.graph import DTYPES, EXTERNAL_THRESHOLD, write_graph
from export.manifest import Classes, Latent, Manifest, Text, Time, require
from export.program import compare
from export.signature import signature, takes_class
from export.verify import verify

__all__ = ["Classes", "Latent", "Manifest", "Report", "Text", "Time", "write_bundle"]

ROLES = ("predictor", "refiner", "decoder", "encoder", "text")
TOKENIZER = "tokenizer.json"


@dataclass
class Report:
    """What was written: a line per network, and the total."""

    out: Path
    networks: list[tuple[str, int, int, float]] = field(default_factory=list)  # role, parameters, bytes, error
    run: float | None = None  # how far flowturbo is off, if it was asked

    def __str__(self) -> str:
        lines = [f"{'network':<10} {'parameters':>12} {'MB':>9} {'max error':>10}"]
        lines += [f"{r:<10} {p:>12,} {b / 1e6:>9.2f} {e:>10.1e}" for r, p, b, e in self.networks]
        run = "not run by flowturbo" if self.run is None else f"run by flowturbo: {self.run:.1e} off at most"
        return "\n".join([*lines, run, f"wrote {self.out}"])


def write_bundle(
    out: Path | str,
    manifest: Manifest,
    networks: dict[str, nn.Module],
    dtype: str = "f16",
    external_threshold: int = EXTERNAL_THRESHOLD,
    program: Path | None = None,
) -> Report:
    """Exports `networks` (role -> module on the CPU; predictor required), verifies each, and writes `out`.

    `program` is flowturbo's (`find_program`), which has to run the bundle and agree; without one, the report says so.
    """
    out = Path(out)
    if out.is_symlink():
        out = out.resolve()  # the link stays
    check(out, manifest, networks, dtype)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
            return build(out, manifest, networks, dtype, external_threshold, program, Path(scratch))
    except OSError as error:
        raise ExportError(f"cannot write {out}: {error}") from error


def build(
    out: Path,
    manifest: Manifest,
    networks: dict[str, nn.Module],
    dtype: str,
    external_threshold: int,
    program: Path | None,
    scratch: Path,
) -> Report:
    """Makes the bundle in the scratch folder, then moves it to `out`; an older bundle goes with the scratch folder."""
    report, entries = Report(out), {}
    folder = scratch / "bundle"
    folder.mkdir()
    for role in (r for r in ROLES if r in networks):
        entries[role], line = write_network(role, manifest, networks[role], folder, dtype, external_threshold)
        report.networks.append(line)
    data = manifest.as_json() | {"networks": entries}
    if manifest.text and manifest.text.tokenizer:
        text = json.dumps(manifest.text.tokenizer, ensure_ascii=False, separators=(",", ":"))
        (folder / TOKENIZER).write_text(text, encoding="utf-8")
        data["text"]["tokenizer"] = {"file": TOKENIZER, "sha256": sha256(folder / TOKENIZER)}
    (folder / "bundle.json").write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if program is not None:
        report.run = compare(program, folder, manifest, networks, dtype)
    if out.is_dir():
        keep_others(out, folder)
    built = pack(folder) if out.suffix == ".zip" else folder
    install(built, out, scratch / "replaced")
    return report


def keep_others(old: Path, new: Path) -> None:
    """What else the older bundle's folder holds, such as a README or a licence, belongs in the newer one."""
    for path in old.iterdir():
        if path.name in ("bundle.json", TOKENIZER) or path.name.endswith((".onnx", ".onnx.data")):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, new / path.name, symlinks=True)
        else:
            shutil.copy2(path, new / path.name, follow_symlinks=False)


def install(built: Path, out: Path, replaced: Path) -> None:
    """Moves `built` to `out`. A folder there makes way to `replaced`, and comes back if the move fails."""
    if out.exists():
        shutil.copymode(out, built)
    try:
        if out.is_dir():
            out.rename(replaced)
        built.replace(out)
    except BaseException:
        if os.path.lexists(replaced) and not os.path.lexists(out):
            replaced.rename(out)
        raise


def check(out: Path, manifest: Manifest, networks: dict[str, nn.Module], dtype: str) -> None:
    require(dtype in DTYPES, f"dtype {dtype!r}: one of {', '.join(DTYPES)}")
    require("predictor" in networks, "a bundle needs a predictor")
    require(
        set(networks) <= set(ROLES), f"networks are {', '.join(ROLES)}, not {', '.join(set(networks) - set(ROLES))}"
    )
    manifest.check()
    given = takes_class("predictor", networks["predictor"])
    require(given or not manifest.classes.given, "the predictor's forward takes no class, so Classes(1, given=False)")
    require(not given or manifest.classes.given, "Classes are not given, but the predictor's forward takes a class")
    if {"decoder", "encoder"} & set(networks):
        require(manifest.image is not None, "a decoder or an encoder needs the image size")
    else:
        require(manifest.image is None, "an image size needs a decoder or an encoder")
    tokenizer = manifest.text.tokenizer if manifest.text else None
    require(("text" in networks) == (tokenizer is not None), "a text encoder and a tokenizer come together")
    require(manifest.maps is None or "decoder" in networks, "maps need a decoder, which makes them")
    schedules = [manifest.schedule, *(schedule for schedule, _ in manifest.presets.values())]
    require(
        "refiner" in networks or not any("R" in s for s in schedules),
        "the schedule has refiner steps but there is no refiner",
    )
    require("refiner" in networks or not manifest.refiner_guided, "there is no refiner whose answers are guided ones")
    if out.is_dir():
        require((out / "bundle.json").is_file() or not any(out.iterdir()), f"{out} is a folder that is not a bundle")
    elif out.exists():
        require(zipfile.is_zipfile(out), f"{out} is a file that is not a bundle")


def write_network(
    role: str, manifest: Manifest, module: nn.Module, folder: Path, dtype: str, external_threshold: int
) -> tuple[dict, tuple[str, int, int, float]]:
    shape = signature(role, manifest, module)
    path = folder / f"{role}.onnx"
    files = write_graph(module, shape, path, dtype, external_threshold)
    error = verify(module, shape, manifest, path, dtype)
    entry = {"file": path.name, "sha256": sha256(path)}
    if files[1:]:
        entry["external_data"] = [{"file": file.name, "sha256": sha256(file)} for file in files[1:]]
    entry |= {"inputs": {name: name for name in shape.inputs}, "output": shape.output}
    parameters = sum(p.numel() for p in module.parameters())
    return entry, (role, parameters, sum(file.stat().st_size for file in files), error)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pack(folder: Path) -> Path:
    """A zip of stored entries, the manifest first, with a fixed date so that equal contents give equal bytes."""
    target = folder.with_suffix(".zip")
    files = sorted(folder.iterdir(), key=lambda f: (f.name != "bundle.json", f.name))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            info = zipfile.ZipInfo(file.name, date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            info.file_size = file.stat().st_size
            with file.open("rb") as source, archive.open(info, "w") as entry:
                shutil.copyfileobj(source, entry, 1 << 20)
    return target
