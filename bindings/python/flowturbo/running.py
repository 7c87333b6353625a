"""Calls that can take long: Ctrl-C stops them, and who watches is called on the thread that asked.

Python sees a Ctrl-C between its own instructions, on the main thread alone. So there another thread makes the call,
which ctypes does without the GIL, and the main thread waits for it and cancels.
"""

from __future__ import annotations

import _thread
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
        token: CancelToken,
        watcher: Watcher | None = None,
        latents: tuple[int, ...] = (),
    ):
        self.token = token
        self.watcher, self.latents = watcher, latents  # latents: their shape
        self.steps: list[tuple[str, float]] = []
        self.callback = abi.ProgressCallback(self.watch)
        self.caller = 0
        self.failure: BaseException | None = None
        # Of the call under way. None wakes who waits for the end.
        self.told: SimpleQueue[Progress | None] = SimpleQueue()
        self.answers: SimpleQueue[bool] = SimpleQueue()
        self.ended = threading.Event()

    def __call__(self, function: Callable[..., int], *arguments: object) -> None:
        """Calls `function` of the library, and raises what it or the watcher has to say."""
        self.caller, self.failure = threading.get_ident(), None
        first: list[str] = []  # whose name is the first in it decides whether the call is made
        if threading.current_thread() is not threading.main_thread():
            self.call(first, function, arguments)
        else:
            self.told, self.answers, self.ended = SimpleQueue(), SimpleQueue(), threading.Event()
            try:
                # Nothing of Python's own that Ctrl-C could leave half done, as starting a threading.Thread would.
                _thread.start_new_thread(self.call, (first, function, arguments))
                while (told := self.wait()) is not None:
                    self.answers.put(self.goes_on(told))
            except BaseException:
                self.stop(first)
                raise
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    def call(self, first: list[str], function: Callable[..., int], arguments: tuple[object, ...]) -> None:
        first.append("call")
        if first[0] != "call":
            return
        try:
            check(function(*arguments))
        except BaseException as failure:  # noqa: BLE001 - raised where the call was asked for
            if self.failure is None:  # else the watcher's is the cause
                self.failure = failure
        finally:
            self.ended.set()
            self.told.put(None)

    def wait(self) -> Progress | None:
        """What is told next; None once the call has ended. Ctrl-C may come when either was just taken."""
        while not self.ended.is_set():
            try:
                return self.told.get(timeout=PATIENCE)
            except Empty:
                pass
        return None

    def stop(self, first: list[str]) -> None:
        """Cancels the call and waits for its end, so that nothing works on its memory and its session any more;
        another Ctrl-C cannot make that quicker."""
        while True:
            try:
                self.token.cancel()
                first.append("stop")
                if first[0] == "stop":
                    return
                self.answers.put(False)  # the thread may be at the watcher
                while self.wait() is not None:
                    self.answers.put(False)
                return
            except KeyboardInterrupt:
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
