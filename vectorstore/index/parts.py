"""The parts of an index, opened when they are needed: records, lexical index, codes and Chroma.

Knows which parts there are and what other processes may do to them; nothing of their contents.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vectorstore.errors import IndexDamagedError
from vectorstore.index.chroma import ChromaParts, VectorParts
from vectorstore.index.codes import Codes
from vectorstore.index.folder import IndexFolder
from vectorstore.index.lexical import LexicalIndex
from vectorstore.index.manifest import repair_hint
from vectorstore.index.records import Records


class Parts:
    """Safe to read from several threads. Chroma is for who holds the writer lock."""

    def __init__(
        self,
        folder: IndexFolder,
        records: Records,
        dimension: int,
        vectors: VectorParts | None = None,
    ) -> None:
        """Wrap an open file of records; the other parts are opened by the first who needs them.

        Args:
            folder: Of the index.
            records: Its papers.
            dimension: Length of a vector.
            vectors: Where the vectors as computed are, if not in the folder.
        """
        self.folder = folder
        self.records = records
        self.codes = Codes(folder.codes, dimension)
        self.chroma = vectors or ChromaParts(folder.chroma)
        self._lexical: LexicalIndex | None = None
        self._lock = threading.RLock()

    @property
    def lexical(self) -> LexicalIndex:
        """The lexical index.

        Raises:
            IndexDamagedError: If it is missing or cannot be opened.
        """
        with self._lock:
            if self._lexical is None:
                if len(self.records) and not self.folder.lexical.is_dir():
                    path = self.folder.path
                    reason = f"the index in {path} is incomplete: lexical is missing"
                    raise IndexDamagedError(reason, path=path, hint=repair_hint(path))
                self._lexical = LexicalIndex.create(self.folder.lexical)
            return self._lexical

    def replace_lexical(self) -> LexicalIndex:
        """Throw the lexical index away, readable or not, and return an empty one."""
        with self._lock:
            self._lexical = None
            self.folder.remove_lexical()
            self._lexical = LexicalIndex.create(self.folder.lexical)
            return self._lexical

    def refresh(self) -> None:
        """Notice what others have written."""
        self.notice()

    def notice(self) -> None:
        """Notice what other processes have written to the folder."""
        with self._lock:
            if self.records.was_replaced():
                records = Records(self.folder.records)
                self.records.close()
                self.records, self._lexical = records, None
            elif self.records.changed_elsewhere() and self._lexical is not None:
                self._lexical.reload()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the exclusive right to write, and Chroma, which is closed again at the end.

        Raises:
            IndexLockedError: If another process has it.
        """
        with self.folder.writing():
            self.notice()
            try:
                yield
            finally:
                self.chroma.close()

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            self._lexical = None
            self.codes.close()
            self.records.close()
