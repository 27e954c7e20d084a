"""The rows of a question file, format by format: fields by name, or what is wrong with the row.

Each format is read as a stream, so that memory does not grow with the file. A file that cannot be
read as a whole is an error; a single bad row is not. Knows nothing of questions but their column.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from assistant.errors import QuestionFileError
from assistant.question_files import spreadsheets
from vectorstore.sources.formats import Header, RawRecord
from vectorstore.sources.tables import parse_parquet

STANDARD_INPUT = "-"
FORMATS_HINT = (
    "name it .txt (one question a line), .md (a list), .csv, .tsv, .xlsx, .jsonl or .parquet"
)
TABLES = frozenset({".csv", ".tsv", ".xlsx"})
"""Formats whose cells are no lists."""
_DELIMITERS = {".csv": (",", ";", "\t"), ".tsv": ("\t",)}
_SNIFFED_BYTES = 4096
_LIST_ITEM = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s+(?:\[[ xX]\]\s+)?(.*)")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")


@dataclass(frozen=True, slots=True)
class Row:
    """A row as the file has it; ``fields`` is None where it could not be parsed."""

    line: int
    """From 1; in a format without lines, the number of the row."""
    fields: Mapping[str, Any] | None
    problem: str | None = None


def format_of(file: BinaryIO, name: str) -> str:
    """The ending that says how a file is read; that of standard input is told by its beginning.

    Raises:
        QuestionFileError: No format has this ending.
    """
    ending = Path(name).suffix.lower() if name != STANDARD_INPUT else _sniffed(file)
    if ending == ".ndjson":
        return ".jsonl"
    if ending not in _READERS:
        reason = f"unknown ending {ending!r}"
        raise QuestionFileError(reason, path=name, line=None, hint=FORMATS_HINT)
    return ending


def read_rows(file: BinaryIO, name: str) -> Iterator[Row]:
    """All rows, in their order.

    Args:
        file: Can be read from any place.
        name: Decides the format and is named in errors.

    Raises:
        QuestionFileError: The file has another ending or encoding, no `question` column, or a
            quote in it is never closed.
    """
    ending = format_of(file, name)
    file.seek(0)
    try:
        yield from _READERS[ending](file, name)
    except UnicodeDecodeError as error:
        line, byte = _undecodable(file)
        raise QuestionFileError(
            f"is not UTF-8 (byte 0x{byte:02x})",
            path=name,
            line=line,
            hint=f"iconv -f latin1 -t utf-8 {name} > utf8-{Path(name).name}",
        ) from error


def _sniffed(file: BinaryIO) -> str:
    file.seek(0)
    start = file.read(_SNIFFED_BYTES)
    if start.startswith(b"PK\x03\x04"):
        return ".xlsx"
    if start.startswith(b"PAR1"):
        return ".parquet"
    text = start.decode(_encoding(start), "ignore").lstrip()
    first = text.partition("\n")[0].strip()
    if text.startswith("{"):
        return ".jsonl"
    if _LIST_ITEM.fullmatch(first):
        return ".md"
    named = any("question" in _names(first.split(each)) for each in (",", ";", "\t"))
    return ".csv" if named else ".txt"


def _names(cells: Iterable[str]) -> list[str]:
    return [cell.strip(' \t"').lower() for cell in cells]


def _encoding(start: bytes) -> str:
    wide = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return "utf-16" if wide else "utf-8-sig"


@contextmanager
def _text(file: BinaryIO, newline: str | None) -> Iterator[io.TextIOWrapper]:
    file.seek(0)
    encoding = _encoding(file.read(2))
    file.seek(0)
    text = io.TextIOWrapper(file, encoding, newline=newline)
    try:
        yield text
    finally:
        text.detach()  # the file stays open


def _undecodable(file: BinaryIO) -> tuple[int, int]:
    """Line and value of the first byte that does not belong there."""
    file.seek(0)
    decoder = codecs.getincrementaldecoder(_encoding(file.read(2)))()
    file.seek(0)
    lines = 0
    try:
        for line in file:
            lines += 1
            decoder.decode(line)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return lines, error.object[error.start]
    return lines, 0


def _read_lines(file: BinaryIO, _name: str) -> Iterator[Row]:
    with _text(file, newline=None) as text:
        for number, line in enumerate(text, start=1):
            if line.strip():
                yield Row(number, {"question": line})


def _read_list(file: BinaryIO, name: str) -> Iterator[Row]:
    """The items of Markdown lists; what stands between them is for people."""
    item: list[str] = []
    started, found = 0, False
    with _text(file, newline=None) as text:
        for number, line in enumerate(text, start=1):
            match = _LIST_ITEM.fullmatch(line.rstrip("\n"))
            if item and (match or not line.strip() or not line[0].isspace()):
                yield _item(started, item)
                item = []
            if match:
                item, started, found = [match[1]], number, True
            elif item:
                item.append(line)
    if item:
        yield _item(started, item)
    if not found:
        hint = "put - before each question"
        raise QuestionFileError("holds no list", path=name, line=None, hint=hint)


def _item(line: int, lines: Sequence[str]) -> Row:
    joined = " ".join(" ".join(lines).split())
    return Row(line, {"question": _ESCAPED.sub(r"\1", joined)})


def _read_json_lines(file: BinaryIO, name: str) -> Iterator[Row]:
    first: Row | None = None
    found = False
    # Split at line feeds alone: JSON strings may hold the other line ends of Unicode.
    with _text(file, newline="\n") as text:
        for number, line in enumerate(text, start=1):
            if line.strip():
                row = _parse_json_line(line.removesuffix("\n"), number)
                first = first or row
                found = found or bool(row.fields and "question" in row.fields)
                yield row
    if first and not found:
        reason = first.problem or f"no question in {_listing(first.fields or ())}"
        raise QuestionFileError(
            reason, path=name, line=first.line, hint='write {"question": "..."} on each line'
        )


def _parse_json_line(line: str, number: int) -> Row:
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
    except RecursionError:
        return Row(number, None, "not JSON: nested too deeply")
    except ValueError as error:
        return Row(number, None, f"not JSON: {error}")
    if not isinstance(value, dict):
        return Row(number, None, "not a JSON object")
    return Row(number, value)


def _refuse_constant(constant: str) -> NoReturn:
    # Python writes and reads NaN, other programs do not: it must not reach the answers.
    raise ValueError(f"{constant} is not a JSON value")


def _read_table(file: BinaryIO, name: str) -> Iterator[Row]:
    header, delimiter = _find_header(file, name)
    records = _records(file, delimiter, name)
    next(records, None)
    for line, cells in records:
        if isinstance(cells, str):
            yield Row(line, None, cells)
        elif any(cell.strip() for cell in cells):
            yield _table_row(line, header, cells)


def _table_row(line: int, header: Sequence[str], cells: Sequence[str]) -> Row:
    fields = dict(zip(header, cells, strict=False))
    if len(cells) > len(header):
        problem = (
            f"{len(cells)} cells under {len(header)} columns: "
            "put a text that holds the delimiter in double quotes"
        )
        return Row(line, fields, problem)
    return Row(line, fields)


def _find_header(file: BinaryIO, name: str) -> tuple[list[str], str]:
    """The column names, with `question` and `id` in lower case, and the delimiter in use."""
    found: list[str] = []
    for delimiter in _DELIMITERS.get(Path(name).suffix.lower(), _DELIMITERS[".csv"]):
        line, cells = next(_records(file, delimiter, name), (1, []))
        header = [] if isinstance(cells, str) else _header(cells)
        if "question" in header:
            return _checked(header, name, line), delimiter
        found = found or header
    return _checked(found, name, 1), ""


def _header(cells: Iterable[str]) -> list[str]:
    return [_column_name(cell, position) for position, cell in enumerate(cells, start=1)]


def _checked(header: list[str], name: str, line: int | None) -> list[str]:
    if "question" not in header:
        raise QuestionFileError(
            f"no column `question`; found: {_listing(header)}",
            path=name,
            line=line,
            hint="name the column with the questions `question`",
        )
    repeated = sorted({column for column in header if header.count(column) > 1})
    if repeated:
        raise QuestionFileError(
            f"column {repeated[0]!r} is there twice",
            path=name,
            line=line,
            hint="give each column a name of its own",
        )
    return header


def _column_name(cell: str, position: int) -> str:
    name = cell.strip()
    if name.lower() in {"question", "id"}:
        return name.lower()
    return name or f"column_{position}"


def _records(file: BinaryIO, delimiter: str, name: str) -> Iterator[tuple[int, list[str] | str]]:
    """Records that are not blank, each with its first line; a malformed one is its complaint."""
    size = file.seek(0, io.SEEK_END)
    previous_limit = csv.field_size_limit(max(size + 1, csv.field_size_limit()))
    try:
        with _text(file, newline="") as text:
            yield from _parsed(text, delimiter, name)
    finally:
        csv.field_size_limit(previous_limit)


def _parsed(
    text: io.TextIOWrapper, delimiter: str, name: str
) -> Iterator[tuple[int, list[str] | str]]:
    reader = csv.reader(text, delimiter=delimiter, strict=True)
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


def _read_spreadsheet(file: BinaryIO, name: str) -> Iterator[Row]:
    header: list[str] | None = None
    for line, cells in spreadsheets.read_rows(file, name):
        if header is None:
            named = list(cells)
            while named and named[-1] is None:
                named.pop()
            header = _checked(_header("" if c is None else str(c) for c in named), name, line)
            continue
        fields = dict(zip(header, cells, strict=False))
        beyond = any(cell is not None for cell in cells[len(header) :])
        problem = f"cells beyond the {len(header)} columns with a name" if beyond else None
        yield Row(line, fields, problem)
    if header is None:
        _checked([], name, 1)


def _read_parquet(file: BinaryIO, name: str) -> Iterator[Row]:
    for each in parse_parquet(file, name):
        if isinstance(each, Header):
            header = _checked(_header(each.names), name, None)
        elif isinstance(each, RawRecord):
            values = map(_finite, each.fields.values())
            yield Row(each.line, dict(zip(header, values, strict=True)))
        elif each.record is None:
            raise QuestionFileError(each.reason, path=name, line=None, hint=each.hint)
        else:
            yield Row(each.record, None, each.reason)


def _finite(value: Any) -> Any:
    """The value with None for what is no number: JSON has no NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(each) for each in value]
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return value


def _listing(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


_READERS: Mapping[str, Callable[[BinaryIO, str], Iterator[Row]]] = {
    ".txt": _read_lines,
    ".md": _read_list,
    ".csv": _read_table,
    ".tsv": _read_table,
    ".xlsx": _read_spreadsheet,
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}
