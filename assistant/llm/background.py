"""An event loop on a thread of its own: coroutines for code that is none, and a stop for both.

Knows nothing of what runs on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from assistant.llm.engine import StoppedError

T = TypeVar("T")


class _End:
    """Nothing more comes."""


class Background:
    """Runs coroutines while the caller waits. `stop` cancels what runs, from whatever thread."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()
        self._lock = threading.Lock()
        self._stopped = False
        self._running: set[Future[Any]] = set()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine.

        Raises:
            StoppedError: `stop` was called, before or meanwhile.
        """
        with self._started(work) as future:
            try:
                return future.result()
            except CancelledError:
                raise StoppedError from None

    def iterate(self, source: AsyncGenerator[T, None]) -> Iterator[T]:
        """The items of an asynchronous generator, as they come; left early, it is cancelled.

        Raises:
            StoppedError: `stop` was called, before or meanwhile.
        """
        news: queue.SimpleQueue[T | BaseException | _End] = queue.SimpleQueue()

        async def pump() -> None:
            try:
                async for item in source:
                    news.put(item)
                news.put(_End())
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 - it is raised where items are read
                news.put(error)
            finally:
                await source.aclose()

        def ended(future: Future[None]) -> None:
            if future.cancelled():  # perhaps before it began
                news.put(StoppedError())

        with self._started(pump()) as future:
            future.add_done_callback(ended)
            while not isinstance(item := news.get(), _End):
                if isinstance(item, BaseException):
                    raise item
                yield item

    @contextlib.contextmanager
    def _started(self, work: Coroutine[Any, Any, T]) -> Iterator[Future[T]]:
        with self._lock:
            if self._stopped:
                work.close()
                raise StoppedError
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._running.add(future)
        try:
            yield future
        finally:
            future.cancel()
            with self._lock:
                self._running.discard(future)

    def stop(self) -> None:
        """Cancel what runs; whatever is started from now on is stopped at once."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for future in running:
            future.cancel()

    def rearm(self) -> None:
        """Undo `stop`."""
        with self._lock:
            self._stopped = False

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Cancel what runs, run one last coroutine, and end the thread."""
        asyncio.run_coroutine_threadsafe(self._ending(last), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @staticmethod
    async def _ending(last: Coroutine[Any, Any, None]) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await last
        await asyncio.get_running_loop().shutdown_asyncgens()
