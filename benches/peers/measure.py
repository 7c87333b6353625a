"""The measurement of one bundle: starts, agreement of the results, then rounds in which the peers take turns."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from bundles import Bundle
from machine import Watch
from peers import Flowturbo, Peer, PeerError

SETTLE = 0.05  # seconds for the threads of the last peer to stop spinning


def say(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


def starts(bundle: Bundle, peers: list[Peer], threads: int, count: int) -> dict[str, list[dict]]:
    """Each peer in fresh processes, in turns, after one round that warms file and compiler caches."""
    found: dict[str, list[dict]] = {peer.name: [] for peer in peers}
    bundle.warm_file_cache()
    for index in range(count + 1):
        for peer in rotated(peers, index):
            try:
                start = peer.start(bundle, threads)
            except PeerError as error:
                say(f"left out: {error}")
                continue
            if index:
                found[peer.name].append(start)
    return found


def agreement(bundle: Bundle, peers: list[Peer]) -> dict[str, float]:
    """Largest distance from the median latents, over the largest latent. Same noise, class 0."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        noise = Path(folder, "noise.npy")
        np.save(noise, np.random.default_rng(1).standard_normal((1, *bundle.latent)).astype(np.float32))
        for peer in peers:
            out = Path(folder, f"{peer.name}.npy")
            peer.latents(noise, out)
            found[peer.name] = np.load(out)
    middle = np.median(list(found.values()), axis=0)
    return {name: float(np.abs(latents - middle).max() / np.abs(middle).max()) for name, latents in found.items()}


@contextmanager
def opened(bundle: Bundle, peers: list[Peer], threads: int):
    """The peers that open the bundle; all are closed at the end."""
    ready = []
    try:
        for peer in peers:
            try:
                peer.open(bundle, threads)
                ready.append(peer)
            except PeerError as error:
                say(f"left out: {error}")
        yield ready
    finally:
        for peer in peers:
            peer.close()


def rounds(
    bundle: Bundle,
    peers: list[Peer],
    program: Flowturbo,
    count: int,
    budget: float,
    wanted: Callable[[str], bool],
) -> Iterator[dict]:
    """An estimate of each row's time, then `count` rounds: seconds of a call for each peer and row, and what else went
    on meanwhile."""
    for index in range(count + 1):
        entry = {"peaks": program.peaks() if index else None, "load": os.getloadavg()[0], "seconds": {}}
        idle_cpu, other_cpu = [], []
        for peer in rotated(peers, index):
            rows = [row for row in peer.rows(bundle) if wanted(row)]
            if not rows:
                continue
            time.sleep(SETTLE)
            watch = Watch([pid for other in peers if other is not peer for pid in other.pids], peer.pids)
            entry["seconds"][peer.name] = peer.measure(rows, budget if index else 0)
            idle, other = watch.stop()
            idle_cpu.append(idle)
            other_cpu.append(other)
        if index:
            say(f"  round {index} of {count}, other processes took up to {max(other_cpu):.2f} processors")
            yield entry | {"idle_cpu": max(idle_cpu), "other_cpu": max(other_cpu)}


def rotated(peers: list[Peer], by: int) -> list[Peer]:
    by %= max(1, len(peers))
    return peers[by:] + peers[:by]
