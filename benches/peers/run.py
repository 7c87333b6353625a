"""flowturbo and its peers, the same ONNX graphs and the same sampler, in turns: python benches/peers/run.py BUNDLE...

BUNDLE is a folder, or a published size such as XL/2, which is made once with random weights. Prints markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bundles
import machine
from engines import ENGINES
from errors import errors
from measure import agreement, opened, rounds, say, starts
from peers import GROUPS, NAMES, Flowturbo, PeerError, make
from report import ROWS, report

TARGET = bundles.REPOSITORY / "target"


def parse_arguments() -> argparse.Namespace:
    def listed(known: tuple[str, ...], groups: dict[str, tuple[str, ...]]):
        def parse(text: str) -> list[str]:
            names = [name for word in text.split(",") for name in groups.get(word, (word,))]
            if unknown := set(names) - set(known):
                raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(known)}")
            return names

        return parse

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    everything = [str(bundles.REPOSITORY / "models" / "textures"), "S/2", "B/2", "XL/2"]
    add("bundles", nargs="*", default=everything, metavar="BUNDLE", help="models/textures S/2 B/2 XL/2 without any")
    add("--dtype", choices=("f16", "f32"), default="f16", help="how weights of bundles made here are stored (f16)")
    add("--cache", type=Path, default=TARGET / "peers", help="folder for bundles made here (target/peers)")
    add("--program", type=Path, default=TARGET / "release" / "flowturbo", help="the release build")
    peers = f"{', '.join(NAMES)}; {' and '.join(GROUPS)} are all of those (float32)"
    add("--peers", type=listed(NAMES, GROUPS), default=list(GROUPS["float32"]), metavar="NAME,...", help=peers)
    add("--rows", type=listed(tuple(ROWS), {}), default=list(ROWS), metavar="ROW,...", help=", ".join(ROWS))
    counts = [n for n in (1, 2) if n <= (os.cpu_count() or 1)]
    add("--threads", type=lambda text: [int(n) for n in text.split(",")], default=counts, metavar="N,...", help="1,2")
    add("--rounds", type=int, default=5, help="in which every peer has its turn (5)")
    add("--seconds", type=float, default=1.0, help="for each row of each peer in a round, at least one call (1)")
    add("--starts", type=int, default=3, help="fresh processes of each peer, for ready time and memory; 0 for none (3)")
    add("--errors", type=int, default=2, help="trajectories to find errors of small precisions on; 0 for none (2)")
    add("--guidance", type=float, default=4.0, help="scale of classifier-free guidance (4)")
    add("--json", type=Path, metavar="FILE", help="where to keep the raw numbers")
    return parser.parse_args()


def main(chosen: argparse.Namespace) -> None:
    program = Flowturbo(chosen.program)
    data = {
        "date": machine.now(),
        "machine": machine.describe(),
        "versions": machine.versions(chosen.program),
        "rounds": chosen.rounds,
        "seconds": chosen.seconds,
        "guidance": chosen.guidance,
        "bundles": [],
    }

    def save() -> None:
        """After every round, so that a run which is stopped leaves what it has measured."""
        if chosen.json:
            chosen.json.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")

    for text in chosen.bundles:
        bundle = bundles.find(text, chosen.dtype, chosen.cache.resolve())
        found = {"name": bundle.name, "folder": bundle.folder.name, **program.inspect(bundle)}
        data["bundles"].append(found)
        measure_bundle(found, bundle, program, chosen, save)
    print(report(data), end="")


def measure_bundle(
    found: dict, bundle: bundles.Bundle, program: Flowturbo, chosen: argparse.Namespace, save: Callable[[], None]
) -> None:
    say(bundle.name)
    peers = make(chosen.peers, program, chosen.guidance)
    if any(peer.name.startswith("torch") for peer in peers):
        bundle.make_torch_files()
    kinds = dict.fromkeys(ENGINES[peer.name].kind for peer in peers if peer.name in ENGINES)
    bundle.make_quantized(kind for kind in kinds if kind)
    found |= {"start_threads": max(chosen.threads), "starts": {}, "agreement": {}, "errors": {}, "threads": {}}
    if chosen.starts:
        found["starts"] = starts(bundle, peers, max(chosen.threads), chosen.starts)
        save()
    if chosen.errors and any(peer.name in GROUPS["small"] for peer in peers):
        found["errors"] = errors(bundle, peers, max(chosen.threads), chosen.errors, say)
        save()
    wanted = set(chosen.rows).__contains__
    for threads in chosen.threads:
        say(f"  {threads} threads")
        with opened(bundle, peers, threads) as ready:
            found["agreement"] = found["agreement"] or agreement(
                bundle, [p for p in ready if p.name in GROUPS["float32"]]
            )
            entries = found["threads"][str(threads)] = []
            for entry in rounds(bundle, ready, program, chosen.rounds, chosen.seconds, wanted):
                entries.append(entry)
                save()


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except (PeerError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")
