"""Conversations that survive the program: kept in one SQLite file of our own, or in memory alone.

A turn is kept whole, as JSON, so that it looks tomorrow as it did today, whatever has become of its
papers since. Thread-safe. Knows nothing of pages and of how a question is answered.
"""

from __future__ import annotations

import functools
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from assistant.errors import ConversationsError
from assistant.streaming.turn import Turn

if TYPE_CHECKING:
    from pydantic import TypeAdapter

VERSION = 2
MOST_TITLE_CHARS = 120
Rating = Literal["good", "bad"]

_SCHEMA = """
CREATE TABLE conversations (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, title TEXT NOT NULL, changed REAL NOT NULL,
    collection TEXT NOT NULL DEFAULT ''
);
CREATE INDEX by_owner ON conversations (owner, changed);
CREATE TABLE turns (
    conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    number INTEGER NOT NULL, words TEXT NOT NULL, turn TEXT NOT NULL,
    rating TEXT, reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (conversation, number)
);
"""
_ADDED_IN_2 = "ALTER TABLE conversations ADD COLUMN collection TEXT NOT NULL DEFAULT ''"


@dataclass(frozen=True, slots=True)
class Kept:
    """A conversation in a list."""

    id: str
    title: str
    changed: float
    """Seconds since the epoch."""
    turns: int
    collection: str = ""
    """Where it was asked; empty if that is not known."""


@dataclass(frozen=True, slots=True)
class Rated:
    """A turn that somebody has judged."""

    conversation: str
    turn: Turn
    earlier: tuple[str, ...]
    """The questions before it, oldest first."""
    rating: Rating
    reason: str


def new_id() -> str:
    """A name for a conversation that nobody can guess."""
    return secrets.token_urlsafe(12)


class Conversations:
    """All conversations; each belongs to an owner, and nobody else can reach it.

    Args:
        path: The file, made when it is missing; None keeps everything in memory.

    Raises:
        ConversationsError: The file cannot be opened, or a newer program wrote it.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._complaining():
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(mode=0o600, exist_ok=True)
            self._database = sqlite3.connect(
                path or ":memory:", check_same_thread=False, isolation_level=None, timeout=10
            )
            self._database.execute("PRAGMA foreign_keys = ON")
            self._database.execute("PRAGMA secure_delete = ON")  # what is deleted is gone
            self._make_tables()

    def _make_tables(self) -> None:
        with self._changing() as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    database.execute(statement)
            elif version == 1:
                database.execute(_ADDED_IN_2)
            elif version != VERSION:
                raise sqlite3.DatabaseError(f"it has version {version}, not {VERSION}")
            database.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    # Writing

    def keep(self, conversation: str, turn: Turn, *, owner: str = "", collection: str = "") -> None:
        """Add a turn to a conversation, which begins with its first turn, or replace it."""
        words = " ".join((turn.question, turn.answer.text if turn.answer else ""))
        with self._changing() as database:
            title = " ".join(turn.question.split())[:MOST_TITLE_CHARS]
            database.execute(
                "INSERT INTO conversations VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET changed = excluded.changed",
                (conversation, owner, title, time.time(), collection),
            )
            database.execute(
                "INSERT INTO turns (conversation, number, words, turn)"
                " SELECT ?, ?, ?, ? FROM conversations WHERE id = ? AND owner = ?"
                " ON CONFLICT DO UPDATE SET words = excluded.words, turn = excluded.turn,"
                " rating = NULL, reason = ''",
                (conversation, turn.number, words.casefold(), _to_json(turn), conversation, owner),
            )

    def rename(self, conversation: str, title: str, *, owner: str = "") -> None:
        """Give a conversation another title; a blank one changes nothing."""
        title = " ".join(title.split())[:MOST_TITLE_CHARS]
        if title:
            with self._changing() as database:
                database.execute(
                    "UPDATE conversations SET title = ? WHERE id = ? AND owner = ?",
                    (title, conversation, owner),
                )

    def delete(self, conversation: str, *, owner: str = "") -> None:
        """Forget a conversation."""
        with self._changing() as database:
            database.execute(
                "DELETE FROM conversations WHERE id = ? AND owner = ?", (conversation, owner)
            )

    def delete_all(self, *, owner: str = "") -> int:
        """Forget every conversation of an owner; returns how many there were."""
        with self._changing() as database:
            deleted = database.execute("DELETE FROM conversations WHERE owner = ?", (owner,))
            return deleted.rowcount

    def rate(
        self, conversation: str, number: int, rating: Rating | None, reason: str, *, owner: str = ""
    ) -> None:
        """Note what somebody thinks of a turn; None takes it back."""
        with self._changing() as database:
            database.execute(
                "UPDATE turns SET rating = ?, reason = ? WHERE conversation ="
                " (SELECT id FROM conversations WHERE id = ? AND owner = ?) AND number = ?",
                (rating, reason, conversation, owner, number),
            )

    # Reading

    def turns(self, conversation: str, *, owner: str = "") -> tuple[Turn, ...]:
        """The turns of a conversation, oldest first; none if there is no such conversation."""
        rows = self._read(
            "SELECT turn FROM turns JOIN conversations ON id = conversation"
            " WHERE id = ? AND owner = ? ORDER BY number",
            (conversation, owner),
        )
        return tuple(_from_json(text) for (text,) in rows)

    def turn(self, conversation: str, number: int, *, owner: str = "") -> Turn | None:
        """One turn; None if it is not there."""
        rows = self._read(
            "SELECT turn FROM turns JOIN conversations ON id = conversation"
            " WHERE id = ? AND owner = ? AND number = ?",
            (conversation, owner, number),
        )
        return next((_from_json(text) for (text,) in rows), None)

    def ratings(self, conversation: str, *, owner: str = "") -> dict[int, Rating]:
        """What somebody thinks of the turns of a conversation, by their numbers."""
        rows = self._read(
            "SELECT number, rating FROM turns JOIN conversations ON id = conversation"
            " WHERE id = ? AND owner = ? AND rating IS NOT NULL",
            (conversation, owner),
        )
        return dict(rows)

    def title(self, conversation: str, *, owner: str = "") -> str:
        """What a conversation is called; empty if it is not there."""
        rows = self._read(
            "SELECT title FROM conversations WHERE id = ? AND owner = ?", (conversation, owner)
        )
        return next((str(title) for (title,) in rows), "")

    def collection(self, conversation: str, *, owner: str = "") -> str:
        """Where a conversation was asked; empty if that is not known, or it is not there."""
        rows = self._read(
            "SELECT collection FROM conversations WHERE id = ? AND owner = ?", (conversation, owner)
        )
        return next((str(name) for (name,) in rows), "")

    def list(self, words: str = "", *, owner: str = "", most: int = 200) -> tuple[Kept, ...]:
        """Conversations, the one that was changed last first.

        Args:
            words: Each must occur in the title, a question or an answer; case does not matter.
            owner: Whose.
            most: Most conversations to return.
        """
        wanted = [f"%{_escaped(word)}%" for word in words.casefold().split()[:10]]
        rows = self._read(
            "SELECT id, title, changed, (SELECT count(*) FROM turns WHERE conversation = id),"
            " collection FROM conversations WHERE owner = ?"
            " AND NOT EXISTS (SELECT 1 FROM json_each(?) AS word"
            " WHERE NOT (title LIKE word.value ESCAPE '!' OR EXISTS (SELECT 1 FROM turns"
            " WHERE conversation = conversations.id AND words LIKE word.value ESCAPE '!')))"
            " ORDER BY changed DESC LIMIT ?",
            (owner, json.dumps(wanted), most),
        )
        return tuple(Kept(*row) for row in rows)

    def rated(self, rating: Rating, *, owner: str = "") -> tuple[Rated, ...]:
        """The turns that were judged like this, oldest first."""
        rows = self._read(
            "SELECT conversation, turn, reason FROM turns JOIN conversations ON id = conversation"
            " WHERE owner = ? AND rating = ? ORDER BY changed, number",
            (owner, rating),
        )
        found = []
        for conversation, text, reason in rows:
            turn = _from_json(text)
            asked = self.turns(conversation, owner=owner)
            earlier = tuple(each.question for each in asked if each.number < turn.number)
            found.append(Rated(conversation, turn, earlier, rating, reason))
        return tuple(found)

    def _read(self, statement: str, values: tuple[Any, ...]) -> Any:
        with self._lock, self._complaining():
            return self._database.execute(statement, values).fetchall()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._complaining():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextmanager
    def _complaining(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ConversationsError(
                f"cannot be used: {error}",
                path=str(self.path or "memory"),
                hint="move the file away, or set ASSISTANT_KEEP_CONVERSATIONS=false",
            ) from error


def _escaped(word: str) -> str:
    return word.replace("!", "!!").replace("%", "!%").replace("_", "!_")


@functools.cache
def _adapter() -> TypeAdapter[Turn]:
    from pydantic import TypeAdapter

    return TypeAdapter(Turn)


def _to_json(turn: Turn) -> str:
    # Read-only mappings are unknown to pydantic, and harmless.
    return _adapter().dump_json(turn, fallback=_plain, warnings=False).decode()


def _from_json(text: str) -> Turn:
    return _adapter().validate_json(text)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
