"""Paper files to papers. Every complaint names the file and the place; the good papers are kept.

Knows files, folders and streams. The syntax of the formats is in ``formats``, ``bibliographies``,
``xml_records`` and ``tables``, what a record must hold in ``fields``.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from vectorstore.errors import DuplicatePaperError, PaperFormatError
from vectorstore.sources.columns import FIELDS, choose, guesses, lacking, missing
from vectorstore.sources.compression import SUFFIXES, RecordStream, UnreadableError
from vectorstore.sources.detection import (
    FORMATS,
    HEAD_BYTES,
    BinaryFormat,
    Format,
    TextFormat,
    detect,
    is_paper_file,
)
from vectorstore.sources.duplicates import SeenKeys, keys
from vectorstore.sources.fields import (
    ENCODING_HINT,
    PAPER_FIELDS,
    FieldError,
    checked_paper,
    paper_of,
)
from vectorstore.sources.formats import Header, Parsed, RawRecord
from vectorstore.sources.slugs import slug
from vectorstore.types import Paper

STANDARD_INPUT = "-"

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_HELP = "see the formats: assistant ingest --help"
_SAME_ID_HINT = 'remove one of them, or give each an "id" of its own'
_DUPLICATE_HINT = "nothing to do; to keep this one instead, read its file first"

_CUSTOM = {"arxiv_id", "code_url", "video_url"}

Notice = Callable[[str], None]


class _Place(NamedTuple):
    """Where a record is: by line, or by its number in a format without lines."""

    path: str
    line: int | None
    record: int | None = None

    def error(self, reason: str, hint: str) -> PaperFormatError:
        return PaperFormatError(
            reason, path=self.path, line=self.line, record=self.record, hint=hint
        )


class _Found(NamedTuple):
    paper: Paper
    place: _Place
    has_own_id: bool
    """Whether the file gives each record an id of its user's choice."""


def read_papers(
    sources: Sequence[str | Path],
    *,
    columns: Mapping[str, str] | None = None,
    notice: Notice | None = None,
) -> Iterator[Paper | PaperFormatError]:
    """Read papers from files, folders and standard input, one at a time.

    Args:
        sources: Paths; a folder stands for all paper files below it, in sorted order, and "-" for
            standard input, whose format is told by its beginning. Gzip and Zstandard are undone.
        columns: The columns that hold some fields, by field; the others are told by their names.
        notice: Told once for each file which columns were taken by another name than the field's.

    Yields:
        A ``Paper``, or a ``PaperFormatError`` in place of what cannot be read; reading goes on. A
        ``DuplicatePaperError`` stands for a paper that was read before (``duplicates`` says when
        that is so); the first one is kept. No two papers have the same id: the second one is an
        error that names both.

    Raises:
        ValueError: If ``columns`` names a field that papers do not have.
    """
    mapping = dict(columns or {})
    if unknown := mapping.keys() - set(FIELDS):
        raise ValueError(f"no field {', '.join(sorted(unknown))}; there are {', '.join(FIELDS)}")
    return _read_once(sources, mapping, notice or (lambda _: None))


def _read_once(
    sources: Sequence[str | Path], mapping: Mapping[str, str], notice: Notice
) -> Iterator[Paper | PaperFormatError]:
    with closing(SeenKeys()) as seen:
        for record in _read_sources(sources, mapping, notice):
            if isinstance(record, PaperFormatError):
                yield record
            else:
                yield _repeated(record, seen) or record.paper


def _repeated(record: _Found, seen: SeenKeys) -> PaperFormatError | None:
    """Return what is wrong if the id or the paper was there before."""
    paper, place, has_own_id = record
    # An id that somebody gave is meant; one that was made is the same where the paper is.
    same_id = seen.match([f"id {paper.id}"], *place)
    if same_id is None or not has_own_id:
        own = {key.value: key.words for key in keys(paper)}
        same = seen.match(list(own), *place)
        if same is not None:
            reason = f"a duplicate of {same[1]}: {own[same[0]]}"
            return DuplicatePaperError(
                reason, **place._asdict(), hint=_DUPLICATE_HINT, first=same[1]
            )
    if same_id is not None:
        return place.error(f'the id "{paper.id}" was already used at {same_id[1]}', _SAME_ID_HINT)
    return None


# --- files ---------------------------------------------------------------------------------------


def _read_sources(
    sources: Sequence[str | Path], mapping: Mapping[str, str], notice: Notice
) -> Iterator[_Found | PaperFormatError]:
    seen: set[str] = set()
    for source in sources:
        for file in _files(source):
            if isinstance(file, PaperFormatError):
                yield file
                continue
            identity = file if file == STANDARD_INPUT else str(Path(file).resolve())
            if identity not in seen:
                seen.add(identity)
                yield from _read_file(file, mapping, notice)


def _files(source: str | Path) -> Iterator[str | PaperFormatError]:
    if str(source) == STANDARD_INPUT or not Path(source).is_dir():
        yield str(source)
        return
    found = sorted(
        file
        for file in Path(source).rglob("*")
        if is_paper_file(file.name) and file.is_file() and not _is_hidden(file, Path(source))
    )
    yield from map(str, found)
    if not found:
        kinds = f"{', '.join(FORMATS)}, also with {' or '.join(SUFFIXES)}"
        yield _Place(str(source), None).error(f"no paper files in this folder ({kinds})", _HELP)


def _is_hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _read_file(
    path: str, mapping: Mapping[str, str], notice: Notice
) -> Iterator[_Found | PaperFormatError]:
    name = "standard input" if path == STANDARD_INPUT else path
    reader = _Reader(name, mapping, notice)
    try:
        if path == STANDARD_INPUT:
            yield from reader.read(sys.stdin.buffer)
        else:
            with Path(path).open("rb") as stream:
                yield from reader.read(stream)
    except UnreadableError as error:
        yield _Place(name, None).error(error.reason, error.hint)
    except OSError as error:
        reason = f"cannot be read ({(error.strerror or str(error)).lower()})"
        yield _Place(name, None).error(reason, "check the path and its permissions")


class _Reader:
    """Reads one file."""

    def __init__(self, name: str, mapping: Mapping[str, str], notice: Notice) -> None:
        self._name, self._mapping, self._notice = name, mapping, notice
        self._names: tuple[str, ...] = ()
        """Columns of the last record, for which these were chosen:"""
        self._chosen: dict[str, str] = {}
        self._unseen = dict(mapping)
        """What the user named and no record has had so far."""

    def read(self, stream: BinaryIO) -> Iterator[_Found | PaperFormatError]:
        """Read a stream, which stays open."""
        records = RecordStream(stream)
        head = records.head(HEAD_BYTES)
        whole = _Place(self._name, None)
        if head.startswith(_UTF16_MARKS):
            yield whole.error("the text is UTF-16, not UTF-8", ENCODING_HINT)
            return
        form = detect(self._name, head, self._mapping)
        count = 0
        for item in self._parsed(form, records, stream):
            records.begin_record()
            if isinstance(item, Header):
                if lack := missing(item.names, self._choose(tuple(item.names)), self._mapping):
                    yield whole._replace(line=item.line).error(*lack)
                    return
                continue
            count += 1
            yield item if isinstance(item, PaperFormatError) else self._paper(item, form)
        if not count:
            yield whole.error("the file holds no papers", _HELP)
        elif self._unseen and form.has_columns:
            yield whole.error(*lacking(*next(iter(self._unseen.items())), self._names))

    def _parsed(self, form: Format, records: RecordStream, stream: BinaryIO) -> Parsed:
        buffered = io.BufferedReader(records)
        if isinstance(form, TextFormat):
            # Undecodable bytes become lone surrogates, so that one bad record spoils no other.
            lines = io.TextIOWrapper(buffered, "utf-8-sig", "surrogateescape", newline="")
            blank, first = _take_head(lines)
            if first is None:
                yield _Place(self._name, None).error("the file is empty", _HELP)
            else:
                yield from form.parse(chain(blank, [first], lines), self._name)
        elif form.is_seekable and not records.is_compressed and stream.seekable():
            stream.seek(0)
            yield from form.parse(stream, self._name)
        else:
            if form.is_seekable:
                records.lift_limit()
            yield from form.parse(buffered, self._name)

    def _paper(self, record: RawRecord, form: Format) -> _Found | PaperFormatError:
        place = _Place(self._name, record.line)
        if isinstance(form, BinaryFormat):
            place = _Place(self._name, None, record.line)
        if not self._mapping and record.fields.keys() == set(PAPER_FIELDS):
            return self._whole_paper(record.fields, place)
        fields = _flat(record.fields)
        chosen = self._choose(tuple(fields), tell=form.has_columns)
        try:
            paper = paper_of(fields, chosen)
        except FieldError as error:
            return place.error(error.reason, error.hint)
        return _Found(paper, place, form.has_columns and paper.id != slug(paper.title))

    @staticmethod
    def _whole_paper(fields: Mapping[str, Any], place: _Place) -> _Found | PaperFormatError:
        """A paper that this program has exported: nothing of it is guessed or added."""
        try:
            return _Found(checked_paper(fields), place, has_own_id=True)
        except FieldError as error:
            return place.error(error.reason, error.hint)

    def _choose(self, names: tuple[str, ...], *, tell: bool = True) -> dict[str, str]:
        if names != self._names:
            is_first = not self._names
            self._names, self._chosen = names, choose(names, self._mapping)
            for field in self._unseen.keys() & set(self._chosen.values()):
                del self._unseen[field]
            guessed = guesses(self._chosen, self._mapping)
            if is_first and tell and guessed:
                self._notice(f"{self._name}: {guessed} (--map FIELD=COLUMN to change)")
        return self._chosen


def _flat(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take out what some have in a field of its own.

    Hugging Face's daily papers have the paper there; CSL-JSON has what it knows no field for.
    """
    inner, custom = fields.get("paper"), fields.get("custom")
    if isinstance(inner, Mapping):
        return {**inner, **fields, "paper": None}
    if isinstance(custom, Mapping) and custom.keys() <= _CUSTOM:
        return {**custom, **fields, "custom": None}
    return fields


def _take_head(lines: Iterator[str]) -> tuple[list[str], str | None]:
    blank: list[str] = []
    for line in lines:
        if line.strip():
            return blank, line
        blank.append(line)
    return blank, None
