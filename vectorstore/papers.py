"""Paper files to papers. Every complaint names the file and the line; the good papers are kept.

Knows what a paper must hold; the syntax of the formats is in ``formats``.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from vectorstore.errors import PaperFormatError
from vectorstore.formats import (
    MAX_FIELD_CHARS,
    Parser,
    parse_csv,
    parse_json,
    parse_page_dump,
    sniff,
)
from vectorstore.links import find_links
from vectorstore.slugs import slug
from vectorstore.types import Paper

STANDARD_INPUT = "-"
MAX_ID_CHARS = 200

_PARSERS: dict[str, Parser] = {
    ".txt": parse_page_dump,
    ".jsonl": parse_json,
    ".ndjson": parse_json,
    ".json": parse_json,
    ".csv": parse_csv,
    ".tsv": parse_csv,
}
_FIELDS = frozenset(
    {"id", "title", "abstract", "authors", "year", "url", "venue", "code_url", "video_url"}
)
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_papers(sources: Sequence[str | Path]) -> Iterator[Paper | PaperFormatError]:
    """Read papers from files, folders and standard input, one at a time.

    Args:
        sources: Paths; a folder stands for all paper files below it, in sorted order, and "-" for
            standard input, whose format is told by its first character.

    Yields:
        A ``Paper``, or a ``PaperFormatError`` in place of what cannot be read; reading goes on.
        No two papers have the same id: the second one is an error that names both.
    """
    first_seen: dict[str, str] = {}
    for record in _read_sources(sources):
        if isinstance(record, PaperFormatError):
            yield record
            continue
        paper, path, line = record
        where = f"{path}:{line}"
        earlier = first_seen.setdefault(paper.id, where)
        if earlier == where:
            yield paper
        else:
            reason = f'the id "{paper.id}" was already used at {earlier}'
            yield _error(path, line, reason, 'remove one of them, or give each an "id" of its own')


Record = tuple[Paper, str, int]


def _read_sources(sources: Sequence[str | Path]) -> Iterator[Record | PaperFormatError]:
    seen: set[str] = set()
    for source in sources:
        for file in _files(source):
            if isinstance(file, PaperFormatError):
                yield file
                continue
            identity = file if file == STANDARD_INPUT else str(Path(file).resolve())
            if identity not in seen:
                seen.add(identity)
                yield from _read_file(file)


def _files(source: str | Path) -> Iterator[str | PaperFormatError]:
    if str(source) == STANDARD_INPUT or not Path(source).is_dir():
        yield str(source)
        return
    found = sorted(
        file
        for file in Path(source).rglob("*")
        if file.suffix.lower() in _PARSERS and file.is_file() and not _is_hidden(file, Path(source))
    )
    yield from map(str, found)
    if not found:
        kinds = ", ".join(_PARSERS)
        yield _error(str(source), None, f"no paper files in this folder ({kinds})", _HELP)


def _is_hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


_HELP = "see the formats: assistant ingest --help"


def _read_file(path: str) -> Iterator[Record | PaperFormatError]:
    name = "standard input" if path == STANDARD_INPUT else path
    try:
        if path == STANDARD_INPUT:
            yield from _read_stream(sys.stdin.buffer, name, "")
        else:
            with Path(path).open("rb") as stream:
                yield from _read_stream(stream, name, Path(path).suffix.lower())
    except OSError as error:
        reason = f"cannot be read ({(error.strerror or str(error)).lower()})"
        yield _error(name, None, reason, "check the path and its permissions")


def _read_stream(stream: BinaryIO, name: str, suffix: str) -> Iterator[Record | PaperFormatError]:
    buffered = io.BufferedReader(stream) if isinstance(stream, io.RawIOBase) else stream
    # Undecodable bytes become lone surrogates, so that one bad record spoils no other.
    lines = io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _read_lines(lines, name, suffix)
    finally:
        lines.detach()


def _read_lines(
    lines: Iterable[str], name: str, suffix: str
) -> Iterator[Record | PaperFormatError]:
    iterator = iter(lines)
    blank, head = _take_head(iterator)
    if head is None:
        yield _error(name, None, "the file is empty", _HELP)
        return
    if head.encode("utf-8", "surrogateescape").startswith(_UTF16_MARKS):
        yield _error(name, None, "the text is UTF-16, not UTF-8", _ENCODING_HINT)
        return
    parser = _PARSERS.get(suffix) or sniff(head)
    count = 0
    for record in parser(chain(blank, [head], iterator), name):
        count += 1
        if isinstance(record, PaperFormatError):
            yield record
            continue
        try:
            yield _paper(record.fields), name, record.line
        except _FieldError as error:
            yield _error(name, record.line, error.reason, error.hint)
    if not count:
        yield _error(name, None, "the file holds no papers", _HELP)


def _take_head(iterator: Iterator[str]) -> tuple[list[str], str | None]:
    blank: list[str] = []
    for line in iterator:
        if line.strip():
            return blank, line
        blank.append(line)
    return blank, None


# --- one record ----------------------------------------------------------------------------------


class _FieldError(Exception):
    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


_ENCODING_HINT = "convert it: iconv -f latin1 -t utf-8 FILE > NEW_FILE"


def _paper(fields: Mapping[str, Any]) -> Paper:
    known, metadata = _split(fields)
    _check_characters(fields)
    title = " ".join(_text(known, "title").split())
    abstract = _text(known, "abstract")
    for name, value in (("title", title), ("abstract", abstract)):
        if not value.strip():
            raise _FieldError(f"the {name} is empty", f"fill in the {name}, or remove the record")
        if len(value) > MAX_FIELD_CHARS:
            reason = f"the {name} is longer than {MAX_FIELD_CHARS:,} characters"
            raise _FieldError(reason, f"shorten the {name}")
    links = find_links(abstract)
    web = {name: _web_address(known, name, metadata) for name in ("url", "code_url", "video_url")}
    return Paper(
        id=_identifier(known.get("id")) or slug(title),
        title=title,
        abstract=abstract,
        authors=_authors(known.get("authors")),
        year=_year(known.get("year")),
        url=web["url"],
        venue=_text(known, "venue").strip() or None,
        code_url=web["code_url"] or links.code_url,
        video_url=web["video_url"] or links.video_url,
        metadata=metadata,
    )


def _split(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Known fields by lower-case name, and the rest as the file names it, without the empty."""
    known: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    for name, value in fields.items():
        key = name.strip().lower()
        if key in _FIELDS:
            if known.get(key) in (None, ""):
                known[key] = value
        elif value not in (None, ""):
            metadata[name] = value
    return known, metadata


def _check_characters(value: object) -> None:
    """Refuse what can be stored in no index: bytes that were not UTF-8, lone surrogates, NUL."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            _check_characters(name)
            _check_characters(item)
    elif isinstance(value, list):
        for item in value:
            _check_characters(item)
    elif isinstance(value, str) and (bad := re.search("[\0\ud800-\udfff]", value)):
        code = ord(bad.group())
        if code == 0:
            raise _FieldError("a field holds a NUL character", "remove the character")
        if 0xDC80 <= code <= 0xDCFF:
            reason = f"the text is not UTF-8 (byte 0x{code - 0xDC00:02X})"
            raise _FieldError(reason, _ENCODING_HINT)
        raise _FieldError(f"a field holds half a character (\\u{code:04x})", "remove the character")


def _text(known: Mapping[str, Any], name: str) -> str:
    value = known.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _FieldError(f"the {name} is not text", f"write the {name} as a string")
    return value


def _identifier(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _FieldError("the id is neither text nor a whole number", "write the id as a string")
    text = str(value).strip()
    if len(text) > MAX_ID_CHARS or not text.isprintable():
        reason = f"the id is longer than {MAX_ID_CHARS} characters or not printable"
        raise _FieldError(reason, "shorten the id, or leave it out to have one made from the title")
    return text


def _authors(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        names = re.split(r"\s*;\s*|\s+and\s+", value)
    elif isinstance(value, list) and all(isinstance(name, str) for name in value):
        names = value
    else:
        hint = 'write them as a list of names, or as one string: "A. Author; B. Author"'
        raise _FieldError("the authors are neither text nor a list of names", hint)
    return tuple(clean for name in names if (clean := " ".join(name.split())))


def _year(value: object) -> int | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    if isinstance(value, bool | float) or not re.fullmatch(r"[0-9]{1,4}(\.0)?", text):
        shown = text if len(text) <= 20 else text[:19] + "…"
        raise _FieldError(f'the year "{shown}" is not a number', "write it in digits: 2024")
    return int(float(text))


def _web_address(known: Mapping[str, Any], name: str, metadata: dict[str, Any]) -> str | None:
    """Keep anything but a web address as metadata: pages turn these fields into links."""
    value = _text(known, name).strip()
    if re.fullmatch(r"https?://[^\s<>\"]+", value, re.IGNORECASE):
        return value
    if value:
        metadata[name] = value
    return None


def _error(path: str, line: int | None, reason: str, hint: str) -> PaperFormatError:
    return PaperFormatError(reason, path=path, line=line, hint=hint)
