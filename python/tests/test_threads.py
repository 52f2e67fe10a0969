"""Threads and memory."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import igpt
import numpy as np
import pytest
from shared import QUICK, same


def test_eight_threads_of_one_model_get_what_each_gets_alone(model: igpt.Model, many: np.ndarray) -> None:
    parts = [many[i * 3 : i * 3 + 3] for i in range(8)]

    def work(i: int) -> list[np.ndarray]:
        return [
            model.log_likelihood(parts[i]),
            model.features(parts[i], layers=3),
            model.tokens(parts[i]),
            model.sample(1, seed=i),
            model.complete(parts[i][:1], rows=14, seed=i),
        ]

    alone = [work(i) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(work, range(8)))
    for one, other in zip(alone, together, strict=True):
        assert all(same(a, b) for a, b in zip(one, other, strict=True))


def test_threads_train_models_of_their_own(many: np.ndarray) -> None:
    def work(seed: int) -> np.ndarray:
        return igpt.pretrain(many, steps=3, seed=seed, **QUICK).log_likelihood(many[:4])

    alone = [work(seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(work, range(3)))
    assert all(same(one, other) for one, other in zip(alone, together, strict=True))


def laps_during(work: Callable[[], Any]) -> int:
    """How often this thread gets the interpreter while another one does `work`."""
    begun, over = threading.Event(), threading.Event()

    def other() -> None:
        begun.set()
        work()
        over.set()

    thread = threading.Thread(target=other)
    thread.start()
    begun.wait()
    laps = 0
    while not over.is_set():
        time.sleep(0.001)
        laps += 1
    thread.join()
    return laps


def test_python_runs_while_a_model_computes(model: igpt.Model, many: np.ndarray) -> None:
    assert laps_during(lambda: model.log_likelihood(many)) > 20


def test_python_runs_while_a_model_trains(many: np.ndarray) -> None:
    assert laps_during(lambda: igpt.pretrain(many, steps=200, **QUICK)) > 20


def test_python_runs_while_a_thread_asks_a_busy_model_what_it_is(model: igpt.Model, many: np.ndarray) -> None:
    busy = threading.Thread(target=lambda: model.log_likelihood(many))
    assert len(model.palette) == 64

    def work() -> None:
        busy.start()
        while busy.is_alive():
            assert model.classes == []
            assert len(model.palette) == 64
            time.sleep(0.001)

    assert laps_during(work) > 20


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("what", ["log_likelihood", "features", "tokens", "deepcopy"])
def test_memory_stays_flat_over_many_calls(small: igpt.Model, emoji: np.ndarray, what: str) -> None:
    # A model in memory has tables of 32 MiB.
    calls: dict[str, tuple[int, int, Callable[[], Any]]] = {
        "log_likelihood": (1000, 3, lambda: small.log_likelihood(emoji[:2])),
        "features": (500, 3, lambda: small.features(emoji[:2])),
        "tokens": (500, 3, lambda: small.tokens(emoji[:2])),
        "deepcopy": (10, 48, lambda: copy.deepcopy(small)),
    }
    count, mebibytes, call = calls[what]
    for _ in range(count // 5):
        call()
    before = resident()
    for _ in range(count):
        call()
    assert resident() - before < mebibytes << 20


#: Computes for longer than any test may wait; the first line comes when nothing of Python is left to do.
INTERRUPTED = """
import signal
import sys
import igpt
from igpt import _model

# A shell leaves the signal ignored in what it starts in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)

def arrays(images, taken=_model.arrays):
    found = taken(images) * 300
    print("computing", flush=True)
    return found

_model.arrays = arrays
model = igpt.load()
images = igpt.data.load("emoji", "test").images[:, :8, :8]
if sys.argv[1] == "sample":
    print("computing", flush=True)
try:
    if sys.argv[1] == "sample":
        model.sample(20_000)
    elif sys.argv[1] == "complete":
        model.complete(images[:1], rows=8, n=100)
    else:
        getattr(model, sys.argv[1])(images)
except KeyboardInterrupt:
    print("KeyboardInterrupt")
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("what", ["sample", "complete", "log_likelihood", "features"])
def test_ctrl_c_ends_what_a_model_computes(what: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED, what]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "computing\n"
        child.send_signal(signal.SIGINT)
        assert child.communicate(timeout=60)[0] == "KeyboardInterrupt\n"
