"""A conversation on the terminal: questions in, answers out, earlier questions remembered.

Knows nothing of flags, and of how an answer comes about or is drawn.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Protocol

from assistant.commands.terminal import Stream, Terminal
from assistant.errors import USER_ERRORS
from assistant.types import Answer


class Converser(Protocol):
    """What a conversation needs of an `Assistant`."""

    def stream(self, question: str, *, history: Sequence[str] = ()) -> Stream:
        """Answer a question."""


def converse(assistant: Converser, terminal: Terminal) -> None:
    """Ask and answer until the input ends or the user leaves.

    Raises:
        KeyboardInterrupt: At the prompt; during an answer it only stops that answer.
    """
    history: list[str] = []
    last: Answer | None = None
    for line in _lines(terminal):
        match line:
            case "/quit" | "/exit":
                return
            case "/new":
                history, last = [], None
            case "/sources":
                _show_sources(last, terminal)
            case _ if line.startswith("/"):
                terminal.note("commands: /sources /new /quit")
            case _:
                last = _reply(assistant, line, history, terminal) or last


def _reply(
    assistant: Converser, question: str, history: list[str], terminal: Terminal
) -> Answer | None:
    """Show the answer and remember the question; None if there was no answer."""
    earlier = tuple(history)
    try:
        answer = terminal.show_answer(lambda: assistant.stream(question, history=earlier))
    except KeyboardInterrupt:
        terminal.note("stopped")
        return None
    except USER_ERRORS as error:
        terminal.complain(str(error), error.hint)
        return None
    history.append(question)
    return answer


def _lines(terminal: Terminal) -> Iterator[str]:
    """What the user types, without blank lines, to the end of the input."""
    interactive = sys.stdin.isatty()
    if interactive:
        with contextlib.suppress(ImportError):  # not on Windows, whose terminal edits by itself
            import readline  # noqa: F401 - its import gives `input` editing and a history
        terminal.note("Ask a question. /sources /new /quit; Ctrl-C stops an answer.")
    while True:
        try:
            line = input("> " if interactive else "").strip()
        except EOFError:
            return
        except UnicodeDecodeError:
            terminal.complain("that was not UTF-8", "set the terminal to UTF-8")
            continue
        if line:
            yield line


def _show_sources(answer: Answer | None, terminal: Terminal) -> None:
    if answer is None or not answer.passages:
        terminal.note("no answer yet")
        return
    for passage in answer.passages:
        terminal.show_paper(passage.paper)
        terminal.say()
