"""Which papers are read while nobody asks, and how far that is. Thread-safe; knows no model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vectorstore import Paper


@dataclass(frozen=True, slots=True)
class Progress:
    """How many papers are read, of those that are to be."""

    read: int
    total: int


class ReadAhead:
    """Papers in the order in which they are likely to be asked.

    Args:
        papers: To begin with.
        most: How many are read at most.
    """

    def __init__(self, papers: Iterable[Paper], most: int) -> None:
        self._lock = threading.Lock()
        self._unread = {paper.id: paper for paper in papers}
        self._most = most
        self._read: set[str] = set()

    @property
    def progress(self) -> Progress:
        """How far it is."""
        with self._lock:
            read = len(self._read)
            return Progress(read, min(self._most, read + len(self._unread)))

    def prefer(self, papers: Iterable[Paper]) -> None:
        """Read these first: they were found for a question, and the next one may be near it."""
        with self._lock:
            first = {paper.id: paper for paper in papers if paper.id not in self._read}
            self._unread = first | {
                each: paper for each, paper in self._unread.items() if each not in first
            }

    def next(self, is_read: Callable[[Paper], bool]) -> Paper | None:
        """The paper to be read now, None if all are; those that are read already count."""
        with self._lock:
            for name, paper in list(self._unread.items()):
                if len(self._read) >= self._most:
                    return None
                if not is_read(paper):
                    return paper
                self._unread.pop(name)
                self._read.add(name)
        return None
