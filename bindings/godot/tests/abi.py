"""Holds the binding to what Godot publishes of itself, in each release from 4.2 on: abi.py FOLDER

Layouts and signatures of src/gdextension.h, methods that are called by name, and names that our classes register, which
hide none of the engine's; the demo's scene and the .gdextension file. FOLDER has registered.txt, which the tests wrote.
The descriptions are those of the crate gdextension-api, which cargo fetches.
"""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
TOP = HERE.parents[1]
CRATE = "0.5.1"
RELEASES = ["4.2", "4.3", "4.4", "4.5", "4.6", "4.7"]
MANIFEST = f"""
[package]
name = "published"
version = "0.0.0"
edition = "2021"
[lib]
path = "lib.rs"
[dependencies]
gdextension-api = "={CRATE}"
[workspace]
"""

STRUCTS = {
    "gd_call_error": "GDExtensionCallError",
    "gd_property_info": "GDExtensionPropertyInfo",
    "gd_method_info": "GDExtensionClassMethodInfo",
    "gd_class_info": "GDExtensionClassCreationInfo2",
    "gd_binding_callbacks": "GDExtensionInstanceBindingCallbacks",
    "gd_initialization": "GDExtensionInitialization",
}
FUNCTION_TYPES = {
    "gd_method_call": "GDExtensionClassMethodCall",
    "gd_method_ptrcall": "GDExtensionClassMethodPtrCall",
    "gd_virtual": "GDExtensionClassCallVirtual",
    "gd_from_type": "GDExtensionVariantFromTypeConstructorFunc",
    "gd_to_type": "GDExtensionTypeFromVariantConstructorFunc",
    "gd_destructor": "GDExtensionPtrDestructor",
}
VARIANTS = ["NIL", "BOOL", "INT", "FLOAT", "STRING", "VECTOR2I", "STRING_NAME", "OBJECT", "CALLABLE"]
VARIANTS += ["PACKED_BYTE_ARRAY", "PACKED_STRING_ARRAY"]
# Ours -> the published enum and name.
INTERFACE_VALUES = {
    **{f"GD_{name}": ("GDExtensionVariantType", f"GDEXTENSION_VARIANT_TYPE_{name}") for name in VARIANTS},
    **{
        f"GD_CALL_{name}": ("GDExtensionCallErrorType", f"GDEXTENSION_CALL_{published}")
        for name, published in {
            "OK": "OK",
            "INVALID_ARGUMENT": "ERROR_INVALID_ARGUMENT",
            "TOO_MANY_ARGUMENTS": "ERROR_TOO_MANY_ARGUMENTS",
            "TOO_FEW_ARGUMENTS": "ERROR_TOO_FEW_ARGUMENTS",
        }.items()
    },
    "GD_LEVEL_SCENE": ("GDExtensionInitializationLevel", "GDEXTENSION_INITIALIZATION_SCENE"),
    "GD_METHOD_DEFAULT": ("GDExtensionClassMethodFlags", "GDEXTENSION_METHOD_FLAGS_DEFAULT"),
}
ENGINE_VALUES = {
    "GD_HINT_NONE": ("PropertyHint", "PROPERTY_HINT_NONE"),
    "GD_HINT_RANGE": ("PropertyHint", "PROPERTY_HINT_RANGE"),
    "GD_HINT_ENUM": ("PropertyHint", "PROPERTY_HINT_ENUM"),
    "GD_HINT_FLAGS": ("PropertyHint", "PROPERTY_HINT_FLAGS"),
    "GD_HINT_FILE": ("PropertyHint", "PROPERTY_HINT_FILE"),
    "GD_HINT_RESOURCE_TYPE": ("PropertyHint", "PROPERTY_HINT_RESOURCE_TYPE"),
    "GD_HINT_MULTILINE_TEXT": ("PropertyHint", "PROPERTY_HINT_MULTILINE_TEXT"),
    "GD_USAGE_DEFAULT": ("PropertyUsageFlags", "PROPERTY_USAGE_DEFAULT"),
    "GD_ERROR_OK": ("Error", "OK"),
    "GD_ERROR_FAILED": ("Error", "FAILED"),
}
# Methods that are called by name, with what they take.
CALLED = {
    ("Object", "call_deferred"): ["StringName"],
    ("Object", "emit_signal"): ["StringName"],
    ("Image", "set_data"): ["int", "int", "bool", "enum::Image.Format", "PackedByteArray"],
    ("Image", "generate_mipmaps"): ["bool"],
    ("ImageTexture", "set_image"): ["Image"],
    ("WorkerThreadPool", "add_task"): ["Callable", "bool", "String"],
    ("WorkerThreadPool", "is_task_completed"): ["int"],
    ("WorkerThreadPool", "wait_for_task_completion"): ["int"],
    ("PackedByteArray", "resize"): ["int"],
    ("PackedByteArray", "size"): [],
    ("PackedStringArray", "push_back"): ["String"],
}
VIRTUALS = ["_process", "_exit_tree"]


def published() -> Path:
    """The folder of the crate's descriptions."""
    project = TOP / "target" / "godot" / "published"
    project.mkdir(parents=True, exist_ok=True)
    (project / "Cargo.toml").write_text(MANIFEST)
    (project / "lib.rs").write_text("")
    command = ["cargo", "metadata", "--format-version", "1", "--manifest-path", str(project / "Cargo.toml")]
    packages = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["packages"]
    (crate,) = [package for package in packages if package["name"] == "gdextension-api"]
    return Path(crate["manifest_path"]).parent / "src"


SOURCE = published()
INTERFACE = json.loads((SOURCE / "gdextension_interface.json").read_text())
TYPES = {entry["name"]: entry for entry in INTERFACE["types"]}


def c_type(name: str) -> str:
    """A published type in C, where handles are pointers to nothing known, and structs of one layout are ours."""
    pointer = re.fullmatch(r"(const )?(\w+)(\*+)", name)
    if pointer:
        const, base, stars = pointer.groups()
        return f"{c_type(base)} {const or ''}{stars}"
    for ours, theirs in STRUCTS.items():
        if name == theirs:
            return ours
    entry = TYPES.get(name)
    if entry is None:
        return name
    match entry["kind"]:
        case "handle":
            return "const void *" if entry.get("is_const") else "void *"
        case "enum":
            return "uint32_t"
        case "alias":
            return c_type(entry["type"])
        case "function":
            return f"__typeof__({function(entry)})"
    raise SystemExit(f"{name} is a {entry['kind']}")


def function(entry: dict[str, Any]) -> str:
    arguments = ", ".join(c_type(argument["type"]) for argument in entry["arguments"]) or "void"
    return f"{c_type(entry.get('return_value', {}).get('type', 'void'))} (*)({arguments})"


def layouts() -> str:
    """A C file that compiles if src/gdextension.h has the published layouts, signatures and numbers."""
    lines = [
        '#include "engine.h"',
        "#define SAME(a, b, what) _Static_assert(__builtin_types_compatible_p(a, b), what);",
    ]
    for ours, theirs in STRUCTS.items():
        # A pointer is as large as any other, so members need only their size.
        members = TYPES[theirs]["members"]
        lines.append(f"struct published_{ours} {{")
        for member in members:
            kind = TYPES.get(member["type"], {}).get("kind")
            opaque = member["type"].endswith("*") or kind in ("function", "handle")
            lines.append(f"  __typeof__({'void *' if opaque else c_type(member['type'])}) {member['name']};")
        lines.append("};")
        lines.append(f'_Static_assert(sizeof({ours}) == sizeof(struct published_{ours}), "{ours}");')
        for member in members:
            place = f"offsetof({ours}, {member['name']}) == offsetof(struct published_{ours}, {member['name']})"
            lines.append(f'_Static_assert({place}, "{ours}.{member["name"]}");')
            if TYPES.get(member["type"], {}).get("kind") == "function":
                given = f"__typeof__((({ours} *)0)->{member['name']})"
                signature = function(TYPES[member["type"]])
                lines.append(
                    f"_Static_assert(__builtin_types_compatible_p({given}, gd_function) || "
                    f'__builtin_types_compatible_p({given}, __typeof__({signature})), "{ours}.{member["name"]}");'
                )
    for ours, theirs in FUNCTION_TYPES.items():
        lines.append(f'SAME({ours}, __typeof__({function(TYPES[theirs])}), "{ours}")')
    known = {entry["name"]: entry for entry in INTERFACE["interface"]}
    for name in functions():
        entry = known[name]
        if tuple(map(int, entry["since"].split("."))) > (4, 2):
            raise SystemExit(f"{name} is newer than Godot 4.2")
        lines.append(f'SAME(__typeof__(gd.{name}), __typeof__({function(entry)}), "{name}")')
    values = {enum: {v["name"]: v["value"] for v in TYPES[enum]["values"]} for enum, _ in INTERFACE_VALUES.values()}
    lines += [
        f'_Static_assert({ours} == {values[enum][name]}, "{ours}");' for ours, (enum, name) in INTERFACE_VALUES.items()
    ]
    for release in RELEASES:
        enums = {
            entry["name"]: {v["name"]: v["value"] for v in entry["values"]} for entry in api(release)["global_enums"]
        }
        for ours, (enum, name) in ENGINE_VALUES.items():
            lines.append(f'_Static_assert({ours} == {enums[enum][name]}, "{ours} {release}");')
    return "\n".join(lines) + "\n"


def functions() -> list[str]:
    names = re.findall(r"^  X\([^,]+, (\w+),", (HERE / "src" / "gdextension.h").read_text(), re.MULTILINE)
    if len(names) < 20:
        raise SystemExit("gdextension.h: its functions are not found")
    return names


@cache
def api(release: str) -> dict[str, Any]:
    return json.loads((SOURCE / release / "extension_api.json").read_text())


@cache
def classes(release: str) -> dict[str, Any]:
    return {entry["name"]: entry for entry in api(release)["classes"]}


def members(release: str, name: str, kind: str) -> dict[str, Any]:
    """Those of a class and of what it inherits."""
    found: dict[str, Any] = {}
    while name:
        found |= {entry["name"]: entry for entry in classes(release)[name].get(kind, [])}
        name = classes(release)[name].get("inherits", "")
    return found


def check_engine(release: str) -> None:
    """What we call is there, and what is a value of Godot's has room in ours."""
    builtin = {entry["name"]: entry for entry in api(release)["builtin_classes"]}
    for (owner, name), takes in CALLED.items():
        own = (
            {m["name"]: m for m in builtin[owner]["methods"]}
            if owner in builtin
            else members(release, owner, "methods")
        )
        types = [argument["type"] for argument in own[name].get("arguments") or []]
        if types != takes:
            raise SystemExit(f"Godot {release}: {owner}.{name} takes {types}")
    method = members(release, "FileAccess", "methods")["get_file_as_bytes"]
    ours = re.search(r"GD_HASH_GET_FILE_AS_BYTES (\d+)", (HERE / "src" / "gdextension.h").read_text())
    if (
        not ours
        or not method["is_static"]
        or int(ours[1]) not in [method["hash"], *method.get("hash_compatibility", [])]
    ):
        raise SystemExit(f"Godot {release}: FileAccess.get_file_as_bytes has the hash {method['hash']}")
    formats = next(e for e in classes(release)["Image"]["enums"] if e["name"] == "Format")["values"]
    written = (HERE / "src" / "texture.c").read_text()
    for entry in formats:
        if entry["name"] in ("FORMAT_L8", "FORMAT_RGB8") and f"{entry['name']} = {entry['value']}" not in written:
            raise SystemExit(f"Godot {release}: {entry['name']} is {entry['value']}")
    for build in api(release)["builtin_class_sizes"]:
        size = {entry["name"]: entry["size"] for entry in build["sizes"]}
        pointer = int(build["build_configuration"][-2:]) // 8
        if size["Variant"] > 40 or size["String"] != pointer or size["StringName"] != pointer:
            raise SystemExit(f"Godot {release}: {size}")
        if size["PackedByteArray"] > 2 * pointer or size["PackedStringArray"] > 2 * pointer or size["Vector2i"] != 8:
            raise SystemExit(f"Godot {release}: {size}")
    for virtual in VIRTUALS:
        if not members(release, "Node", "methods")[virtual]["is_virtual"]:
            raise SystemExit(f"Godot {release}: Node.{virtual} is not virtual")


def check_names(release: str, registered: list[list[str]]) -> None:
    """No name of ours is one that the engine's class has already."""
    parents = {line[1]: line[2] for line in registered if line[0] == "class"}
    for kind, owner, name, *_ in registered:
        if kind == "class":
            if owner in classes(release):
                raise SystemExit(f"Godot {release} has a class {owner}")
            continue
        for group in ("methods", "properties", "signals", "constants"):
            if name in members(release, parents[owner], group):
                raise SystemExit(f"Godot {release}: {parents[owner]} has {name} already")


def check_scene(release: str, registered: list[list[str]]) -> None:
    """Every property of the demo's scene is one of its class."""
    parents = {line[1]: line[2] for line in registered if line[0] == "class"}
    own = {(line[1], line[2]) for line in registered if line[0] == "p"}
    of = ""
    for line in (HERE / "demo" / "main.tscn").read_text().splitlines():
        head = re.match(r'\[(node|sub_resource) .*type="(\w+)"', line)
        if line.startswith("["):
            of = head[2] if head else ""
            if of and of not in parents and of not in classes(release):
                raise SystemExit(f"main.tscn: Godot {release} has no class {of}")
        elif of and "=" in line:
            name = line.split(" =")[0]
            # A transform is what Node3D stores of its position; a script is any object's.
            if (of, name) in own or name == "script" or name in members(release, parents.get(of, of), "properties"):
                continue
            raise SystemExit(f"main.tscn: {of} has no {name} in Godot {release}")


def check_readme(registered: list[list[str]]) -> None:
    """All that a script may use is in the tables of README.md."""
    text = (HERE / "README.md").read_text()
    accessors = {f"{side}_{name}" for kind, _, name, *_ in registered if kind == "p" for side in ("set", "get")}
    for kind, owner, name, *_ in registered:
        if kind in "pms" and name not in accessors and not name.startswith("_") and not re.search(rf"`{name}\b", text):
            raise SystemExit(f"README.md does not tell of {owner}.{name}")


def check_extension() -> None:
    """The file that Godot reads names libraries where they are, and their entry."""
    read = configparser.ConfigParser(delimiters=("=",))
    read.optionxform = str
    demo = TOP / "target" / "godot" / "demo"
    read.read(demo / "addons" / "flowturbo" / "flowturbo.gdextension")
    if read["configuration"]["compatibility_minimum"] != f'"{RELEASES[0]}"':
        raise SystemExit("flowturbo.gdextension: another oldest release than is checked here")
    built = [demo / path[7:-1] for path in read["libraries"].values() if (demo / path[7:-1]).exists()]
    needed = [demo / path for path in re.findall(r'"res://([^"]+)"', " ".join(read["dependencies"].values()))]
    if len(built) != 1 or built[0].parent not in [path.parent for path in needed if path.exists()]:
        raise SystemExit("flowturbo.gdextension: the library that was built is not where it says")
    command = ["nm", "--dynamic", "--defined-only", "--format=just-symbols", str(built[0])]
    symbols = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    if symbols != [read["configuration"]["entry_symbol"].strip('"')]:
        raise SystemExit(f"{built[0]} exports {symbols}")


def main() -> None:
    folder = Path(sys.argv[1])
    source = folder / "published.c"
    source.write_text(layouts())
    subprocess.run(["gcc", "-std=gnu11", "-fsyntax-only", f"-I{HERE / 'src'}", str(source)], check=True)
    registered = [line.split() for line in (folder / "registered.txt").read_text().splitlines()]
    for release in RELEASES:
        check_engine(release)
        check_names(release, registered)
        check_scene(release, registered)
    check_readme(registered)
    check_extension()
    print(
        f"as published for Godot {RELEASES[0]} to {RELEASES[-1]}: {len(functions())} functions, {len(registered)} names"
    )


if __name__ == "__main__":
    main()
