"""The table of operators that the checker reads: crates/compile/src/graph/standard/operators.txt.

A row is one version of an operator: domain, name, the opset it came with, how many inputs and outputs it has, and its
attributes with their types; `!` marks what must be there, and `gone` a version that is deprecated. Run it again for a
newer onnx.
"""

from __future__ import annotations

from pathlib import Path

import onnx.defs

TABLE = Path(__file__).resolve().parents[2] / "crates/compile/src/graph/standard/operators.txt"
OLDEST = 7  # what broadcasts by an attribute is older

# Attributes of other kinds, such as types, belong to operators that no image network has.
KINDS = {
    "FLOAT": "float",
    "INT": "int",
    "STRING": "string",
    "TENSOR": "tensor",
    "GRAPH": "graph",
    "FLOATS": "floats",
    "INTS": "ints",
    "STRINGS": "strings",
}

# Operators that ONNX Runtime's own optimiser and quantizer write; onnx has no schema of them.
CONTRIBUTED = """\
com.microsoft BiasGelu 1 2..2 1..1
com.microsoft FastGelu 1 1..2 1..1
com.microsoft Gelu 1 1..1 1..1
com.microsoft QGemm 1 6..9 1..1 alpha:float transA:int transB:int
com.microsoft QLinearAdd 1 7..8 1..1
com.microsoft QLinearMul 1 7..8 1..1
com.microsoft QuickGelu 1 1..1 1..1 alpha:float
com.microsoft SkipLayerNormalization 1 3..5 1..4 epsilon:float
com.microsoft SkipSimplifiedLayerNormalization 1 3..4 1..4 epsilon:float
ai.onnx SimplifiedLayerNormalization 1 2..2 1..3 axis:int epsilon:float stash_type:int
"""


def count(least: int, most: int) -> str:
    return f"{least}..{'*' if most > 1 << 20 else most}"


def row(schema: onnx.defs.OpSchema) -> str:
    if schema.deprecated:
        return f"ai.onnx {schema.name} {schema.since_version} gone"
    attributes = [
        f"{name}:{KINDS[attribute.type.name]}{'!' if attribute.required else ''}"
        for name, attribute in sorted(schema.attributes.items())
        if attribute.type.name in KINDS
    ]
    inputs, outputs = count(schema.min_input, schema.max_input), count(schema.min_output, schema.max_output)
    return " ".join(["ai.onnx", schema.name, str(schema.since_version), inputs, outputs, *attributes])


def main() -> None:
    schemas = [s for s in onnx.defs.get_all_schemas_with_history() if s.domain == ""]
    newest: dict[str, int] = {}
    for schema in schemas:
        if schema.since_version <= OLDEST:
            newest[schema.name] = max(newest.get(schema.name, 0), schema.since_version)
    kept = [s for s in schemas if s.since_version >= newest.get(s.name, 0)]
    kept.sort(key=lambda schema: (schema.name, schema.since_version))
    rows = [row(schema) for schema in kept]
    # A version that only admits more types of numbers is the same row.
    distinct = []
    for text in rows:
        key = text.split(" ")
        del key[2]
        if not distinct or distinct[-1][0] != key:
            distinct.append((key, text))
    text = "\n".join(text for _, text in distinct)
    TABLE.write_text(f"opset {OLDEST}..{onnx.defs.onnx_opset_version()}\n{text}\n{CONTRIBUTED}")
    print(f"{TABLE.name}: {len(distinct)} rows of {len(rows)}")


if __name__ == "__main__":
    main()
