"""One worker, a fair queue, streams that anyone may close."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest

from assistant.streaming.streams import Worker

WAIT_SECONDS = 20


class Machine:
    """A stand-in for the model: counts until it is stopped."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.worker = Worker(interrupt=self.stop.set, rearm=self.stop.clear)
        self.order: list[str] = []

    def count(self, name: str, most: int = 10**9) -> Iterator[str]:
        self.order.append(name)
        for number in range(most):
            if self.stop.wait(0.001):
                return
            yield f"{name} {number}"


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine()
    yield machine
    machine.worker.close()


def test_jobs_run_in_the_order_in_which_they_came_and_know_their_place(machine: Machine) -> None:
    held = machine.worker.submit(partial(machine.count, "held"))
    submitted = [
        machine.worker.submit(partial(machine.count, name, 3), queued=lambda n: f"{n} ahead")
        for name in "abcd"
    ]
    held.close()
    assert [list(stream) for stream in submitted] == [
        [
            *(f"{ahead} ahead" for ahead in range(place, 0, -1)),
            *(f"{name} {i}" for i in range(3)),
        ]
        for place, name in enumerate("abcd", start=1)
    ]
    assert [name for name in machine.order if name != "held"] == list("abcd")


def test_closing_a_stream_from_another_thread_frees_the_machine(machine: Machine) -> None:
    endless = machine.worker.submit(lambda: machine.count("endless"))
    next(endless)
    reader = threading.Thread(target=lambda: list(endless))
    reader.start()
    endless.close()
    reader.join(WAIT_SECONDS)
    assert not reader.is_alive()
    after = machine.worker.submit(lambda: machine.count("after", 2))
    assert list(after) == ["after 0", "after 1"]


def test_a_waiting_job_that_is_closed_never_runs_and_stops_nobody(machine: Machine) -> None:
    first = machine.worker.submit(lambda: machine.count("first"))
    waiting = machine.worker.submit(lambda: machine.count("waiting"))
    next(first)
    waiting.close()
    seen = [next(first) for _ in range(20)]
    assert len(seen) == 20
    first.close()
    last = machine.worker.submit(lambda: machine.count("last", 1))
    assert list(last) == ["last 0"]
    assert machine.order == ["first", "last"]


def test_a_stream_that_is_forgotten_stops_its_job(machine: Machine) -> None:
    forgotten = machine.worker.submit(lambda: machine.count("forgotten"))
    next(forgotten)
    del forgotten
    after = machine.worker.submit(lambda: machine.count("after", 1))
    assert list(after) == ["after 0"]


def test_an_error_in_a_job_reaches_its_reader_and_nobody_else(machine: Machine) -> None:
    def fail() -> Iterator[str]:
        yield "one"
        raise ValueError("broken")

    broken = machine.worker.submit(fail)
    sound = machine.worker.submit(lambda: machine.count("sound", 1))
    assert next(broken) == "one"
    with pytest.raises(ValueError, match="broken"):
        next(broken)
    assert list(broken) == []
    assert list(sound) == ["sound 0"]


def test_many_threads_each_get_exactly_their_own_events(machine: Machine) -> None:
    results: dict[int, list[str]] = {}

    def ask(number: int) -> None:
        stream = machine.worker.submit(lambda: machine.count(str(number), 5))
        results[number] = list(stream)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert results == {n: [f"{n} {i}" for i in range(5)] for n in range(12)}


def test_idle_work_gives_way_to_a_job_and_goes_on_afterwards(machine: Machine) -> None:
    left = [3]
    waiting, done = threading.Event(), threading.Event()

    def step() -> bool:
        waiting.set()
        if not machine.stop.wait(0.05):
            left[0] -= 1
        if not left[0]:
            done.set()
        return bool(left[0])

    machine.worker.while_idle(step)
    assert waiting.wait(WAIT_SECONDS)
    stream = machine.worker.submit(partial(machine.count, "job", 2), queued=lambda n: f"{n} ahead")
    assert list(stream) == ["job 0", "job 1"]
    assert done.wait(WAIT_SECONDS)


def test_idle_work_that_fails_ends_and_harms_nobody(machine: Machine) -> None:
    failed = threading.Event()

    def step() -> bool:
        failed.set()
        raise ValueError("broken")

    machine.worker.while_idle(step)
    assert failed.wait(WAIT_SECONDS)
    stream = machine.worker.submit(partial(machine.count, "job", 1))
    assert list(stream) == ["job 0"]
