"""Papers into all parts of an index, so that a kill at any moment can be mended.

Each write has three steps: the papers are marked as half-written, written to Chroma, the codes and
the lexical index, and recorded; the last step removes the marks. To be used by who holds the
writer lock.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from vectorstore.chunking import chunk_spans, chunks_from_spans
from vectorstore.index.arrivals import Arrivals
from vectorstore.index.chroma import part_of
from vectorstore.index.parts import Parts
from vectorstore.index.records import Entry, Record
from vectorstore.normalize import normalize
from vectorstore.types import Chunk, Embedder, Paper

logger = logging.getLogger(__name__)

PAPERS_PER_BATCH = 256
PAPERS_PER_EMBEDDING = 128
# What a kill may cost: papers are written at the latest when this much work has gathered.
_WRITE_SECONDS = 3.0

KnownVectors = Callable[[Paper], NDArray[np.float32] | None]
"""Vectors of a paper's chunks that need not be computed, shape (chunks, dimension)."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A paper ready to be written."""

    record: Record
    chunks: tuple[Chunk, ...]
    vectors: NDArray[np.float32] | None
    """Shape (len(chunks), dimension); None if those that are there still hold."""


class Writer:
    """Writes papers to an index."""

    def __init__(self, parts: Parts, embedder: Embedder) -> None:
        self._parts = parts
        self._embedder = embedder

    def ingest(
        self,
        papers: Iterable[Paper],
        arrivals: Arrivals,
        *,
        known: KnownVectors | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Add papers and update those that changed.

        Args:
            papers: Read as a stream; of papers with the same id the first one counts.
            arrivals: Tells which they are.
            known: Vectors to take instead of computing them.
            progress: Told after each step how many papers of the stream are done.

        Returns:
            The number of chunks written.
        """
        done = chunks = 0
        stream = iter(papers)
        while batch := list(islice(stream, PAPERS_PER_BATCH)):
            changed, replaced = arrivals.changed(batch)
            # Before the new ones come: after a kill between them, the next run adds these.
            self.remove(replaced)
            done += len(batch) - len(changed)
            for written, of_these in self.index(changed, known):
                chunks += of_these
                done += written
                if progress is not None:
                    progress(done)
            if progress is not None and not changed:
                progress(done)
        return chunks

    def index(
        self, papers: Sequence[Paper], known: KnownVectors | None = None
    ) -> Iterator[tuple[int, int]]:
        """Embed and write papers; yield (papers, chunks) after each write."""
        gathered: list[Prepared] = []
        since = time.monotonic()
        for start in range(0, len(papers), PAPERS_PER_EMBEDDING):
            gathered += self._prepare(papers[start : start + PAPERS_PER_EMBEDDING], known)
            if time.monotonic() - since >= _WRITE_SECONDS:
                yield self._write(gathered)
                gathered, since = [], time.monotonic()
        if gathered:
            yield self._write(gathered)

    def renew(self, papers: Sequence[Paper], known: KnownVectors | None = None) -> None:
        """Write the vectors of papers that are there, changed or not; compute what is unknown."""
        records = self._parts.records
        entries = records.entries([paper.id for paper in papers])
        records.begin(
            [(key, part_of(each.first_row), each.chunks) for key, each in entries.items()],
            records.positions,
        )
        for _ in self.index(papers, known):
            logger.info("wrote vectors anew")
        records.end()

    def complete(self) -> None:
        """Mend what an interrupted run left half-written."""
        records = self._parts.records
        left = list(records.pending())
        recorded = records.get(left)
        for _ in self.index([record.paper for record in recorded.values()]):
            logger.info("mended papers of an interrupted ingest")
        self.remove([key for key in left if key not in recorded])

    def prune(self) -> int:
        """Remove the papers that the last ingest has not seen; return how many there were."""
        removed = 0
        while ids := self._parts.records.unseen(PAPERS_PER_BATCH):
            self.remove(ids)
            removed += len(ids)
        return removed

    def remove(self, ids: Sequence[str]) -> None:
        """Remove papers; those that are not there leave nothing behind either."""
        for start in range(0, len(ids), PAPERS_PER_BATCH):
            some = ids[start : start + PAPERS_PER_BATCH]
            records = self._parts.records
            places = self._places(some, records.entries(some))
            records.begin(_marks(places), records.positions)
            self._delete_chunks(places, {})
            self._parts.lexical.replace([], removed_ids=some)
            records.finish(removed_ids=some)

    # --- one write ---------------------------------------------------------------------------

    def _prepare(self, papers: Sequence[Paper], known: KnownVectors | None) -> list[Prepared]:
        before = self._parts.records.get([paper.id for paper in papers])
        pending = self._parts.records.pending()
        prepared, texts = [], []
        for paper in papers:
            old = before.get(paper.id)
            if old is not None and paper.id not in pending and same_text(old.paper, paper):
                record = replace(old, paper=paper)
                chunks = chunks_from_spans(paper, record.spans)
                prepared.append(Prepared(record, chunks, None))
                continue
            record = Record(
                paper, chunk_spans(paper.abstract), -1 if old is None else old.position, -1
            )
            chunks = chunks_from_spans(paper, record.spans)
            vectors = known(paper) if known is not None else None
            if vectors is not None and len(vectors) != len(chunks):
                vectors = None
            if vectors is None:
                texts += [embedded_text(paper, chunk) for chunk in chunks]
                vectors = np.empty((0, self._embedder.dimension), np.float32)
            prepared.append(Prepared(record, chunks, vectors))
        return _with_vectors(prepared, self._embedder.embed(texts) if texts else None)

    def _write(self, items: Sequence[Prepared]) -> tuple[int, int]:
        records = self._parts.records
        placed, positions = _placed(items, records.rows, records.positions)
        ids = [item.record.paper.id for item in placed]
        moved = [item for item in placed if item.vectors is not None]
        moved_ids = [item.record.paper.id for item in moved]
        before = self._places(moved_ids, records.entries(moved_ids))
        now = {
            item.record.paper.id: (part_of(item.record.first_row), len(item.chunks))
            for item in moved
        }
        marks = [*_marks(before), *((key, *place) for key, place in now.items())]
        marks += [(key, 0, 0) for key in set(ids).difference(now)]
        records.begin(marks, positions)
        self._delete_chunks(before, now)
        self._write_vectors(moved)
        self._parts.lexical.replace([(item.record.position, item.record.paper) for item in placed])
        records.finish([item.record for item in placed])
        return len(placed), sum(len(item.chunks) for item in moved)

    def _write_vectors(self, items: Sequence[Prepared]) -> None:
        by_part: dict[int, list[Prepared]] = defaultdict(list)
        for item in items:
            by_part[part_of(item.record.first_row)].append(item)
        for part, some in by_part.items():
            vectors = np.concatenate([item.vectors for item in some if item.vectors is not None])
            versions = [text_version(item.record.paper) for item in some for _ in item.chunks]
            chunks = [chunk for item in some for chunk in item.chunks]
            self._parts.chroma.upsert(part, chunks, versions, vectors)
            counts = [len(item.chunks) for item in some]
            owners = np.repeat([item.record.position for item in some], counts)
            self._parts.codes.write(some[0].record.first_row, vectors, owners.astype(np.uint32))
        if items:
            self._parts.codes.sync()

    def _places(
        self, ids: Sequence[str], entries: Mapping[str, Entry]
    ) -> dict[str, dict[int, int]]:
        """Return the most chunks that each part may hold of each paper, by id and part."""
        pending = self._parts.records.pending()
        places: dict[str, dict[int, int]] = {}
        for key in ids:
            places[key] = dict(pending.get(key, {}))
            if key in entries:
                part, chunks = part_of(entries[key].first_row), entries[key].chunks
                places[key][part] = max(chunks, places[key].get(part, 0))
        return places

    def _delete_chunks(
        self, places: Mapping[str, Mapping[int, int]], kept: Mapping[str, tuple[int, int]]
    ) -> None:
        """Remove chunks from Chroma, but for (part, chunks) of those that are written anew."""
        gone: dict[int, list[str]] = defaultdict(list)
        for key, chunks_by_part in places.items():
            part_kept, chunks_kept = kept.get(key, (-1, 0))
            for part, chunks in chunks_by_part.items():
                first = chunks_kept if part == part_kept else 0
                gone[part] += [chunk_id(key, number) for number in range(first, chunks)]
        for part, ids in gone.items():
            self._parts.chroma.delete(part, ids)


def embedded_text(paper: Paper, chunk: Chunk) -> str:
    """Return what the vector of a chunk stands for: its text under the title of its paper."""
    return f"{normalize(paper.title)}\n{normalize(chunk.text)}"


def text_version(paper: Paper) -> str:
    """Return what changes when the vectors of a paper have to."""
    text = f"{paper.title}\n{paper.abstract}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def chunk_id(paper_id: str, number: int) -> str:
    """Return the id in Chroma of a chunk."""
    return f"{paper_id}:{number}"


def same_text(old: Paper, new: Paper) -> bool:
    """Tell whether two papers have the same vectors."""
    return (old.title, old.abstract) == (new.title, new.abstract)


def _with_vectors(
    prepared: Sequence[Prepared], vectors: NDArray[np.float32] | None
) -> list[Prepared]:
    """Hand the vectors out to the papers that have none, in order."""
    used = 0
    filled = []
    for item in prepared:
        if item.vectors is not None and not len(item.vectors) and vectors is not None:
            own = vectors[used : used + len(item.chunks)]
            used += len(own)
            filled.append(replace(item, vectors=own))
        else:
            filled.append(item)
    return filled


def _placed(items: Sequence[Prepared], rows: int, positions: int) -> tuple[list[Prepared], int]:
    """Give new papers their positions, and new vectors their rows, from the next free ones on."""
    placed = []
    for item in items:
        record = item.record
        if record.position < 0:
            record = replace(record, position=positions)
            positions += 1
        if item.vectors is not None:
            record = replace(record, first_row=rows)
            rows += len(item.chunks)
        placed.append(replace(item, record=record))
    return placed, positions


def _marks(places: Mapping[str, Mapping[int, int]]) -> list[tuple[str, int, int]]:
    return [
        (key, part, chunks)
        for key, chunks_by_part in places.items()
        for part, chunks in (chunks_by_part or {0: 0}).items()
    ]
