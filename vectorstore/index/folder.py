"""The folder of an index: what lies where, whose it is, and who is writing.

Knows names and locks; nothing of what the files hold.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from vectorstore.errors import IndexDamagedError, IndexLockedError, IndexMissingError
from vectorstore.index.manifest import MANIFEST_NAME, rebuild_hint, repair_hint

# Long enough to outlast is_being_written, which holds the lock for an instant.
_LOCK_SECONDS = 1.0
_BOOKKEEPING = frozenset({"writer.lock", "writer.pid", f"{MANIFEST_NAME}.tmp"})


@dataclass(frozen=True, slots=True)
class IndexFolder:
    """Paths of the parts of an index, and its writer lock."""

    path: Path

    @property
    def manifest(self) -> Path:
        """What the index was built with."""
        return self.path / MANIFEST_NAME

    @property
    def records(self) -> Path:
        """SQLite file of the papers themselves."""
        return self.path / "papers.sqlite3"

    @property
    def former_records(self) -> Path:
        """Where the records are while the index is built anew from them."""
        return self.path / "papers.former.sqlite3"

    @property
    def chroma(self) -> Path:
        """Folder of the vectors as computed."""
        return self.path / "chroma"

    @property
    def codes(self) -> Path:
        """Folder of what is searched of the vectors."""
        return self.path / "codes"

    @property
    def lexical(self) -> Path:
        """Folder of the inverted index."""
        return self.path / "lexical"

    def require(self) -> None:
        """Refuse a folder without an index, or with half of one.

        Raises:
            IndexMissingError: If there is nothing.
            IndexDamagedError: If there is something else, or a part is gone.
        """
        names = self._names()
        if not names:
            reason = f"there is no index in {self.path}"
            raise IndexMissingError(reason, path=self.path, hint=ingest_hint(self.path))
        if MANIFEST_NAME not in names:
            raise self._incomplete() if names & self._parts() else self._foreign()
        if self.former_records.exists():
            raise self._incomplete()
        if not self.records.is_file():
            reason = f"the index in {self.path} has lost its records ({self.records.name})"
            raise IndexDamagedError(reason, path=self.path, hint=rebuild_hint(self.path))

    def prepare(self, *, cleared: bool = False) -> bool:
        """Make the folder ready for an index.

        Args:
            cleared: An index has just been removed from it, or set aside; other files may stay.

        Returns:
            True if it holds one already.

        Raises:
            IndexDamagedError: If it holds something else, or half an index.
        """
        if self.path.exists() and not self.path.is_dir():
            raise self._foreign()
        if self.path.is_dir() and not can_write(self.path):
            raise self._unwritable("permission denied")
        names = self._names()
        if self.former_records.exists() and not cleared:
            raise self._incomplete()
        if MANIFEST_NAME in names:
            return True
        if names & self._parts() - {self.former_records.name}:
            raise self._incomplete()
        if names and not cleared:
            raise self._foreign()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error.strerror) from error
        return False

    def clear(self) -> None:
        """Remove the index, and nothing that is not part of it.

        Raises:
            IndexDamagedError: If the folder holds something else.
            IndexLockedError: If another process is writing the index.
        """
        if self.path.exists() and not self.path.is_dir():
            raise self._foreign()
        names = self._names()
        if names and not names & (self._parts() | {MANIFEST_NAME}):
            raise self._foreign()
        if not names:
            return
        with self.writing():
            self.empty()

    def empty(self) -> None:
        """Remove the index. To be used by who holds the writer lock."""
        # The manifest goes first: what a kill leaves behind is then no index.
        (self.path / MANIFEST_NAME).unlink(missing_ok=True)
        for name in self._parts():
            _remove(self.path / name)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the exclusive right to write; readers are not kept out.

        Raises:
            IndexLockedError: If another process (or thread) has it; names its process id.
        """
        lock = FileLock(self.path / "writer.lock")
        holder = self.path / "writer.pid"
        try:
            lock.acquire(timeout=_LOCK_SECONDS)
        except Timeout as error:
            raise self._locked(holder) from error
        except OSError as error:
            raise self._unwritable(error.strerror) from error
        try:
            holder.write_text(str(os.getpid()), encoding="ascii")
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def set_records_aside(self) -> None:
        """Remove all parts but the records, which become the former records."""
        for name in self._parts() - {self.records.name, self.former_records.name}:
            _remove(self.path / name)
        (self.path / MANIFEST_NAME).unlink(missing_ok=True)
        self.records.replace(self.former_records)

    def remove_lexical(self) -> None:
        """Remove the inverted index, whatever is there in its place."""
        _remove(self.lexical)

    def is_being_written(self) -> bool:
        """Tell whether a live process holds the writer lock."""
        lock = FileLock(self.path / "writer.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        except OSError:  # a folder that cannot be written
            return False
        lock.release()
        return False

    def _names(self) -> set[str]:
        if not self.path.is_dir():
            return {self.path.name} if self.path.exists() else set()
        return {entry.name for entry in self.path.iterdir()} - _BOOKKEEPING

    def _parts(self) -> set[str]:
        database = self.records.name
        return {
            self.chroma.name,
            self.codes.name,
            f"{self.chroma.name}.lock",
            self.lexical.name,
            database,
            self.former_records.name,
            f"{database}-wal",
            f"{database}-shm",
        }

    def _foreign(self) -> IndexDamagedError:
        reason = f"{self.path} holds something that is not an index; it is left as it is"
        hint = "assistant ingest PAPERS --index ANOTHER_FOLDER"
        return IndexDamagedError(reason, path=self.path, hint=hint)

    def _incomplete(self) -> IndexDamagedError:
        reason = f"the index in {self.path} is incomplete"
        return IndexDamagedError(reason, path=self.path, hint=repair_hint(self.path))

    def _unwritable(self, why: str | None) -> IndexDamagedError:
        reason = (
            f"the index in {self.path} cannot be written ({(why or 'no reason given').lower()})"
        )
        hint = "check the permissions of the folder, or name another one with --index"
        return IndexDamagedError(reason, path=self.path, hint=hint)

    def _locked(self, holder: Path) -> IndexLockedError:
        try:
            who = f"process {int(holder.read_text(encoding='ascii'))}"
        except (OSError, ValueError):
            who = "another process"
        reason = f"{who} is writing the index in {self.path}"
        return IndexLockedError(reason, path=self.path, hint="wait until it is done, and try again")


def can_write(folder: Path) -> bool:
    """Tell whether this process may make files in a folder."""
    return os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def ingest_hint(path: Path) -> str:
    """Return the command that makes or completes the index of a folder."""
    return f"assistant ingest PAPERS --index {shlex.quote(str(path))}"
