"""A question being answered for somebody who watches: stopped, discarded, or seen to its end.

A stream is drained by a thread of its own, so that a page's clock keeps running while the model is
silent. Knows the events of ``assistant.types`` and the errors meant for the user; knows nothing of
Gradio, HTML or models.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Protocol

from assistant.errors import USER_ERRORS
from assistant.streaming.turn import Turn, advance, failed, stopped, tick
from assistant.types import Event

logger = logging.getLogger(__name__)

UPDATE_SECONDS = 0.1
"""At most this often is the page redrawn; a reader sees no more, and a browser tires of more."""
CLOCK_SECONDS = 1.0
"""This often at least while nothing happens, so that the clock runs."""
RELEASE_SECONDS = 2.0
"""Waited at most for a discarded run to leave the page; a visitor who has gone never lets go."""


class EventSource(Protocol):
    """The events of one question, as they come."""

    def __iter__(self) -> Iterator[Event]:
        """Wait for one event after the other."""

    def close(self) -> None:
        """Stop the model and end the iteration; from whatever thread, repeatedly if you like."""


class Run:
    """One question being answered, drained by a thread of its own.

    A stream may be silent for seconds while the model reads. The thread puts its events into a
    queue, so that the page's clock keeps running and a stop is seen at once.
    """

    def __init__(self, open_stream: Callable[[], EventSource]) -> None:
        self.discarded = threading.Event()
        """Set when nobody wants to see the outcome any more."""
        self.released = threading.Event()
        """Set when the page shows nothing more of this run."""
        self.ended = threading.Event()
        """Set when the stream is closed."""
        self._open_stream = open_stream
        self._stream: EventSource | None = None
        self._opening = threading.Lock()
        self._stop = threading.Event()
        self._news: queue.SimpleQueue[Event | Exception | None] = queue.SimpleQueue()
        threading.Thread(target=self._drain, name="page-run", daemon=True).start()

    @property
    def was_stopped(self) -> bool:
        """Somebody asked for an early end."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Close the stream early; returns at once, from any thread, repeatedly if you like."""
        self._stop.set()
        self._news.put(None)
        with self._opening:
            stream = self._stream
        if stream is not None:
            stream.close()

    def batches(self) -> Iterator[list[Event]]:
        """Yield news as it comes, an empty list when only time has passed.

        Ends with the stream, or as soon as it is stopped.

        Raises:
            Exception: What the stream raised.
        """
        while True:
            batch, ended = self._next_batch()
            if self.was_stopped:
                return
            failure = next((item for item in batch if isinstance(item, Exception)), None)
            yield [item for item in batch if not isinstance(item, Exception)]
            if failure is not None:
                raise failure
            if ended:
                return

    def _next_batch(self) -> tuple[list[Event | Exception], bool]:
        batch: list[Event | Exception] = []
        try:
            item = self._news.get(timeout=CLOCK_SECONDS)
            while item is not None:
                batch.append(item)
                item = self._news.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _drain(self) -> None:
        try:
            stream = self._open_stream()
            with self._opening:
                self._stream = stream
            with closing(stream):
                # Stopped while the stream was being opened: nobody else closes it.
                for event in () if self.was_stopped else stream:
                    self._news.put(event)
        except Exception as error:  # noqa: BLE001 - handed over: `batches` raises it
            self._news.put(error)
        finally:
            self.ended.set()
            self._news.put(None)


class Runs:
    """The running question of each visitor, by Gradio's session."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_session: dict[str, Run] = {}

    def start(self, session: str, run: Run) -> None:
        """Register a run; an earlier one of the same visitor is stopped."""
        with self._lock:
            earlier = self._by_session.pop(session, None)
            self._by_session[session] = run
        if earlier is not None:
            earlier.stop()

    def finish(self, session: str, run: Run) -> None:
        """Stop a run, if it still goes on, and forget it."""
        run.stop()
        run.released.set()
        with self._lock:
            if self._by_session.get(session) is run:
                del self._by_session[session]

    def stop(self, session: str) -> None:
        """Stop the visitor's run, if there is one."""
        run = self._find(session)
        if run is not None:
            run.stop()

    def discard(self, session: str) -> None:
        """Stop the visitor's run, if there is one, and wait until nothing more of it is shown."""
        run = self._find(session)
        if run is not None:
            run.discarded.set()
            run.stop()
            run.released.wait(RELEASE_SECONDS)

    def _find(self, session: str) -> Run | None:
        with self._lock:
            return self._by_session.get(session)


def answer_turns(run: Run, turn: Turn) -> Iterator[Turn]:
    """Yield the turn as it grows, at most every ``UPDATE_SECONDS``; the last one is finished.

    Nothing raised by the stream leaves here: it becomes the outcome of the turn.
    """
    started = time.monotonic()

    def elapsed() -> float:
        return time.monotonic() - started

    try:
        for batch in run.batches():
            for event in batch:
                turn = advance(turn, event, elapsed_seconds=elapsed())
            turn = tick(turn, elapsed_seconds=elapsed()) if turn.outcome == "running" else turn
            yield turn
            time.sleep(UPDATE_SECONDS)
    except USER_ERRORS as error:
        turn = failed(turn, str(error), hint=error.hint, elapsed_seconds=elapsed())
    except Exception:
        logger.exception("a question on the page failed")
        turn = failed(
            turn,
            "Something went wrong inside the assistant; its log has the details.",
            hint="assistant doctor",
            elapsed_seconds=elapsed(),
        )
    if turn.outcome == "running":
        turn = stopped(turn, elapsed_seconds=elapsed())
    yield turn
