"""``Store``: ingest papers, search them. The face of the package.

How papers are written is in ``writing``, whether the parts agree in ``health``.
"""

from __future__ import annotations

import difflib
import logging
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vectorstore.chunking import CHUNKING_VERSION, chunks_from_spans
from vectorstore.edits import edited
from vectorstore.errors import (
    IndexDamagedError,
    IndexMismatchError,
    IndexMissingError,
    PaperNotFoundError,
)
from vectorstore.filters import Filters
from vectorstore.index import health
from vectorstore.index.arrivals import Arrivals, OnDuplicate
from vectorstore.index.chroma import DISTANCE, part_of
from vectorstore.index.codes import Row
from vectorstore.index.folder import IndexFolder, ingest_hint
from vectorstore.index.fusion import POOL, fuse
from vectorstore.index.manifest import FORMAT_VERSION, Manifest, repair_hint
from vectorstore.index.parts import Parts
from vectorstore.index.records import Record, Records, Spans, close_journal, former_papers
from vectorstore.index.writing import (
    PAPERS_PER_BATCH,
    KnownVectors,
    Writer,
    chunk_id,
    same_text,
)
from vectorstore.normalize import normalize
from vectorstore.types import Chunk, Difference, Embedder, IngestReport, Paper, Passage

logger = logging.getLogger(__name__)

# An abstract has about five chunks; so many hits make a pool of papers.
_CHUNK_HITS = 3 * POOL
LEAST_BM25_DEVIATION = 1.5
"""Below that of every query of SciFact and of the development questions (1.6 and more). Where only
parts of words are found, as of "editing" in "credits", scores differ by 0.5, which says little."""
_MAX_QUERY_CHARS = 20_000


class Store:
    """A searchable collection of papers in a folder.

    Searches may run in several threads. One process may write at a time; readers in other
    processes go on with what they have and see the new papers at one of their next searches.
    """

    def __init__(
        self,
        folder: IndexFolder,
        embedder: Embedder,
        records: Records,
        parts: Parts | None = None,
    ) -> None:
        """Wrap an open index; use ``Store.open`` or ``Store.create``."""
        self._embedder = embedder
        self._parts = parts or Parts(folder, records, embedder.dimension)

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
        Manifest.read(folder.path).check(manifest_of(embedder), folder.path)
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
        if rebuild:
            folder.clear()
        return cls._create(folder, embedder, cleared=rebuild)

    @classmethod
    def _create(cls, folder: IndexFolder, embedder: Embedder, *, cleared: bool) -> Store:
        wanted = manifest_of(embedder)
        if folder.prepare(cleared=cleared):
            Manifest.read(folder.path).check(wanted, folder.path)
            return cls(folder, embedder, Records(folder.records, create=True))
        with folder.writing():
            wanted.write(folder.path)
            return cls(folder, embedder, Records(folder.records, create=True))

    def close(self) -> None:
        """Let go of all files."""
        self._parts.close()

    def __enter__(self) -> Self:
        """Return the store, to be closed at the end of the block."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the store."""
        self.close()

    # --- papers ------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """Folder of the index."""
        return self._parts.folder.path

    @property
    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Sizes and times of the records' files: others when any process has written papers."""
        records = self._parts.folder.records
        files = (records, records.with_name(f"{records.name}-wal"))
        found = (path.stat() for path in files if path.exists())
        return tuple((each.st_size, each.st_mtime_ns) for each in found)

    def __len__(self) -> int:
        """Return the number of papers."""
        return len(self._parts.records)

    def papers(self, where: Filters | None = None) -> Iterator[Paper]:
        """Yield all papers, or those that meet filters, in order of their first ingest."""
        if not where:
            return (record.paper for record in self._parts.records.all())
        return self._meeting(where)

    def count(self, where: Filters | None = None) -> int:
        """Return the number of papers, or of those that meet filters."""
        return len(self._positions(where)) if where else len(self)

    def listed(
        self,
        order: str = "added",
        *,
        reverse: bool = False,
        limit: int | None = None,
        offset: int = 0,
        where: Filters | None = None,
    ) -> Iterator[Paper]:
        """Yield some papers in an order; no others are loaded.

        Args:
            order: "added", "title" or "year"; papers without a year come last.
            reverse: The other way round.
            limit: Most papers to yield; None for all.
            offset: So many are passed over.
            where: What the papers must meet.
        """
        records, most = self._parts.records, -1 if limit is None else limit
        among = self._positions(where) if where else None
        positions = records.page(order, reverse=reverse, limit=most, offset=offset, among=among)
        for start in range(0, len(positions), PAPERS_PER_BATCH):
            part = positions[start : start + PAPERS_PER_BATCH]
            found = records.at(part)
            yield from (found[each].paper for each in part if each in found)

    def _positions(self, where: Filters) -> list[int]:
        self._parts.refresh()
        if not len(self):
            return []
        found: list[int] = np.flatnonzero(self._parts.lexical.meeting(where)).tolist()
        return found

    def _meeting(self, where: Filters) -> Iterator[Paper]:
        positions = self._positions(where)
        for start in range(0, len(positions), PAPERS_PER_BATCH):
            found = self._parts.records.at(positions[start : start + PAPERS_PER_BATCH])
            yield from (found[position].paper for position in sorted(found))

    def paper(self, paper_id: str) -> Paper:
        """Return the paper with an id.

        Raises:
            PaperNotFoundError: If there is none; the hint names the closest ids.
        """
        found = self._parts.records.get([paper_id])
        if not found:
            raise self._not_found(paper_id)
        return found[paper_id].paper

    def paper_named(self, name: str) -> Paper:
        """Return the paper with an id or, whatever its case, an exact title.

        Raises:
            PaperNotFoundError: If there is none; the hint names the closest ids.
        """
        found = self._parts.records.get([name])
        if found:
            return found[name].paper
        title = " ".join(name.split()).casefold()
        near = self.search(name) if title else ()
        for passage in near:
            if " ".join(passage.paper.title.split()).casefold() == title:
                return passage.paper
        raise self._not_found(name)

    def known(self, ids: Iterable[str]) -> set[str]:
        """Return those of the ids that the index has a paper for."""
        return set(self._parts.records.entries(list(ids)))

    def _not_found(self, paper_id: str) -> PaperNotFoundError:
        ids = self._parts.records.ids
        close = list(islice(ids(containing=paper_id), 3)) if paper_id else []
        close = close or difflib.get_close_matches(paper_id, list(ids()), n=3, cutoff=0.5)
        listing = "assistant papers list"
        hint = f"did you mean {' or '.join(close)}? all ids: {listing}" if close else listing
        return PaperNotFoundError(f'no paper has the id "{paper_id}"', paper_id=paper_id, hint=hint)

    # --- searching ---------------------------------------------------------------------------

    def search(
        self, query: str, top_k: int = 8, where: Filters | None = None
    ) -> tuple[Passage, ...]:
        """Find the papers that are closest to a question, by words and by meaning.

        Args:
            query: Any text that is not blank.
            top_k: Most passages to return.
            where: What the papers must meet.

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
        self._parts.refresh()
        text = normalize(query[:_MAX_QUERY_CHARS])
        if not text or not len(self):
            return ()
        by_words = self._parts.lexical.search(text, POOL, where)
        by_meaning = self._nearest(self._embedder.embed([text])[0], where)
        ranking = [(position, row.similarity) for position, row in by_meaning.items()]
        fused = fuse([by_words, ranking], least_deviations=[LEAST_BM25_DEVIATION, 0.0])
        passages = self._passages(text, fused, by_words, by_meaning, top_k)
        seconds = time.perf_counter() - started
        logger.info("retrieved %d of %d candidates in %.3f s", len(passages), len(fused), seconds)
        return passages

    def _nearest(self, vector: NDArray[np.float32], where: Filters | None) -> dict[int, Row]:
        """Return the best row of each paper near a vector by position, best paper first."""
        allowed = self._parts.lexical.meeting(where) if where else None
        rows = self._parts.codes.search(vector, _CHUNK_HITS, self._parts.records.rows, allowed)
        best: dict[int, Row] = {}
        own = self._parts.records.rows_at(list({row.owner for row in rows}))
        for row in rows:
            # Rows of former versions stay in the files.
            if row.number in own.get(row.owner, ()):
                best.setdefault(row.owner, row)
        return best

    def _passages(
        self,
        query: str,
        fused: Sequence[tuple[int, float]],
        by_words: Sequence[tuple[int, float]],
        by_meaning: dict[int, Row],
        top_k: int,
    ) -> tuple[Passage, ...]:
        # A paper without a record is being written or removed by another process just now.
        records = self._parts.records.at([position for position, _ in fused[: 2 * top_k + 16]])
        known = ((position, score) for position, score in fused if position in records)
        lexical = {each: (rank, bm25) for rank, (each, bm25) in enumerate(by_words, start=1)}
        dense_ranks = {position: rank for rank, position in enumerate(by_meaning, start=1)}
        passages = []
        for rank, (position, score) in enumerate(islice(known, top_k), start=1):
            record, row = records[position], by_meaning.get(position)
            similarity = None if row is None else row.similarity
            lexical_rank, bm25 = lexical.get(position, (None, None))
            passages.append(
                Passage(
                    record.paper, self._chunk(query, record, row), rank, score, similarity, bm25,
                    dense_ranks.get(position), lexical_rank,
                )
            )  # fmt: skip
        return tuple(passages)

    def _chunk(self, query: str, record: Record, row: Row | None) -> Chunk:
        """Return the chunk that was found, or the one that holds most of the query's words."""
        chunks = chunks_from_spans(record.paper, record.spans)
        if row is not None and 0 <= row.number - record.first_row < len(chunks):
            return chunks[row.number - record.first_row]
        terms = self._parts.lexical.terms
        wanted = set(terms(query))
        return max(chunks, key=lambda chunk: len(wanted.intersection(terms(chunk.text))))

    def words_shared(self, query: str, paper: Paper) -> tuple[str, ...]:
        """Return the words of a query, as they stand there, that a paper holds in some form."""
        terms = self._parts.lexical.terms
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
        self._parts.refresh()
        if not len(self._parts.records):
            return dict.fromkeys(words, 0)
        return self._parts.lexical.document_frequency(words)

    def holding(
        self, words: Iterable[str], limit: int = 100, where: Filters | None = None
    ) -> tuple[tuple[Paper, ...], int]:
        """Find the papers whose title or abstract holds every one of the words, in any form.

        Args:
            words: As for ``document_frequency``.
            limit: Most papers to return, at least 1.
            where: What the papers must meet.

        Returns:
            The papers, those that are most about the words first, and how many there are in all.
        """
        self._parts.refresh()
        if not len(self._parts.records):
            return (), 0
        positions, count = self._parts.lexical.holding(words, limit, where)
        records = self._parts.records.at(positions)
        return tuple(records[each].paper for each in positions if each in records), count

    def sample(
        self, most: int, where: Filters | None = None
    ) -> tuple[tuple[Paper, ...], NDArray[np.float32]]:
        """Return papers spread evenly over the collection, with the vector of their first chunk.

        Args:
            most: Most papers to return, at least 1.
            where: What the papers must meet.

        Returns:
            The papers in order of their first ingest, and an array of shape (papers, dimension).
        """
        self._parts.refresh()
        allowed = self._positions(where) if where else self._parts.records.taken()
        step = max(1, -(-len(allowed) // most))
        records = list(self._parts.records.at(allowed[::step]).values())
        first = np.array([record.first_row for record in records], np.int64)
        if not records:
            return (), np.empty((0, self._embedder.dimension), np.float32)
        vectors = self._parts.codes.vectors(first, self._parts.records.rows)
        return tuple(record.paper for record in records), vectors

    def exported(self) -> Iterator[tuple[Paper, Spans, NDArray[np.float32]]]:
        """Yield all there is: papers, the spans of their chunks, and the vectors as computed.

        Nobody can write meanwhile, so that all of it is of one moment.

        Yields:
            A paper, (start, end) of each chunk in its abstract, and shape (chunks, dimension).

        Raises:
            IndexLockedError: If another process is writing the index.
            IndexDamagedError: If an ingest was interrupted, or vectors are missing.
        """
        with self._parts.writing():
            records = self._parts.records
            if records.is_ingesting() or records.pending():
                reason = f"the last ingest into {self.path} was interrupted; run it again"
                raise IndexDamagedError(reason, path=self.path, hint=ingest_hint(self.path))
            for start in range(0, records.rows, PAPERS_PER_BATCH):
                for record in records.between(start, start + PAPERS_PER_BATCH):
                    ids = [chunk_id(record.paper.id, n) for n in range(len(record.spans))]
                    found = self._parts.chroma.get(part_of(record.first_row), ids)
                    if len(found.ids) != len(ids):
                        reason = f"vectors of {record.paper.id} are missing"
                        hint = repair_hint(self.path)
                        raise IndexDamagedError(reason, path=self.path, hint=hint)
                    yield record.paper, record.spans, found.vectors

    # --- ingest ------------------------------------------------------------------------------

    def ingest(
        self,
        papers: Iterable[Paper],
        *,
        prune: bool | Callable[[], bool] = False,
        vectors: KnownVectors | None = None,
        progress: Callable[[int], None] | None = None,
        keep_edits: bool = True,
        on_duplicate: OnDuplicate | None = None,
    ) -> IngestReport:
        """Add papers and update those that changed; the same papers again cost nothing.

        An ingest that was interrupted, even by a kill, is completed by running it again.

        Args:
            papers: Read as a stream; of papers with the same id the first one counts.
            prune: Remove the papers that the stream lacks, unless it is empty; a function is asked
                when the stream has ended.
            vectors: Gives the vectors of a paper's chunks where they are known already, shape
                (chunks, dimension), or None; the others are computed.
            progress: Told after each step how many papers of the stream are done.
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
        with self._parts.writing():
            writer = self._writer()
            self._parts.records.complete_keys()
            arrivals = Arrivals(
                self._parts.records, keep_edits=keep_edits, on_duplicate=on_duplicate
            )
            chunks = writer.ingest(papers, arrivals, known=vectors, progress=progress)
            writer.complete()
            counts, wanted = arrivals.counts, prune() if callable(prune) else prune
            if wanted and not arrivals.has_read:
                logger.warning("nothing was read, so nothing is pruned")
            removed = writer.prune() if wanted and arrivals.has_read else 0
            self._end()
        seconds = time.perf_counter() - started
        report = IngestReport(
            counts["added"], counts["updated"], counts["unchanged"], removed, chunks, seconds,
            counts["edited"],
        )  # fmt: skip
        logger.info("ingested: %s", report)
        return report

    def lacking_vectors(self, papers: Sequence[Paper]) -> list[Paper]:
        """Return those papers whose vectors an ingest would compute, as far as can be foreseen."""
        before = self._parts.records.get([paper.id for paper in papers])
        return [
            each
            for each in papers
            if each.id not in before or not same_text(before[each.id].paper, each)
        ]

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
            arrivals = Arrivals(records, keep_edits=keep_edits, on_duplicate=on_duplicate)
            stream = iter(papers)
            while batch := list(islice(stream, PAPERS_PER_BATCH)):
                arrivals.changed(batch)
            removed, counts = arrivals.removable(), arrivals.counts
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
        with self._parts.writing():
            known = self._parts.records.entries(wanted)
            for key in wanted:
                if key not in known:
                    raise self._not_found(key)
            interrupted = self._parts.records.is_ingesting()
            self._writer().remove(wanted)
            # A mark that was there before stands for papers still to come.
            if not interrupted:
                self._end()
        return len(wanted)

    def _writer(self) -> Writer:
        return Writer(self._parts, self._embedder)

    def _end(self) -> None:
        if self._parts.records.is_ingesting():
            self._parts.records.end()
        manifest = Manifest.read(self.path)
        if manifest.papers != len(self):
            replace(manifest, papers=len(self)).write(self.path)

    # --- health ------------------------------------------------------------------------------

    def check(self, progress: Callable[[int], None] | None = None) -> list[str]:
        """Compare every paper with what each part of the index holds of it.

        Args:
            progress: Told how many papers have been compared so far; each is twice.

        Returns:
            The differences, in words; empty if the index is healthy.

        Raises:
            IndexLockedError: If another process is writing the index.
        """
        with self._parts.writing():
            return health.differences(self._parts, progress)

    def check_numbers(self) -> list[str]:
        """Compare how much each part of the index holds, in a moment.

        Returns:
            The differences, in words; empty if there is none.
        """
        self._parts.refresh()
        return health.differences_in_number(self._parts)

    @classmethod
    def repair(
        cls, path: str | Path, embedder: Embedder, progress: Callable[[int], None] | None = None
    ) -> list[str]:
        """Make all parts of an index agree with its records, which are the papers themselves.

        An index of another embedding model, chunking or format is built anew from its records.

        Args:
            path: Folder of the index.
            embedder: For the vectors that are missing.
            progress: Told how many papers have been seen to.

        Returns:
            What was done, in words; empty if nothing was wrong.

        Raises:
            IndexMissingError: If there is no index.
            IndexLockedError: If another process is writing the index.
            IndexDamagedError: If the records are damaged; only their source files help then.
        """
        folder = IndexFolder(Path(path))
        done = cls._restore(folder, embedder, progress)
        store = cls(folder, embedder, Records(folder.records))
        with closing(store), store._parts.writing():
            done += health.repair(store._parts, store._writer(), progress)
            store._end()
        return done

    @classmethod
    def _restore(
        cls, folder: IndexFolder, embedder: Embedder, progress: Callable[[int], None] | None
    ) -> list[str]:
        """Build an index anew from its own records, where this program could not use it."""
        if not folder.former_records.exists():
            if not folder.records.is_file():
                folder.require()
            reason = _unusable(folder, embedder)
            if reason is None:
                return []
            with folder.writing():
                close_journal(folder.records)
                folder.set_records_aside()
        with closing(cls._create(folder, embedder, cleared=True)) as store:
            report = store.ingest(former_papers(folder.former_records), progress=progress)
        folder.former_records.unlink()
        return [f"built the index anew from its {report.added:,} papers"]


def _unusable(folder: IndexFolder, embedder: Embedder) -> str | None:
    try:
        Manifest.read(folder.path).check(manifest_of(embedder), folder.path)
    except (IndexMismatchError, IndexDamagedError) as error:
        return str(error)
    return None


def manifest_of(embedder: Embedder) -> Manifest:
    """Return what an index that is built now is built with."""
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
