"""BM25 over whole papers. Only importer of ``tantivy``.

Sees papers as an id and one text; normalises it, stems it, and never parses what a user typed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vectorstore.errors import IndexDamagedError
from vectorstore.manifest import rebuild_hint
from vectorstore.normalize import normalize
from vectorstore.types import Paper

if TYPE_CHECKING:
    import tantivy

logger = logging.getLogger(__name__)

MAX_QUERY_TERMS = 256
"""Distinct terms of one query; longer questions are pasted texts, and their head says enough."""

_MAX_QUERY_CHARS = 20_000
_MAX_TERM_CHARS = 40
_WRITER_BYTES = 64_000_000


class LexicalIndex:
    """An inverted index in a folder. Safe to use from several threads; one process may write."""

    def __init__(self, folder: Path, index: tantivy.Index) -> None:
        """Wrap an open index; use ``open`` or ``create``."""
        self._folder = folder
        self._index = index
        self._schema = index.schema
        self._analyzer = _analyzer()

    @classmethod
    def create(cls, folder: Path) -> LexicalIndex:
        """Open the index in the folder, making it if the folder is empty.

        Raises:
            IndexDamagedError: If the folder holds something that cannot be opened.
        """
        import tantivy

        folder.mkdir(parents=True, exist_ok=True)
        with _translated(folder):
            index = tantivy.Index(_schema(), path=str(folder))
        return cls._configured(folder, index)

    @classmethod
    def open(cls, folder: Path) -> LexicalIndex:
        """Open the index in the folder.

        Raises:
            IndexDamagedError: If there is none, or it cannot be opened.
        """
        import tantivy

        with _translated(folder):
            index = tantivy.Index.open(str(folder))
        return cls._configured(folder, index)

    @classmethod
    def _configured(cls, folder: Path, index: tantivy.Index) -> LexicalIndex:
        # By default a thread watches the folder; the store says when there is something new.
        with _translated(folder):
            index.config_reader(reload_policy="manual")
            index.reload()
        return cls(folder, index)

    def replace(self, papers: Iterable[Paper], removed_ids: Iterable[str] = ()) -> None:
        """Add papers, in place of those with the same ids, and remove others; one commit."""
        import tantivy

        with _translated(self._folder):
            # One thread, so that equal scores keep the order of ingest.
            writer = self._index.writer(heap_size=_WRITER_BYTES, num_threads=1)
            for paper_id in removed_ids:
                writer.delete_documents_by_term("id", paper_id)
            for paper in papers:
                writer.delete_documents_by_term("id", paper.id)
                document = tantivy.Document()
                document.add_text("id", paper.id)
                document.add_text("text", normalize(f"{paper.title}\n{paper.abstract}"))
                writer.add_document(document)
            writer.commit()
            # Also waits for merges in progress, which a kill would waste, and frees the lock.
            writer.wait_merging_threads()
            self._index.reload()

    def reload(self) -> None:
        """See what another process has committed."""
        with _translated(self._folder):
            self._index.reload()

    def search(self, query: str, limit: int) -> list[tuple[str, float]]:
        """Rank papers by BM25.

        Args:
            query: Any text; it is analysed into words, never read as a query language.
            limit: Most papers to return.

        Returns:
            (paper id, score) pairs, best first; empty if no word of the query occurs.
        """
        import tantivy

        counts = Counter(self.terms(query[:_MAX_QUERY_CHARS]))
        clauses = []
        for term, count in list(counts.items())[:MAX_QUERY_TERMS]:
            one = tantivy.Query.term_query(self._schema, "text", term, index_option="freq")
            weighted = one if count == 1 else tantivy.Query.boost_query(one, float(count))
            clauses.append((tantivy.Occur.Should, weighted))
        if not clauses:
            return []
        with _translated(self._folder):
            searcher = self._index.searcher()
            result = searcher.search(tantivy.Query.boolean_query(clauses), limit, count=False)
            return [(_id(searcher, address), float(score)) for score, address in result.hits]

    def terms(self, text: str) -> list[str]:
        """Return the stemmed, lower-case terms of a text, in order, as the index counts them."""
        return list(self._analyzer.analyze(normalize(text)))

    def document_frequency(self, words: Iterable[str]) -> dict[str, int]:
        """Count the papers that hold each word.

        Args:
            words: In any spelling or form; one that is analysed into several terms counts where
                these stand next to each other.

        Returns:
            The number of papers by word as given; 0 for words that no paper holds.
        """
        searcher = self._index.searcher()
        return {word: self._count(searcher, self.terms(word)) for word in words}

    def holding(self, words: Iterable[str], limit: int) -> tuple[list[str], int]:
        """Find the papers that hold every one of the words, in any form.

        Args:
            words: As for ``document_frequency``; one without a letter or digit is passed over.
            limit: Most ids to return, at least 1.

        Returns:
            The ids of such papers, best by BM25 first, and how many there are in all.
        """
        import tantivy

        terms = [terms for word in words if (terms := self.terms(word))]
        if not terms:
            return [], 0
        clauses = [(tantivy.Occur.Must, self._query(each)) for each in terms[:MAX_QUERY_TERMS]]
        with _translated(self._folder):
            searcher = self._index.searcher()
            found = searcher.search(tantivy.Query.boolean_query(clauses), limit)
            count = int(found.count)  # type: ignore[attr-defined]  # missing from the stub
            return [_id(searcher, address) for _, address in found.hits], count

    def _query(self, terms: Sequence[str]) -> tantivy.Query:
        """The papers that hold the terms next to each other."""
        import tantivy

        if len(terms) == 1:
            return tantivy.Query.term_query(self._schema, "text", terms[0])
        return tantivy.Query.phrase_query(self._schema, "text", list(terms[:MAX_QUERY_TERMS]))

    def _count(self, searcher: tantivy.Searcher, terms: Sequence[str]) -> int:
        if not terms:
            return 0
        # The count of a search, unlike doc_freq, leaves out papers that have been replaced.
        with _translated(self._folder):
            found = searcher.search(self._query(terms), 1)
            return int(found.count)  # type: ignore[attr-defined]  # missing from the stub

    def ids(self) -> set[str]:
        """Return the ids of all papers in the index."""
        import tantivy

        with _translated(self._folder):
            searcher = self._index.searcher()
            found = searcher.search(tantivy.Query.all_query(), max(1, searcher.num_docs))
            return {_id(searcher, address) for _, address in found.hits}

    def __len__(self) -> int:
        """Return the number of papers in the index."""
        return int(self._index.searcher().num_docs)


def _id(searcher: tantivy.Searcher, address: tantivy.DocAddress) -> str:
    return str(searcher.doc(address).get_first("id"))


def _schema() -> tantivy.Schema:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("text", tokenizer_name="en_stem", index_option="position")
    return builder.build()


def _analyzer() -> tantivy.TextAnalyzer:
    """Return what tantivy calls ``en_stem``, for queries."""
    import tantivy

    return (
        tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        .filter(tantivy.Filter.remove_long(_MAX_TERM_CHARS))
        .filter(tantivy.Filter.lowercase())
        .filter(tantivy.Filter.stemmer("english"))
        .build()
    )


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    """Turn what tantivy raises about its files into the error for the user."""
    try:
        yield
    except (ValueError, OSError, RuntimeError) as error:
        reason = f"the lexical index in {folder} cannot be used ({error})"
        hint = rebuild_hint(folder.parent)
        raise IndexDamagedError(reason, path=folder.parent, hint=hint) from error
