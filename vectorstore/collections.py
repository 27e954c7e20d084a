"""Named collections: which folder a name stands for, what is in it, and its end.

A collection is an index in a folder of its own; every one lies below one folder, but for those that
are placed elsewhere. Knows nothing of what an index or an archive holds.
"""

from __future__ import annotations

import difflib
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from vectorstore.errors import CollectionError, CollectionNameError, IndexLockedError, StoreError
from vectorstore.index.folder import IndexFolder
from vectorstore.index.manifest import Manifest

logger = logging.getLogger(__name__)

MAX_NAME_CHARS = 64

# One case only, for many file systems know no other; no dots, for Windows strips them at the end
# and takes "nul.x" for a device.
_NAME = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{MAX_NAME_CHARS - 1}}}")
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])")
_LISTING = "assistant collections list"


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What can be told of a collection without opening its index."""

    name: str
    path: Path
    bytes: int
    written: datetime | None
    """When papers were last taken in or removed, in UTC."""
    papers: int | None = None
    """At the end of the last ingest."""
    embedder: str | None = None
    dimension: int | None = None
    problem: str | None = None
    """Why nothing more is known of it."""


class Collections:
    """The collections below a folder."""

    def __init__(self, root: Path, placed: Mapping[str, Path] | None = None) -> None:
        """Remember where collections lie; nothing is read or made yet.

        Args:
            root: Folder of the collections, each in a folder of its own name.
            placed: Folders of those that lie elsewhere, by name.
        """
        self._root = root
        self._placed = dict(placed or {})

    def folder(self, name: str) -> Path:
        """Return the folder of a collection, whether it is there or not.

        Raises:
            CollectionNameError: If the name is none.
        """
        return self._placed.get(name) or self._root / checked_name(name)

    def names(self) -> list[str]:
        """Return the names of the collections that there are, in order."""
        below = self._root.iterdir() if self._root.is_dir() else ()
        found = [each.name for each in below if each.is_dir() and _is_name(each.name)]
        placed = [name for name, folder in self._placed.items() if folder.is_dir()]
        return sorted({*found, *placed})

    def require(self, name: str) -> Path:
        """Return the folder of a collection that is there.

        Raises:
            CollectionError: If it is not there; the hint names the closest one.
        """
        folder = self.folder(name)
        _restore(folder)
        if not folder.is_dir():
            near = difflib.get_close_matches(name, self.names(), n=1)
            reason = f'there is no collection "{name}"'
            make = f"assistant ingest PAPERS --collection {name}"
            hint = f"did you mean {near[0]}? all: {_LISTING}" if near else f"{_LISTING}, or {make}"
            raise CollectionError(reason, name=name, hint=hint)
        return folder

    def all(self) -> Iterator[CollectionInfo]:
        """Yield what there is, in order of the names; one that is damaged has a problem."""
        below = self._root.glob(".*.old") if self._root.is_dir() else ()
        for folder in (*self._placed.values(), *map(_target_of, below)):
            _restore(folder)
        for name in self.names():
            yield self.info(name)

    def info(self, name: str) -> CollectionInfo:
        """Return what can be told of a collection.

        Raises:
            CollectionError: If it is not there.
        """
        folder = self.require(name)
        index = IndexFolder(folder)
        size, written = _bytes_below(folder), _last_written(index)
        try:
            index.require()
            manifest = Manifest.read(folder)
        except StoreError as error:
            return CollectionInfo(name, folder, size, written, problem=str(error))
        return CollectionInfo(
            name, folder, size, written, manifest.papers, manifest.embedder, manifest.dimension
        )

    def remove(self, name: str) -> None:
        """Remove a collection, with whatever lies in its folder.

        Raises:
            CollectionError: If it is not there.
            IndexLockedError: If another process is writing it.
        """
        folder = self.require(name)
        index = IndexFolder(folder)
        with index.writing():
            # The manifest goes first: what a kill leaves behind is then no index.
            index.manifest.unlink(missing_ok=True)
        shutil.rmtree(folder)
        _sweep(folder)

    @contextmanager
    def placing(self, name: str, *, replace: bool = False) -> Iterator[Path]:
        """Make a collection aside, and put it in its place when the block has ended well.

        A kill at any moment leaves the collection that was there, or the new one.

        Args:
            name: Of the collection.
            replace: Put it in the place of one that is there.

        Yields:
            A folder that is not there yet, to put the index into.

        Raises:
            CollectionError: If there is one of this name, and it is not to be replaced.
            IndexLockedError: If another process is writing it, or is placing one of this name.
        """
        folder = self.folder(name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _restore(folder)
        with _alone(folder):
            self._refuse(name, folder, replace=replace)
            _sweep(folder)
            staging = _beside(folder, "new")
            try:
                yield staging
                self._refuse(name, folder, replace=replace)
                _put(staging, folder)
            finally:
                _sweep(folder)

    def _refuse(self, name: str, folder: Path, *, replace: bool) -> None:
        if folder.exists() and not replace:
            reason = f'there is a collection "{name}" already'
            hint = "import it under another name with --as NAME, or in its place with --replace"
            raise CollectionError(reason, name=name, hint=hint)


def checked_name(name: str) -> str:
    """Return a name that can be that of a folder on every file system.

    Raises:
        CollectionNameError: If it cannot; the hint has one that can.
    """
    if _is_name(name):
        return name
    near = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-_")[:MAX_NAME_CHARS]
    rule = "a name has small letters a-z, digits, - and _, and begins with a letter or digit"
    hint = f'for example "{near}"' if _is_name(near) else 'for example "my-papers"'
    reason = f'"{name}" cannot be the name of a collection: {rule}, {MAX_NAME_CHARS} at most'
    raise CollectionNameError(reason, name=name, hint=hint)


def _is_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and not _DEVICES.fullmatch(name)


def _bytes_below(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_size if path.is_file() else 0
        except OSError:  # removed just now
            continue
    return size


def _last_written(index: IndexFolder) -> datetime | None:
    # The records have the last word; Chroma's own files change when somebody reads.
    log = index.records.with_name(f"{index.records.name}-wal")
    files = (path for path in (index.manifest, index.records, log) if path.is_file())
    times = [stat.st_mtime for stat in map(Path.stat, files) if stat.st_size]
    return datetime.fromtimestamp(max(times), UTC) if times else None


# --- beside a collection -------------------------------------------------------------------------
# ".NAME.new" is being made, ".NAME.old" makes room for it, ".NAME.lock" is held meanwhile.


def _beside(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.{kind}")


def _target_of(old: Path) -> Path:
    return old.with_name(old.name.removeprefix(".").removesuffix(".old"))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    lock = FileLock(_beside(folder, "lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        reason = f"another process is making a collection in {folder}"
        raise IndexLockedError(reason, path=folder, hint="wait until it is done") from error
    try:
        yield
    finally:
        lock.release()


def _put(staging: Path, folder: Path) -> None:
    if folder.exists():
        # Refuses while another process writes. Nothing of it may be open where it is moved.
        with IndexFolder(folder).writing():
            pass
        folder.rename(_beside(folder, "old"))
    staging.rename(folder)


def _restore(folder: Path) -> None:
    """Put back what had made room when a process was killed."""
    old = _beside(folder, "old")
    if not old.is_dir() or folder.exists():
        return
    try:
        with _alone(folder):
            if not folder.exists():
                logger.info("%s is put back after an interrupted import", folder)
                old.rename(folder)
    except IndexLockedError:  # it is about to be there
        pass


def _sweep(folder: Path) -> None:
    for kind in ("new", "old"):
        left = _beside(folder, kind)
        if left.exists():
            shutil.rmtree(left)
