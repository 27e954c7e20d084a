"""Nearest chunks by scanning small codes of all vectors, without a graph.

Each row stands for a chunk: one bit for the sign of each dimension, one byte for its size, and the
number of the paper. The bits of all rows are compared with those of the question, and the bytes of
the nearest give the order. Nothing is loaded before a search and nothing is built: rows are added
at the end, and which rows still count is for the caller to say.

Reference:
    Charikar, "Similarity Estimation Techniques from Rounding Algorithms" (STOC 2002),
    doi:10.1145/509907.509965, for the signs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vectorstore.errors import IndexDamagedError
from vectorstore.index.manifest import repair_hint

# Signs are stored so that one dimension's words of many rows lie together: half the time to scan.
_ROWS_PER_BLOCK = 16_384
_EXACT_ROWS = 8_192
"""Up to so many rows are compared by their bytes at once; above, signs find the nearest first."""
# Of the 300 (30) nearest chunks, the bytes of so many rows hold .98 (1.0) at 25,000 real chunks and
# .95 (.98) at 5,000,000 made of them.
_RESCORED, _RESCORED_SHARE = 4_000, 1 / 1_000
_SAMPLED = 200_000
_ROUNDING = 1e-5
_WORD = np.dtype("<u8")
_OWNER = np.dtype("<u4")


class Row(NamedTuple):
    """A row near the question: ``similarity`` is the cosine, in [-1, 1]."""

    number: int
    owner: int
    similarity: float


class Codes:
    """Three files of rows in a folder. Safe to read from several threads; one process may write."""

    def __init__(self, folder: Path, dimension: int) -> None:
        """Remember the folder; it is made when something is written.

        Args:
            folder: Of the files.
            dimension: Length of a vector.
        """
        self._folder = folder
        self._dimension = dimension
        self._words = -(-dimension // 64)
        self._mapped: dict[str, tuple[tuple[int, ...], NDArray[Any]]] = {}
        """By name, a file as mapped and which file of which size that was."""

    # --- writing -----------------------------------------------------------------------------

    def write(self, first: int, vectors: NDArray[np.float32], owners: NDArray[np.uint32]) -> None:
        """Write rows, over those that are there.

        Args:
            first: Number of the first row; the rows before it are there already.
            vectors: Shape (rows, dimension), rows of norm 1.
            owners: Shape (rows,), the number of each row's paper.

        Raises:
            IndexDamagedError: If the files cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._translated():
            self._put("bytes", first * self._dimension, _sizes(vectors))
            self._put("owners", first * _OWNER.itemsize, owners.astype(_OWNER))
            signs = self._signs_of(vectors)
            for block, start, stop in _blocks(first, first + len(vectors)):
                part = signs[start - first : stop - first].T
                for word in range(self._words):
                    column = (block * self._words + word) * _ROWS_PER_BLOCK
                    at = column + start - block * _ROWS_PER_BLOCK
                    self._put("signs", at * _WORD.itemsize, part[word])
            self._fill_up(first + len(vectors))

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        with self._translated():
            for name in ("bytes", "owners", "signs"):
                with (self._folder / name).open("r+b") as file:
                    os.fsync(file.fileno())

    def _put(self, name: str, offset: int, values: NDArray[np.generic]) -> None:
        path = self._folder / name
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.seek(offset)
            file.write(np.ascontiguousarray(values).tobytes())

    def _fill_up(self, rows: int) -> None:
        """Lengthen the signs to whole blocks, as they are read; the gap takes no space."""
        path = self._folder / "signs"
        whole = -(-rows // _ROWS_PER_BLOCK) * _ROWS_PER_BLOCK * self._words * _WORD.itemsize
        if path.stat().st_size < whole:
            os.truncate(path, whole)

    # --- reading -----------------------------------------------------------------------------

    def search(
        self,
        vector: NDArray[np.float32],
        limit: int,
        rows: int,
        allowed: NDArray[np.bool_] | None = None,
    ) -> list[Row]:
        """Rank rows by cosine.

        Args:
            vector: Shape (dimension,), norm 1.
            limit: Most rows to return.
            rows: The rows that there are: those with smaller numbers.
            allowed: Shape (owners,); rows of other owners are left out.

        Returns:
            Rows, best first, among them some that no longer count.

        Raises:
            IndexDamagedError: If the files are missing or too short.
        """
        if not rows:
            return []
        with self._translated():
            owners = self._map("owners", _OWNER, (rows,))
            candidates = None if allowed is None else np.flatnonzero(_lookup(allowed, owners))
            wanted = max(limit, _RESCORED + int(rows * _RESCORED_SHARE))
            near = self._near(vector, wanted, rows, candidates)
            similarities = self._similarities(vector, near, rows)
            order = np.argsort(-similarities, kind="stable")[:limit]
            return [
                Row(int(near[each]), int(owners[near[each]]), float(similarities[each]))
                for each in order
            ]

    def require(self, rows: int) -> None:
        """Refuse files that are missing or too short for so many rows.

        Raises:
            IndexDamagedError: Says which.
        """
        if rows:
            with self._translated():
                self._signs(rows)
                self._map("bytes", np.dtype(np.int8), (rows, self._dimension))
                self._map("owners", _OWNER, (rows,))

    def vectors(self, numbers: NDArray[np.int64], rows: int) -> NDArray[np.float32]:
        """Return rows as unit vectors, shape (len(numbers), dimension), to one part in 300."""
        with self._translated():
            found = self._map("bytes", np.dtype(np.int8), (rows, self._dimension))[numbers]
        return _unit(found.astype(np.float32))

    def differing(
        self,
        numbers: NDArray[np.int64],
        vectors: NDArray[np.float32],
        owners: NDArray[np.integer],
    ) -> NDArray[np.int64]:
        """Return the places of the rows that do not stand for these vectors and owners.

        Where a number lies between two bytes, or at zero, it may be rounded either way: vectors
        come back from elsewhere with another last bit.

        Args:
            numbers: Shape (rows,).
            vectors: Shape (rows, dimension).
            owners: Shape (rows,).

        Raises:
            IndexDamagedError: If the files are missing or too short.
        """
        if not len(numbers):
            return np.empty(0, np.int64)
        rows = int(numbers.max()) + 1
        block, inside = np.divmod(numbers, _ROWS_PER_BLOCK)
        with self._translated():
            sizes = self._map("bytes", np.dtype(np.int8), (rows, self._dimension))[numbers]
            same = (np.abs(sizes - _scaled(vectors)) <= 0.5 + 127 * _ROUNDING).all(axis=1)
            signs = self._signs(rows)[block, :, inside]
            either = [self._signs_of(vectors + shift) for shift in (-_ROUNDING, _ROUNDING)]
            # Of the bits that do not depend on the last bit of a number, none may differ.
            same &= ((signs ^ either[0]) & ~(either[0] ^ either[1]) == 0).all(axis=1)
            same &= self._map("owners", _OWNER, (rows,))[numbers] == owners
        return np.flatnonzero(~same)

    def _near(
        self,
        vector: NDArray[np.float32],
        wanted: int,
        rows: int,
        candidates: NDArray[np.int64] | None,
    ) -> NDArray[np.int64]:
        """Return the rows to look at closely, in order of their numbers."""
        if candidates is None and rows <= _EXACT_ROWS:
            return np.arange(rows)
        if candidates is not None and len(candidates) <= _EXACT_ROWS:
            return candidates
        distances = self._distances(vector, rows)
        if candidates is not None:
            distances = distances[candidates]
        near = _smallest(distances, wanted)
        return near if candidates is None else candidates[near]

    def _distances(self, vector: NDArray[np.float32], rows: int) -> NDArray[np.uint16]:
        """Return the number of dimensions in which the signs differ, for each row."""
        question = self._signs_of(vector[None, :])[0][:, None]
        signs = self._signs(rows)
        distances = np.empty(rows, np.uint16)
        for block, start, stop in _blocks(0, rows):
            words = np.bitwise_count(signs[block, :, : stop - start] ^ question)
            np.sum(words, axis=0, dtype=np.uint16, out=distances[start:stop])
        return distances

    def _similarities(
        self, vector: NDArray[np.float32], numbers: NDArray[np.int64], rows: int
    ) -> NDArray[np.float32]:
        cosines: NDArray[np.float32] = self.vectors(numbers, rows) @ vector
        return np.clip(cosines, -1.0, 1.0)

    def _signs_of(self, vectors: NDArray[np.float32]) -> NDArray[np.uint64]:
        """Return shape (rows, words)."""
        padded = np.zeros((len(vectors), self._words * 64), np.bool_)
        padded[:, : self._dimension] = vectors > 0
        return np.packbits(padded, axis=1).view(_WORD)

    def _signs(self, rows: int) -> NDArray[np.uint64]:
        """Return shape (blocks, words, rows per block)."""
        blocks = -(-rows // _ROWS_PER_BLOCK)
        return self._map("signs", _WORD, (blocks, self._words, _ROWS_PER_BLOCK))

    def _map(self, name: str, kind: np.dtype[np.generic], shape: tuple[int, ...]) -> NDArray[Any]:
        """Return the head of a file; it stays mapped, since each page costs when it is new."""
        path = self._folder / name
        status = path.stat()
        now = (status.st_dev, status.st_ino, status.st_size)
        before, values = self._mapped.get(name, (None, None))
        if values is None or before != now:
            values = np.memmap(path, kind, "r")
            self._mapped[name] = now, values
        return values[: math.prod(shape)].reshape(shape)

    def close(self) -> None:
        """Let go of the files."""
        self._mapped.clear()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what goes wrong with the files into the error for the user."""
        try:
            yield
        except (OSError, ValueError) as error:
            reason = f"the vectors in {self._folder} cannot be used ({error})"
            index = self._folder.parent
            raise IndexDamagedError(reason, path=index, hint=repair_hint(index)) from error


def _blocks(first: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yield (block, first row, row after the last) of the parts of a range that lie in a block."""
    while first < stop:
        block = first // _ROWS_PER_BLOCK
        end = min(stop, (block + 1) * _ROWS_PER_BLOCK)
        yield block, first, end
        first = end


def _sizes(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return vectors as bytes."""
    return np.rint(_scaled(vectors)).astype(np.int8)


def _scaled(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors with the largest number of each as 127."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    scaled: NDArray[np.float32] = vectors * (127.0 / np.maximum(largest, 1e-12))
    return scaled


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = vectors / np.maximum(norms, 1e-12)
    return unit


def _lookup(allowed: NDArray[np.bool_], owners: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return for each row whether its owner is allowed; owners beyond the end are not."""
    found: NDArray[np.bool_] = np.append(allowed, False)[np.minimum(owners, len(allowed))]
    return found


def _smallest(distances: NDArray[np.uint16], wanted: int) -> NDArray[np.int64]:
    """Return about so many places with the smallest distances, never fewer than there are."""
    if len(distances) <= wanted:
        return np.arange(len(distances))
    sample = distances[:: max(1, len(distances) // _SAMPLED)]
    below = np.cumsum(np.bincount(sample)) * (len(distances) / len(sample))
    cut = int(np.searchsorted(below, wanted))
    while len(near := np.flatnonzero(distances <= cut)) < wanted:
        cut += 1
    return near
