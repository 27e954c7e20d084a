"""The rows of a run as a file: JSON Lines, CSV, .xlsx, Parquet, Markdown or HTML.

Rows come as a stream and go as one, so that memory does not grow with their number. What stands in
them is other people's text; in no format does it start a formula, open a tag or run. Knows nothing
of how answers come about.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from assistant.escaping import csv_cell, json_text, markdown_line, markdown_text, shorten
from assistant.question_files import spreadsheets
from assistant.question_files.questions import Question
from assistant.templates import template
from assistant.types import Answer, Timings, Tokens

Fields = dict[str, Any]
"""The fields of an answer, as ``Answer.as_dict`` gives them."""
Rows = Iterable[tuple[Question, Fields]]
Kinds = Mapping[str, set[str]]
"""The columns of the questions, in their order, and what kinds of values each holds."""

_HEADING_CHARS = 2_000
"""No question that is answered is longer; what failed for its length need not be shown whole."""
_PARQUET_ROWS = 256
_MARKER = re.compile(r"\[(\d+)\]")
_SMALL_INTEGERS = range(-(2**63), 2**63)


def write_answers(file: BinaryIO, ending: str, rows: Rows, kinds: Kinds) -> None:
    """Write the rows.

    Args:
        file: Empty.
        ending: One of ``ENDINGS``.
        rows: Read once.
        kinds: Of the columns of all questions, by `note_kinds`.

    Raises:
        OSError: The disk is full.
    """
    _WRITERS[ending](file, rows, kinds)


def note_kinds(kinds: dict[str, set[str]], columns: Mapping[str, Any]) -> None:
    """Take down the columns of one more question."""
    for name, value in columns.items():
        known = kinds.setdefault(name, set())
        if value is not None:
            known.add(_kind(value))


def error_fields(question: str, reason: str, *, seconds: float = 0.0) -> Fields:
    """The answer of a question that has none."""
    answer = Answer(
        question=question,
        text="",
        status="error",
        reason=reason,
        sentences=(),
        citations=(),
        passages=(),
        timings=Timings(None, None, seconds),
        tokens=Tokens(),
        model="",
    )
    return answer.as_dict()


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if value in _SMALL_INTEGERS else "other"
    return {float: "float", str: "str"}.get(type(value), "other")


# Text


def _write_json_lines(file: BinaryIO, rows: Rows, _kinds: Kinds) -> None:
    file.writelines((json_text(json_row(*row)) + "\n").encode() for row in rows)


def json_row(question: Question, fields: Fields) -> Fields:
    """A row of JSON Lines: the id, the columns of the question, the answer."""
    names = _renamed(question.columns, {"id", *fields})
    columns = {names[name]: value for name, value in question.columns.items()}
    return {"id": question.id, **columns, **fields}


def _write_csv(file: BinaryIO, rows: Rows, kinds: Kinds) -> None:
    with _text(file) as text:
        writer = csv.writer(text)  # CR LF, as RFC 4180 says
        for cells in _table(rows, kinds):
            writer.writerow([csv_cell(cell) for cell in cells])


def _write_spreadsheet(file: BinaryIO, rows: Rows, kinds: Kinds) -> None:
    table = _table(rows, kinds)
    spreadsheets.write_rows(file, next(table), table)


def _table(rows: Rows, kinds: Kinds) -> Iterator[list[Any]]:
    """Header and rows of a table; the passages stay out, they are whole abstracts."""
    names = _renamed(kinds, {"id", *_TABLE_COLUMNS, *ANSWER_FIELDS})
    yield ["id", *names.values(), *_TABLE_COLUMNS]
    for question, fields in rows:
        given = [question.columns.get(name) for name in names]
        yield [question.id, *given, *_flat(fields)]


def _flat(fields: Fields) -> list[Any]:
    quotes = "\n".join(f"[{c['number']}] {c['title']}: “{c['quote']}”" for c in fields["citations"])
    values = {
        **fields,
        **fields["timings"],
        **fields["tokens"],
        "citations": fields["citations"] or None,
        "quotes": quotes or None,
    }
    return [values[name] for name in _TABLE_COLUMNS]


def _renamed(columns: Iterable[str], reserved: Iterable[str]) -> dict[str, str]:
    """The columns' new names: `input_` in front of one that the answer needs for itself."""
    taken = {*reserved}
    renamed: dict[str, str] = {}
    for name in columns:
        free = name
        while free in taken:
            free = f"input_{free}"
        taken.add(free)
        renamed[name] = free
    return renamed


def _write_markdown(file: BinaryIO, rows: Rows, _kinds: Kinds) -> None:
    for question, fields in rows:
        title = markdown_line(shorten(question.text, _HEADING_CHARS)) or "(no question)"
        parts = [f"## {markdown_line(question.id)}. {title}", *_markdown_answer(fields)]
        file.write(("\n\n".join(parts) + "\n\n").encode())


def _markdown_answer(fields: Fields) -> Iterator[str]:
    if fields["standalone_question"]:
        yield f"Asked as: *{markdown_line(fields['standalone_question'])}*"
    if fields["status"] != "answered":
        label = {"abstained": "No answer", "error": "Failed"}[fields["status"]]
        told = fields["reason"] and fields["reason"] in fields["text"]
        why = "" if told else f" {markdown_line(fields['reason'] or 'no reason given')}"
        yield f"**{label}:**{why}"
    if fields["text"]:
        yield markdown_text(fields["text"])
    for citation in fields["citations"]:
        quote, title = markdown_line(citation["quote"]), markdown_line(citation["title"])
        yield f"> {quote}\n>\n> — \\[{citation['number']}\\] *{title}*"


def _write_html(file: BinaryIO, rows: Rows, _kinds: Kinds) -> None:
    shown = (_shown(number, *row) for number, row in enumerate(rows, start=1))
    parts = template("answers.html").generate(rows=shown)
    file.writelines(part.encode("utf-8", "replace") for part in parts)


def _shown(number: int, question: Question, fields: Fields) -> dict[str, Any]:
    return {
        "number": number,
        "id": question.id,
        "columns": [(name, _plain(value)) for name, value in question.columns.items()],
        "pieces": list(_pieces(fields)),
        **{name: fields[name] for name in ("question", "status", "reason", "citations", "lead")},
        "standalone": fields["standalone_question"],
        "seconds": fields["timings"]["total_seconds"],
    }


def _pieces(fields: Fields) -> Iterator[tuple[str, Fields | None]]:
    """The text cut at its markers: each piece with the citation that it is the marker of."""
    citations = {citation["number"]: citation for citation in fields["citations"]}
    end = 0
    for match in _MARKER.finditer(fields["text"]):
        yield fields["text"][end : match.start()], None
        yield match[0], citations.get(int(match[1]))
        end = match.end()
    yield fields["text"][end:], None


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json_text(value)


def _text(file: BinaryIO) -> io.TextIOWrapper:
    return _Open(file, "utf-8", newline="")


class _Open(io.TextIOWrapper):
    """Text into a file that stays open."""

    def close(self) -> None:
        if not self.closed:
            self.detach()


# Parquet


def _write_parquet(file: BinaryIO, rows: Rows, kinds: Kinds) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = _renamed(kinds, {"id", *ANSWER_FIELDS})
    given = [(names[name], _arrow_type(kinds[name])) for name in names]
    schema = pa.schema([("id", pa.string()), *given, *_contract()])
    texts = {names[name] for name in names if _arrow_type(kinds[name]) == pa.string()}
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        found = iter(rows)
        while batch := list(itertools.islice(found, _PARQUET_ROWS)):
            records = [_record(question, fields, names, texts) for question, fields in batch]
            writer.write_table(pa.Table.from_pylist(records, schema=schema))


def _record(
    question: Question, fields: Fields, names: Mapping[str, str], texts: set[str]
) -> Fields:
    columns = {names[name]: value for name, value in question.columns.items()}
    as_text = {
        name: _held(_plain(columns[name])) for name in texts if columns.get(name) is not None
    }
    return {"id": _held(question.id), **columns, **as_text, **_held(fields)}


def _held(value: Any) -> Any:
    """The value without lone surrogates, which UTF-8 has no form for."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_held(each) for each in value]
    if isinstance(value, dict):
        return {name: _held(each) for name, each in value.items()}
    return value


def _arrow_type(kinds: set[str]) -> Any:
    """The type that holds all values of a column; text, as JSON has it, if nothing else does."""
    import pyarrow as pa

    if kinds == {"bool"}:
        return pa.bool_()
    if kinds == {"int"}:
        return pa.int64()
    return pa.float64() if kinds == {"float"} else pa.string()


def _contract() -> list[tuple[str, Any]]:
    """The fields of ``Answer.as_dict`` as Arrow has them."""
    import pyarrow as pa

    text, real, whole = pa.string(), pa.float64(), pa.int64()
    span = [("start", whole), ("end", whole), ("quote", text)]
    paper = [("paper_id", text), ("title", text)]
    citation = [("number", whole), *paper, ("chunk_id", text), *span]
    sentence = [
        ("text", text),
        ("citations", pa.list_(whole)),
        ("support", real),
        ("verbatim", pa.bool_()),
    ]
    scores = [("score", real), ("likelihood", real), ("probe", real)]
    passage = [*paper, ("text", text), *scores]
    error = error_fields("", "")
    structures = {
        "citations": pa.list_(pa.struct(citation)),
        "sentences": pa.list_(pa.struct(sentence)),
        "passages": pa.list_(pa.struct(passage)),
        "closest": pa.list_(pa.struct([*paper, *span])),
        "timings": pa.struct([(name, real) for name in error["timings"]]),
        "tokens": pa.struct([(name, whole) for name in error["tokens"]]),
    }
    return [(name, structures.get(name, text)) for name in ANSWER_FIELDS]


ANSWER_FIELDS = error_fields("", "").keys()
"""The names of the contract, which no input column may take."""

_TABLE_COLUMNS: Sequence[str] = (
    "question",
    "status",
    "text",
    "reason",
    "standalone_question",
    "citations",
    "quotes",
    "retrieved_seconds",
    "first_text_seconds",
    "total_seconds",
    "reused",
    "prefilled",
    "decoded",
    "model",
)
_WRITERS: Mapping[str, Callable[[BinaryIO, Rows, Kinds], None]] = {
    ".jsonl": _write_json_lines,
    ".csv": _write_csv,
    ".xlsx": _write_spreadsheet,
    ".parquet": _write_parquet,
    ".md": _write_markdown,
    ".html": _write_html,
}
ENDINGS = tuple(_WRITERS)
"""Of files that answers can be written to."""


def ending_of(path: Path) -> str:
    """The ending that decides the format."""
    return path.suffix.lower()
