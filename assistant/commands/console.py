"""What the commands share: they open the same things, and print in the same way."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import typer

if TYPE_CHECKING:
    from assistant.answer.pipeline import Assistant
    from assistant.commands.ray_engine import Cluster
    from assistant.commands.terminal import Terminal
    from assistant.question_files.questions import Question
    from assistant.settings import Settings
    from vectorstore import Embedder
    from vectorstore.store import Store
STANDARD_INPUT = "-"
MAX_STDIN_BYTES = 1_000_000
"""More than any question that can be asked; what is longer is refused before it is all read."""

LOCAL_ENGINE = "local"
EXIT_ERROR, EXIT_PARTLY, EXIT_INTERRUPTED, EXIT_PIPE = 1, 3, 130, 141


def terminal() -> Terminal:
    """Where a command talks to its user."""
    from assistant.commands.terminal import Terminal

    return Terminal()


@contextmanager
def open_assistant(settings: Settings) -> Iterator[Assistant]:
    """An assistant with everything that it needs; the first run fetches and builds that."""
    from assistant.answer.pipeline import Assistant
    from assistant.setup import ensure_ready

    ensure_ready(settings, terminal())
    with Assistant(settings) as assistant:
        yield assistant


class Assistants:
    """The assistants of several collections; one is open at a time, each with its model."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open = ExitStack()
        self._name: str | None = None
        self._assistant: Assistant | None = None

    def __call__(self, collection: str) -> Assistant:
        """The assistant of a collection; of the usual one if it has no name.

        Raises:
            AssistantError, StoreError: It is not there, or cannot be opened.
        """
        if self._assistant is None or collection != self._name:
            self._close()
            settings = self._settings.changed(collection=collection) if collection else None
            opened = open_assistant(settings or self._settings)
            self._assistant = self._open.enter_context(opened)
            self._name = collection
        return self._assistant

    def nearest(self, question: Question) -> str:
        """The id of the paper closest to a question; empty if there is none."""
        found = self(question.collection).search(question.text, 1, question.where)
        return found[0].paper.id if found else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()

    def _close(self) -> None:
        self._assistant = None
        self._open.close()


@contextmanager
def open_cluster(engine: str, workers: int | None) -> Iterator[Cluster | None]:
    """The workers of a Ray cluster, or None for the local engine."""
    kind, colon, address = engine.partition(":")
    if engine == LOCAL_ENGINE:
        if workers is not None:
            raise typer.BadParameter("--workers goes with --engine ray")
        yield None
        return
    if kind != "ray" or (colon and not address):
        raise typer.BadParameter(f"{engine!r} is none; give local, ray or ray:ADDRESS")
    from assistant.commands.ray_engine import Cluster

    cluster = Cluster(address, workers)
    with terminal().stage("starting workers"):
        cluster.start()
    with cluster:
        yield cluster


def open_embedder(settings: Settings, *, threads: int | None = None) -> Embedder:
    """The embedding model, fetched if it is missing."""
    from assistant.errors import ModelMissingError
    from assistant.model_files.models import pull, resolve
    from assistant.settings import EMBEDDING_MODEL
    from vectorstore.embedding import MiniLMEmbedder

    try:
        folder = resolve(EMBEDDING_MODEL, settings.models_dir)
    except ModelMissingError:
        with terminal().fetching(EMBEDDING_MODEL) as progress:
            folder = pull(
                EMBEDDING_MODEL, settings.models_dir, progress=progress, offline=settings.offline
            )
    return MiniLMEmbedder(folder, threads=threads)


def open_store(settings: Settings) -> Store:
    """The index that the settings name."""
    settings.require_collection()
    embedder = open_embedder(settings)
    if settings.store is None:
        return settings.place.open(embedder)
    with terminal().counting("fetching what is new", None, "papers") as progress:
        return settings.place.open(embedder, progress)


def print_json(value: Any) -> None:
    """One line for a program, indented for a person."""
    _print_json(value, indent=2 if sys.stdout.isatty() else None)


def print_json_line(value: Any) -> None:
    """One of many lines, at once."""
    _print_json(value)
    sys.stdout.flush()


def _print_json(value: Any, indent: int | None = None) -> None:
    from assistant.escaping import json_text

    ascii_only = "utf" not in (sys.stdout.encoding or "").lower()
    print(json_text(value, indent=indent, ascii_only=ascii_only))


def print_json_list(values: Iterable[Any]) -> None:
    """A list for a program, an item a line, printed as its items come."""
    from assistant.escaping import json_text

    ascii_only = "utf" not in (sys.stdout.encoding or "").lower()
    before = "["
    for value in values:
        print(before, json_text(value, ascii_only=ascii_only), sep="", end="")
        before = ",\n"
    print("[]" if before == "[" else "]")


def write_text(parts: Iterable[str], file: Path | None) -> None:
    """Write a text in UTF-8: into a file, whole or not at all, or to standard output.

    What a terminal might act on is left out where a person is watching.
    """
    from assistant.escaping import plain

    if file is not None:
        temporary = file.with_name(f".{file.name}.{os.getpid()}.partial")
        try:
            with temporary.open("w", encoding="utf-8", newline="\n") as stream:
                stream.writelines(parts)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    elif sys.stdout.isatty():
        for part in parts:
            print(plain(part), end="")
    else:
        # Whatever encoding the terminal has: these are files for other programs.
        sys.stdout.flush()
        for part in parts:
            sys.stdout.buffer.write(part.encode())
        sys.stdout.buffer.flush()


def fields_of(record: Any) -> dict[str, Any]:
    """A dataclass as JSON has it."""
    from dataclasses import asdict

    return asdict(record)


def counted(number: int, noun: str) -> str:
    """A number of things, in words."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def question_text(argument: str | None, command: str) -> str:
    """The text of a question, from the argument or standard input.

    Raises:
        QuestionError: It is empty or not UTF-8.
    """
    from assistant.errors import QuestionError

    if argument is None and sys.stdin.isatty():
        raise typer.BadParameter(f'give a question: assistant {command} "..."')
    try:
        if argument is None or argument == STANDARD_INPUT:
            text = _read_stdin().decode("utf-8-sig")
        else:
            # What was not UTF-8 on the command line arrives as lone surrogates.
            text = argument.encode().decode()
    except UnicodeError as error:
        raise QuestionError(
            "the question is not UTF-8", hint=f"iconv -f latin1 -t utf-8 | assistant {command} -"
        ) from error
    if not text.strip():
        raise QuestionError("the question is empty", hint=f'assistant {command} "What is ...?"')
    return text.strip()


def _read_stdin() -> bytes:
    from assistant.errors import QuestionError

    data = sys.stdin.buffer.read(MAX_STDIN_BYTES + 1)
    if len(data) > MAX_STDIN_BYTES:
        raise QuestionError(
            f"standard input holds more than {MAX_STDIN_BYTES:,} bytes, which is no question",
            hint="for a file of questions: assistant batch FILE -o ANSWERS",
        )
    return data
