"""Text files to raw records: page dumps, JSON Lines, JSON, CSV. Pure text in, records out.

Knows the syntax of each format and the line that each record starts on; what a record must hold
is the business of ``papers``. What cannot be parsed is yielded as an error, and parsing goes on.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from vectorstore.errors import PaperFormatError

MAX_FIELD_CHARS = 1_000_000
"""Longest field that is read; the csv module's own limit of 131,072 refuses some full texts."""

_PROSE_CHARS = 250
_SENTENCE_CHARS = 80
_DATE_LINE = re.compile(
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s+\d{1,2}(?:,?\s+\d{4})?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class RawRecord:
    """Fields as the file has them."""

    line: int
    """That the record starts on, from 1; in a format without lines, the number of the record."""
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of a file that names them once, before its records."""

    line: int | None
    names: Sequence[str]


Parsed = Iterator[RawRecord | Header | PaperFormatError]


# --- page dump -----------------------------------------------------------------------------------


def parse_page_dump(lines: Iterable[str], path: str) -> Parsed:
    """Parse a page of papers copied as text: a title and its abstract in turn.

    Paragraphs are told apart by blank lines, and titles from abstracts by their shape: an abstract
    is long, or a sentence with a full stop. The title is the short paragraph right before the first
    long one, so whatever stands above it (the page's header) is dropped without knowing its words;
    so are date lines further down.

    Args:
        lines: The text, line by line.
        path: Named in errors.
    """
    title: _Paragraph | None = None
    body: list[_Paragraph] = []
    in_header = True
    for paragraph in _paragraphs(lines):
        if _is_prose(paragraph.text):
            if title is None:
                yield format_error(path, paragraph.line, "an abstract without a title", _TITLE_HINT)
                continue
            in_header = False
            body.append(paragraph)
        elif _DATE_LINE.fullmatch(paragraph.text):
            continue
        else:
            if body and title is not None:
                yield _dumped(title, body)
            elif title is not None and not in_header:
                yield _no_abstract(path, title)
            title, body = paragraph, []
    if body and title is not None:
        yield _dumped(title, body)
    elif title is not None and not in_header:
        yield _no_abstract(path, title)
    if in_header:
        reason = "no title followed by an abstract was found"
        yield format_error(path, None, reason, "see the formats: assistant ingest --help")


@dataclass(frozen=True, slots=True)
class _Paragraph:
    line: int
    text: str


_TITLE_HINT = "put the title in a line of its own above it, with a blank line between"


def _paragraphs(lines: Iterable[str]) -> Iterator[_Paragraph]:
    start, gathered = 0, list[str]()
    for number, line in enumerate(chain(lines, [""]), start=1):
        if line.strip():
            start = start if gathered else number
            gathered.append(line)
        elif gathered:
            yield _Paragraph(start, "".join(gathered).strip())
            gathered = []


def _is_prose(text: str) -> bool:
    return len(text) >= _PROSE_CHARS or (len(text) >= _SENTENCE_CHARS and text.endswith("."))


def _dumped(title: _Paragraph, body: list[_Paragraph]) -> RawRecord:
    abstract = "\n\n".join(paragraph.text for paragraph in body)
    return RawRecord(title.line, {"title": title.text, "abstract": abstract})


def _no_abstract(path: str, title: _Paragraph) -> PaperFormatError:
    reason = f'"{shorten(title.text)}" is not followed by an abstract'
    return format_error(path, title.line, reason, "add its abstract, or remove the line")


# --- JSON ----------------------------------------------------------------------------------------


def parse_json(lines: Iterable[str], path: str) -> Parsed:
    """Parse JSON Lines (streaming), or a JSON list or object (read whole).

    Args:
        lines: The text, line by line.
        path: Named in errors.
    """
    numbered = enumerate(lines, start=1)
    for number, line in numbered:
        text = line.lstrip("\ufeff")
        if not text.strip():
            continue
        if _is_whole_object(text):
            yield from _json_line(text, number, path)
            yield from _json_lines(numbered, path)
        else:
            # A list, or an object over several lines: no line stands alone.
            rest = "".join(following for _, following in numbered)
            yield from _json_document(text + rest, number, path)
        return


def _is_whole_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        # A damaged first line of JSON Lines still closes its brace; a document's does not.
        return text.lstrip().startswith("{") and text.rstrip().endswith("}")


def _json_lines(numbered: Iterable[tuple[int, str]], path: str) -> Parsed:
    for number, line in numbered:
        if line.strip():
            yield from _json_line(line, number, path)


def _json_line(text: str, number: int, path: str) -> Parsed:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        yield _not_json(path, number, error)
        return
    yield _json_record(value, number, path)


def _json_document(text: str, first_line: int, path: str) -> Parsed:
    """Scan record by record, so that each has a line and those before a mistake are kept."""
    decoder = json.JSONDecoder()
    position, line, counted = 0, first_line, 0
    separators = re.compile(r"[\s,]*")
    in_list = text.lstrip().startswith("[")
    if in_list:
        position = text.index("[") + 1
    while True:
        position = separators.match(text, position).end()  # type: ignore[union-attr]  # may be empty
        line += text.count("\n", counted, position)
        counted = position
        if position >= len(text) or (in_list and text[position] == "]"):
            if in_list and position >= len(text):
                yield format_error(path, line, "the JSON list is not closed", _JSON_HINT)
            return
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            yield _not_json(path, line, error)
            return
        yield _json_record(value, line, path)


_JSON_HINT = 'write one {"title": ..., "abstract": ...} per line'


def _json_record(value: object, line: int, path: str) -> RawRecord | PaperFormatError:
    if isinstance(value, dict):
        return RawRecord(line, value)
    return format_error(path, line, "the record is not a JSON object", _JSON_HINT)


def _not_json(path: str, line: int, error: Exception) -> PaperFormatError:
    if isinstance(error, json.JSONDecodeError):
        detail = f"{error.msg}, column {error.colno}"
    else:
        detail = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    return format_error(path, line, f"not valid JSON ({detail})", _JSON_HINT)


# --- CSV -----------------------------------------------------------------------------------------


def parse_csv(lines: Iterable[str], path: str) -> Parsed:
    """Parse CSV or TSV with a header; comma, semicolon or tab, whichever the header uses.

    Args:
        lines: The text, line by line, with its line ends.
        path: Named in errors.
    """
    # The limit is the module's, not the reader's; nothing else here reads CSV.
    csv.field_size_limit(MAX_FIELD_CHARS)
    iterator = iter(lines)
    skipped, first = _first_line(iterator)
    if not first:
        return
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(chain([first], iterator), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        line = skipped + reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _csv_error(path, line, error)
            if header is None:
                return
            continue
        if header is None:
            header = [name.strip() for name in row]
            yield Header(line, header)
        elif any(value.strip() for value in row):
            yield _csv_record(header, row, line, path)


def _first_line(iterator: Iterator[str]) -> tuple[int, str]:
    for skipped, line in enumerate(iterator):
        if line.strip("\ufeff \t\r\n"):
            return skipped, line.lstrip("\ufeff")
    return 0, ""


def _csv_record(
    header: list[str], row: list[str], line: int, path: str
) -> RawRecord | PaperFormatError:
    if len(row) > len(header):
        reason = f"{len(row)} fields, but the header names {len(header)}"
        return format_error(
            path, line, reason, "put fields that hold the separator in double quotes"
        )
    return RawRecord(line, dict(zip(header, row, strict=False)))


def _csv_error(path: str, line: int, error: csv.Error) -> PaperFormatError:
    if "unexpected end" in str(error):
        reason = "a double quote is opened here and never closed"
    elif "field limit" in str(error):
        reason = f"a field is longer than {MAX_FIELD_CHARS:,} characters"
    else:
        reason = f"not valid CSV ({error})"
    return format_error(path, line, reason, "double every quote that is part of a quoted field")


# --- errors --------------------------------------------------------------------------------------


def format_error(path: str, line: int | None, reason: str, hint: str) -> PaperFormatError:
    """Return the error of a text format; the line is None if it is that of the whole file."""
    return PaperFormatError(reason, path=path, line=line, hint=hint)


def shorten(text: str, limit: int = 60) -> str:
    """Return a text in one line, cut to be shown in an error."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
