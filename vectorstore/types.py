"""The vocabulary of the store: papers, chunks, passages; what an embedder and workers promise.

Knows nothing of files, indexes or language models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Paper:
    """One record of a collection; citations point into its abstract, which is kept as it came."""

    id: str
    title: str
    abstract: str
    authors: tuple[str, ...] = ()
    year: int | None = None
    url: str | None = None
    venue: str | None = None
    code_url: str | None = None
    video_url: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all fields; two papers with the same fingerprint are the same record."""
        canonical = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Chunk:
    """An exact span of an abstract: ``paper.abstract[start:end] == text``."""

    id: str
    paper_id: str
    position: int
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A retrieved paper with its best chunk. There is one passage per paper in a result."""

    paper: Paper
    chunk: Chunk
    rank: int
    """From 1."""
    score: float
    """Fused, unitless; orders one result and says nothing about absolute relevance."""
    similarity: float | None
    """Cosine of question and chunk in [-1, 1]; None if only the lexical index found the paper."""
    bm25: float | None = None
    """Lexical score of the whole paper, from 0 on; None if only the dense index found the paper."""
    dense_rank: int | None = None
    """Place among the papers by similarity, from 1."""
    lexical_rank: int | None = None
    """Place among the papers by BM25, from 1."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What one ingest did, in papers."""

    added: int
    updated: int
    unchanged: int
    removed: int
    chunks: int
    seconds: float
    edited: int = 0
    """Of those above, papers that kept fields which were edited by hand."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What an ingest would do, in papers."""

    added: int
    updated: int
    unchanged: int
    removed: int
    """With pruning."""
    edited: int = 0
    """Of those above, papers that would keep fields which were edited by hand."""


class Embedder(Protocol):
    """Text to unit vectors."""

    @property
    def name(self) -> str:
        """Identifies the vectors: two embedders with one name are interchangeable."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return an array of shape (len(texts), dimension); every row has norm 1."""


Kept = TypeVar("Kept")
Sent_contra = TypeVar("Sent_contra", contravariant=True)
Made_co = TypeVar("Made_co", covariant=True)


class Workers(Protocol[Kept, Sent_contra, Made_co]):
    """Where work is done: in this thread, or in other processes and on other machines."""

    def __call__(
        self, work: Iterable[tuple[Kept, Sent_contra]]
    ) -> Generator[tuple[Kept, Made_co], None, None]:
        """Do all of the work; closing what is returned stops it.

        Args:
            work: Pairs of what stays here and what a worker is given; read in the calling thread,
                and only a bounded number of pairs ahead of what has come back.

        Yields:
            What stayed here, with what a worker has made of the other.
        """
