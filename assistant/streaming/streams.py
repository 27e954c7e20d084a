"""One worker, a fair queue, and streams of events that anyone may close at any moment.

A llama.cpp context serves one caller at a time. Questions therefore run one after the other, in the
order in which they came, on one thread; each caller reads its events from a stream of its own and
may stop reading without harm to the others. `AsyncEventStream` is the same for coroutines. Knows
nothing of questions or models.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, Protocol, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


_IDLE = object()
"""Runs while nobody waits."""


class _End:
    """Marks the end of a stream in its queue."""


class EventStream(Iterator[T], Generic[T]):
    """The events of one job, as they come. Closing it stops the job, from whatever thread."""

    def __init__(self) -> None:
        self._news: queue.SimpleQueue[T | BaseException | _End] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._on_close: Callable[[], None] | None = None

    def __next__(self) -> T:
        if self._closed.is_set():
            raise StopIteration
        item = self._news.get()
        if isinstance(item, _End):
            self._closed.set()
            raise StopIteration
        if isinstance(item, BaseException):
            self._closed.set()
            raise item
        return item

    def close(self) -> None:
        """Stop the job if it runs, and end the iteration; repeatedly if you like."""
        if not self._closed.is_set():
            self._closed.set()
            self._news.put(_End())  # wakes a reader in another thread
            if self._on_close:
                self._on_close()

    @property
    def closed(self) -> bool:
        """Nobody reads any more, or there is nothing left to read."""
        return self._closed.is_set()

    def __enter__(self) -> EventStream[T]:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class ClosableStream(Protocol[T_co]):
    """Events as they come, until somebody closes it."""

    def __iter__(self) -> Iterator[T_co]:
        """Wait for one event after the other."""

    def close(self) -> None:
        """Stop what makes the events and end the iteration; from whatever thread."""


class AsyncEventStream(AsyncIterator[T], Generic[T]):
    """The events of a stream for coroutines; a thread of its own waits for them.

    Whoever awaits an event and is cancelled closes the stream, and that stops the job; so does
    closing it, from whatever thread, and forgetting it.

    Args:
        open_stream: Opens the stream, on that thread; what it raises, the iteration raises.

    Raises:
        RuntimeError: No event loop is running.
    """

    def __init__(self, open_stream: Callable[[], ClosableStream[T]]) -> None:
        self._news: asyncio.Queue[T | BaseException | _End] = asyncio.Queue()
        self._source = _Source(open_stream)
        # The thread must not keep this object alive: forgetting it is a way to close it.
        threading.Thread(
            target=_hand_over,
            args=(self._source, self._news, asyncio.get_running_loop()),
            name="assistant-events",
            daemon=True,
        ).start()
        self._over = False

    async def __anext__(self) -> T:
        if self._over:
            raise StopAsyncIteration
        try:
            item = await self._news.get()
        except asyncio.CancelledError:
            self.close()
            raise
        if isinstance(item, _End):
            self._over = True
            raise StopAsyncIteration
        if isinstance(item, BaseException):
            self._over = True
            raise item
        return item

    def close(self) -> None:
        """Stop the job if it runs, and end the iteration; repeatedly if you like."""
        self._source.close()

    async def aclose(self) -> None:
        """As `close`; for ``contextlib.aclosing``."""
        self.close()

    async def __aenter__(self) -> AsyncEventStream[T]:
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class _Source(Generic[T]):
    """A stream that may be closed before it is open."""

    def __init__(self, open_stream: Callable[[], ClosableStream[T]]) -> None:
        self._open_stream = open_stream
        self._stream: ClosableStream[T] | None = None
        self._closed = threading.Event()
        self._opening = threading.Lock()

    def __iter__(self) -> Iterator[T]:
        stream = self._open_stream()
        with self._opening:
            self._stream = stream
        with contextlib.closing(stream):
            for event in () if self._closed.is_set() else stream:
                if self._closed.is_set():
                    return
                yield event

    def close(self) -> None:
        self._closed.set()
        with self._opening:
            stream = self._stream
        if stream is not None:
            stream.close()


def _hand_over(
    source: _Source[T],
    news: asyncio.Queue[T | BaseException | _End],
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Pass everything that a stream yields or raises to a queue of another thread's loop."""
    try:
        last: BaseException | _End = _End()
        try:
            for event in source:
                loop.call_soon_threadsafe(news.put_nowait, event)
        except BaseException as error:  # noqa: BLE001 - it is raised where the stream is read
            last = error
        loop.call_soon_threadsafe(news.put_nowait, last)
    except RuntimeError:  # the loop is closed: nobody reads any more
        source.close()


class Worker:
    """Runs jobs one after the other on its own thread, first come, first served.

    Args:
        interrupt: Called, from any thread, when the running job is to stop soon.
        rearm: Called on the worker's thread before each job; undoes an interrupt.
    """

    def __init__(self, interrupt: Callable[[], None], rearm: Callable[[], None]) -> None:
        self._interrupt = interrupt
        self._rearm = rearm
        self._lock = threading.Lock()
        self._running: object = None
        self._line: list[Callable[[int], None]] = []
        """Of the jobs that are not done, in their order: told how many are ahead."""
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="assistant")

    def submit(
        self,
        job: Callable[[], Iterator[T]],
        first: Iterable[T] = (),
        queued: Callable[[int], T] | None = None,
    ) -> EventStream[T]:
        """Queue a job; returns its stream.

        Args:
            job: Makes the events, on the worker's thread.
            first: Events that are there already; they can be read at once.
            queued: Makes the event that tells how many jobs are ahead, whenever that changes.
        """
        stream: EventStream[T] = EventStream()
        news, closed = stream._news, stream._closed  # the worker must not keep the stream alive
        for event in first:
            news.put(event)

        def stop() -> None:
            with self._lock:
                if self._running is news:
                    self._interrupt()

        def tell(ahead: int) -> None:
            if queued and ahead:
                news.put(queued(ahead))

        stream._on_close = stop
        with self._lock:
            tell(len(self._line))
            self._line.append(tell)
            if self._running is _IDLE:
                self._interrupt()

        def end(future: Future[Any]) -> None:
            if future.cancelled():  # the worker was closed while this job waited
                news.put(_End())

        self._pool.submit(self._run, job, news, closed).add_done_callback(end)
        return stream

    def _run(
        self,
        job: Callable[[], Iterator[T]],
        news: queue.SimpleQueue[T | BaseException | _End],
        closed: threading.Event,
    ) -> None:
        try:
            with self._lock:
                self._running = news
                self._rearm()
            if not closed.is_set():
                for event in job():
                    news.put(event)
                    if closed.is_set():
                        break
            news.put(_End())
        except BaseException as error:  # noqa: BLE001 - it is raised where the stream is read
            news.put(error)
        finally:
            with self._lock:
                self._running = None
                self._line.pop(0)
                for ahead, tell in enumerate(self._line):
                    tell(ahead)

    def while_idle(self, step: Callable[[], bool]) -> None:
        """Call ``step`` again and again while nobody waits, until it returns False.

        A job that comes meanwhile interrupts it; what ``step`` raises ends it.
        """
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            self._pool.submit(self._idle, step)

    def _idle(self, step: Callable[[], bool]) -> None:
        with self._lock:
            idle = not self._line
            if idle:
                self._running = _IDLE
                self._rearm()
        try:
            again = step() if idle else True
        except Exception:
            logger.exception("what was done while idle has failed")
            again = False
        finally:
            with self._lock:
                if idle:
                    self._running = None
        if again:
            self.while_idle(step)  # behind the jobs that wait

    def close(self) -> None:
        """Stop the running job, drop the waiting ones, and end the thread."""
        with self._lock:
            if self._running is not None:
                self._interrupt()
        self._pool.shutdown(wait=True, cancel_futures=True)
