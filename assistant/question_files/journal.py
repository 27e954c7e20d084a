"""What a run has answered, safe on the disk at every moment, and found by the question's content.

A journal is JSON Lines: a head, then a line for each answer, appended and flushed to the disk. A
kill or a full disk can tear its last line only, which is then as if never written. Memory holds 16
bytes of hash and a place for each answer. Knows nothing of questions and of how they are answered.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from assistant.escaping import json_text
from assistant.question_files.answers import ANSWER_FIELDS, Fields

logger = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where an answer is kept."""

    file: int
    """0 for the answers of a finished run, 1 for the journal."""
    offset: int
    status: str


class Journal:
    """The kept answers of a run, and more to come.

    Args:
        path: Made by the first answer.
        finished: Answers of an earlier run as JSON Lines, or None; what the journal has counts
            first.
        content_of: The key of a row of ``finished``.
        fresh: Keep nothing of what is there. Neither does a later run then.
    """

    def __init__(
        self,
        path: Path,
        finished: Path | None,
        content_of: Callable[[Fields], bytes],
        *,
        fresh: bool = False,
    ) -> None:
        self.path = path
        self._places: dict[bytes, Place] = {}
        self._finished: BinaryIO | None = None
        self._journal: BinaryIO | None = None
        self._head: Fields = {}
        self._fresh = fresh
        self.is_foreign = False
        """There is a file, and no journal in it."""
        self.is_ours = False
        """An earlier run of this program has written here."""
        try:
            if not fresh and path.exists():
                self._read_journal()
            if finished is not None and not self._fresh and finished.exists():
                self._read_finished(finished, content_of)
        except BaseException:
            self.close()
            raise
        self.kept = len(self._places)
        """Answers of earlier runs."""
        self._earlier_end = self._end()

    def __contains__(self, content: bytes) -> bool:
        return content in self._places

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._places)

    def status(self, content: bytes) -> str:
        """What became of a question."""
        return self._places[content].status

    def is_earlier(self, content: bytes) -> bool:
        """Whether an earlier run has answered it."""
        place = self._places.get(content)
        return place is not None and (place.file == 0 or place.offset < self._earlier_end)

    def fields(self, content: bytes) -> Fields:
        """The answer to a question; a KeyError if there is none."""
        place = self._places[content]
        file = self._journal if place.file else self._finished
        assert file is not None
        file.seek(place.offset)
        value: Fields = json.loads(file.readline())
        return value["answer"] if place.file else {name: value[name] for name in ANSWER_FIELDS}

    def open(self) -> None:
        """Make ready for more answers; before that, nothing on the disk is touched.

        Raises:
            OSError: The folder cannot be written to.
        """
        if not self._head:
            temporary = self.path.with_name(f".{self.path.name}.tmp")
            with temporary.open("wb") as file:
                file.write((json_text({"journal": 1, "fresh": self._fresh}) + "\n").encode())
                file.flush()
                os.fsync(file.fileno())
            if self._journal is not None:
                self._journal.close()
            temporary.replace(self.path)
            self._journal = self.path.open("r+b")
        self._end_torn_line()
        self._earlier_end = self._end()

    def append(self, content: bytes, answer: Fields) -> None:
        """Keep an answer; on the disk when this returns. A failure is kept for this run alone."""
        file = self._journal
        assert file is not None
        offset = file.seek(0, os.SEEK_END)
        file.write((json_text({"content": content.hex(), "answer": answer}) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())
        self._places[content] = Place(1, offset, answer["status"])

    def close(self) -> None:
        """Close the files."""
        for file in (self._finished, self._journal):
            if file is not None:
                file.close()

    def _read_journal(self) -> None:
        self._journal = file = self.path.open("r+b")
        for offset, value in _objects(file, self.path):
            answer = value.get("answer")
            if "journal" in value and offset == 0:
                self._head = value
            elif not self._head:
                break
            elif isinstance(answer, dict) and _is_finished(answer):
                with suppress(KeyError, TypeError, ValueError):
                    content = bytes.fromhex(value["content"])
                    self._places[content] = Place(1, offset, answer["status"])

        self.is_ours = bool(self._head)
        self.is_foreign = not self.is_ours
        self._fresh = bool(self._head.get("fresh"))

    def _read_finished(self, path: Path, content_of: Callable[[Fields], bytes]) -> None:
        self._finished = file = path.open("rb")
        for offset, row in _objects(file, path):
            if _is_finished(row):
                place = Place(0, offset, row["status"])
                self._places.setdefault(content_of(row), place)
            self.is_ours = self.is_ours or row.keys() >= ANSWER_FIELDS | {"id"}

    def _end(self) -> int:
        return self._journal.seek(0, os.SEEK_END) if self._journal is not None else 0

    def _end_torn_line(self) -> None:
        file = self._journal
        assert file is not None
        if self._end():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")


def _is_finished(fields: Fields) -> bool:
    return fields.keys() >= ANSWER_FIELDS and fields["status"] != "error"


def _objects(file: BinaryIO, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines that are whole, each with its place."""
    offset = 0
    file.seek(0)
    for number, line in enumerate(file, start=1):
        try:
            value = json.loads(line) if line.strip() else None
        except ValueError:
            logger.warning("%s:%d is torn; its question is asked again", path, number)
            value = None
        if isinstance(value, dict):
            yield offset, value
        offset += len(line)
