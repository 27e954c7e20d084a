"""The papers of an index in SQLite, and which of them are half-written.

Knows papers and the offsets of their chunks; nothing of the indexes made of them. A paper's
record is written last, in one transaction with the removal of its ``pending`` marks: whatever has
a mark may differ between the indexes, and what has none does not.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vectorstore.errors import IndexDamagedError
from vectorstore.index.folder import can_write, ingest_hint
from vectorstore.index.manifest import rebuild_hint
from vectorstore.sources.duplicates import key_digest, keys
from vectorstore.types import Paper

Spans = tuple[tuple[int, int], ...]

ORDERS = {
    "added": "position",
    "title": "lower(json_extract(fields, '$.title'))",
    "year": "json_extract(fields, '$.year')",
}
"""What papers can be sorted by, as SQL has it."""

_KEYS_VERSION = 1
"""Raise when a paper would have other keys; those of all papers are then made anew."""

_ROWS_PER_QUERY = 500
_BUSY_SECONDS = 30.0
_MOST_IDS = 20_000
_SELECT = "SELECT position, id, fields, spans, first_row FROM papers"
_SELECT_IDS = f"{_SELECT} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608 - constant
_SELECT_POSITIONS = (
    f"{_SELECT} WHERE position IN (SELECT value FROM json_each(?)) "  # noqa: S608 - constant
    "ORDER BY position"
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS papers (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL,
    fields TEXT NOT NULL,
    spans TEXT NOT NULL,
    first_row INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS papers_by_row ON papers (first_row);
CREATE TABLE IF NOT EXISTS pending (
    id TEXT NOT NULL, part INTEGER NOT NULL, chunks INTEGER NOT NULL, PRIMARY KEY (id, part)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO state VALUES ('papers', 0), ('rows', 0), ('positions', 0), ('keys', 0);
CREATE TRIGGER IF NOT EXISTS paper_added AFTER INSERT ON papers
    BEGIN UPDATE state SET value = value + 1 WHERE name = 'papers'; END;
CREATE TRIGGER IF NOT EXISTS paper_removed AFTER DELETE ON papers
    BEGIN UPDATE state SET value = value - 1 WHERE name = 'papers'; END;
-- What papers are recognised by (see duplicates).
CREATE TABLE IF NOT EXISTS keys (
    value INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (value, position)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Record:
    """A paper as indexed, and where its parts are."""

    paper: Paper
    spans: Spans
    """Character offsets of its chunks."""
    position: int
    """Number of the paper, in order of its first ingest; no two papers ever have the same."""
    first_row: int
    """Number of the row of its first chunk among the vectors; the others follow it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What tells whether a paper has changed, and where its parts are."""

    fingerprint: str
    position: int
    first_row: int
    chunks: int


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
        # Without leave to write, SQLite cannot keep its journal; nor can anybody else, then.
        is_fixed = not create and not can_write(path.parent)
        with self._translated():
            mode = "rwc" if create else "ro&immutable=1" if is_fixed else "rw"
            self._connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode={mode}",
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            # Readers go on while another process writes.
            if not is_fixed:
                self._connection.execute("PRAGMA journal_mode = WAL")
            if create:
                self._connection.executescript(_SCHEMA)
            elif not self._connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall():
                # SQLite makes the file before the tables are in it.
                self._connection.close()
                reason = f"the first ingest into {path.parent} was interrupted; run it again"
                raise IndexDamagedError(reason, path=path.parent, hint=ingest_hint(path.parent))
            self._connection.execute(f"{_SELECT} LIMIT 1").fetchall()
            self._version = self._data_version()
        self._inode = path.stat().st_ino

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    # --- reading -----------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of papers."""
        return self._state("papers")

    @property
    def rows(self) -> int:
        """Number of rows of vectors that have been given to papers, past ones included."""
        return self._state("rows")

    @property
    def positions(self) -> int:
        """Number of positions that have been given to papers, past ones included."""
        return self._state("positions")

    def get(self, ids: Sequence[str]) -> dict[str, Record]:
        """Return the records that there are of some papers, by id."""
        found = self._chosen(_SELECT_IDS, ids)
        return {row[1]: _record(*row) for row in found}

    def at(self, positions: Sequence[int]) -> dict[int, Record]:
        """Return the records that there are at some positions, by position."""
        return {row[0]: _record(*row) for row in self._chosen(_SELECT_POSITIONS, positions)}

    def entries(self, ids: Sequence[str]) -> dict[str, Entry]:
        """Return the entries that there are of some papers, by id."""
        sql = (
            "SELECT id, fingerprint, position, first_row, json_array_length(spans) FROM papers "
            "WHERE id IN (SELECT value FROM json_each(?))"
        )
        return {key: Entry(*values) for key, *values in self._chosen(sql, ids)}

    def rows_at(self, positions: Sequence[int]) -> dict[int, range]:
        """Return the rows of the papers that there are at some positions."""
        sql = (
            "SELECT position, first_row, json_array_length(spans) FROM papers "
            "WHERE position IN (SELECT value FROM json_each(?))"
        )
        found = self._chosen(sql, positions)
        return {position: range(first, first + chunks) for position, first, chunks in found}

    def all(self, start: int = 0) -> Iterator[Record]:
        """Yield all records from a position on, in order of their first ingest."""
        position = start - 1
        while True:
            sql = f"{_SELECT} WHERE position > ? ORDER BY position LIMIT ?"
            rows = self._rows(sql, [position, _ROWS_PER_QUERY])
            yield from (_record(*row) for row in rows)
            if len(rows) < _ROWS_PER_QUERY:
                return
            position = rows[-1][0]

    def between(self, first: int, stop: int) -> list[Record]:
        """Return the records whose first row is from ``first`` to before ``stop``, in order."""
        sql = f"{_SELECT} WHERE first_row >= ? AND first_row < ? ORDER BY first_row"
        return [_record(*row) for row in self._rows(sql, [first, stop])]

    def taken(self) -> list[int]:
        """Return the positions of all papers, in order."""
        return [number for (number,) in self._rows("SELECT position FROM papers ORDER BY position")]

    def page(
        self,
        order: str,
        *,
        reverse: bool,
        limit: int,
        offset: int,
        among: Sequence[int] | None = None,
    ) -> list[int]:
        """Return some positions in an order, of those that ``ORDERS`` names.

        Papers without a value come last, equal ones in order of ingest.
        """
        value, way = ORDERS[order], "DESC" if reverse else "ASC"
        if among is not None:
            sql = (
                "SELECT position FROM papers WHERE position IN (SELECT value FROM json_each(?)) "  # noqa: S608
                f"ORDER BY {value} IS NULL, {value} {way}, position LIMIT ? OFFSET ?"
            )
            rows = self._rows(sql, [json.dumps(list(among)), limit, offset])
            return [position for (position,) in rows]
        sql = (
            f"SELECT position FROM papers ORDER BY {value} IS NULL, {value} {way}, position "  # noqa: S608
            "LIMIT ? OFFSET ?"
        )
        if order == "added":
            # Along the table, so that nothing is sorted.
            sql = f"SELECT position FROM papers ORDER BY position {way} LIMIT ? OFFSET ?"  # noqa: S608
        return [position for (position,) in self._rows(sql, [limit, offset])]

    def sharing(self, values: Sequence[int]) -> dict[int, list[Record]]:
        """Return the records of papers that may have some keys, by the digest of the key."""
        sql = (
            "SELECT value, position, id, fields, spans, first_row FROM keys "
            "JOIN papers USING (position) WHERE value IN (SELECT value FROM json_each(?)) "
            "ORDER BY position"
        )
        found: dict[int, list[Record]] = {}
        for value, *row in self._chosen(sql, values):
            found.setdefault(value, []).append(_record(*row))
        return found

    def differing(self) -> list[str]:
        """Return the ids of records whose id or fingerprint is not that of their paper."""
        return [key for key, _, _ in self._differing()]

    def _differing(self) -> Iterator[tuple[str, int, Paper]]:
        last = -1
        sql = (
            "SELECT position, id, fingerprint, fields FROM papers WHERE position > ? "
            "ORDER BY position LIMIT ?"
        )
        while rows := self._rows(sql, [last, _ROWS_PER_QUERY]):
            last = rows[-1][0]
            for position, key, fingerprint, fields in rows:
                paper = paper_from_json(fields)
                if (key, fingerprint) != (paper.id, paper.fingerprint):
                    yield key, position, paper

    def fingerprints(self, first: int, stop: int) -> dict[int, tuple[str, str]]:
        """Return (id, fingerprint) of the papers at positions from ``first`` to before ``stop``."""
        sql = "SELECT position, id, fingerprint FROM papers WHERE position >= ? AND position < ?"
        return {position: (key, value) for position, key, value in self._rows(sql, [first, stop])}

    def ids(self, containing: str = "") -> Iterator[str]:
        """Yield the ids that contain a text, in any case, in order of their first ingest."""
        sql = "SELECT id FROM papers WHERE instr(lower(id), lower(?)) ORDER BY position LIMIT ?"
        return (key for (key,) in self._rows(sql, [containing, _MOST_IDS]))

    def pending(self) -> dict[str, dict[int, int]]:
        """Return the half-written papers by id: the most chunks that each part may hold of them."""
        found: dict[str, dict[int, int]] = {}
        for key, part, chunks in self._rows("SELECT id, part, chunks FROM pending"):
            found.setdefault(key, {})[part] = chunks
        return found

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

    def damage(self) -> str | None:
        """Return what SQLite finds wrong with the file; None if nothing."""
        (found,) = self._rows("PRAGMA quick_check(1)")[0]
        return None if found == "ok" else str(found)

    # --- writing -----------------------------------------------------------------------------

    def begin(self, marks: Iterable[tuple[str, int, int]], positions: int) -> None:
        """Mark papers as half-written.

        Args:
            marks: (id, part, the most chunks that the part may hold of the paper).
            positions: Number of positions that are given now.
        """
        with self._transaction() as cursor:
            cursor.execute("INSERT OR REPLACE INTO state VALUES ('ingesting', 1)")
            cursor.execute("UPDATE state SET value = ? WHERE name = 'positions'", [positions])
            cursor.executemany(
                "INSERT INTO pending VALUES (?, ?, ?) "
                "ON CONFLICT (id, part) DO UPDATE SET chunks = max(chunks, excluded.chunks)",
                marks,
            )

    def finish(self, records: Sequence[Record] = (), removed_ids: Iterable[str] = ()) -> None:
        """Write the records of papers that all indexes hold, remove others, unmark both."""
        with self._transaction() as cursor:
            for record in records:
                paper = record.paper
                _remove_keys(cursor, paper.id)
                cursor.execute(
                    "INSERT INTO papers (position, id, fingerprint, fields, spans, first_row) "
                    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                    "fingerprint = excluded.fingerprint, fields = excluded.fields, "
                    "spans = excluded.spans, first_row = excluded.first_row",
                    (
                        record.position, paper.id, paper.fingerprint, paper_to_json(paper),
                        json.dumps(record.spans), record.first_row,
                    ),
                )  # fmt: skip
                cursor.execute("DELETE FROM pending WHERE id = ?", (paper.id,))
                _add_keys(cursor, record)
                cursor.execute(
                    "UPDATE state SET value = max(value, ?) WHERE name = 'rows'",
                    [record.first_row + len(record.spans)],
                )
            for key in removed_ids:
                _remove_keys(cursor, key)
                cursor.execute("DELETE FROM papers WHERE id = ?", (key,))
                cursor.execute("DELETE FROM pending WHERE id = ?", (key,))

    def complete_keys(self) -> None:
        """Make the keys of all papers, if another version of the program made them."""
        if self._state("keys") == _KEYS_VERSION:
            return
        with self._transaction() as cursor:
            cursor.execute("DELETE FROM keys")
            for record in self.all():
                _add_keys(cursor, record)
            cursor.execute("UPDATE state SET value = ? WHERE name = 'keys'", [_KEYS_VERSION])

    def mend(self) -> int:
        """Give all records the id and the fingerprint of their papers; return how many differed."""
        differing = list(self._differing())
        with self._transaction() as cursor:
            for _, position, paper in differing:
                cursor.execute(
                    "UPDATE papers SET id = ?, fingerprint = ? WHERE position = ?",
                    [paper.id, paper.fingerprint, position],
                )
        return len(differing)

    def end(self) -> None:
        """Record that an ingest has come to its end."""
        with self._transaction() as cursor:
            cursor.execute("DELETE FROM state WHERE name = 'ingesting'")

    # --- what one ingest has seen ------------------------------------------------------------

    def see(self, ids: Sequence[str]) -> set[str]:
        """Note ids that were read, and return those that were not before; on disk, for millions."""
        new = "INSERT OR IGNORE INTO temp.seen VALUES (?, 1)"
        kept = "UPDATE temp.seen SET was_read = 1 WHERE id = ? AND was_read = 0"
        with self._transaction() as cursor:
            return {
                key
                for key in ids
                if cursor.execute(new, [key]).rowcount or cursor.execute(kept, [key]).rowcount
            }

    def keep(self, paper_id: str) -> None:
        """Note a paper that was read under another id."""
        with self._transaction() as cursor:
            cursor.execute("INSERT OR IGNORE INTO temp.seen VALUES (?, 0)", [paper_id])

    def has_seen(self, paper_id: str) -> bool:
        """Tell whether a paper was noted, under whatever id it was read."""
        return bool(self._rows("SELECT 1 FROM temp.seen WHERE id = ?", [paper_id]))

    def kept(self) -> int:
        """Return the number of papers that were read under other ids alone."""
        return int(self._rows("SELECT count(*) FROM temp.seen WHERE NOT was_read")[0][0])

    def forget_seen(self) -> None:
        """Begin to note ids."""
        with self._transaction() as cursor:
            cursor.execute(
                "CREATE TEMP TABLE IF NOT EXISTS seen "
                "(id TEXT PRIMARY KEY, was_read INTEGER NOT NULL) WITHOUT ROWID"
            )
            cursor.execute("DELETE FROM temp.seen")

    def unseen(self, most: int) -> list[str]:
        """Return at most so many ids of papers that have not been noted."""
        sql = (
            "SELECT id FROM papers WHERE id NOT IN (SELECT id FROM temp.seen) "
            "ORDER BY position LIMIT ?"
        )
        return [key for (key,) in self._rows(sql, [most])]

    # --- SQLite ------------------------------------------------------------------------------

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._translated():
            return self._connection.execute(sql, parameters).fetchall()

    def _chosen(self, sql: str, keys: Sequence[Any]) -> Iterator[Any]:
        for start in range(0, len(keys), _ROWS_PER_QUERY):
            yield from self._rows(sql, [json.dumps(list(keys[start : start + _ROWS_PER_QUERY]))])

    def _state(self, name: str) -> int:
        return int(self._rows("SELECT value FROM state WHERE name = ?", [name])[0][0])

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
                raise _damaged(self._path, error) from error


def former_papers(path: Path) -> Iterator[Paper]:
    """Yield the papers of a file of records of any format so far, in order of ingest.

    Raises:
        IndexDamagedError: If it cannot be read.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as former:
            for (fields,) in former.execute("SELECT fields FROM papers ORDER BY position"):
                yield paper_from_json(fields)
    except sqlite3.Error as error:
        raise _damaged(path, error) from error


def close_journal(path: Path) -> None:
    """Make a file of records one file, without a journal beside it, so that it can be moved.

    Raises:
        IndexDamagedError: If it is not a file of records.
    """
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
            connection.execute("SELECT fields FROM papers LIMIT 1").fetchall()
    except sqlite3.Error as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: sqlite3.Error) -> IndexDamagedError:
    folder = path.parent
    reason = f"{path} cannot be used ({error})"
    return IndexDamagedError(reason, path=folder, hint=rebuild_hint(folder))


def paper_from_json(fields: str) -> Paper:
    """Return the paper that a text stands for."""
    values = json.loads(fields)
    values["authors"] = tuple(values["authors"])
    return Paper(**values)


def _add_keys(cursor: sqlite3.Cursor, record: Record) -> None:
    values = [(key_digest(key.value), record.position) for key in keys(record.paper)]
    cursor.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?)", values)


def _remove_keys(cursor: sqlite3.Cursor, paper_id: str) -> None:
    sql = "SELECT position, fields FROM papers WHERE id = ?"
    for position, fields in cursor.execute(sql, [paper_id]).fetchall():
        values = [(key_digest(key.value), position) for key in keys(paper_from_json(fields))]
        cursor.executemany("DELETE FROM keys WHERE value = ? AND position = ?", values)


def paper_to_json(paper: Paper) -> str:
    """Return a paper as a text that ``paper_from_json`` reads."""
    return json.dumps(dataclasses.asdict(paper), ensure_ascii=False, default=str)


def _record(position: int, _id: str, fields: str, spans: str, first_row: int) -> Record:
    offsets = tuple((start, end) for start, end in json.loads(spans))
    return Record(paper_from_json(fields), offsets, position, first_row)
