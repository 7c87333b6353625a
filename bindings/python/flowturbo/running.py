"""Calls that can take long: Ctrl-C stops them, and who watches is called on the thread that asked.

Python sees a Ctrl-C between its own instructions, on the main thread alone. So there another thread makes the call,
which ctypes does without the GIL, and the main thread waits for it and cancels.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from flowturbo import abi
from flowturbo.cancel import CancelToken
from flowturbo.generation import Progress, Watcher
from flowturbo.library import check

# Seconds: on Windows a waiting thread sees no Ctrl-C.
PATIENCE = 0.05


class Run:
    """Makes the calls of one generation (or another that can take long), with what they tell meanwhile."""

    def __init__(
        self,
        cancel: CancelToken | None = None,
        watcher: Watcher | None = None,
        latents: tuple[int, ...] = (),
    ):
        self.token = cancel or CancelToken()
        self.watcher, self.latents = watcher, latents  # latents: their shape
        self.steps: list[tuple[str, float]] = []
        self.callback = abi.ProgressCallback(self.watch)
        self.caller = 0
        self.failure: BaseException | None = None
        self.told: SimpleQueue[Progress | None] = SimpleQueue()  # None is the end
        self.answers: SimpleQueue[bool] = SimpleQueue()

    def __call__(self, function: Callable[..., int], *arguments: object) -> None:
        """Calls `function` of the library, and raises what it or the watcher has to say."""
        self.caller, self.failure = threading.get_ident(), None
        if threading.current_thread() is not threading.main_thread():
            self.call(function, arguments)
        else:
            try:
                threading.Thread(target=self.call, args=(function, arguments), daemon=True).start()
                while (told := self.wait()) is not None:
                    self.answers.put(self.goes_on(told))
            except BaseException:
                self.token.cancel()
                # The thread may be at the watcher.
                self.answers.put(False)
                while self.wait() is not None:
                    self.answers.put(False)
                raise
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    def call(self, function: Callable[..., int], arguments: tuple[object, ...]) -> None:
        try:
            check(function(*arguments))
        except BaseException as failure:  # noqa: BLE001 - raised where the call was asked for
            if self.failure is None:  # else the watcher's is the cause
                self.failure = failure
        finally:
            self.told.put(None)

    def wait(self) -> Progress | None:
        while True:
            try:
                return self.told.get(timeout=PATIENCE)
            except Empty:
                pass

    def watch(self, _: int | None, pointer: Any) -> int:
        """What the library calls."""
        now = pointer.contents
        if now.decoded == 0:
            self.steps.append((chr(now.kind), now.microseconds / 1e6))
        if self.watcher is None:
            return 0
        told = Progress.read(now, self.latents)
        if threading.get_ident() == self.caller:
            return 0 if self.goes_on(told) else 1
        self.told.put(told)
        return 0 if self.answers.get() else 1

    def goes_on(self, told: Progress) -> bool:
        assert self.watcher is not None
        try:
            return self.watcher(told) is not False
        except BaseException as failure:  # noqa: BLE001 - likewise
            self.failure = failure
            return False
