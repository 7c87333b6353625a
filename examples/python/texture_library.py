"""Makes a library of textures: a table of requests in, images and a manifest out, on as many machines as Ray has.

    python examples/python/texture_library.py requests.csv --model models/textures.ftplan --out library

The table is CSV or Parquet: `name`, which is to be unique, `class` or `prompt`, `seed`, and, where wanted, `schedule`,
`preset`, `guidance`, `seamless`, `width` and `height`. OUT/images/NAME-DIGEST.png is each request's image. The digest
is of the request and the model, and a file is there whole or not at all, so a file that is there is done: the same
command goes on where a run was stopped, makes what is new in the table, and nothing twice. OUT/manifest.csv, written
last, has each request with its files, or with what was wrong with it.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import flowturbo

NAME = re.compile(r"[\w][\w .-]*")
WHOLE = {"seed", "width", "height"}
NUMBERS = {"guidance", *WHOLE}
COLUMNS = {"name", "class", "prompt", "schedule", "preset", "seamless", *NUMBERS}


class Painter:
    """Makes the images of requests, one after the other: a worker of Ray's. What is wrong with a request is told in its
    row; the others are made."""

    def __init__(self, model: str, out: str, maps: tuple[str, ...], threads: int):
        self.model = flowturbo.Model.open(model, threads=threads)
        self.session = self.model.session()
        self.images, self.maps = Path(out, "images"), maps
        self.images.mkdir(parents=True, exist_ok=True)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            request = read(row)
            files = self.files(request)
            if not all((self.images / file).exists() for file in files.values()):
                self.make(request, files)
        except (flowturbo.Error, ValueError, TypeError, OSError, MemoryError) as error:
            return {"row": json.dumps(row, default=str), "files": "{}", "error": str(error)}
        return {"row": json.dumps(row, default=str), "files": json.dumps(files), "error": ""}

    def files(self, request: dict[str, Any]) -> dict[str, str]:
        """By map; the colour's is last, so that where it is there, all are."""
        told = json.dumps([self.model.info.hash, {k: v for k, v in request.items() if k != "name"}], sort_keys=True)
        stem = f"{request['name']}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
        return {name: f"{stem}_{name}.png" for name in self.maps} | {"color": f"{stem}.png"}

    def make(self, request: dict[str, Any], files: dict[str, str]) -> None:
        size = (request.get("width", self.model.info.width), request.get("height", self.model.info.height))
        made = self.session.generate(
            classes=request.get("class"),
            prompts=request.get("prompt"),
            seed=request.get("seed"),
            schedule=request.get("schedule"),
            preset=request.get("preset"),
            guidance=request.get("guidance"),
            seamless=request.get("seamless"),
            size=size,
            maps=self.maps,
        )
        assert made.images is not None
        for name, file in files.items():
            flowturbo.save_png(made.images[0] if name == "color" else made.maps[name][0], self.images / file)


def read(row: dict[str, Any]) -> dict[str, Any]:
    """What a row of the table asks for; cells without a value are left out."""
    request: dict[str, Any] = {}
    for column, value in row.items():
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            continue
        request[column] = value if column in NUMBERS else str(value)
        if column in NUMBERS and not isinstance(value, int | float):
            raise ValueError(f"{column} {value!r}: must be a number")
        if column in WHOLE:
            if not float(value).is_integer():
                raise ValueError(f"{column} {value}: must be a whole number")
            request[column] = int(value)
    if not NAME.fullmatch(request.get("name", "")):
        raise ValueError(f"name {request.get('name', '')!r}: letters, digits, spaces and _.- are needed")
    if ("class" in request) == ("prompt" in request):
        raise ValueError("either a class or a prompt is needed")
    return request


def read_table(path: Path) -> list[dict[str, Any]]:
    from pyarrow import csv, parquet

    table = parquet.read_table(path) if path.suffix == ".parquet" else csv.read_csv(path)
    rows: list[dict[str, Any]] = table.to_pylist()
    if unknown := set(table.column_names) - COLUMNS:
        raise SystemExit(f"{path}: no column is called {min(unknown)!r}; there are {', '.join(sorted(COLUMNS))}")
    if "name" not in table.column_names or not rows:
        raise SystemExit(f"{path}: needs a column `name`, and a request")
    times = Counter(str(row["name"]) for row in rows)
    if (most := times.most_common(1)[0])[1] > 1:
        raise SystemExit(f"{path}: {most[0]!r} is the name of {most[1]} requests")
    return rows


def write_manifest(path: Path, columns: list[str], rows: list[dict[str, Any]], maps: tuple[str, ...]) -> None:
    """Whole, or not at all."""
    names = ("color", *maps)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, *names, "error"])
        for made in sorted(rows, key=lambda made: str(json.loads(made["row"])["name"])):
            row, files = json.loads(made["row"]), json.loads(made["files"])
            writer.writerow([*(row[column] for column in columns), *(files.get(name) for name in names), made["error"]])
    unfinished.replace(path)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="requests, CSV or Parquet")
    parser.add_argument("--model", type=Path, required=True, metavar="PATH", help="a bundle or a plan")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="which all workers can write to")
    parser.add_argument("--maps", default="", metavar="NAMES", help="of a model of materials: normal,height")
    parser.add_argument("--workers", type=int, metavar="N", help="each with a model; by default one per processor")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of each worker")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    chosen = parse(arguments)
    maps = tuple(filter(None, chosen.maps.split(",")))
    model, out = chosen.model.resolve(), chosen.out.resolve()
    flowturbo.Model.open(model).close()  # before workers are started for it

    table = read_table(chosen.table)

    import ray

    ray.init()
    workers = chosen.workers or max(1, int(ray.cluster_resources()["CPU"]) // chosen.threads)
    # Pieces smaller than a worker's share, so that none waits for another at the end. They are laid out here: tasks
    # that do it would wait for processors, which the workers hold from the start.
    pieces = max(1, min(len(table), 4 * workers))
    made = ray.data.from_items(table, override_num_blocks=pieces).map(
        Painter,
        fn_constructor_args=(str(model), str(out), maps, chosen.threads),
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=chosen.threads,
    )
    rows = list(made.iter_rows())
    write_manifest(out / "manifest.csv", list(table[0]), rows, maps)
    failed = [row for row in rows if row["error"]]
    for row in failed:
        print(f"{json.loads(row['row'])['name']}: {row['error']}")
    print(f"{len(rows) - len(failed)} of {len(rows)} requests are in {out / 'manifest.csv'}")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
