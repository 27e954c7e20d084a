"""Streams for coroutines: the same events, and whoever leaves stops the machine."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest

from assistant import Assistant
from assistant.errors import QuestionError
from assistant.streaming.streams import AsyncEventStream, EventStream
from assistant.types import Done, Event, Retrieved
from tests.assistant.test_streams import WAIT_SECONDS, Machine


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine()
    yield machine
    machine.worker.close()


def counting(machine: Machine, name: str, most: int = 10**9) -> AsyncEventStream[str]:
    def open_stream() -> EventStream[str]:
        return machine.worker.submit(partial(machine.count, name, most))

    return AsyncEventStream(open_stream)


def run(work: Callable[[], Awaitable[object]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(work(), WAIT_SECONDS)

    asyncio.run(limited())


def test_many_tasks_each_get_exactly_their_own_events(machine: Machine) -> None:
    async def ask(number: int) -> list[str]:
        return [event async for event in counting(machine, str(number), 5)]

    async def all_at_once() -> None:
        got = await asyncio.gather(*(ask(number) for number in range(12)))
        assert got == [[f"{n} {i}" for i in range(5)] for n in range(12)]

    run(all_at_once)


async def _cancelled(stream: AsyncEventStream[str]) -> None:
    async def read() -> None:
        async for _ in stream:
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _left(stream: AsyncEventStream[str]) -> None:
    async with stream:
        await anext(stream)
    assert [event async for event in stream if event.startswith("never")] == []


async def _closed_elsewhere(stream: AsyncEventStream[str]) -> None:
    await anext(stream)
    threading.Thread(target=stream.close).start()
    async for _ in stream:
        pass


@pytest.mark.parametrize("leave", [_cancelled, _left, _closed_elsewhere])
def test_whoever_leaves_frees_the_machine(
    machine: Machine, leave: Callable[[AsyncEventStream[str]], Awaitable[None]]
) -> None:
    async def leave_and_ask_again() -> None:
        await leave(counting(machine, "endless"))
        assert [event async for event in counting(machine, "after", 1)] == ["after 0"]

    run(leave_and_ask_again)


def test_a_stream_that_is_forgotten_frees_the_machine(machine: Machine) -> None:
    async def forget() -> None:
        stream = counting(machine, "endless")
        await anext(stream)
        del stream
        gc.collect()
        assert [event async for event in counting(machine, "after", 1)] == ["after 0"]

    run(forget)


def test_a_stream_whose_loop_has_ended_frees_the_machine(machine: Machine) -> None:
    kept: list[AsyncEventStream[str]] = []

    async def walk_away() -> None:
        kept.append(counting(machine, "endless"))
        await anext(kept[0])

    run(walk_away)
    assert list(machine.worker.submit(partial(machine.count, "after", 1))) == ["after 0"]


def test_an_error_is_raised_where_the_stream_is_read(machine: Machine) -> None:
    def refuse() -> EventStream[str]:
        raise ValueError("broken")

    async def read() -> None:
        stream = AsyncEventStream(refuse)
        with pytest.raises(ValueError, match="broken"):
            await anext(stream)
        assert [event async for event in stream] == []

    run(read)


def test_closing_the_worker_ends_the_streams_that_wait(machine: Machine) -> None:
    running = machine.worker.submit(partial(machine.count, "running"))
    waiting = machine.worker.submit(partial(machine.count, "waiting"))
    next(running)
    machine.worker.close()
    assert list(waiting) == []


def test_the_real_assistant_answers_coroutines(assistant: Assistant) -> None:
    question = "How many papers are there on machine unlearning?"

    async def ask() -> None:
        events: list[Event] = [event async for event in assistant.astream(question)]
        assert isinstance(events[0], Retrieved)
        assert isinstance(events[-1], Done)
        again = await assistant.aask(question)
        assert again.text == events[-1].answer.text
        assert again.citations
        with pytest.raises(QuestionError):
            await assistant.aask("  ")

    run(ask)


def test_a_cancelled_question_stops_the_real_model(
    assistant: Assistant, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "assistant.answer.pipeline")

    async def ask() -> None:
        task = asyncio.create_task(assistant.aask("Compare all papers on diffusion models."))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        answer = await assistant.aask("How many papers are there on machine unlearning?")
        assert answer.status == "answered"

    run(ask)
    ended = [line for line in caplog.messages if line.startswith(("answered", "abstained"))]
    assert len(ended) == 1, "the cancelled question was answered, too"
