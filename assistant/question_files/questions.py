"""Question files: text, Markdown lists, tables with a `question` column, JSON Lines, Parquet.

A file that cannot be read as a whole is an error; a single row that cannot be asked is a
`Question` with a `problem`, so that the others are still answered. Knows nothing of answers.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Self

from assistant.errors import QuestionFileError
from assistant.question_files.question_rows import (
    FORMATS_HINT,
    STANDARD_INPUT,
    TABLES,
    Row,
    format_of,
    read_rows,
)
from vectorstore.filters import Filters, filters

_SEPARATOR = ";"


@dataclass(frozen=True, slots=True)
class Question:
    """One row of a question file."""

    id: str
    """Unique in its file: as given, else the number of the row, from 1."""
    text: str
    history: tuple[str, ...] = ()
    """Earlier questions of the same conversation, oldest first."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """The other columns of the row, as they were and in their order."""
    problem: str | None = None
    """Why it cannot be asked, with file and line; None if it can."""
    collection: str = ""
    """Of the papers that are asked; empty for the usual one."""
    where: Filters | None = None
    """What those papers must meet."""

    @property
    def content(self) -> bytes:
        """Equal for questions with the same answer, whatever their ids and other columns."""
        conditions = astuple(self.where) if self.where else None
        asked = [self.text, self.history, self.collection, conditions]
        return hashlib.sha256(json.dumps(asked).encode()).digest()[:16]


class QuestionFile:
    """The questions of a file, as they are when it is opened; iterated any number of times.

    Memory holds one question at a time, and the ids.

    Args:
        source: Its ending decides how it is read; "-" is standard input, told by its beginning.

    Raises:
        QuestionFileError: The file is missing or cannot be read.
    """

    def __init__(self, source: str | Path) -> None:
        self.name = str(source)
        # A copy: it may be changed meanwhile, and standard input comes but once.
        self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        try:
            self._copy(source)
            self._is_table = format_of(self._file, self.name) in TABLES
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Question]:
        """Read the questions.

        Raises:
            QuestionFileError: The file has another encoding, holds no question or no `question`
                column, or a quote in it is never closed.
        """
        rows = read_rows(self._file, self.name)
        empty = True
        for question in _with_unique_ids(
            question_of(row, self.name, is_table=self._is_table) for row in rows
        ):
            empty = False
            yield question
        if empty:
            raise QuestionFileError(
                "holds no question",
                path=self.name,
                line=None,
                hint="write one question a line into it",
            )

    def close(self) -> None:
        """Forget the copy."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _copy(self, source: str | Path) -> None:
        try:
            with ExitStack() as stack:
                if source == STANDARD_INPUT:
                    opened: BinaryIO = sys.stdin.buffer
                else:
                    opened = stack.enter_context(Path(source).open("rb"))
                shutil.copyfileobj(opened, self._file)
        except FileNotFoundError as error:
            raise QuestionFileError(
                "there is no such file", path=self.name, line=None, hint="check the name: ls"
            ) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise QuestionFileError(
                f"cannot be read: {reason}", path=self.name, line=None, hint=FORMATS_HINT
            ) from error


def read_questions(source: str | Path) -> tuple[Question, ...]:
    """All questions of a file, in its order.

    A table is UTF-8 (or UTF-16 with a byte order mark) with a header; `question` and `id` are
    found in any case. A row of JSON Lines or Parquet may carry `history`, a list of earlier
    questions (strings, or objects with a `question`). In every format with columns, `collection`,
    `year`, `author`, `venue`, `where` and `only_papers` choose the papers that are asked; several
    are a list, or parted by semicolons.

    A repeated id is told apart by a suffix (`7`, then `7#2`) and kept as `input_id`.

    Raises:
        QuestionFileError: The file is missing, has another ending or encoding, holds no question
            or no `question` column, or a quote in it is never closed.
    """
    with QuestionFile(source) as questions:
        return tuple(questions)


def history_of(value: Any) -> tuple[str, ...]:
    """Earlier questions from a `history` field.

    Raises:
        ValueError: It is no list of questions.
    """
    items = [] if value is None else value if isinstance(value, list) else [None]
    texts = [item.get("question") if isinstance(item, dict) else item for item in items]
    questions = tuple(text.strip() for text in texts if isinstance(text, str) and text.strip())
    if len(questions) < len(texts):
        raise ValueError('history must be a list of questions, each a text or {"question": "..."}')
    return questions


def question_of(row: Row, name: str, *, is_table: bool = False) -> Question:
    """The row as a question; its id is still as given, or empty."""
    fields = row.fields or {}
    text, problem = _question_text(fields.get("question"))
    history: tuple[str, ...] = ()
    where: Filters | None = None
    try:
        # In a table `history` is a column like any other: only JSON has lists.
        history = () if is_table else history_of(fields.get("history"))
        where = _filters(fields)
    except ValueError as error:
        problem = problem or str(error)
    id_text, id_problem = _id_text(fields.get("id"))
    problem = row.problem or problem or id_problem
    return Question(
        id=id_text,
        text=text,
        history=history,
        columns={key: value for key, value in fields.items() if key not in {"question", "id"}},
        problem=f"{name}:{row.line}: {problem}" if problem else None,
        collection=_cell(fields.get("collection")),
        where=where,
    )


def _filters(fields: Mapping[str, Any]) -> Filters | None:
    """What the columns of a row ask of the papers.

    Raises:
        ValueError: One cannot be read; says which.
    """
    only = several(fields.get("only_papers"))
    found = filters(
        year=_cell(fields.get("year")) or None,
        authors=several(fields.get("author")),
        venues=several(fields.get("venue")),
        where=several(fields.get("where")),
        ids=only or None,
    )
    return found or None


def several(value: Any) -> tuple[str, ...]:
    """The texts of a list, or of a cell in which semicolons part them."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    items = value if isinstance(value, list) else _cell(value).split(_SEPARATOR)
    return tuple(text for item in items if (text := _cell(item)))


def _cell(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a spreadsheet's 2023.0
    return "" if value is None else str(value).strip()


def _question_text(value: Any) -> tuple[str, str | None]:
    if value is None or value == "":
        return "", "the question is empty"
    if not isinstance(value, str):
        return "", "the question is no text"
    text = value.strip()
    if not text:
        return "", "the question is empty"
    if any("\ud800" <= char <= "\udfff" for char in text):
        return text, "the question holds half a character (a lone surrogate)"
    return text, None


def _id_text(value: Any) -> tuple[str, str | None]:
    if value is None:
        return "", None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return "", "the id must be text or a number"
    return str(value).strip(), None


def _with_unique_ids(questions: Iterable[Question]) -> Iterator[Question]:
    taken: set[str] = set()
    for number, question in enumerate(questions, start=1):
        wanted = question.id or str(number)
        unique, repetition = wanted, 1
        while unique in taken:
            repetition += 1
            unique = f"{wanted}#{repetition}"
        taken.add(unique)
        columns = question.columns
        if question.id and unique != question.id:
            columns = {"input_id": question.id, **columns}
        yield replace(question, id=unique, columns=columns)
