"""Questions of other programs: opened, counted, and ended when nobody waits any more.

The one door from HTTP and MCP to the engine. Knows nothing of either.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from assistant.errors import UnavailableError
from assistant.serving.api_models import CheckResult, PaperPage
from assistant.serving.metrics import Metrics
from assistant.streaming.streams import AsyncEventStream, ClosableStream
from assistant.types import Answer, CheckedSentence, Done, Event
from vectorstore import Paper, Passage
from vectorstore.filters import Filters

MOST_OPEN = 64
"""Questions that are answered or wait; one more would wait for minutes."""


class Collection(Protocol):
    """What is read of the papers."""

    def __len__(self) -> int:
        """How many there are."""

    def papers(self) -> Iterator[Paper]:
        """All of them, in a fixed order."""

    def paper(self, paper_id: str) -> Paper:
        """One of them, or `PaperNotFoundError`."""


class ServedAssistant(Protocol):
    """What a server needs of an `Assistant`."""

    @property
    def store(self) -> Collection:
        """The papers."""

    def search(
        self, query: str, top_k: int = 8, where: Filters | None = None
    ) -> tuple[Passage, ...]:
        """The papers closest to a query."""

    def check(
        self, text: str, *, paper: str = "", where: Filters | None = None
    ) -> tuple[CheckedSentence, ...]:
        """Compare a text with the papers."""

    def stream(
        self, question: str, *, history: Sequence[str] = (), where: Filters | None = None
    ) -> ClosableStream[Event]:
        """Answer a question."""


class Desk:
    """Takes questions for one assistant, up to ``MOST_OPEN`` at a time; on one event loop."""

    def __init__(self, assistant: ServedAssistant, metrics: Metrics) -> None:
        self.assistant = assistant
        self.metrics = metrics
        self._open = 0

    @asynccontextmanager
    async def asked(
        self, question: str, history: Sequence[str] = (), where: Filters | None = None
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """The events of a question; whoever leaves, for whatever reason, stops the model.

        Raises:
            UnavailableError: Too many questions wait already.
        """
        if self._open >= MOST_OPEN:
            raise UnavailableError(
                f"{self._open} questions wait already", hint="ask again in a minute"
            )
        events = AsyncEventStream(
            lambda: self.assistant.stream(question, history=history, where=where)
        )
        outcome = "stopped"

        async def counted() -> AsyncIterator[Event]:
            nonlocal outcome
            async for event in events:
                if isinstance(event, Done):
                    outcome = event.answer.status
                    self.metrics.answered(event.answer)
                yield event

        self._count(+1)
        try:
            async with events:
                yield counted()
        except Exception:
            outcome = "failed"
            raise
        finally:
            self._count(-1)
            self.metrics.ended(outcome)

    async def answer(
        self, question: str, history: Sequence[str] = (), where: Filters | None = None
    ) -> Answer:
        """The answer to a question.

        Raises:
            UnavailableError: Too many questions wait already, or the assistant is closing.
            AssistantError, StoreError: As ``Assistant.ask``.
        """
        async with self.asked(question, history, where) as events:
            async for event in events:
                if isinstance(event, Done):
                    return event.answer
        raise UnavailableError("the assistant is closing", hint="start it, and ask again")

    def check(self, text: str, paper: str, where: Filters | None) -> CheckResult:
        """The sentences of a text, compared with the papers.

        Raises:
            AssistantError, StoreError: As ``Assistant.check``.
        """
        sentences = self.assistant.check(text, paper=paper, where=where)
        return CheckResult.model_validate({"sentences": [each.as_dict() for each in sentences]})

    def page(self, offset: int, limit: int) -> PaperPage:
        """A stretch of the collection."""
        store = self.assistant.store
        papers = list(itertools.islice(store.papers(), offset, offset + limit))
        return PaperPage(papers=papers, offset=offset, total=len(store))

    def _count(self, change: int) -> None:
        self._open += change
        self.metrics.open_questions.set(self._open)
