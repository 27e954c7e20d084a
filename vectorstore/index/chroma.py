"""The vectors of chunks in Chroma, as computed: what the codes to search are made of.

A large index is kept as parts, each a Chroma folder of its own, of
which one is open at a time: what a write costs in memory and time does not grow with the index.
Only who holds the index's writer lock may open a part, since two processes that write into one
folder lose vectors.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from vectorstore.errors import IndexDamagedError
from vectorstore.index.manifest import repair_hint
from vectorstore.types import Chunk

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.collection_configuration import CreateCollectionConfiguration
    from chromadb.api.models.Collection import Collection

COLLECTION = "chunks"
DISTANCE: Final = "cosine"
ROWS_PER_PART = 100_000
"""A paper lies in the part of its first row: number of the row divided by this."""

# Chroma refuses more than 5,461 records in one call.
_RECORDS_PER_CALL = 5_000
# The graph is for other programs that open the folder; a better one takes longer to build.
_GRAPH: CreateCollectionConfiguration = {"hnsw": {"space": DISTANCE, "ef_construction": 40}}

# Every opening gets a system of its own, see _alias.
_openings = count()


@dataclass(frozen=True, slots=True)
class Vectors:
    """Chunks as a part holds them."""

    ids: tuple[str, ...]
    versions: tuple[str, ...]
    """Of the text that each vector was made of."""
    vectors: NDArray[np.float32]
    """Shape (len(ids), dimension)."""


class VectorParts(Protocol):
    """Vectors as computed, in numbered parts."""

    def upsert(
        self,
        part: int,
        chunks: Sequence[Chunk],
        versions: Sequence[str],
        vectors: NDArray[np.float32],
    ) -> None:
        """Add chunks, in place of those with the same ids."""

    def delete(self, part: int, chunk_ids: Sequence[str]) -> None:
        """Remove chunks; ids that are not there are ignored."""

    def get(self, part: int, chunk_ids: Sequence[str]) -> Vectors:
        """Return chunks in the order of their ids; those that are not there are left out."""

    def ids(self, part: int) -> Iterator[str]:
        """Yield the ids of all chunks of a part."""

    def numbers(self) -> list[int]:
        """Return the numbers of the parts that there are."""

    def drop(self, part: int) -> None:
        """Remove a part, readable or not."""

    def close(self) -> None:
        """Let go of what is open."""


class ChromaParts:
    """Folders of vectors below one folder. To be used by one thread of one process."""

    def __init__(self, folder: Path) -> None:
        """Remember the folder; parts are opened when they are used."""
        self._folder = folder
        self._client: ClientAPI | None = None
        self._open = -1

    def upsert(
        self,
        part: int,
        chunks: Sequence[Chunk],
        versions: Sequence[str],
        vectors: NDArray[np.float32],
    ) -> None:
        """Add chunks, in place of those with the same ids.

        Args:
            part: Number of the part.
            chunks: What to store.
            versions: Of the text that each vector was made of.
            vectors: Shape (len(chunks), dimension), float32, rows of norm 1.
        """
        with self._translated(part):
            collection = self._collection(part)
            for start in range(0, len(chunks), _RECORDS_PER_CALL):
                some = slice(start, start + _RECORDS_PER_CALL)
                # The text is in the records; a second copy with its own index would double both
                # the space and the time to write.
                collection.upsert(
                    ids=[chunk.id for chunk in chunks[some]],
                    embeddings=vectors[some],
                    metadatas=[
                        chunk_metadata(chunk, version)
                        for chunk, version in zip(chunks[some], versions[some], strict=True)
                    ],
                )

    def delete(self, part: int, chunk_ids: Sequence[str]) -> None:
        """Remove chunks; ids that are not there are ignored."""
        if not chunk_ids or not self._path(part).is_dir():
            return
        with self._translated(part):
            collection = self._collection(part)
            for start in range(0, len(chunk_ids), _RECORDS_PER_CALL):
                collection.delete(ids=list(chunk_ids[start : start + _RECORDS_PER_CALL]))

    def get(self, part: int, chunk_ids: Sequence[str]) -> Vectors:
        """Return chunks in the order of their ids; those that are not there are left out."""
        if not self._path(part).is_dir():
            return _vectors([], [], [])
        found: dict[str, tuple[str, Any]] = {}
        with self._translated(part):
            collection = self._collection(part)
            for start in range(0, len(chunk_ids), _RECORDS_PER_CALL):
                ids = list(chunk_ids[start : start + _RECORDS_PER_CALL])
                page = collection.get(ids=ids, include=["embeddings", "metadatas"])
                vectors = page["embeddings"] if page["embeddings"] is not None else []
                rows = zip(page["ids"], page["metadatas"] or [], vectors, strict=True)
                found.update((key, (str(values["version"]), row)) for key, values, row in rows)
        there = [(each, *found[each]) for each in chunk_ids if each in found]
        return _vectors(
            [each[0] for each in there], [each[1] for each in there], [each[2] for each in there]
        )

    def ids(self, part: int) -> Iterator[str]:
        """Yield the ids of all chunks of a part."""
        if not self._path(part).is_dir():
            return
        offset = 0
        while True:
            with self._translated(part):
                page = self._collection(part).get(
                    limit=_RECORDS_PER_CALL, offset=offset, include=[]
                )
            yield from page["ids"]
            if len(page["ids"]) < _RECORDS_PER_CALL:
                return
            offset += _RECORDS_PER_CALL

    def numbers(self) -> list[int]:
        """Return the numbers of the parts that there are."""
        if not self._folder.is_dir():
            return []
        return sorted(int(each.name) for each in self._folder.iterdir() if each.name.isdecimal())

    def close(self) -> None:
        """Let go of the files."""
        if self._client is not None:
            self._client.close()  # type: ignore[attr-defined]  # not in the interface class
            self._client, self._open = None, -1

    def drop(self, part: int) -> None:
        """Remove a part, readable or not."""
        self.close()
        shutil.rmtree(self._path(part), ignore_errors=True)

    def _path(self, part: int) -> Path:
        return self._folder / f"{part:05}"

    def _collection(self, part: int) -> Collection:
        import chromadb
        from chromadb.config import Settings

        if self._client is None or self._open != part:
            self.close()
            path = self._path(part)
            path.mkdir(parents=True, exist_ok=True)
            self._client = chromadb.PersistentClient(
                _alias(path, next(_openings)),
                # A file `.env` of the working folder, which Chroma would read, is not ours.
                settings=Settings(_env_file=None, anonymized_telemetry=False),
            )
            self._open = part
        return self._client.get_or_create_collection(
            COLLECTION, embedding_function=None, configuration=_GRAPH
        )

    @contextmanager
    def _translated(self, part: int) -> Iterator[None]:
        """Turn what Chroma raises about its files into the error for the user."""
        from chromadb.errors import ChromaError

        try:
            yield
        except (ChromaError, ValueError, OSError, RuntimeError, KeyError, TypeError) as error:
            folder = self._folder.parent
            reason = f"the vectors in {self._path(part)} cannot be used ({error})"
            raise IndexDamagedError(reason, path=folder, hint=repair_hint(folder)) from error


def part_of(first_row: int) -> int:
    """Return the number of the part that a paper lies in."""
    return first_row // ROWS_PER_PART


def _alias(folder: Path, number: int) -> str:
    """Spell a path in a way that no other number gives.

    Chroma shares one system, with its view of the files, among all clients of a path as spelt.
    """
    return str(folder.resolve()) + "".join("/." if bit == "1" else "//" for bit in f"{number:b}")


def chunk_metadata(chunk: Chunk, version: str) -> dict[str, Any]:
    """Return what Chroma holds of a chunk beside its vector."""
    return {
        "paper_id": chunk.paper_id,
        "position": chunk.position,
        "start": chunk.start,
        "end": chunk.end,
        "version": version,
    }


def _vectors(ids: Sequence[str], versions: Sequence[str], rows: Sequence[Any]) -> Vectors:
    vectors = np.asarray(rows, np.float32) if len(rows) else np.empty((0, 0), np.float32)
    return Vectors(tuple(ids), tuple(versions), vectors)
