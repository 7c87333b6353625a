"""A progress bar by tqdm, in terminals and notebooks."""

from __future__ import annotations

from flowturbo.generation import Progress, Watcher


def draw() -> Watcher:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError("progress=True wants tqdm: pip install 'flowturbo[progress]'") from None
    bar = tqdm(unit="step")

    def show(told: Progress) -> None:
        bar.total = told.steps + told.images
        bar.update(told.step + told.decoded - bar.n)
        if bar.n == bar.total:
            bar.close()

    return show
