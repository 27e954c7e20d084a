"""Whether the parts of an index agree, and how they are made to.

The records are what the others are compared with: a paper's fingerprint is in the lexical index,
the version of its text and its vectors are in Chroma, and the codes are what these vectors give.
To be used by who holds the writer lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from vectorstore.errors import IndexDamagedError
from vectorstore.index.chroma import ROWS_PER_PART, part_of
from vectorstore.index.lexical import version_of
from vectorstore.index.parts import Parts
from vectorstore.index.records import Record
from vectorstore.index.writing import Writer, chunk_id, text_version

logger = logging.getLogger(__name__)

_PAPERS_PER_PAGE = 10_000
_ROWS_PER_PAGE = 5_000

Progress = Callable[[int], None]


def differences_in_number(parts: Parts) -> list[str]:
    """Compare how much the parts hold, in a moment however many papers there are.

    Returns:
        The differences, in words; empty if there is none.
    """
    records = parts.records
    found = _unfinished(parts)
    try:
        if len(parts.lexical) != len(records):
            found.append(f"{len(records)} papers, but {len(parts.lexical)} in the lexical index")
        parts.codes.require(records.rows)
    except IndexDamagedError as error:
        found.append(str(error))
    return found


def differences(parts: Parts, progress: Progress | None = None) -> list[str]:
    """Compare all papers with what the other parts hold of them.

    Args:
        parts: Of the index.
        progress: Told how many papers have been compared so far; each is twice.

    Returns:
        The differences, in words; empty if the index is healthy.
    """
    records = parts.records
    if damage := records.damage():
        return [f"the records are damaged: {damage}"]
    found = _unfinished(parts)
    found += _in_words("records that do not fit their papers", records.differing())
    more = _adding_up(progress)
    for compare in (_lexical_differences, _vector_differences):
        try:
            found += compare(parts, more)
        except IndexDamagedError as error:
            found.append(str(error))
    return found


def _unfinished(parts: Parts) -> list[str]:
    found = _in_words("half-written papers", parts.records.pending())
    if parts.records.is_ingesting():
        found.append("the last ingest has not ended")
    return found


def repair(parts: Parts, writer: Writer, progress: Progress | None = None) -> list[str]:
    """Make the other parts agree with the records.

    Args:
        parts: Of the index.
        writer: Of the same index.
        progress: Told how many papers have been seen to.

    Returns:
        What was done, in words; empty if nothing was wrong.

    Raises:
        IndexDamagedError: If the records themselves are damaged.
    """
    done = []
    more = _adding_up(progress)
    if mended := parts.records.mend():
        done.append(f"gave {_counted(mended, 'record')} the fingerprint of their papers")
    if parts.records.pending() or parts.records.is_ingesting():
        writer.complete()
        parts.records.end()
        done.append("completed what an interrupted ingest had left half-written")
    if _is_wrong(lambda: _lexical_differences(parts)):
        _rebuild_lexical(parts, more)
        done.append("built the lexical index anew from the records")
    wrong = _wrong_papers(parts, more)
    if wrong:
        for start in range(0, len(wrong), _PAPERS_PER_PAGE):
            found = parts.records.at(wrong[start : start + _PAPERS_PER_PAGE])
            writer.renew([record.paper for record in found.values()])
        done.append(f"computed the vectors of {_counted(len(wrong), 'paper')} anew")
    if removed := _remove_strays(parts):
        done.append(f"removed {_counted(removed, 'vector')} of no paper")
    return done


# --- the lexical index ---------------------------------------------------------------------------


def _lexical_differences(parts: Parts, progress: Progress | None = None) -> list[str]:
    missing: list[str] = []
    older: list[str] = []
    strays: list[str] = []
    lexical = parts.lexical
    for first in range(0, parts.records.positions, _PAPERS_PER_PAGE):
        stop = first + _PAPERS_PER_PAGE
        wanted = parts.records.fingerprints(first, stop)
        seen: set[int] = set()
        for position, version in lexical.versions(first, stop):
            if position not in wanted or position in seen:
                strays.append(f"number {position}")
            elif version != version_of(wanted[position][1]):
                older.append(wanted[position][0])
            seen.add(position)
        missing += [key for position, (key, _) in wanted.items() if position not in seen]
        if progress is not None:
            progress(len(wanted))
    return [
        *_in_words("papers missing from the lexical index", missing),
        *_in_words("papers in the lexical index in another version", older),
        *_in_words("papers in the lexical index alone", strays),
    ]


def _rebuild_lexical(parts: Parts, progress: Progress | None) -> None:
    lexical = parts.replace_lexical()
    for page in _pages(parts.records.all()):
        lexical.replace([(record.position, record.paper) for record in page])
        if progress is not None:
            progress(len(page))


# --- the vectors ---------------------------------------------------------------------------------


def _vector_differences(parts: Parts, progress: Progress | None = None) -> list[str]:
    without: list[str] = []
    older: list[str] = []
    coded: list[str] = []
    strays: list[str] = []
    for part in _part_numbers(parts):
        wanted: set[str] = set()
        for page in _pages_of(parts, part):
            wanted |= _chunk_ids(page)
            gone, other, wrong = _compare(parts, part, page)
            without, older, coded = without + gone, older + other, coded + wrong
            if progress is not None:
                progress(len(page))
        strays += [each for each in parts.chroma.ids(part) if each not in wanted]
    return [
        *_in_words("chunks without a vector", without),
        *_in_words("vectors of another version of the text", older),
        *_in_words("vectors without a chunk", strays),
        *_in_words("chunks that are searched by other vectors than theirs", coded),
    ]


def _compare(
    parts: Parts, part: int, page: Sequence[Record]
) -> tuple[list[str], list[str], list[str]]:
    """Return the ids of chunks without a vector, with one of another text, and with other codes."""
    ids = [chunk_id(r.paper.id, n) for r in page for n in range(len(r.spans))]
    rows = np.array([r.first_row + n for r in page for n in range(len(r.spans))], np.int64)
    owners = np.repeat([r.position for r in page], [len(r.spans) for r in page])
    versions = dict(zip(ids, (text_version(r.paper) for r in page for _ in r.spans), strict=True))
    found = parts.chroma.get(part, ids)
    there = dict(zip(found.ids, found.versions, strict=True))
    without = [each for each in ids if each not in there]
    older = [each for each in ids if each in there and there[each] != versions[each]]
    kept = np.array([each in there for each in ids], np.bool_)
    try:
        wrong = parts.codes.differing(rows[kept], found.vectors, owners[kept])
    except IndexDamagedError as error:
        logger.info("%s", error)
        wrong = np.arange(int(kept.sum()))
    return without, older, [found.ids[each] for each in wrong]


def _wrong_papers(parts: Parts, progress: Progress | None) -> list[int]:
    """Return the positions of the papers whose vectors are not right, somewhere."""
    wrong: list[int] = []
    for part in _part_numbers(parts):
        for page in _pages_of(parts, part):
            try:
                chunks = {each for found in _compare(parts, part, page) for each in found}
            except IndexDamagedError as error:
                logger.warning("%s; it is made anew", error)
                parts.chroma.drop(part)
                chunks = _chunk_ids(page)
            wrong += [record.position for record in page if chunks & _chunk_ids([record])]
            if progress is not None:
                progress(len(page))
    return wrong


def _remove_strays(parts: Parts) -> int:
    removed = 0
    for part in _part_numbers(parts):
        wanted = {each for page in _pages_of(parts, part) for each in _chunk_ids(page)}
        strays = [each for each in parts.chroma.ids(part) if each not in wanted]
        parts.chroma.delete(part, strays)
        removed += len(strays)
    return removed


def _part_numbers(parts: Parts) -> Iterable[int]:
    last = part_of(parts.records.rows - 1) if parts.records.rows else -1
    return sorted({*range(last + 1), *parts.chroma.numbers()})


def _pages_of(parts: Parts, part: int) -> Iterator[list[Record]]:
    """Yield the papers of a part."""
    first, stop = part * ROWS_PER_PART, (part + 1) * ROWS_PER_PART
    for start in range(first, stop, _ROWS_PER_PAGE):
        if page := parts.records.between(start, start + _ROWS_PER_PAGE):
            yield page


def _pages(records: Iterator[Record]) -> Iterator[list[Record]]:
    while page := [record for _, record in zip(range(_PAPERS_PER_PAGE), records, strict=False)]:
        yield page


def _chunk_ids(page: Sequence[Record]) -> set[str]:
    return {chunk_id(r.paper.id, number) for r in page for number in range(len(r.spans))}


def _is_wrong(check: Callable[[], list[str]]) -> bool:
    try:
        return bool(check())
    except IndexDamagedError as error:
        logger.warning("%s", error)
        return True


def _adding_up(progress: Progress | None) -> Progress | None:
    """Return what is told of each step and tells the sum."""
    if progress is None:
        return None
    total = 0

    def add(papers: int) -> None:
        nonlocal total
        total += papers
        progress(total)

    return add


def _in_words(what: str, ids: Iterable[str]) -> list[str]:
    found = sorted(ids)
    shown = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
    return [f"{len(found)} {what}: {shown}"] if found else []


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
