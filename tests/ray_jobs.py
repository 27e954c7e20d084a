"""Jobs for workers of a test, which import them from here; each notes its process in a folder."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from assistant.question_files.answers import Fields
from assistant.question_files.batch import answer_fields, answering_all
from assistant.question_files.questions import Question
from tests.fakes import EchoAssistant, HashEmbedder
from vectorstore import EmbeddingError, Paper
from vectorstore.ahead import Vectors, vectors_of


@dataclass(frozen=True)
class HashEmbedding:
    """Papers to vectors of their words; one worker dies in the middle of its second piece."""

    folder: Path
    deadly: bool = False

    def __call__(self, threads: int) -> Callable[[Sequence[Paper]], Vectors]:
        note(self.folder)
        pieces = itertools.count()

        def embed(papers: Sequence[Paper]) -> Vectors:
            vectors = vectors_of(HashEmbedder(), papers)
            if self.deadly and next(pieces) == 1:
                with suppress(FileExistsError):
                    (self.folder / "died").touch(exist_ok=False)
                    os.kill(os.getpid(), signal.SIGKILL)
            return vectors

        return embed


@dataclass(frozen=True)
class Echoing:
    """Questions to answers in their own words; ``asked`` in the folder lists them."""

    folder: Path
    pause_seconds: float = 0.0

    def __call__(self, threads: int) -> Callable[[Question], Fields]:
        note(self.folder)
        assistant = EchoAssistant(self.folder / "asked", self.pause_seconds)
        return partial(answer_fields, answering_all(assistant))


def doubling(threads: int) -> Callable[[int], int]:
    """The least work."""
    return lambda number: 2 * number


def refusing(threads: int) -> Callable[[int], int]:
    """The model is not there; like many errors, this one cannot travel as it is."""
    raise EmbeddingError("the model is gone", model="m", hint="assistant models pull m")


def failing(threads: int) -> Callable[[int], int]:
    """A mistake in the program."""
    return lambda number: number // 0


def dying(threads: int) -> Callable[[int], int]:
    """Every worker dies over this work, as of an abstract that breaks the model."""

    def die(number: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return number

    return die


def note(folder: Path) -> None:
    """Say that this process is a worker."""
    (folder / f"{os.getpid()}.worker").touch()


def kill_one(folder: Path) -> int:
    """Kill the worker that began first, at once and without a word."""
    deadline = time.monotonic() + 60
    while not (found := sorted(folder.glob("*.worker"), key=lambda path: path.stat().st_mtime)):
        assert time.monotonic() < deadline, "no worker has begun"
        time.sleep(0.05)
    pid = int(found[0].stem)
    os.kill(pid, signal.SIGKILL)
    return pid
