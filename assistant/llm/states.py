"""KV states of papers, in memory and on disk, so that each paper is read by the model once.

A state is opaque bytes under a name. The folder's name carries everything that a state depends on
(model, build, cache layout, prefix), the file's name what was read; a state that is found is
therefore the right one, and one that is damaged is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

_DIGEST_BYTES = 32
# One byte is appended for each hit or miss, so that processes count together without a lock.
_HITS, _MISSES = ".hits", ".misses"


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The states of one model, build and prefix."""

    path: Path
    papers: int
    bytes: int
    hits: int
    """Papers that were wanted and did not have to be read, since the folder was made."""
    misses: int
    used: float
    """When a state was last written or used, in seconds since the epoch; 0 if there is none."""


class StateCache:
    """A dictionary of states that forgets the least recently used.

    Args:
        folder: Where states are kept; None keeps them in memory alone.
        disk_bytes: Most that the folder's parent (the states of all models) may hold.
        memory_bytes: Most that is kept in memory.
    """

    def __init__(self, folder: Path | None, *, disk_bytes: int, memory_bytes: int) -> None:
        self._folder = folder if disk_bytes > 0 else None
        self._disk_bytes = disk_bytes
        self._memory_bytes = memory_bytes
        self._memory: OrderedDict[str, bytes] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._memory or (
            self._folder is not None and (self._folder / name).is_file()
        )

    @property
    def is_full(self) -> bool:
        """Whether a further state would soon push out another."""
        if self._folder is None:
            return sum(map(len, self._memory.values())) > 0.9 * self._memory_bytes
        held = sum(stat.st_size for stat, _ in _state_files(self._folder.parent))
        return held > 0.9 * self._disk_bytes

    def get(self, name: str) -> bytes | None:
        """The state, or None if it was never kept, is gone, or is damaged."""
        state = self._memory.get(name) or self._read(name)
        if state is None:
            self._count(_MISSES)
            return None
        self._remember(name, state)
        self.touch(name)
        return state

    def touch(self, name: str) -> None:
        """Note that a state was of use, from here or from where its user still has it."""
        if name in self._memory:
            self._memory.move_to_end(name)
        if self._folder is not None:
            with contextlib.suppress(OSError):
                os.utime(self._folder / name)  # the order of eviction
            self._count(_HITS)

    def put(self, name: str, state: bytes) -> None:
        """Keep a state. A full disk or a read-only folder costs speed, nothing else."""
        self._remember(name, state)
        if self._folder is None:
            return
        try:
            self._write(self._folder, name, state)
            self._evict(self._folder.parent)
        except OSError as error:
            logger.warning("a paper state could not be kept in %s: %s", self._folder, error)

    def drop(self, name: str) -> None:
        """Forget a state that turned out to be of no use."""
        self._memory.pop(name, None)
        if self._folder is not None:
            with contextlib.suppress(OSError):
                (self._folder / name).unlink()

    def _remember(self, name: str, state: bytes) -> None:
        self._memory[name] = state
        self._memory.move_to_end(name)
        while len(self._memory) > 1 and sum(map(len, self._memory.values())) > self._memory_bytes:
            self._memory.popitem(last=False)

    def _count(self, what: str) -> None:
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                with (self._folder / what).open("ab") as file:
                    file.write(b".")

    def _read(self, name: str) -> bytes | None:
        if self._folder is None:
            return None
        path = self._folder / name
        try:
            data = path.read_bytes()
        except OSError:
            return None
        digest, state = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if _digest(state) != digest:
            logger.warning("a damaged paper state is read again: %s", path)
            self.drop(name)
            return None
        return state

    @staticmethod
    def _write(folder: Path, name: str, state: bytes) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_digest(state))
                file.write(state)
            Path(temporary).replace(folder / name)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise

    def _evict(self, root: Path) -> None:
        files = _state_files(root)
        excess = sum(stat.st_size for stat, _ in files) - self._disk_bytes
        for stat, path in sorted(files, key=lambda pair: pair[0].st_mtime):
            if excess <= 0:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                excess -= stat.st_size


def _state_files(root: Path) -> list[tuple[os.stat_result, Path]]:
    """All states under a folder. What another process removes meanwhile is left out."""
    found = []
    for path in root.glob("*/[!.]*"):
        with contextlib.suppress(OSError):
            found.append((path.stat(), path))
    return found


def state_folders(root: Path) -> list[StateFolder]:
    """What is kept under a folder, the model used last first."""
    folders = []
    for path in root.glob("*/"):
        kept = [(stat, file) for stat, file in _state_files(root) if file.parent == path]
        folders.append(
            StateFolder(
                path=path,
                papers=len(kept),
                bytes=sum(stat.st_size for stat, _ in kept),
                hits=_size(path / _HITS),
                misses=_size(path / _MISSES),
                used=max((stat.st_mtime for stat, _ in kept), default=0.0),
            )
        )
    return sorted(folders, key=lambda folder: -folder.used)


def clear_states(root: Path) -> int:
    """Remove all states under a folder; returns the bytes that this freed.

    Only what this module writes is removed. A process that is at work reads its papers again.
    """
    freed = 0
    for stat, path in _state_files(root):
        path.unlink(missing_ok=True)
        freed += stat.st_size
    for folder in root.glob("*/"):
        for left_over in (*folder.glob(".tmp*"), folder / _HITS, folder / _MISSES):
            left_over.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # holds what is not ours
            folder.rmdir()
    return freed


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _digest(state: bytes) -> bytes:
    return hashlib.blake2b(state, digest_size=_DIGEST_BYTES).digest()


def state_name(*parts: str | bytes) -> str:
    """A file name for what the parts say."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
