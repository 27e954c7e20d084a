"""Which format a file has: by the suffix of its name, else by its beginning."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO

from vectorstore.sources.bibliographies import parse_bibtex, parse_medline, parse_ris
from vectorstore.sources.columns import REQUIRED, choose
from vectorstore.sources.compression import uncompressed_name
from vectorstore.sources.formats import Parsed, parse_csv, parse_json, parse_page_dump
from vectorstore.sources.tables import parse_arrow, parse_parquet
from vectorstore.sources.xml_records import parse_xml

HEAD_BYTES = 4096
"""So much of a file tells its format."""


@dataclass(frozen=True, slots=True)
class TextFormat:
    """A format of lines; places in it are lines."""

    parse: Callable[[Iterable[str], str], Parsed]
    has_columns: bool = False
    """Whether its fields have whatever names the file gives them."""


@dataclass(frozen=True, slots=True)
class BinaryFormat:
    """A format of bytes; places in it are records."""

    parse: Callable[[BinaryIO, str], Parsed]
    has_columns: bool = False
    is_seekable: bool = False
    """Whether it is not read from its beginning to its end."""


Format = TextFormat | BinaryFormat

_PAGE_DUMP = TextFormat(parse_page_dump)
_JSON = TextFormat(parse_json, has_columns=True)
_CSV = TextFormat(parse_csv, has_columns=True)
_BIBTEX = TextFormat(parse_bibtex)
_RIS = TextFormat(parse_ris)
_MEDLINE = TextFormat(parse_medline)
_XML = BinaryFormat(parse_xml)
_PARQUET = BinaryFormat(parse_parquet, has_columns=True, is_seekable=True)
_ARROW = BinaryFormat(parse_arrow, has_columns=True, is_seekable=True)

FORMATS: Mapping[str, Format] = {
    ".txt": _PAGE_DUMP,
    ".jsonl": _JSON,
    ".ndjson": _JSON,
    ".json": _JSON,
    ".csv": _CSV,
    ".tsv": _CSV,
    ".bib": _BIBTEX,
    ".bibtex": _BIBTEX,
    ".ris": _RIS,
    ".nbib": _MEDLINE,
    ".medline": _MEDLINE,
    ".xml": _XML,
    ".parquet": _PARQUET,
    ".arrow": _ARROW,
    ".feather": _ARROW,
}
"""By suffix."""

_BINARY_MARKS = {b"PAR1": _PARQUET, b"ARROW1": _ARROW, b"\xff\xff\xff\xff": _ARROW}
_TEXT_MARKS = (
    # JabRef begins with comments.
    (re.compile(r"(?:%.*\s+)*@\s*[A-Za-z]+\s*[{(]"), _BIBTEX),
    (re.compile(r"TY  -"), _RIS),
    (re.compile(r"PMID- "), _MEDLINE),
)


def is_paper_file(name: str) -> bool:
    """Tell whether a file is one of papers by its name."""
    return _suffix(name) in FORMATS


def detect(name: str, head: bytes, columns: Mapping[str, str]) -> Format:
    """Choose the format of a file.

    Args:
        name: Of the file; a suffix of compression does not count.
        head: Its first bytes, not compressed.
        columns: By field, those that the user has named: a line of them is the header of a table.
    """
    suffix = _suffix(name)
    # PubMed saves its own format as .txt.
    by_name = FORMATS.get(suffix) if suffix != ".txt" else None
    return by_name or _detect_binary(head) or _detect_text(head, columns, dumped=suffix == ".txt")


def _suffix(name: str) -> str:
    return PurePath(uncompressed_name(name)).suffix.lower()


def _detect_binary(head: bytes) -> Format | None:
    return next((form for mark, form in _BINARY_MARKS.items() if head.startswith(mark)), None)


def _detect_text(head: bytes, columns: Mapping[str, str], *, dumped: bool) -> Format:
    text = head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    marked = next((form for mark, form in _TEXT_MARKS if mark.match(text)), None)
    if marked or dumped:
        return marked or _PAGE_DUMP
    if re.match(r"<[?!A-Za-z]", text):
        return _XML
    if text.startswith(("{", "[")):
        return _JSON
    first = text.partition("\n")[0]
    names = [name.strip().strip('"') for name in re.split(r"[,;\t]", first)]
    lower = {name.lower() for name in names}
    is_header = lower & set(REQUIRED) or set(REQUIRED) <= set(choose(names, columns).values())
    return _CSV if len(lower) > 1 and is_header else _PAGE_DUMP
