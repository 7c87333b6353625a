#!/usr/bin/env python3
"""Lays out the packages of the C# binding: a folder for Unity's package manager, and a NuGet package.

    bindings/csharp/pack.py OUT linux-x64=libflowturbo.so android-arm64=... --assembly FlowTurbo.dll

writes OUT/org.flowturbo, with Unity's import settings beside each file, and OUT/FlowTurbo.VERSION.nupkg. Native
libraries lie in `runtimes/RID/native` of both. `--licenses FILE` puts the licences of what is linked into them in.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import zipfile
from hashlib import md5
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
NAME = "org.flowturbo"
LICENSE = "MIT OR Apache-2.0"
ABOUT = "On-device image generation with flow models: textures and materials while the game runs"

# By .NET's name of a platform: the library's name, Unity's platform, its processor, and the editor that it also serves.
PLATFORMS = {
    "linux-x64": ("libflowturbo.so", "Standalone: Linux64", "x86_64", "Linux"),
    "win-x64": ("flowturbo.dll", "Standalone: Win64", "x86_64", "Windows"),
    "osx-x64": ("libflowturbo.dylib", "Standalone: OSXUniversal", "x86_64", "OSX"),
    "osx-arm64": ("libflowturbo.dylib", "Standalone: OSXUniversal", "ARM64", "OSX"),
    "android-arm64": ("libflowturbo.so", "Android: Android", "ARM64", None),
    "android-arm": ("libflowturbo.so", "Android: Android", "ARMv7", None),
    "android-x64": ("libflowturbo.so", "Android: Android", "X86_64", None),
    "ios-arm64": ("libflowturbo.a", "iPhone: iOS", None, None),
}
IMPORTERS = {
    ".cs": "MonoImporter",
    ".asmdef": "AssemblyDefinitionImporter",
    ".json": "PackageManifestImporter",
    ".md": "TextScriptImporter",
    ".txt": "TextScriptImporter",
}


def plugin(rid: str) -> str:
    """Import settings of a native library: for its platform alone."""
    _, platform, processor, editor = PLATFORMS[rid]
    settings = f"        CPU: {processor}\n" if processor else "        AddToEmbeddedBinaries: false\n"
    text = f"""PluginImporter:
  serializedVersion: 2
  isPreloaded: 0
  isOverridable: 0
  platformData:
  - first:
      Any:
    second:
      enabled: 0
      settings: {{}}
  - first:
      {platform}
    second:
      enabled: 1
      settings:
{settings}"""
    if editor:
        text += f"""  - first:
      Editor: Editor
    second:
      enabled: 1
      settings:
        CPU: {processor}
        OS: {editor}
"""
    return text


def import_settings(root: Path, path: Path) -> str:
    """A file's .meta. Scenes know a script by its GUID, so that is made of the path, and stays."""
    inside = path.relative_to(root).as_posix()
    guid = md5(f"{NAME}/{inside}".encode()).hexdigest()
    head = f"fileFormatVersion: 2\nguid: {guid}\n"
    if path.is_dir():
        return f"{head}folderAsset: yes\nDefaultImporter:\n  externalObjects: {{}}\n"
    parts = path.relative_to(root).parts
    if parts[0] == "runtimes":
        return head + plugin(parts[1])
    return f"{head}{IMPORTERS.get(path.suffix, 'DefaultImporter')}:\n  externalObjects: {{}}\n"


def readme() -> str:
    """README.md without the links to what is not in a package."""
    return re.sub(r"\[([^]]*)\]\((?!https:)[^)]*\)", r"\1", (HERE / "README.md").read_text(encoding="utf-8"))


def licences(linked: Path | None) -> dict[str, Path]:
    """The licence files of a package, by their names there."""
    files = {name: REPOSITORY / name for name in ("LICENSE-MIT", "LICENSE-APACHE")}
    return files | ({"LICENSES-OF-DEPENDENCIES.txt": linked} if linked else {})


def unity(root: Path, version: str, natives: dict[str, Path], linked: Path | None) -> None:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    shutil.copytree(HERE / "Runtime", root / "Runtime")
    (root / "README.md").write_text(readme(), encoding="utf-8")
    for name, path in licences(linked).items():
        shutil.copy(path, root / name)
    for rid, library in natives.items():
        folder = root / "runtimes" / rid / "native"
        folder.mkdir(parents=True)
        shutil.copy(library, folder / PLATFORMS[rid][0])
    package = {
        "name": NAME,
        "version": version,
        "displayName": "FlowTurbo",
        "description": ABOUT,
        "unity": "2021.3",
        "license": LICENSE,
    }
    (root / "package.json").write_text(json.dumps(package, indent=2) + "\n", encoding="utf-8")
    for path in sorted(root.rglob("*")):
        path.with_name(path.name + ".meta").write_text(import_settings(root, path), encoding="utf-8")


def nuget(package: Path, version: str, natives: dict[str, Path], linked: Path | None, assembly: Path) -> None:
    files = {"lib/netstandard2.0/FlowTurbo.dll": assembly} | licences(linked)
    files |= {f"runtimes/{rid}/native/{PLATFORMS[rid][0]}": library for rid, library in natives.items()}
    nuspec = f"""<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://schemas.microsoft.com/packaging/2010/07/nuspec.xsd">
  <metadata>
    <id>FlowTurbo</id>
    <version>{version}</version>
    <authors>flowturbo</authors>
    <license type="expression">{LICENSE}</license>
    <description>{escape(ABOUT)}</description>
  </metadata>
</package>
"""
    relations = """<?xml version="1.0" encoding="utf-8"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
  <Relationship Type="http://schemas.microsoft.com/packaging/2010/07/manifest" Target="/FlowTurbo.nuspec" Id="R1" />
</Relationships>
"""
    kinds = {Path(name).suffix[1:] for name in files} - {""} | {"md", "nuspec"}
    defaults = "".join(f'  <Default Extension="{kind}" ContentType="application/octet" />\n' for kind in sorted(kinds))
    bare = "".join(
        f'  <Override PartName="/{name}" ContentType="application/octet" />\n' for name in files if "." not in name
    )
    types = f"""<?xml version="1.0" encoding="utf-8"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
  <Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml" />
{defaults}{bare}</Types>
"""
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", types)
        archive.writestr("_rels/.rels", relations)
        archive.writestr("FlowTurbo.nuspec", nuspec)
        archive.writestr("README.md", readme())
        for name, path in files.items():
            archive.write(path, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("native", nargs="+", help=f"RID=LIBRARY; RIDs are {', '.join(PLATFORMS)}")
    parser.add_argument("--assembly", type=Path, help="FlowTurbo.dll, for a NuGet package")
    parser.add_argument("--licenses", type=Path, metavar="FILE", help="licences of what is linked into the libraries")
    given = parser.parse_args()
    for option, path in (("--assembly", given.assembly), ("--licenses", given.licenses)):
        if path and not path.is_file():
            parser.error(f"{option} {path}: there is no such file")
    natives = {}
    for one in given.native:
        rid, _, library = one.partition("=")
        if rid not in PLATFORMS or not Path(library).is_file():
            parser.error(f"{one}: RID=LIBRARY is needed, a file, for one of {', '.join(PLATFORMS)}")
        natives[rid] = Path(library)
    version = re.search(r'(?m)^version = "(.+)"$', (REPOSITORY / "Cargo.toml").read_text(encoding="utf-8")).group(1)
    unity(given.out / NAME, version, natives, given.licenses)
    if given.assembly:
        nuget(given.out / f"FlowTurbo.{version}.nupkg", version, natives, given.licenses, given.assembly)


if __name__ == "__main__":
    main()
