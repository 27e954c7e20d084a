"""Papers as the ingest reads them: the good ones go on, the others are counted and reported.

Knows nothing of the index. Papers come as a stream; of what is wrong no more is kept than is asked
for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol, TextIO

from assistant.escaping import json_text
from vectorstore import DuplicatePaperError, Paper, PaperFormatError, read_papers
from vectorstore.sources.duplicates import IndexedDuplicate

SHOWN_ROWS = 20
"""Of failures, duplicates and replacements each, so many are printed."""

_INDEXED_HINT = "nothing to do; to keep this one instead, remove the other and run it again"


class Display(Protocol):
    """Where reports are shown."""

    def note(self, text: str) -> None:
        """Show something about the work."""

    def complain(self, message: str, hint: str | None = None) -> None:
        """Show what is wrong and what to do about it."""


class Intake:
    """Reads papers once, and counts what it could not take."""

    def __init__(
        self,
        sources: Sequence[str],
        columns: Mapping[str, str],
        display: Display,
        *,
        report: TextIO | None = None,
        keep: bool = False,
    ) -> None:
        """Prepare to read.

        Args:
            sources: As for ``read_papers``.
            columns: As for ``read_papers``.
            display: Told of the first failures and duplicates.
            report: Gets every failure and duplicate, a JSON object a line.
            keep: Collect the failures in ``errors``, however many there are.
        """
        self._sources = sources
        self._columns = columns
        self._display = display
        self._report = report
        self._keep = keep
        self.failed = 0
        self.duplicates = 0
        self.replaced = 0
        """Papers of the index of which a later version came under another id."""
        self.errors: list[PaperFormatError] = []

    def papers(self) -> Iterator[Paper]:
        """Read up to the first paper at once, and the others as they are asked for.

        Raises:
            PaperFormatError: If there is no paper; an empty collection is never what was meant.
        """
        last: PaperFormatError | None = None
        records = read_papers(self._sources, columns=self._columns, notice=self._display.note)
        for record in records:
            if isinstance(record, Paper):
                if last is not None:
                    self._take_down(last)
                return chain([record], self._good(records))
            if last is not None:
                self._take_down(last)
            last = record
        if last is not None:
            # It is shown as the error that ends all.
            self._write(last)
            raise last
        raise PaperFormatError(
            "holds no paper",
            path=", ".join(self._sources),
            line=None,
            hint="assistant ingest --help shows what can be read",
        )

    def take_down_indexed(self, duplicate: IndexedDuplicate) -> None:
        """Report a paper that is in the index under another id."""
        paper, indexed = duplicate.paper, duplicate.indexed
        if duplicate.replaces:
            self.replaced += 1
            what = f'"{paper.id}" replaces "{indexed.id}" of the index, an earlier version'
        else:
            self.duplicates += 1
            what = f'"{paper.id}" is a duplicate of "{indexed.id}" of the index'
        reason = f"{what}: {duplicate.words}"
        if self._report is not None:
            row = {
                "kind": "replacement" if duplicate.replaces else "duplicate",
                "path": None, "line": None, "record": None, "reason": reason,
                "hint": _INDEXED_HINT, "first": indexed.id,
            }  # fmt: skip
            self._report.write(json_text(row) + "\n")
        if (self.replaced if duplicate.replaces else self.duplicates) <= SHOWN_ROWS:
            self._display.note(reason)

    def say_what_was_left_out(self) -> None:
        """Tell how many failures and duplicates were not printed."""
        for count, noun in (
            (self.failed, "failure"),
            (self.duplicates, "duplicate"),
            (self.replaced, "replacement"),
        ):
            more = count - SHOWN_ROWS
            if more > 0:
                nouns = noun if more == 1 else f"{noun}s"
                where = "" if self._report else "; --report FILE.jsonl writes all of them"
                self._display.note(f"and {more} more {nouns}{where}")

    def _good(self, records: Iterator[Paper | PaperFormatError]) -> Iterator[Paper]:
        for record in records:
            if isinstance(record, Paper):
                yield record
            else:
                self._take_down(record)

    def _write(self, error: PaperFormatError) -> None:
        if self._report is not None:
            self._report.write(json_text(_row(error)) + "\n")

    def _take_down(self, error: PaperFormatError) -> None:
        self._write(error)
        if isinstance(error, DuplicatePaperError):
            self.duplicates += 1
            if self.duplicates <= SHOWN_ROWS:
                self._display.note(str(error))
            return
        self.failed += 1
        if self._keep:
            self.errors.append(error)
        if self.failed <= SHOWN_ROWS:
            self._display.complain(str(error), error.hint)


def _row(error: PaperFormatError) -> dict[str, Any]:
    is_duplicate = isinstance(error, DuplicatePaperError)
    return {
        "kind": "duplicate" if is_duplicate else "failure",
        "path": error.path,
        "line": error.line,
        "record": error.record,
        "reason": error.reason,
        "hint": error.hint,
        "first": error.first if isinstance(error, DuplicatePaperError) else None,
    }
