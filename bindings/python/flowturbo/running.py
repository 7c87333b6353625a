"""Calls that can take long: Ctrl-C stops them, and who watches is called on the thread that asked.

Python sees a Ctrl-C between its own instructions, on the main thread alone. So there another thread makes the call,
which ctypes does without the GIL, and the main thread waits for it and cancels.
"""

from __future__ import annotations

import _thread
import atexit
import os
import threading
import time
from collections.abc import Callable
from functools import cache
from queue import Empty, SimpleQueue
from typing import Any

from flowturbo import abi
from flowturbo.cancel import CancelToken
from flowturbo.generation import Progress, Watcher
from flowturbo.native import check

# Seconds: on Windows a waiting thread sees no Ctrl-C.
PATIENCE = 0.05


# Seconds that Python's end waits for calls of threads that it does not join. An operation takes milliseconds, and what
# watches may take its time.
LAST = 10.0


class Run:
    """What the calls of one generation (or another piece of work that can take long) have in common."""

    def __init__(
        self,
        token: CancelToken,
        watcher: Watcher | None = None,
        latents: tuple[int, ...] = (),
        resets: bool = False,
    ):
        self.token, self.resets = token, resets  # resets: Ctrl-C leaves the token as it was
        self.watcher, self.latents = watcher, latents  # latents: their shape
        self.steps: list[tuple[str, float]] = []
        stop_with_python()

    def __call__(self, function: Callable[..., int], *arguments: object) -> None:
        """Calls `function` of the library, and raises what it or the watcher has to say."""
        call = Call(self, function, arguments)
        if threading.current_thread() is not threading.main_thread():
            call.make()
        else:
            call.make_elsewhere()
        if call.failure is not None:
            failure, call.failure = call.failure, None
            if ENDING.is_set() and threading.current_thread().daemon:
                raise SystemExit from failure  # which ends the thread without a word: nobody is left to be told
            raise failure


class Call:
    """One call of the library. Several may be under way for one run: all but one are refused."""

    def __init__(self, run: Run, function: Callable[..., int], arguments: tuple[object, ...]):
        self.run, self.function, self.arguments = run, function, arguments
        self.caller = threading.get_ident()
        self.failure: BaseException | None = None
        self.first: list[str] = []  # whose name is the first in it decides whether the call is made
        # None wakes who waits for the end.
        self.told: SimpleQueue[Progress | None] = SimpleQueue()
        self.answers: SimpleQueue[bool] = SimpleQueue()
        self.ended = threading.Event()

    def make(self) -> None:
        self.first.append("call")
        if self.first[0] != "call":
            return
        outer, CURRENT.call = getattr(CURRENT, "call", None), self
        UNDER_WAY.add(self)
        try:
            if ENDING.is_set():
                raise RuntimeError("Python is ending: nothing new is begun")
            check(self.function(*self.arguments))
        except BaseException as failure:  # noqa: BLE001 - raised where the call was asked for
            if self.failure is None:  # else the watcher's is the cause
                self.failure = failure
        finally:
            UNDER_WAY.discard(self)
            CURRENT.call = outer
            self.ended.set()
            self.told.put(None)

    def make_elsewhere(self) -> None:
        """Has another thread make the call, so that this one sees Ctrl-C."""
        try:
            # Nothing of Python's own that Ctrl-C could leave half done, as starting a threading.Thread would.
            _thread.start_new_thread(self.make, ())
            while (told := self.wait()) is not None:
                self.answers.put(self.goes_on(told))
        except BaseException:
            self.stop()
            raise

    def wait(self) -> Progress | None:
        """What is told next; None once the call has ended. Ctrl-C may come when either was just taken."""
        while not self.ended.is_set():
            try:
                return self.told.get(timeout=PATIENCE)
            except Empty:
                pass
        return None

    def stop(self) -> None:
        """Cancels the call and waits for its end, so that nothing works on its memory and its session any more;
        another Ctrl-C cannot make that quicker."""
        while True:
            try:
                self.run.token.cancel()
                self.first.append("stop")
                if self.first[0] != "stop":
                    self.answers.put(False)  # the thread may be at the watcher
                    while self.wait() is not None:
                        self.answers.put(False)
                if self.run.resets:
                    self.run.token.reset()
                return
            except KeyboardInterrupt:
                pass

    def hear(self, now: Any) -> bool:
        """What the library tells; whether the generation goes on."""
        run = self.run
        if now.decoded == 0:
            run.steps.append((chr(now.kind), now.microseconds / 1e6))
        if run.watcher is None:
            return True
        told = Progress.read(now, run.latents)
        if threading.get_ident() == self.caller:
            return self.goes_on(told)
        self.told.put(told)
        return self.answers.get()

    def goes_on(self, told: Progress) -> bool:
        assert self.run.watcher is not None
        try:
            return self.run.watcher(told) is not False
        except BaseException as failure:  # noqa: BLE001 - likewise
            self.failure = failure
            return False


# The library tells of progress on the thread that called it, so the call is found by its thread. One callback serves
# all: the library may keep it beyond the request that it came with.
CURRENT = threading.local()


def watch(_: int | None, pointer: Any) -> int:
    call: Call = CURRENT.call
    try:
        return 0 if call.hear(pointer.contents) else 1
    except BaseException as failure:  # noqa: BLE001 - likewise
        call.failure = failure
        return 1


WATCH = abi.ProgressCallback(watch)

# Python's end takes its threads away wherever they are, and inside the library that would be the process's end.
UNDER_WAY: set[Call] = set()
FREEING: set[object] = set()
ENDING = threading.Event()
if hasattr(os, "register_at_fork"):
    for whose in (UNDER_WAY, FREEING):
        os.register_at_fork(after_in_child=whose.clear)  # the threads are the parent's


def freed(free: Callable[[int], None], handle: int) -> None:
    """Frees a model or session, which may call back to give up what it reads from. A thread that Python's end takes
    away leaves that to the process's end."""
    mark = object()
    FREEING.add(mark)
    try:
        if not (ENDING.is_set() and threading.current_thread().daemon):
            free(handle)
    finally:
        FREEING.discard(mark)


@cache
def stop_with_python() -> None:
    """Called when there is a token: what is registered last comes first, and tokens are freed at the end, too."""
    atexit.register(stop_all)


def stop_all() -> None:
    ENDING.set()
    until = time.monotonic() + LAST
    while (UNDER_WAY or FREEING) and time.monotonic() < until:
        for call in tuple(UNDER_WAY):
            call.run.token.cancel()
        time.sleep(0.005)
