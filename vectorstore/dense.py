"""Nearest chunks by cosine. Only importer of ``chromadb``.

Sees chunks with their vectors; knows nothing of the model that made them. Chroma is given vectors
only, so that it never looks for an embedding function of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from vectorstore.errors import IndexDamagedError
from vectorstore.manifest import rebuild_hint
from vectorstore.types import Chunk

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.collection_configuration import CreateCollectionConfiguration

logger = logging.getLogger(__name__)

COLLECTION = "chunks"
DISTANCE: Final = "cosine"

# Chroma refuses more than 5,461 records in one call.
_RECORDS_PER_CALL = 5_000
# Recall of the graph search against exact search: .99 at 200 to 400 (100,000 vectors).
_SEARCH_BREADTH = 300


@dataclass(frozen=True, slots=True)
class ChunkHit:
    """A chunk near the question: ``similarity`` is the cosine, in [-1, 1]."""

    paper_id: str
    position: int
    similarity: float


# Every opening gets a system of its own, see _alias.
_openings = count()


class DenseIndex:
    """A Chroma collection in a folder, as it was when opened, and with what is written through it.

    One process may write. Others see its writes only after they open the folder anew, and opening
    it in the midst of a write fails (or crashes the process, in Chroma 1.5), hence a lock around
    opening, writing and closing; searches need none.
    """

    def __init__(self, folder: Path, client: ClientAPI, lock: FileLock) -> None:
        """Wrap an open client; use ``open``."""
        self._folder = folder
        self._client = client
        self._lock = lock
        # Settings count only when the collection is made; later ones are ignored.
        configuration: CreateCollectionConfiguration = {
            "hnsw": {"space": DISTANCE, "ef_search": _SEARCH_BREADTH}
        }
        self._collection = client.get_or_create_collection(
            COLLECTION,
            embedding_function=None,
            configuration=configuration,
        )

    @classmethod
    def open(cls, folder: Path) -> DenseIndex:
        """Open the collection in the folder, making it if there is none.

        Raises:
            IndexDamagedError: If Chroma cannot open the folder.
        """
        import chromadb
        from chromadb.config import Settings

        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{folder}.lock")
        with lock, _translated(folder):
            client = chromadb.PersistentClient(
                _alias(folder, next(_openings)), settings=Settings(anonymized_telemetry=False)
            )
            index = cls(folder, client, lock)
            index._load()
        return index

    def _load(self) -> None:
        """Search once: Chroma reads its files at the first search, and that needs the lock."""
        some = self._collection.get(limit=1, include=["embeddings"])
        vectors = some["embeddings"]
        if vectors is not None and len(vectors):
            self._collection.query(query_embeddings=vectors, n_results=1, include=["distances"])

    def upsert(
        self, chunks: Sequence[Chunk], titles: Sequence[str], vectors: NDArray[np.float32]
    ) -> None:
        """Add chunks, in place of those with the same ids.

        Args:
            chunks: What to store.
            titles: The title of each chunk's paper.
            vectors: Shape (len(chunks), dimension), float32, rows of norm 1.
        """
        with self._lock, _translated(self._folder):
            for start in range(0, len(chunks), _RECORDS_PER_CALL):
                part = slice(start, start + _RECORDS_PER_CALL)
                self._collection.upsert(
                    ids=[chunk.id for chunk in chunks[part]],
                    embeddings=vectors[part],
                    documents=[chunk.text for chunk in chunks[part]],
                    metadatas=[
                        _metadata(chunk, title)
                        for chunk, title in zip(chunks[part], titles[part], strict=True)
                    ],
                )

    def delete(self, chunk_ids: Sequence[str]) -> None:
        """Remove chunks; ids that are not there are ignored."""
        with self._lock, _translated(self._folder):
            for start in range(0, len(chunk_ids), _RECORDS_PER_CALL):
                self._collection.delete(ids=list(chunk_ids[start : start + _RECORDS_PER_CALL]))

    def search(self, vector: NDArray[np.float32], limit: int) -> list[ChunkHit]:
        """Rank chunks by cosine.

        Args:
            vector: Shape (dimension,), float32, norm 1.
            limit: Most chunks to return; several may be of one paper.

        Returns:
            Hits, best first.
        """
        with _translated(self._folder):
            found = self._collection.query(
                query_embeddings=vector[None, :],
                n_results=limit,
                include=["distances"],
            )
        ids, distances = found["ids"][0], (found["distances"] or [[]])[0]
        return [_hit(key, distance) for key, distance in zip(ids, distances, strict=True)]

    def vectors(self, chunk_ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return the vectors of chunks by id; ids that are not there are left out."""
        found: dict[str, NDArray[np.float32]] = {}
        for start in range(0, len(chunk_ids), _RECORDS_PER_CALL):
            part = list(chunk_ids[start : start + _RECORDS_PER_CALL])
            with _translated(self._folder):
                page = self._collection.get(ids=part, include=["embeddings"])
            vectors = np.asarray(page["embeddings"], dtype=np.float32)
            found.update(zip(page["ids"], vectors, strict=True))
        return found

    def ids(self) -> Iterator[str]:
        """Yield the ids of all chunks in the index."""
        offset = 0
        while True:
            with _translated(self._folder):
                page = self._collection.get(limit=_RECORDS_PER_CALL, offset=offset, include=[])
            yield from page["ids"]
            if len(page["ids"]) < _RECORDS_PER_CALL:
                return
            offset += _RECORDS_PER_CALL

    def __len__(self) -> int:
        """Return the number of chunks in the index."""
        with _translated(self._folder):
            return int(self._collection.count())

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            self._client.close()  # type: ignore[attr-defined]  # not in the interface class


def _alias(folder: Path, number: int) -> str:
    """Spell a path in a way that no other number gives.

    Chroma shares one system, with its view of the files, among all clients of a path as spelt.
    """
    return str(folder.resolve()) + "".join("/." if bit == "1" else "//" for bit in f"{number:b}")


def _metadata(chunk: Chunk, title: str) -> dict[str, Any]:
    return {
        "paper_id": chunk.paper_id,
        "title": title,
        "position": chunk.position,
        "start": chunk.start,
        "end": chunk.end,
    }


def _hit(chunk_id: str, distance: float) -> ChunkHit:
    paper_id, _, position = chunk_id.rpartition(":")
    return ChunkHit(paper_id, int(position), max(-1.0, min(1.0, 1.0 - float(distance))))


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    """Turn what Chroma raises about its files into the error for the user."""
    from chromadb.errors import ChromaError

    try:
        yield
    except (ChromaError, ValueError, OSError, RuntimeError) as error:
        reason = f"the vector index in {folder} cannot be used ({error})"
        hint = rebuild_hint(folder.parent)
        raise IndexDamagedError(reason, path=folder.parent, hint=hint) from error
