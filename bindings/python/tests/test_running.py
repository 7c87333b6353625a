"""While a generation runs: callbacks, previews, pieces, tokens, Ctrl-C, other threads, and what is left afterwards."""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from shipped import BINDING, MAPS, TEXTURES

import flowturbo

pytest_plugins = ("shipped_models",)
# What a shell starts in the background ignores Ctrl-C, and so does whatever that starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
LONG = {"classes": "brick", "schedule": "H1000", "images": False}  # minutes


def test_each_step_and_image_is_told_on_the_thread_that_asked(session: flowturbo.Session) -> None:
    def generate() -> tuple[list[flowturbo.Progress], flowturbo.Generation]:
        told, threads = [], set()

        def watch(progress: flowturbo.Progress) -> None:
            told.append(progress)
            threads.add(threading.get_ident())

        made = session.generate(classes=["brick", "sand"], schedule="H1P1R1", guidance=2, preview=True, progress=watch)
        assert threads == {threading.get_ident()}
        return told, made

    with ThreadPoolExecutor(1) as pool:
        for told, made in (generate(), pool.submit(generate).result()):
            assert [(p.step, p.steps, p.kind, p.decoded, p.images) for p in told] == [
                (1, 3, "H", 0, 2),
                (2, 3, "P", 0, 2),
                (3, 3, "R", 0, 2),
                (3, 3, "R", 1, 2),
                (3, 3, "R", 2, 2),
            ]
            assert [p.seconds for p in told[:3]] == [seconds for _, seconds in made.steps]
            assert np.array_equal(told[2].latents, made.latents) and not np.array_equal(told[1].latents, made.latents)
            assert all(p.preview.shape == (2, 16, 16, 3) and p.preview.std() > 5 for p in told)


def test_a_callback_stops_a_generation_by_false_or_by_an_exception(session: flowturbo.Session) -> None:
    for astray, expected in ((lambda _: False, flowturbo.Cancelled), (lambda progress: 1 // 0, ZeroDivisionError)):
        with pytest.raises(expected):
            session.generate(**LONG, progress=astray)
        with ThreadPoolExecutor(1) as pool, pytest.raises(expected):
            pool.submit(session.generate, **LONG, progress=astray).result()
    inside = []

    def call_back(_: flowturbo.Progress) -> None:
        with pytest.raises(flowturbo.Busy) as refused:
            session.generate(classes=0)
        inside.append(refused.value.name)

    session.generate(classes=0, schedule="E2", images=False, progress=call_back)
    assert inside == 2 * ["FT_ERROR_BUSY"]


def test_the_bar_counts_steps_and_images(session: flowturbo.Session, capsys: pytest.CaptureFixture[str]) -> None:
    session.generate(classes=[0, 1], schedule="E3", progress=True)
    assert "5/5" in capsys.readouterr().err


def test_a_token_stops_generations_and_openings(session: flowturbo.Session) -> None:
    token = flowturbo.CancelToken()
    timer = threading.Timer(0.2, token.cancel)
    timer.start()
    with pytest.raises(flowturbo.Cancelled):
        session.generate(**LONG, cancel=token)
    assert token.is_cancelled
    with pytest.raises(flowturbo.Cancelled):
        flowturbo.Model.open(TEXTURES, cancel=token)
    token.reset()
    assert session.generate(classes=0, schedule="E1", cancel=token).images is not None


def test_steps_are_looped_over_and_finished(session: flowturbo.Session) -> None:
    request = flowturbo.Request(classes="wood", seed=3, schedule="H1P2R1")
    whole, seen = session.generate(**request), []
    for progress in session.steps(**request, preview=True):
        seen.append((progress.kind, progress.decoded))
        assert session.steps_made == (progress.step, 4)
        assert np.array_equal(session.preview(), progress.preview)
    assert seen == [("H", 0), ("P", 0), ("P", 0), ("R", 0), ("R", 1)]
    made = session.finish()
    assert np.array_equal(made.images, whole.images) and [kind for kind, _ in made.steps] == list("HPPR")
    assert np.abs(session.preview(decoded=True).astype(int) - made.images).max() <= 1


def test_steps_begin_at_once_and_are_of_their_own_generation(session: flowturbo.Session) -> None:
    with pytest.raises(flowturbo.InvalidArgument, match="class 99"):
        session.steps(classes=99)
    session.generate(classes=0, schedule="E1")
    steps = session.steps(classes=0, schedule="E3")
    assert session.steps_made == (0, 3) and next(steps).step == 1
    session.begin(classes=0, schedule="E2")
    with pytest.raises(RuntimeError, match="steps: the session has another generation by now"):
        next(steps)
    assert len(session.finish().steps) == 2
    assert [now.step for now in session.steps(classes=0, schedule="E2", images=False)] == [1, 2]


def test_a_session_takes_a_token_when_it_needs_one(model: flowturbo.Model) -> None:
    sessions = [model.session() for _ in range(5000)]  # more than there are tokens
    token = flowturbo.CancelToken()
    for session in sessions[:2]:
        session.generate(classes=0, schedule="E1", images=False)
    sessions[2].generate(classes=0, schedule="E1", images=False, cancel=token)
    assert "token" not in vars(sessions[2])


def test_a_generation_is_made_in_pieces(session: flowturbo.Session) -> None:
    request = flowturbo.Request(classes="wood", seed=3, schedule="H1P2R1")
    whole, pieces = session.generate(**request), 1
    session.prepare(**request)
    session.begin(**request)
    while not session.step(0.002):
        pieces += 1
    assert pieces > 5 and np.array_equal(session.finish().images, whole.images)
    session.begin(**request | {"images": False})
    assert np.array_equal(session.finish().latents, whole.latents)
    session.begin(**request)
    session.reset()
    for call in (session.finish, lambda: session.step(1), lambda: session.steps_made, session.preview):
        with pytest.raises(flowturbo.InvalidArgument, match="begun|begin"):
            call()
    for seconds in (-1, float("inf"), float("nan"), 1e300, "a", None):
        with pytest.raises(ValueError, match=f"seconds {re.escape(repr(seconds))}: must be"):
            session.step(seconds)


INTERRUPTED = """
import os, signal, sys, threading, time
import flowturbo

model = flowturbo.Model.open(sys.argv[1], threads=int(sys.argv[3]))
session = model.session()
pressed = []

def press():
    pressed.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

request = flowturbo.Request(classes="brick", schedule="H1000", images=False)
if sys.argv[2] == "watched":
    request["progress"] = lambda progress: time.sleep(0.001)
session.prepare(**request)
took = []
for _ in range(5):
    threading.Timer(0.2, press).start()
    try:
        if sys.argv[2] == "stepped":
            for _ in session.steps(**request):
                pass
        else:
            session.generate(**request)
    except KeyboardInterrupt:
        took.append(time.perf_counter() - pressed[-1])
made = session.generate(classes="brick", schedule="E1")
print(*took)
"""


@pytest.mark.parametrize("how", ["alone", "watched", "stepped"])
def test_ctrl_c_stops_a_generation_at_once_and_the_session_goes_on(how: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(BINDING)}
    command = [sys.executable, "-c", INTERRUPTED, str(TEXTURES), how, "1"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0 and not ended.stderr, ended.stderr
    took = sorted(map(float, ended.stdout.split()))
    # An operation takes a millisecond or two, the whole 25 s; the machine may be busy.
    assert len(took) == 5 and took[2] < 1


PRESSED = """
import os, random, signal, sys, threading, time
import flowturbo

model = flowturbo.Model.open(sys.argv[1], threads=1)
session = model.session()
request = flowturbo.Request(classes=0, schedule="E2", images=False, seed=7)
expected = session.generate(**request).latents
armed = threading.Event()

def press():
    while True:  # once each time
        armed.wait()
        armed.clear()
        time.sleep(random.random() * 0.005)
        os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=press, daemon=True).start()
stopped, until = 0, time.monotonic() + 3
while time.monotonic() < until:
    try:
        armed.set()
        pressed = time.monotonic() + 0.5  # Python loses what comes while an object is freed
        while time.monotonic() < pressed:
            session.generate(**request)
            session.generate(**request, progress=lambda now: None)
            for now in session.steps(**request):
                pass
            flowturbo.Model.open(sys.argv[1], threads=1).close()
    except KeyboardInterrupt:
        stopped += 1
print(stopped, bool((session.generate(**request).latents == expected).all()))
"""


def test_ctrl_c_may_come_at_any_moment() -> None:
    environment = os.environ | {"PYTHONPATH": str(BINDING)}
    command = [sys.executable, "-c", PRESSED, str(MAPS)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    stopped, same = ended.stdout.split()
    assert int(stopped) > 20 and same == "True", ended.stderr


def test_ctrl_c_reaches_the_program_from_an_opening() -> None:
    program = "import flowturbo, sys\nwhile True:\n flowturbo.Model.open(sys.argv[1]).close()\n print('.', flush=True)"
    environment = os.environ | {"PYTHONPATH": str(BINDING)}
    command = [sys.executable, "-c", program, str(TEXTURES)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout.readline() == b".\n"
        time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert said.endswith(b"KeyboardInterrupt\n") and running.returncode == -signal.SIGINT


def test_python_goes_on_while_the_library_works(model: flowturbo.Model) -> None:
    """The GIL is released: sessions of several threads work, and Python counts meanwhile."""
    counted, stop = [0], threading.Event()

    def count() -> None:
        while not stop.is_set():
            counted[0] += 1

    def generate(seed: int) -> np.ndarray:
        with model.session() as session:
            return session.generate(classes="brick", seed=seed, schedule="H1P5R3").images

    alone = [generate(seed) for seed in range(4)]
    thread = threading.Thread(target=count)
    thread.start()
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(generate, range(4)))
    stop.set()
    thread.join()
    assert counted[0] > 10000 and all(np.array_equal(*pair) for pair in zip(alone, together, strict=True))


MANY = """
import gc, os, sys
import flowturbo

maps, plan = sys.argv[1:]
read = open(plan, "rb").read()
model = flowturbo.Model.open(maps, threads=1)
session = model.session()

def generate(number):
    request = flowturbo.Request(classes=[0, 1], seed=number, size=(64, 64), maps="all", schedule="E2")
    session.generate(**request, progress=lambda _: None)
    for refused in ({"progress": lambda _: False}, {"classes": [99]}):
        try:
            session.generate(**request | refused)
        except flowturbo.Error:
            pass
    with model.session() as other:
        for _ in other.steps(**request):
            pass
    if number % 20 == 0:
        flowturbo.Model.open(read, threads=1)

def left():
    gc.collect()
    pages = open("/proc/self/statm").read().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE"), len(gc.get_objects())

for number in range(200):
    generate(number)
before = left()
for number in range(400):
    generate(number)
print(*(after - there for after, there in zip(left(), before)))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="how much memory a process has, Linux tells")
def test_nothing_is_left_of_many_generations() -> None:
    # So that the system's allocator gives large pieces back.
    environment = os.environ | {"PYTHONPATH": str(BINDING), "MALLOC_MMAP_THRESHOLD_": "131072"}
    command = [sys.executable, "-c", MANY, str(MAPS), str(TEXTURES.with_suffix(".ftplan"))]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    grown, objects = map(int, ended.stdout.split())
    # Of 1200 generations and 20 models: 800 bytes each.
    assert grown < 1e6 and objects < 100


def test_what_nobody_refers_to_is_closed(model: flowturbo.Model) -> None:
    session = model.session()
    freed, handle = weakref.ref(session), session.handle
    free = session.free
    del session
    gc.collect()
    assert freed() is None and not free.alive and handle is not None
