"""The papers of an index in SQLite, and which of them are half-written.

Knows papers and the offsets of their chunks; nothing of the indexes made of them. A paper's
record is written last, in one transaction with the removal of its ``pending`` mark: whatever has
a mark may differ between the indexes, and what has none does not.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vectorstore.duplicates import key_digest, keys
from vectorstore.errors import IndexDamagedError
from vectorstore.manifest import rebuild_hint
from vectorstore.types import Paper

Spans = tuple[tuple[int, int], ...]

ORDERS = {
    "added": "position",
    "title": "lower(json_extract(fields, '$.title'))",
    "year": "json_extract(fields, '$.year')",
}
"""What papers can be sorted by, as SQL has it."""

_ROWS_PER_QUERY = 500
_BUSY_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS papers (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL,
    fields TEXT NOT NULL,
    spans TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS pending (id TEXT PRIMARY KEY, chunks INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

# What papers are recognised by (see duplicates); the position is that of the paper.
_KEYS = """
CREATE TABLE IF NOT EXISTS keys (
    value INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (value, position)
) WITHOUT ROWID
"""
_KEYS_VERSION = "1"
"""Raise when a paper would have other keys; those of all papers are then made anew."""


@dataclass(frozen=True, slots=True)
class Record:
    """A paper as indexed, and the character offsets of its chunks."""

    paper: Paper
    spans: Spans


class Records:
    """An SQLite file of papers. Safe to use from several threads; one process may write."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open the file.

        Args:
            path: Of the file.
            create: Make it if it is not there.

        Raises:
            IndexDamagedError: If it is not a file of records.
        """
        self._path = path
        self._lock = threading.RLock()
        with self._translated():
            mode = "rwc" if create else "rw"
            self._connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode={mode}",
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            # Readers go on while another process writes.
            self._connection.execute("PRAGMA journal_mode = WAL")
            if create:
                self._connection.executescript(_SCHEMA)
            self._connection.execute("SELECT position, id, fingerprint, fields, spans FROM papers")
            self._version = self._data_version()
        self._inode = path.stat().st_ino

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    # --- reading -----------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of papers."""
        return int(self._rows("SELECT count(*) FROM papers")[0][0])

    def get(self, ids: Sequence[str]) -> dict[str, Record]:
        """Return the records that there are of some papers, by id."""
        found: dict[str, Record] = {}
        for start in range(0, len(ids), _ROWS_PER_QUERY):
            part = ids[start : start + _ROWS_PER_QUERY]
            sql = "SELECT fields, spans FROM papers WHERE id IN (SELECT value FROM json_each(?))"
            for fields, spans in self._rows(sql, [json.dumps(part)]):
                record = _record(fields, spans)
                found[record.paper.id] = record
        return found

    def fingerprints(self, ids: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Return (fingerprint, number of chunks) of the papers that there are, by id."""
        found: dict[str, tuple[str, int]] = {}
        for start in range(0, len(ids), _ROWS_PER_QUERY):
            part = ids[start : start + _ROWS_PER_QUERY]
            sql = (
                "SELECT id, fingerprint, json_array_length(spans) FROM papers "
                "WHERE id IN (SELECT value FROM json_each(?))"
            )
            rows = self._rows(sql, [json.dumps(part)])
            found |= {key: (value, int(chunks)) for key, value, chunks in rows}
        return found

    def all(self) -> Iterator[Record]:
        """Yield all records in order of ingest."""
        position = -1
        while True:
            sql = (
                "SELECT position, fields, spans FROM papers WHERE position > ? "
                "ORDER BY position LIMIT ?"
            )
            rows = self._rows(sql, [position, _ROWS_PER_QUERY])
            for position, fields, spans in rows:  # noqa: B007 - where the next page begins
                yield _record(fields, spans)
            if len(rows) < _ROWS_PER_QUERY:
                return

    def ids(self) -> list[str]:
        """Return all ids in order of ingest."""
        return [key for (key,) in self._rows("SELECT id FROM papers ORDER BY position")]

    def page(self, order: str, *, reverse: bool, limit: int, offset: int) -> list[str]:
        """Return some ids in an order, of those that ``ORDERS`` names.

        Papers without a value come last, equal ones in order of ingest.
        """
        value, way = ORDERS[order], "DESC" if reverse else "ASC"
        sql = (
            f"SELECT id FROM papers ORDER BY {value} IS NULL, {value} {way}, position "  # noqa: S608
            "LIMIT ? OFFSET ?"
        )
        if order == "added":
            # Along the table, so that nothing is sorted.
            sql = f"SELECT id FROM papers ORDER BY position {way} LIMIT ? OFFSET ?"  # noqa: S608
        return [key for (key,) in self._rows(sql, [limit, offset])]

    def sharing(self, values: Sequence[int]) -> dict[int, list[Record]]:
        """Return the records of papers that may have some keys, by the digest of the key.

        They may have none if ``complete_keys`` was never called.
        """
        if not self._rows("SELECT 1 FROM sqlite_master WHERE name = 'keys'"):
            return {}
        sql = (
            "SELECT value, fields, spans FROM keys JOIN papers USING (position) "
            "WHERE value IN (SELECT value FROM json_each(?)) ORDER BY position"
        )
        found: dict[int, list[Record]] = {}
        for value, fields, spans in self._rows(sql, [json.dumps(values)]):
            found.setdefault(value, []).append(_record(fields, spans))
        return found

    def chunk_counts(self) -> dict[str, int]:
        """Return the number of chunks of every paper, by id."""
        rows = self._rows("SELECT id, json_array_length(spans) FROM papers")
        return {key: int(chunks) for key, chunks in rows}

    def pending(self) -> dict[str, int]:
        """Return the half-written papers by id, with the most chunks an index may hold of each."""
        return dict(self._rows("SELECT id, chunks FROM pending"))

    def is_ingesting(self) -> bool:
        """Tell whether an ingest has begun to write and has not ended."""
        return bool(self._rows("SELECT 1 FROM state WHERE name = 'ingesting'"))

    def changed_elsewhere(self) -> bool:
        """Tell whether another connection has written since this was last asked."""
        with self._translated():
            version = self._data_version()
        changed, self._version = version != self._version, version
        return changed

    def was_replaced(self) -> bool:
        """Tell whether the file is no longer the one that was opened (the index was rebuilt)."""
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            # A rebuild is in progress; what is open can still be read.
            return False

    # --- writing -----------------------------------------------------------------------------

    def begin(self, chunks_by_id: Mapping[str, int]) -> None:
        """Mark papers as half-written, with the most chunks that an index may hold of each."""
        with self._transaction() as cursor:
            cursor.execute("INSERT OR REPLACE INTO state VALUES ('ingesting', 'yes')")
            cursor.executemany(
                "INSERT INTO pending VALUES (?, ?) "
                "ON CONFLICT (id) DO UPDATE SET chunks = max(chunks, excluded.chunks)",
                chunks_by_id.items(),
            )

    def complete_keys(self) -> None:
        """Make the keys of all papers, if that was never done or was done in another way."""
        done = self._rows("SELECT value FROM state WHERE name = 'keys'")
        if done == [(_KEYS_VERSION,)]:
            return
        with self._transaction() as cursor:
            cursor.execute("DROP TABLE IF EXISTS keys")
            cursor.execute(_KEYS)
            for record in self.all():
                _add_keys(cursor, record.paper)
            cursor.execute("INSERT OR REPLACE INTO state VALUES ('keys', ?)", [_KEYS_VERSION])

    def finish(self, records: Iterable[Record] = (), removed_ids: Iterable[str] = ()) -> None:
        """Write the records of papers that all indexes hold, remove others, unmark both."""
        with self._transaction() as cursor:
            cursor.execute(_KEYS)
            for record in records:
                paper = record.paper
                _remove_keys(cursor, paper.id)
                cursor.execute(
                    "INSERT INTO papers (id, fingerprint, fields, spans) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (id) DO UPDATE SET fingerprint = excluded.fingerprint, "
                    "fields = excluded.fields, spans = excluded.spans",
                    (paper.id, paper.fingerprint, _dump(paper), json.dumps(record.spans)),
                )
                cursor.execute("DELETE FROM pending WHERE id = ?", (paper.id,))
                _add_keys(cursor, paper)
            for key in removed_ids:
                _remove_keys(cursor, key)
                cursor.execute("DELETE FROM papers WHERE id = ?", (key,))
                cursor.execute("DELETE FROM pending WHERE id = ?", (key,))

    def end(self) -> None:
        """Record that an ingest has come to its end."""
        with self._transaction() as cursor:
            cursor.execute("DELETE FROM state WHERE name = 'ingesting'")

    # --- SQLite ------------------------------------------------------------------------------

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._translated():
            return self._connection.execute(sql, parameters).fetchall()

    def _data_version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with self._translated():
            cursor = self._connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """One thread at a time, and SQLite's errors as the error for the user."""
        with self._lock:
            try:
                yield
            except sqlite3.ProgrammingError:
                raise
            except sqlite3.Error as error:
                folder = self._path.parent
                reason = f"{self._path} cannot be used ({error})"
                raise IndexDamagedError(reason, path=folder, hint=rebuild_hint(folder)) from error


def _add_keys(cursor: sqlite3.Cursor, paper: Paper) -> None:
    sql = "INSERT OR IGNORE INTO keys SELECT ?, position FROM papers WHERE id = ?"
    cursor.executemany(sql, [(key_digest(key.value), paper.id) for key in keys(paper)])


def _remove_keys(cursor: sqlite3.Cursor, paper_id: str) -> None:
    sql = "SELECT position, fields, spans FROM papers WHERE id = ?"
    for position, fields, spans in cursor.execute(sql, [paper_id]).fetchall():
        values = [key_digest(key.value) for key in keys(_record(fields, spans).paper)]
        sql = "DELETE FROM keys WHERE value = ? AND position = ?"
        cursor.executemany(sql, [(value, position) for value in values])


def _dump(paper: Paper) -> str:
    return json.dumps(dataclasses.asdict(paper), ensure_ascii=False, default=str)


def _record(fields: str, spans: str) -> Record:
    values = json.loads(fields)
    values["authors"] = tuple(values["authors"])
    return Record(Paper(**values), tuple((start, end) for start, end in json.loads(spans)))
