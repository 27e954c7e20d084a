"""Vectors that workers compute ahead of the writer, so that many can be at it at once.

The papers pass through in their order, each when its vectors are there; the writer then finds them
known. Whatever was foreseen wrongly it computes itself, so an index is the same with and without.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from vectorstore.chunking import chunk_paper
from vectorstore.index.writing import (
    PAPERS_PER_BATCH,
    PAPERS_PER_EMBEDDING,
    embedded_text,
    text_version,
)
from vectorstore.store import Store
from vectorstore.types import Embedder, Paper, Workers

Vectors = list[NDArray[np.float32]]
"""Of each paper the vectors of its chunks, shape (chunks, dimension)."""

EmbeddingWorkers = Workers[tuple[list[Paper], list[Paper]], Sequence[Paper], Vectors]


def vectors_of(embedder: Embedder, papers: Sequence[Paper]) -> Vectors:
    """Compute what the writer would compute of some papers.

    Raises:
        EmbeddingError: If the embedding model cannot be used.
    """
    chunks = [[embedded_text(paper, chunk) for chunk in chunk_paper(paper)] for paper in papers]
    vectors = embedder.embed([text for texts in chunks for text in texts])
    ends = np.cumsum([len(texts) for texts in chunks])
    return np.split(vectors, ends[:-1]) if papers else []


class EmbeddedAhead:
    """The papers of one ingest, and their vectors.

    ``store.ingest(ahead.papers(papers), vectors=ahead.known)``
    """

    def __init__(self, store: Store, workers: EmbeddingWorkers) -> None:
        """Prepare; nothing is computed yet.

        Args:
            store: Knows which papers need no new vectors.
            workers: Do what ``vectors_of`` does. Papers are passed on in the order in which these
                give them back.
        """
        self._store = store
        self._workers = workers
        self._vectors: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    def papers(self, papers: Iterable[Paper]) -> Iterator[Paper]:
        """Yield the same papers; the vectors of each are known when it comes."""
        with closing(self._workers(self._tasks(iter(papers)))) as embedded:
            for (some, lacking), vectors in embedded:
                for paper, own in zip(lacking, vectors, strict=True):
                    self._vectors[text_version(paper)] = own
                yield from some
                # The writer takes so many papers before it asks for their vectors.
                while len(self._vectors) > 2 * PAPERS_PER_BATCH:
                    self._vectors.popitem(last=False)

    def _tasks(
        self, papers: Iterator[Paper]
    ) -> Iterator[tuple[tuple[list[Paper], list[Paper]], list[Paper]]]:
        """Group papers as the writer does; of those that lack vectors only the text travels."""
        while batch := list(islice(papers, PAPERS_PER_BATCH)):
            sought = {paper.id for paper in self._store.lacking_vectors(batch)}
            some: list[Paper] = []
            lacking: list[Paper] = []
            for paper in batch:
                some.append(paper)
                if paper.id in sought:
                    lacking.append(paper)
                if len(lacking) == PAPERS_PER_EMBEDDING or paper is batch[-1]:
                    texts = [Paper(each.id, each.title, each.abstract) for each in lacking]
                    yield (some, lacking), texts
                    some, lacking = [], []

    def known(self, paper: Paper) -> NDArray[np.float32] | None:
        """Return the vectors of a paper's chunks, shape (chunks, dimension), if they are there."""
        return self._vectors.get(text_version(paper))
