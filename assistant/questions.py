"""Question files: one question a line, a table with a `question` column, or JSON Lines.

A file that cannot be read as a whole is an error; a single row that cannot be asked is a
`Question` with a `problem`, so that the others are still answered. Knows nothing of answers.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from assistant.errors import QuestionFileError

STANDARD_INPUT = "-"
_FORMATS_HINT = "name it .txt (one question a line), .csv, .tsv or .jsonl"
_TABLE_DELIMITERS = {".csv": (",", ";", "\t"), ".tsv": ("\t",)}


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


@dataclass(frozen=True, slots=True)
class _Row:
    """A row before ids are settled; ``fields`` is None where the row could not be parsed."""

    line: int
    fields: Mapping[str, Any] | None
    problem: str | None = None


def read_questions(source: str | Path) -> tuple[Question, ...]:
    """All questions of a file, in its order.

    The ending decides how it is read. A table is UTF-8 (or UTF-16 with a byte order mark) with
    a header; `question` and `id` are found in any case. A JSON Lines row may carry `history`, a
    list of earlier questions (strings, or objects with a `question`). Standard input ("-") is
    JSON Lines if it starts with a brace, else one question a line.

    A repeated id is told apart by a suffix (`7`, then `7#2`) and kept as `input_id`.

    Raises:
        QuestionFileError: The file is missing, has another ending or encoding, holds no question
            or no `question` column, or a quote in it is never closed.
    """
    name = str(source)
    text = _decode(_read_bytes(source), name)
    rows = list(_read_rows(text, name))
    if not rows:
        raise QuestionFileError(
            "holds no question", path=name, line=None, hint="write one question a line into it"
        )
    return tuple(_with_unique_ids(_to_question(row, name) for row in rows))


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


def _read_bytes(source: str | Path) -> bytes:
    if source == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except FileNotFoundError as error:
        raise QuestionFileError(
            "there is no such file", path=str(source), line=None, hint="check the name: ls"
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise QuestionFileError(
            f"cannot be read: {reason}", path=str(source), line=None, hint=_FORMATS_HINT
        ) from error


def _decode(data: bytes, name: str) -> str:
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if wide else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise QuestionFileError(
            f"is not UTF-8 (byte 0x{data[error.start]:02x})",
            path=name,
            line=data.count(b"\n", 0, error.start) + 1,
            hint=f"iconv -f latin1 -t utf-8 {name} > utf8-{Path(name).name}",
        ) from error


def _read_rows(text: str, name: str) -> Iterator[_Row]:
    ending = Path(name).suffix.lower()
    if name == STANDARD_INPUT:
        ending = ".jsonl" if text.lstrip().startswith("{") else ".txt"
    if ending == ".txt":
        return _read_lines(text)
    if ending == ".jsonl":
        return _read_json_lines(text, name)
    if ending in _TABLE_DELIMITERS:
        return _read_table(text, name)
    raise QuestionFileError(f"unknown ending {ending!r}", path=name, line=None, hint=_FORMATS_HINT)


def _read_lines(text: str) -> Iterator[_Row]:
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if line.strip():
            yield _Row(number, {"question": line})


def _read_json_lines(text: str, name: str) -> Iterator[_Row]:
    # Split at line feeds alone: JSON strings may hold the other line ends of Unicode.
    numbered = enumerate(text.split("\n"), start=1)
    rows = [_parse_json_line(line, number) for number, line in numbered if line.strip()]
    if rows and not any(row.fields and "question" in row.fields for row in rows):
        reason = rows[0].problem or f"no question in {_listing(rows[0].fields or ())}"
        raise QuestionFileError(
            reason, path=name, line=rows[0].line, hint='write {"question": "..."} on each line'
        )
    yield from rows


def _parse_json_line(line: str, number: int) -> _Row:
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
    except RecursionError:
        return _Row(number, None, "not JSON: nested too deeply")
    except ValueError as error:
        return _Row(number, None, f"not JSON: {error}")
    if not isinstance(value, dict):
        return _Row(number, None, "not a JSON object")
    return _Row(number, value)


def _refuse_constant(constant: str) -> NoReturn:
    # Python writes and reads NaN, other programs do not: it must not reach the answers.
    raise ValueError(f"{constant} is not a JSON value")


def _read_table(text: str, name: str) -> Iterator[_Row]:
    delimiters = _TABLE_DELIMITERS[Path(name).suffix.lower()]
    header, delimiter = _find_header(text, name, delimiters)
    records = _records(text, delimiter, name)
    next(records, None)
    for line, cells in records:
        if isinstance(cells, str):
            yield _Row(line, None, cells)
        elif any(cell.strip() for cell in cells):
            yield _table_row(line, header, cells)


def _table_row(line: int, header: Sequence[str], cells: Sequence[str]) -> _Row:
    fields = dict(zip(header, cells, strict=False))
    if len(cells) > len(header):
        problem = (
            f"{len(cells)} cells under {len(header)} columns: "
            "put a text that holds the delimiter in double quotes"
        )
        return _Row(line, fields, problem)
    return _Row(line, fields)


def _find_header(text: str, name: str, delimiters: Sequence[str]) -> tuple[list[str], str]:
    """The column names, with `question` and `id` in lower case, and the delimiter in use."""
    found: list[str] = []
    for delimiter in delimiters:
        line, cells = next(_records(text, delimiter, name), (1, []))
        header = (
            [_column_name(cell, position) for position, cell in enumerate(cells, start=1)]
            if not isinstance(cells, str)
            else []
        )
        if "question" in header:
            repeated = sorted({column for column in header if header.count(column) > 1})
            if repeated:
                raise QuestionFileError(
                    f"column {repeated[0]!r} is there twice",
                    path=name,
                    line=line,
                    hint="give each column a name of its own",
                )
            return header, delimiter
        found = found or header
    raise QuestionFileError(
        f"no column `question`; found: {_listing(found)}",
        path=name,
        line=1,
        hint="name the column with the questions `question`",
    )


def _column_name(cell: str, position: int) -> str:
    name = cell.strip()
    if name.lower() in {"question", "id"}:
        return name.lower()
    return name or f"column_{position}"


def _records(text: str, delimiter: str, name: str) -> Iterator[tuple[int, list[str] | str]]:
    """Records that are not blank, each with its first line; a malformed one is its complaint."""
    previous_limit = csv.field_size_limit(max(len(text) + 1, csv.field_size_limit()))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "unexpected end of data" in str(error):
                    raise QuestionFileError(
                        "a double quote that opens here is never closed",
                        path=name,
                        line=line,
                        hint='close it, or write a quote inside a cell as ""',
                    ) from error
                yield line, f"malformed: {error}"
                continue
            if any(cell.strip() for cell in cells):
                yield line, cells
    finally:
        csv.field_size_limit(previous_limit)


def _to_question(row: _Row, name: str) -> Question:
    """The row as a question; its id is still as given, or empty."""
    fields = row.fields or {}
    text, problem = _question_text(fields.get("question"))
    history: tuple[str, ...] = ()
    # In a table `history` is a column like any other: only JSON has lists.
    if Path(name).suffix.lower() not in _TABLE_DELIMITERS:
        try:
            history = history_of(fields.get("history"))
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
    )


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


def _listing(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
