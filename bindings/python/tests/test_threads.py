"""Sessions that are asked while they are at work, from inside or by another thread, and threads that Python's end
meets."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest
from shipped import BINDING, MAPS, TEXTURES

import flowturbo

pytest_plugins = ("shipped_models",)

ASKED: dict[str, Callable[[flowturbo.Session], object]] = {
    "generate": lambda session: session.generate(classes=[1, 1], size=(24, 16), schedule="E1"),
    "begin": lambda session: session.begin(classes=[1, 1], schedule="E1"),
    "steps": lambda session: session.steps(classes=[1, 1], schedule="E1"),
    "prepare": lambda session: session.prepare(classes=[1, 1], schedule="E1"),
    "step": lambda session: session.step(1),
    "finish": lambda session: session.finish(),
}


def said(program: str, *arguments: object) -> str:
    """Of a program that ends well, not by a signal, and complains of nothing."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(BINDING)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


INSIDE = """
import sys
sys.path.insert(0, sys.argv[1])
import flowturbo
from test_threads import ASKED

def on_this_thread(work):
    work()

def on_another(work):
    from threading import Thread
    thread = Thread(target=work)
    thread.start()
    thread.join()

model = flowturbo.Model.open(sys.argv[2], threads=1)
for where in (on_this_thread, on_another):
    session, told, refused = model.session(), [], []

    def ask():
        try:
            ASKED[sys.argv[3]](session)
        except flowturbo.Busy:
            refused.append(1)

    def watch(progress):
        told.append(progress.step)
        where(ask)

    def generate():
        session.begin(classes=0, schedule="E5", seed=7, progress=watch)
        while not session.step(0.0001):
            pass
        made = session.finish()
        assert made.images.shape == (1, 16, 16, 3) and [kind for kind, _ in made.steps] == list("EEEEE")
        assert (session.generate(classes=0, schedule="E5", seed=7).images == made.images).all()
        assert told == [1, 2, 3, 4, 5, 5] and len(refused) == 6

    on_this_thread(generate)
    told.clear(), refused.clear()
    on_another(generate)
"""


@pytest.mark.parametrize("asked", ASKED)
def test_what_a_session_refuses_while_it_is_at_work_changes_nothing(asked: str) -> None:
    said(INSIDE, BINDING / "tests", MAPS, asked)


def test_a_request_that_fails_leaves_no_callback_of_the_last_one_to_call() -> None:
    with flowturbo.Model.open(MAPS, threads=1) as model, model.session() as session:
        told: list[int] = []
        for refused in ({"size": (2**23, 2**23)}, {"classes": 99}, {"schedule": "Q"}, {"sed": 7}):
            told.clear()
            session.begin(classes=0, schedule="E3", progress=lambda progress: told.append(progress.step))
            with pytest.raises((flowturbo.Error, TypeError)):
                session.generate(**{"classes": 0} | refused)
            if "sed" in refused:  # which does not come as far as the library
                session.finish()
                assert told == [1, 2, 3, 3]
                continue
            for call in (lambda: session.step(1), session.finish, session.preview):
                with pytest.raises(flowturbo.InvalidArgument, match="no generation was begun, or the last one failed"):
                    call()
            assert not told


def test_ctrl_c_is_not_undone_by_another_request(session: flowturbo.Session) -> None:
    # What Ctrl-C cancels, meanwhile asked for by another thread.
    def watch(_: flowturbo.Progress) -> None:
        session.token.cancel()
        thread = threading.Thread(target=lambda: pytest.raises(flowturbo.Busy, session.begin, classes=0))
        thread.start()
        thread.join()

    with pytest.raises(flowturbo.Cancelled):
        session.generate(classes=0, schedule="E9", images=False, progress=watch)
    session.token.reset()
    assert session.generate(classes=0, schedule="E1", images=False).latents.any()


def test_two_threads_step_one_session_to_its_end(session: flowturbo.Session) -> None:
    request = flowturbo.Request(classes="brick", seed=7, schedule="E9")
    expected, told = session.generate(**request).images, []
    session.begin(**request, progress=lambda progress: told.append(progress.step + progress.decoded))

    def carry_out() -> None:
        done = False
        while not done:
            try:
                done = session.step(0.001)
            except flowturbo.Busy:
                pass

    other = threading.Thread(target=carry_out)
    other.start()
    carry_out()
    other.join()
    assert np.array_equal(session.finish().images, expected) and told == list(range(1, 11))


ENDED = """
import io, sys, threading, time
import flowturbo

model = flowturbo.Model.open(sys.argv[1], threads=1)
session, begun = model.session(), threading.Event()
request = flowturbo.Request(classes="brick", schedule="H1000", images=False)

def watched():
    session.generate(**request, progress=lambda _: begun.set())

def stepped():
    for _ in session.steps(**request):
        begun.set()

def read():
    while True:
        flowturbo.Model.open(open(sys.argv[1] + ".ftplan", "rb"), threads=1).close()
        begun.set()

class Slow(io.BytesIO):
    def __del__(self):
        begun.set()
        for _ in range(500):
            time.sleep(0.001)

def given_up():
    with open(sys.argv[1] + ".ftplan", "rb") as plan:
        flowturbo.Model.open(Slow(plan.read()), threads=1).close()

def stubborn():
    while True:
        try:
            watched()
        except flowturbo.Error:
            pass

threading.Thread(target=globals()[sys.argv[2]], daemon=True).start()
begun.wait()
time.sleep(0.1)
print("ended", flush=True)
"""


@pytest.mark.parametrize("how", ["watched", "stepped", "read", "given_up", "stubborn"])
def test_a_program_ends_while_a_daemon_thread_is_at_work(how: str) -> None:
    assert said(ENDED, TEXTURES, how) == "ended\n"


def test_texts_of_a_model_are_read_whole_or_refused_when_another_thread_closes_it() -> None:
    for _ in range(200):
        model = flowturbo.Model.open(MAPS, threads=1)
        labels, begun = model.labels, threading.Event()

        def close(model: flowturbo.Model = model, begun: threading.Event = begun) -> None:
            begun.wait()
            model.close()

        closing = threading.Thread(target=close)
        closing.start()
        begun.set()
        try:
            while True:
                assert model.labels == labels
        except flowturbo.InvalidHandle:
            closing.join()
