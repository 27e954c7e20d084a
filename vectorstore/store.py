"""``Store``: ingest papers, search them. The only module that knows all parts of an index.

Each part is told what to hold; the records say what it should hold. Papers go through three steps,
and a kill between any two is mended by the next ingest: marked as half-written, written to both
indexes, recorded.
"""

from __future__ import annotations

import difflib
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vectorstore.chunking import CHUNKING_VERSION, chunk_spans, chunks_from_spans
from vectorstore.dense import DISTANCE, ChunkHit, DenseIndex
from vectorstore.duplicates import IndexedDuplicate, Key, is_newer, key_digest, keys
from vectorstore.edits import edited, with_edits_of
from vectorstore.errors import IndexDamagedError, IndexMissingError, PaperNotFoundError
from vectorstore.folder import IndexFolder, ingest_hint
from vectorstore.fusion import POOL, fuse
from vectorstore.lexical import LexicalIndex
from vectorstore.manifest import FORMAT_VERSION, Manifest, rebuild_hint
from vectorstore.normalize import normalize
from vectorstore.records import Record, Records, Spans
from vectorstore.types import Chunk, Difference, Embedder, IngestReport, Paper, Passage

logger = logging.getLogger(__name__)

OnDuplicate = Callable[[IndexedDuplicate], None]

Vectors = Callable[[Paper], NDArray[np.float32] | None]
"""What tells the vectors of a paper's chunks, or that they are not known."""

_PAPERS_PER_BATCH = 256
_PAPERS_PER_EMBEDDING = 16
# What a kill may cost: papers are written at the latest when this much work has gathered.
_WRITE_SECONDS = 1.5
# While another process writes, the vectors are loaded anew at most this often.
_RELOAD_SECONDS = 5.0
# An abstract has about five chunks; so many hits make a pool of papers.
_CHUNK_HITS = 3 * POOL
_MAX_QUERY_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A paper ready to be written; ``vectors`` has shape (len(chunks), dimension), float32."""

    record: Record
    chunks: tuple[Chunk, ...]
    vectors: NDArray[np.float32]


class Store:
    """A searchable collection of papers in a folder.

    Searches may run in several threads. One process may write at a time; readers in other
    processes go on with what they have and see the new papers at one of their next searches.
    """

    def __init__(self, folder: IndexFolder, embedder: Embedder, records: Records) -> None:
        """Wrap an open index; use ``Store.open`` or ``Store.create``."""
        self._folder = folder
        self._embedder = embedder
        self._records = records
        self._lexical: LexicalIndex | None = None
        self._dense: DenseIndex | None = None
        self._dense_is_stale = False
        self._dense_opened = 0.0
        self._vectors_given: Vectors | None = None
        # Guards the two fields above and Chroma, which is not to be closed under a search.
        self._lock = threading.RLock()

    # --- opening -----------------------------------------------------------------------------

    @classmethod
    def open(cls, path: str | Path, embedder: Embedder) -> Store:
        """Open an index to search it.

        Args:
            path: Folder of the index.
            embedder: Of the same name as the one that the index was built with.

        Raises:
            IndexMissingError: If there is no index.
            IndexMismatchError: If it was built with another model, chunking or format.
            IndexDamagedError: If it is half-written, or the folder holds something else.
        """
        folder = IndexFolder(Path(path))
        folder.require()
        Manifest.read(folder.path).check(_manifest(embedder), folder.path)
        records = Records(folder.records)
        if (records.is_ingesting() or records.pending()) and not folder.is_being_written():
            records.close()
            reason = f"the last ingest into {folder.path} was interrupted; run it again"
            raise IndexDamagedError(reason, path=folder.path, hint=ingest_hint(folder.path))
        return cls(folder, embedder, records)

    @classmethod
    def create(cls, path: str | Path, embedder: Embedder, *, rebuild: bool = False) -> Store:
        """Open an index to ingest papers, making it if there is none.

        Args:
            path: Folder of the index; made if missing.
            embedder: Turns chunks into vectors.
            rebuild: Remove the index that is there first, papers included.

        Raises:
            IndexMismatchError: If it was built with another model, chunking or format.
            IndexDamagedError: If the folder holds something else; it is left as it is.
            IndexLockedError: If another process is writing the index.
        """
        folder = IndexFolder(Path(path))
        wanted = _manifest(embedder)
        if rebuild:
            folder.clear()
        if folder.prepare(cleared=rebuild):
            Manifest.read(folder.path).check(wanted, folder.path)
            return cls(folder, embedder, Records(folder.records, create=True))
        with folder.writing():
            wanted.write(folder.path)
            return cls(folder, embedder, Records(folder.records, create=True))

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            if self._dense is not None:
                self._dense.close()
            self._dense = self._lexical = None
            self._records.close()

    def __enter__(self) -> Self:
        """Return the store, to be closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the store."""
        self.close()

    # --- papers ------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """Folder of the index."""
        return self._folder.path

    def __len__(self) -> int:
        """Return the number of papers."""
        return len(self._records)

    def papers(self) -> Iterator[Paper]:
        """Yield all papers in order of their first ingest."""
        return (record.paper for record in self._records.all())

    def listed(
        self,
        order: str = "added",
        *,
        reverse: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> Iterator[Paper]:
        """Yield some papers in an order; no others are loaded.

        Args:
            order: "added", "title" or "year"; papers without a year come last.
            reverse: The other way round.
            limit: Most papers to yield; None for all.
            offset: So many are passed over.
        """
        ids = self._records.page(
            order, reverse=reverse, limit=-1 if limit is None else limit, offset=offset
        )
        for start in range(0, len(ids), _PAPERS_PER_BATCH):
            part = ids[start : start + _PAPERS_PER_BATCH]
            records = self._records.get(part)
            yield from (records[each].paper for each in part if each in records)

    def paper(self, paper_id: str) -> Paper:
        """Return the paper with an id.

        Raises:
            PaperNotFoundError: If there is none; the hint names the closest ids.
        """
        found = self._records.get([paper_id])
        if not found:
            raise self._not_found(paper_id)
        return found[paper_id].paper

    def known(self, ids: Iterable[str]) -> set[str]:
        """Return those of the ids that the index has a paper for."""
        return set(self._records.fingerprints(list(ids)))

    def _not_found(self, paper_id: str) -> PaperNotFoundError:
        ids = self._records.ids()
        wanted = paper_id.lower()
        close = [key for key in ids if wanted and wanted in key.lower()][:3]
        close = close or difflib.get_close_matches(paper_id, ids, n=3, cutoff=0.5)
        listing = "assistant papers list"
        hint = f"did you mean {' or '.join(close)}? all ids: {listing}" if close else listing
        return PaperNotFoundError(f'no paper has the id "{paper_id}"', paper_id=paper_id, hint=hint)

    # --- searching ---------------------------------------------------------------------------

    def search(self, query: str, top_k: int = 8) -> tuple[Passage, ...]:
        """Find the papers that are closest to a question, by words and by meaning.

        Args:
            query: Any text that is not blank.
            top_k: Most passages to return.

        Returns:
            Passages, best first, one per paper; empty if the index is.

        Raises:
            ValueError: If the query is blank or top_k is below 1.
            EmbeddingError: If the embedding model cannot be used.
            IndexDamagedError: If a part of the index cannot be read.
        """
        if not query.strip():
            raise ValueError("the query is blank")
        if top_k < 1:
            raise ValueError(f"top_k must be at least 1, not {top_k}")
        started = time.perf_counter()
        self._refresh()
        text = normalize(query[:_MAX_QUERY_CHARS])
        if not text or not len(self._records):
            return ()
        by_words = self._open_lexical().search(text, POOL)
        by_meaning = self._nearest(self._embedder.embed([text])[0])
        ranking = [(hit.paper_id, hit.similarity) for hit in by_meaning.values()]
        fused = fuse([by_words, ranking])
        passages = self._passages(text, fused, by_words, by_meaning, top_k)
        seconds = time.perf_counter() - started
        logger.info("retrieved %d of %d candidates in %.3f s", len(passages), len(fused), seconds)
        return passages

    def _nearest(self, vector: NDArray[np.float32]) -> dict[str, ChunkHit]:
        """Return the best chunk of each paper near a vector, best paper first."""
        with self._lock:
            hits = self._open_dense().search(vector, _CHUNK_HITS)
        best: dict[str, ChunkHit] = {}
        for hit in hits:
            best.setdefault(hit.paper_id, hit)
        return best

    def _passages(
        self,
        query: str,
        fused: Sequence[tuple[str, float]],
        by_words: Sequence[tuple[str, float]],
        by_meaning: dict[str, ChunkHit],
        top_k: int,
    ) -> tuple[Passage, ...]:
        # A paper without a record is being written or removed by another process just now.
        records = self._records.get([key for key, _ in fused[: 2 * top_k + 16]])
        known = ((key, score) for key, score in fused if key in records)
        lexical = {key: (rank, bm25) for rank, (key, bm25) in enumerate(by_words, start=1)}
        dense_ranks = {key: rank for rank, key in enumerate(by_meaning, start=1)}
        passages = []
        for rank, (key, score) in enumerate(islice(known, top_k), start=1):
            hit = by_meaning.get(key)
            chunks = chunks_from_spans(records[key].paper, records[key].spans)
            if hit is not None and hit.position < len(chunks):
                chunk = chunks[hit.position]
            else:
                chunk = self._chunk_by_words(query, chunks)
            similarity = None if hit is None else hit.similarity
            lexical_rank, bm25 = lexical.get(key, (None, None))
            passages.append(
                Passage(
                    records[key].paper, chunk, rank, score, similarity, bm25,
                    dense_ranks.get(key), lexical_rank,
                )
            )  # fmt: skip
        return tuple(passages)

    def _chunk_by_words(self, query: str, chunks: Sequence[Chunk]) -> Chunk:
        """Return the chunk that holds most of the query's words; the first of equals."""
        terms = self._open_lexical().terms
        wanted = set(terms(query))
        return max(chunks, key=lambda chunk: len(wanted.intersection(terms(chunk.text))))

    def words_shared(self, query: str, paper: Paper) -> tuple[str, ...]:
        """Return the words of a query, as they stand there, that a paper holds in some form."""
        terms = self._open_lexical().terms
        held = set(terms(f"{paper.title}\n{paper.abstract}"))
        words = dict.fromkeys(re.findall(r"[^\W_]+", query[:_MAX_QUERY_CHARS]))
        return tuple(word for word in words if held.intersection(terms(word)))

    def document_frequency(self, words: Iterable[str]) -> dict[str, int]:
        """Count the papers that hold each word, whatever its spelling, case or form.

        Args:
            words: One that consists of several ("zero-shot") counts where they stand together.

        Returns:
            The number of papers by word as given; 0 for words that no paper holds.
        """
        self._refresh()
        if not len(self._records):
            return dict.fromkeys(words, 0)
        return self._open_lexical().document_frequency(words)

    def holding(self, words: Iterable[str], limit: int = 100) -> tuple[tuple[Paper, ...], int]:
        """Find the papers whose title or abstract holds every one of the words, in any form.

        Args:
            words: As for ``document_frequency``.
            limit: Most papers to return, at least 1.

        Returns:
            The papers, those that are most about the words first, and how many there are in all.
        """
        self._refresh()
        if not len(self._records):
            return (), 0
        ids, count = self._open_lexical().holding(words, limit)
        records = self._records.get(ids)
        return tuple(records[each].paper for each in ids if each in records), count

    def sample(self, most: int) -> tuple[tuple[Paper, ...], NDArray[np.float32]]:
        """Return papers spread evenly over the collection, with the vector of their first chunk.

        Args:
            most: Most papers to return, at least 1.

        Returns:
            The papers in order of their first ingest, and an array of shape (papers, dimension).
        """
        self._refresh()
        ids = self._records.ids()
        ids = ids[:: -(-len(ids) // most)] if ids else []
        records = self._records.get(ids)
        chunk_ids = {each: _chunk_id(each, 0) for each in ids if each in records}
        with self._lock:
            vectors = self._open_dense().vectors(list(chunk_ids.values())) if chunk_ids else {}
        there = [each for each, chunk_id in chunk_ids.items() if chunk_id in vectors]
        rows = [vectors[chunk_ids[each]] for each in there]
        matrix = np.vstack(rows) if rows else np.empty((0, self._embedder.dimension), np.float32)
        return tuple(records[each].paper for each in there), matrix

    # --- carried elsewhere -------------------------------------------------------------------

    def exported(self) -> Iterator[tuple[Paper, Spans, NDArray[np.float32]]]:
        """Yield all there is: papers in order of ingest, the spans and vectors of their chunks.

        Nobody can write meanwhile, so that all of it is of one moment.

        Yields:
            A paper, (start, end) of each chunk in its abstract, and shape (chunks, dimension).

        Raises:
            IndexLockedError: If another process is writing the index.
            IndexDamagedError: If an ingest was interrupted, or vectors are missing.
        """
        with self._folder.writing():
            self._refresh(at_once=True)
            if self._records.is_ingesting() or self._records.pending():
                reason = f"the last ingest into {self.path} was interrupted; run it again"
                raise IndexDamagedError(reason, path=self.path, hint=ingest_hint(self.path))
            stream = self._records.all()
            while batch := list(islice(stream, _PAPERS_PER_BATCH)):
                vectors = self._vectors_of(batch)
                for record in batch:
                    if record.paper.id not in vectors:
                        reason = f"{record.paper.id} has lost vectors"
                        hint = rebuild_hint(self.path)
                        raise IndexDamagedError(reason, path=self.path, hint=hint)
                    yield record.paper, record.spans, vectors[record.paper.id]

    # --- ingest ------------------------------------------------------------------------------

    def ingest(
        self,
        papers: Iterable[Paper],
        *,
        prune: bool | Callable[[], bool] = False,
        progress: Callable[[int], None] | None = None,
        vectors: Vectors | None = None,
        keep_edits: bool = True,
        on_duplicate: OnDuplicate | None = None,
    ) -> IngestReport:
        """Add papers and update those that changed; the same papers again cost nothing.

        An ingest that was interrupted, even by a kill, is completed by running it again.

        Args:
            papers: Read as a stream; of papers with the same id the first one counts.
            prune: Remove the papers that the stream lacks, unless it is empty; a function is asked
                when the stream has ended.
            progress: Told after each step how many papers of the stream are done.
            vectors: The vectors of a paper's chunks where they are known, of shape (chunks,
                dimension) and norm 1; what is None is embedded.
            keep_edits: Leave the fields that were edited by hand as they are (see ``edits``).
            on_duplicate: Told of each paper that is in the index under another id (``duplicates``
                says when that is so); it is then not added, or takes the other's place. Without
                it, nobody looks.

        Returns:
            How many papers were added, updated, unchanged and removed.

        Raises:
            IndexLockedError: If another process is writing the index.
            EmbeddingError: If the embedding model cannot be used.
            IndexDamagedError: If a part of the index cannot be written.
        """
        started = time.perf_counter()
        with self._folder.writing():
            self._refresh(at_once=True)
            self._vectors_given = vectors
            self._records.complete_keys()
            arrivals = _Arrivals(self._records, keep_edits=keep_edits, on_duplicate=on_duplicate)
            try:
                self._ingest_all(papers, arrivals, progress)
            finally:
                self._vectors_given = None
            removed = self._complete(arrivals, prune=prune() if callable(prune) else prune)
            self._end()
        seconds = time.perf_counter() - started
        counts = arrivals.counts
        report = IngestReport(
            counts["added"], counts["updated"], counts["unchanged"], removed, counts["chunks"],
            seconds, counts["edited"],
        )  # fmt: skip
        logger.info("ingested: %s", report)
        return report

    @staticmethod
    def difference(
        path: str | Path,
        papers: Iterable[Paper],
        *,
        keep_edits: bool = True,
        on_duplicate: OnDuplicate | None = None,
    ) -> Difference:
        """Tell what an ingest would do, without a model and without writing anything.

        Args:
            path: Folder of the index; there may be none.
            papers: As for ``ingest``.
            keep_edits: As for ``ingest``.
            on_duplicate: As for ``ingest``.

        Returns:
            How many papers would be added, updated, left as they are, and removed with pruning.

        Raises:
            IndexDamagedError: If the folder holds something else, or half an index.
        """
        folder = IndexFolder(Path(path))
        try:
            folder.require()
        except IndexDamagedError:
            raise
        except IndexMissingError:
            return Difference(len({paper.id for paper in papers}), 0, 0, 0)
        Manifest.read(folder.path)
        with closing(Records(folder.records)) as records:
            arrivals = _Arrivals(records, keep_edits=keep_edits, on_duplicate=on_duplicate)
            stream = iter(papers)
            while batch := list(islice(stream, _PAPERS_PER_BATCH)):
                arrivals.changed(batch)
            counts = arrivals.counts
            staying = counts["updated"] + counts["unchanged"] + len(arrivals.kept - arrivals.seen)
            removed = len(records) - staying
        return Difference(
            counts["added"], counts["updated"], counts["unchanged"], removed, counts["edited"]
        )

    def edit(
        self, paper_id: str, changes: Mapping[str, str], removals: Collection[str] = ()
    ) -> Paper:
        """Change fields of a paper; see ``edits`` for what becomes of that at the next ingest.

        Args:
            paper_id: Of the paper.
            changes: New values by field, as typed.
            removals: Fields to remove.

        Returns:
            The paper as it is now.

        Raises:
            PaperNotFoundError: If there is no such paper.
            FieldError: If a paper cannot be so; nothing is changed then.
            IndexLockedError: If another process is writing the index.
        """
        paper = edited(self.paper(paper_id), changes, removals)
        self.ingest([paper], keep_edits=False)
        return paper

    def remove(self, ids: Iterable[str]) -> int:
        """Remove papers.

        Returns:
            The number of papers removed.

        Raises:
            PaperNotFoundError: If there is no such paper; then none is removed.
            IndexLockedError: If another process is writing the index.
        """
        wanted = list(dict.fromkeys(ids))
        with self._folder.writing():
            self._refresh(at_once=True)
            known = self._records.fingerprints(wanted)
            for key in wanted:
                if key not in known:
                    raise self._not_found(key)
            interrupted = self._records.is_ingesting()
            self._remove({key: known[key][1] for key in wanted})
            # A mark that was there before stands for papers still to come.
            if not interrupted:
                self._end()
        return len(wanted)

    def _ingest_all(
        self,
        papers: Iterable[Paper],
        arrivals: _Arrivals,
        progress: Callable[[int], None] | None,
    ) -> None:
        done = 0
        stream = iter(papers)
        while batch := list(islice(stream, _PAPERS_PER_BATCH)):
            changed, replaced = arrivals.changed(batch)
            if replaced:
                # Before the new ones come: after a kill between them, the next run adds these.
                self._remove(replaced)
            done += len(batch) - len(changed)
            for written, chunks in self._index(changed):
                arrivals.counts["chunks"] += chunks
                done += written
                if progress is not None:
                    progress(done)
            if progress is not None and not changed:
                progress(done)

    def _index(self, papers: Sequence[Paper]) -> Iterator[tuple[int, int]]:
        """Embed and write papers; yield (papers, chunks) after each write."""
        gathered: list[_Prepared] = []
        since = time.monotonic()
        for start in range(0, len(papers), _PAPERS_PER_EMBEDDING):
            gathered += self._prepare(papers[start : start + _PAPERS_PER_EMBEDDING])
            if time.monotonic() - since >= _WRITE_SECONDS:
                self._write(gathered)
                yield len(gathered), sum(len(item.chunks) for item in gathered)
                gathered, since = [], time.monotonic()
        if gathered:
            self._write(gathered)
            yield len(gathered), sum(len(item.chunks) for item in gathered)

    def _prepare(self, papers: Sequence[Paper]) -> list[_Prepared]:
        records = [Record(paper, chunk_spans(paper.abstract)) for paper in papers]
        chunks = [chunks_from_spans(record.paper, record.spans) for record in records]
        known = self._known_vectors(records)
        texts = [
            embedded_text(record.paper, chunk)
            for record, own in zip(records, chunks, strict=True)
            if record.paper.id not in known
            for chunk in own
        ]
        embedded = iter(self._embedder.embed(texts)) if texts else iter(())
        parts = [
            known[record.paper.id]
            if record.paper.id in known
            else np.stack([next(embedded) for _ in own])
            for record, own in zip(records, chunks, strict=True)
        ]
        return [_Prepared(*item) for item in zip(records, chunks, parts, strict=True)]

    def _known_vectors(self, records: Sequence[Record]) -> dict[str, NDArray[np.float32]]:
        """Return, by paper, vectors that need no embedding: given, or of the same text before."""
        before = self._records.get([record.paper.id for record in records])
        # Half-written papers may have vectors of another text.
        half_written = self._records.pending() if before else {}
        same = [
            record
            for record in records
            if (old := before.get(record.paper.id))
            and record.paper.id not in half_written
            and _has_same_text(old, record)
        ]
        known = self._vectors_of(same) if same else {}
        given = self._vectors_given
        for record in records if given is not None else ():
            own = given(record.paper) if given is not None else None
            if own is not None and own.shape == (len(record.spans), self._embedder.dimension):
                known[record.paper.id] = own
        return known

    def _vectors_of(self, records: Sequence[Record]) -> dict[str, NDArray[np.float32]]:
        """Return shape (chunks, dimension) by paper; without those that lack a vector."""
        chunks = {
            record.paper.id: [_chunk_id(record.paper.id, n) for n in range(len(record.spans))]
            for record in records
        }
        with self._lock:
            found = self._open_dense().vectors([each for ids in chunks.values() for each in ids])
        return {
            key: np.stack([found[each] for each in ids])
            for key, ids in chunks.items()
            if all(each in found for each in ids)
        }

    def _write(self, items: Sequence[_Prepared]) -> None:
        ids = [item.record.paper.id for item in items]
        before = self._most_chunks(ids)
        now = {item.record.paper.id: len(item.chunks) for item in items}
        most = {key: max(before.get(key, 0), now[key]) for key in ids}
        self._records.begin(most)
        with self._lock:
            dense = self._open_dense()
            dense.delete([_chunk_id(key, n) for key in ids for n in range(now[key], most[key])])
            dense.upsert(
                [chunk for item in items for chunk in item.chunks],
                [item.record.paper.title for item in items for _ in item.chunks],
                np.concatenate([item.vectors for item in items]),
            )
        self._open_lexical().replace([item.record.paper for item in items])
        self._records.finish([item.record for item in items])

    def _most_chunks(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the most chunks that the dense index may hold of each paper."""
        most = {key: chunks for key, (_, chunks) in self._records.fingerprints(ids).items()}
        pending = self._records.pending()
        for key in pending.keys() & set(ids):
            most[key] = max(most.get(key, 0), pending[key])
        return most

    def _remove(self, chunks_by_id: dict[str, int]) -> None:
        self._records.begin(chunks_by_id)
        with self._lock:
            self._open_dense().delete(
                [_chunk_id(key, n) for key, chunks in chunks_by_id.items() for n in range(chunks)]
            )
        self._open_lexical().replace([], removed_ids=chunks_by_id)
        self._records.finish(removed_ids=chunks_by_id)

    def _complete(self, arrivals: _Arrivals, *, prune: bool) -> int:
        """Mend what an interrupted run left, then prune; return the number of papers pruned."""
        left = self._records.pending()
        recorded = self._records.get(list(left))
        for _ in self._index([record.paper for record in recorded.values()]):
            logger.info("mended papers of an interrupted ingest")
        self._remove_some({key: left[key] for key in left.keys() - recorded.keys()})
        if not prune:
            return 0
        if not arrivals.seen:
            logger.warning("nothing was read, so nothing is pruned")
            return 0
        counts = self._records.chunk_counts()
        gone = {key: chunks for key, chunks in counts.items() if not arrivals.has(key)}
        self._remove_some(gone)
        return len(gone)

    def _remove_some(self, chunks_by_id: dict[str, int]) -> None:
        items = iter(chunks_by_id.items())
        while part := dict(islice(items, _PAPERS_PER_BATCH)):
            self._remove(part)

    def _end(self) -> None:
        if self._records.is_ingesting():
            self._records.end()
        manifest = Manifest.read(self.path)
        if manifest.papers != len(self):
            replace(manifest, papers=len(self)).write(self.path)

    # --- health ------------------------------------------------------------------------------

    def check(self) -> list[str]:
        """Compare the records with both indexes.

        Returns:
            The differences, in words; empty if the index is healthy.

        Raises:
            IndexDamagedError: If a part of the index cannot be read.
        """
        self._refresh(at_once=True)
        counts = self._records.chunk_counts()
        wanted = {_chunk_id(key, n) for key, chunks in counts.items() for n in range(chunks)}
        with self._lock:
            vectors = set(self._open_dense().ids()) if counts or self._folder.dense.exists() else {}
        words = self._open_lexical().ids() if counts or self._folder.lexical.exists() else set()
        found = [
            *_differences("chunks without a vector", wanted.difference(vectors)),
            *_differences("vectors without a chunk", set(vectors) - wanted),
            *_differences("papers missing from the lexical index", counts.keys() - words),
            *_differences("papers in the lexical index alone", words - counts.keys()),
            *_differences("half-written papers", self._records.pending().keys()),
        ]
        if self._records.is_ingesting():
            found.append("the last ingest has not ended")
        return found

    # --- parts -------------------------------------------------------------------------------

    def _refresh(self, *, at_once: bool = False) -> None:
        """Notice what other processes have written.

        Args:
            at_once: Also in the vectors. To write through an old view of them would damage them.
        """
        with self._lock:
            if self._records.was_replaced():
                self._reopen()
            elif self._records.changed_elsewhere():
                self._dense_is_stale = True
                if self._lexical is not None:
                    self._lexical.reload()
            if not self._dense_is_stale or self._dense is None:
                return
            waited = time.monotonic() - self._dense_opened >= _RELOAD_SECONDS
            if at_once or waited or not self._records.is_ingesting():
                # Chroma sees what others wrote only after it has been opened anew.
                self._dense.close()
                self._dense = None

    def _reopen(self) -> None:
        records = Records(self._folder.records)
        self._records.close()
        if self._dense is not None:
            self._dense.close()
        self._records, self._dense, self._lexical = records, None, None

    def _open_dense(self) -> DenseIndex:
        with self._lock:
            if self._dense is None:
                if len(self._records) and not self._folder.dense.is_dir():
                    raise self._part_missing(self._folder.dense)
                self._dense_is_stale = False
                self._dense_opened = time.monotonic()
                self._dense = DenseIndex.open(self._folder.dense)
            return self._dense

    def _open_lexical(self) -> LexicalIndex:
        with self._lock:
            if self._lexical is None:
                if len(self._records) and not self._folder.lexical.is_dir():
                    raise self._part_missing(self._folder.lexical)
                self._lexical = LexicalIndex.create(self._folder.lexical)
            return self._lexical

    def _part_missing(self, part: Path) -> IndexDamagedError:
        reason = f"the index in {self.path} is incomplete: {part.name} is missing"
        return IndexDamagedError(reason, path=self.path, hint=rebuild_hint(self.path))


def embedded_text(paper: Paper, chunk: Chunk) -> str:
    """Return what the vector of a chunk stands for: its text under the title of its paper."""
    return f"{normalize(paper.title)}\n{normalize(chunk.text)}"


def _manifest(embedder: Embedder) -> Manifest:
    return Manifest(
        format_version=FORMAT_VERSION,
        embedder=embedder.name,
        dimension=embedder.dimension,
        chunking_version=CHUNKING_VERSION,
        distance=DISTANCE,
        created_with=_program_version(),
        papers=0,
    )


def _program_version() -> str:
    try:
        return version("abstract-assistant")
    except PackageNotFoundError:
        return "source"


class _Arrivals:
    """What an ingest reads, beside what there is: new, changed, unchanged, duplicate."""

    def __init__(
        self, records: Records, *, keep_edits: bool, on_duplicate: OnDuplicate | None
    ) -> None:
        self._records = records
        self._keep_edits = keep_edits
        self._on_duplicate = on_duplicate
        self.counts: Counter[str] = Counter()
        self.seen: set[str] = set()
        """Ids of the stream."""
        self.kept: set[str] = set()
        """Ids of papers in the index that the stream has under other ids."""

    def has(self, paper_id: str) -> bool:
        """Tell whether the stream has a paper of the index."""
        return paper_id in self.seen or paper_id in self.kept

    def changed(self, batch: Sequence[Paper]) -> tuple[list[Paper], dict[str, int]]:
        """Return the papers that are to be written, and count them and the others.

        Returns:
            Papers that differ from their records, and the papers (with their numbers of chunks)
            that have to go before, since a later version of them is among these.
        """
        fresh = self._first_of_each_id(batch)
        known = self._records.fingerprints([paper.id for paper in fresh])
        older: dict[str, Record] = {}
        if self._on_duplicate is not None:
            fresh, older = self._without_duplicates(fresh, known, self._on_duplicate)
        changed = [p for p in fresh if known.get(p.id, ("", 0))[0] != p.fingerprint]
        if self._keep_edits:
            before = self._records.get([paper.id for paper in changed if paper.id in known]) | older
            kept = [with_edits_of(before[p.id].paper, p) if p.id in before else p for p in changed]
            self.counts["edited"] += sum(a != b for a, b in zip(changed, kept, strict=True))
            changed = [p for p in kept if known.get(p.id, ("", 0))[0] != p.fingerprint]
        updated = sum(paper.id in known or paper.id in older for paper in changed)
        self.counts["added"] += len(changed) - updated
        self.counts["updated"] += updated
        self.counts["unchanged"] += len(fresh) - len(changed)
        return changed, {old.paper.id: len(old.spans) for old in older.values()}

    def _first_of_each_id(self, batch: Iterable[Paper]) -> list[Paper]:
        fresh = []
        for paper in batch:
            if paper.id in self.seen:
                logger.warning("two papers have the id %s; the first one counts", paper.id)
                continue
            self.seen.add(paper.id)
            fresh.append(paper)
        return fresh

    def _without_duplicates(
        self, papers: Sequence[Paper], known: Container[str], on_duplicate: OnDuplicate
    ) -> tuple[list[Paper], dict[str, Record]]:
        """Return the papers that are in the index under no other id, or are a later version.

        Returns:
            These papers, and the records that later versions replace, by the id of the new one.
        """
        own = {p.id: {key_digest(key.value): key for key in keys(p)} for p in papers}
        sought = [value for p in papers if p.id not in known for value in own[p.id]]
        sharing = self._records.sharing(sought) if sought else {}
        coming = {paper.id: paper for paper in papers if paper.id in known}
        fresh: list[Paper] = []
        older: dict[str, Record] = {}
        for paper in papers:
            found = None
            if paper.id not in known:
                found = _same_paper(own[paper.id], sharing, coming)
            if found is None:
                fresh.append(paper)
                continue
            key, record = found
            is_free = record.paper.id not in {old.paper.id for old in older.values()}
            replaces = is_newer(paper, record.paper) and not self.has(record.paper.id) and is_free
            on_duplicate(IndexedDuplicate(paper, record.paper, key.words, replaces))
            if replaces:
                older[paper.id] = record
                fresh.append(paper)
            else:
                self.kept.add(record.paper.id)
        return fresh, older


def _same_paper(
    own: Mapping[int, Key],
    sharing: Mapping[int, Sequence[Record]],
    coming: Mapping[str, Paper],
) -> tuple[Key, Record] | None:
    """Return the first key that a record shares in truth, and not by its digest alone.

    Args:
        own: Keys of a paper by digest.
        sharing: Records by digest.
        coming: Papers that are about to replace their records; their keys count.
    """
    for value, key in own.items():
        for record in sharing.get(value, ()):
            paper = coming.get(record.paper.id, record.paper)
            if any(each.value == key.value for each in keys(paper)):
                return key, record
    return None


def _has_same_text(one: Record, other: Record) -> bool:
    same_title = one.paper.title == other.paper.title
    return same_title and one.paper.abstract == other.paper.abstract and one.spans == other.spans


def _chunk_id(paper_id: str, position: int) -> str:
    return f"{paper_id}:{position}"


def _differences(what: str, ids: Iterable[str]) -> list[str]:
    found = sorted(ids)
    shown = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
    return [f"{len(found)} {what}: {shown}"] if found else []
