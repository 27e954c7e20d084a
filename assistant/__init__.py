"""Ask questions of a collection of paper abstracts; every sentence is backed by a quotation.

>>> from assistant import ask
>>> print(ask("Which datasets does BenchX compare on?"))
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from assistant.errors import USER_ERRORS, AssistantError
from assistant.types import Answer, Citation, Sentence

if TYPE_CHECKING:
    from assistant.answer.pipeline import Assistant
    from assistant.settings import Settings

__all__ = [
    "USER_ERRORS",
    "Answer",
    "Assistant",
    "AssistantError",
    "Citation",
    "Sentence",
    "Settings",
    "aask",
    "ask",
]


def ask(question: str, *, history: Sequence[str] = ()) -> Answer:
    """Answer a question with the default settings.

    The first call of all fetches the models and indexes the bundled papers, with progress on
    standard error; the first call of a process loads the model.

    Args:
        question: In words, at most 2,000 characters.
        history: Earlier questions of the conversation, oldest first.

    Raises:
        AssistantError, StoreError: With a message for the user and a ``hint``.
    """
    return _default_assistant().ask(question, history=history)


async def aask(question: str, *, history: Sequence[str] = ()) -> Answer:
    """As `ask`, for coroutines. Cancelling it stops the model."""
    assistant = await asyncio.to_thread(_default_assistant)
    return await assistant.aask(question, history=history)


_opening = threading.Lock()


def _default_assistant() -> Assistant:
    with _opening:  # two threads that ask first share one assistant
        return _open_default()


@functools.cache
def _open_default() -> Assistant:
    from assistant.answer.pipeline import Assistant
    from assistant.commands.terminal import Terminal
    from assistant.settings import load_settings
    from assistant.setup import ensure_ready

    settings, terminal = load_settings(), Terminal()
    for notice in settings.notices:
        terminal.note(notice)
    ensure_ready(settings, terminal)
    return Assistant(settings)


def __getattr__(name: str) -> Any:
    # What is heavy is imported when it is used: `assistant --help` imports this package too.
    if name == "Assistant":
        from assistant.answer.pipeline import Assistant

        return Assistant
    if name == "Settings":
        from assistant.settings import Settings

        return Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
