"""BM25 over whole papers, and which papers meet filters. Only importer of ``tantivy``.

A paper is known by its position. Its title and abstract are one text, normalised and stemmed; what
a user typed is analysed into words, never read as a query language.
"""

from __future__ import annotations

import logging
import math
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vectorstore.errors import IndexDamagedError
from vectorstore.filters import Condition, Filters
from vectorstore.index.folder import can_write
from vectorstore.index.manifest import repair_hint
from vectorstore.normalize import normalize
from vectorstore.types import Paper

if TYPE_CHECKING:
    import tantivy

_WORD = re.compile(r"[^\W_]+")

logger = logging.getLogger(__name__)

MAX_QUERY_TERMS = 256
"""Distinct terms of one query; longer questions are pasted texts, and their head says enough."""

PAIR_WEIGHT, PART_WEIGHT = 0.2, 0.15
"""What a pair of neighbouring words and a part of a word are worth beside a word."""

PART_CHARS = 4
"""Long enough to tell words apart, short enough to outlast a typing error or another ending."""

_COMMON, _MANY_PAPERS = 0.5, 10_000
"""Among many papers, what more than this share of them hold says nothing and takes longest."""
_MAX_QUERY_CHARS = 20_000
_MAX_TERM_CHARS = 40
_WRITER_BYTES = 64_000_000
# Metadata that is longer is text to read, not a value to filter by.
_MAX_VALUE_CHARS = 200
_PLAIN_FIELD_CHARS = frozenset("_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


class LexicalIndex:
    """An inverted index in a folder. Safe to use from several threads; one process may write."""

    def __init__(self, folder: Path, index: tantivy.Index) -> None:
        """Wrap an open index; use ``create``."""
        self._folder = folder
        self._index = index
        self._schema = index.schema
        self._is_clean = False
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        """What is really read, where the folder cannot be written."""

    @classmethod
    def create(cls, folder: Path) -> LexicalIndex:
        """Open the index in the folder, making it if the folder is empty.

        Raises:
            IndexDamagedError: If the folder holds something that cannot be opened.
        """
        import tantivy

        if folder.is_dir() and not can_write(folder):
            return cls._of_copy(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with _translated(folder):
            index = tantivy.Index(_schema(), path=str(folder))
        return cls._configured(folder, index)

    @classmethod
    def _of_copy(cls, folder: Path) -> LexicalIndex:
        """Open a copy of a folder that cannot be written: tantivy takes a lock to read, too."""
        import tantivy

        copy = tempfile.TemporaryDirectory(prefix="abstract-assistant-")
        with _translated(folder):
            shutil.copytree(
                folder, f"{copy.name}/lexical", copy_function=shutil.copyfile,
                ignore=shutil.ignore_patterns("*.lock"),
            )  # fmt: skip
            Path(copy.name, "lexical").chmod(0o700)
            made = cls._configured(folder, tantivy.Index.open(f"{copy.name}/lexical"))
        made._copy = copy
        return made

    @classmethod
    def _configured(cls, folder: Path, index: tantivy.Index) -> LexicalIndex:
        # By default a thread watches the folder; the store says when there is something new.
        with _translated(folder):
            index.config_reader(reload_policy="manual")
            index.reload()
        return cls(folder, index)

    def replace(self, papers: Iterable[tuple[int, Paper]], removed_ids: Iterable[str] = ()) -> None:
        """Add papers, in place of those with the same ids, and remove others; one commit.

        Args:
            papers: (position, paper).
            removed_ids: Of papers that may be there.
        """
        with _translated(self._folder):
            # One thread, so that equal scores keep the order of ingest.
            writer = self._index.writer(heap_size=_WRITER_BYTES, num_threads=1)
            if not self._is_clean:
                # A killed commit leaves files that the next one would want to make again.
                writer.garbage_collect_files()
                self._is_clean = True
            for paper_id in removed_ids:
                writer.delete_documents_by_term("id", paper_id)
            for position, paper in papers:
                writer.delete_documents_by_term("id", paper.id)
                writer.add_document(_document(position, paper))
            writer.commit()
            # Also waits for merges in progress, which a kill would waste, and frees the lock.
            writer.wait_merging_threads()
            self._index.reload()

    def reload(self) -> None:
        """See what another process has committed."""
        with _translated(self._folder):
            self._index.reload()

    def search(
        self, query: str, limit: int, filters: Filters | None = None
    ) -> list[tuple[int, float]]:
        """Rank papers by BM25 of words, pairs of neighbouring words, and parts of words.

        Args:
            query: Any text.
            limit: Most papers to return.
            filters: What the papers must meet; it does not change their scores.

        Returns:
            (position, score) pairs, best first; empty if nothing of the query occurs.
        """
        import tantivy

        text = normalize(query[:_MAX_QUERY_CHARS])
        terms = terms_of(text)
        searcher = self._index.searcher()
        with _translated(self._folder):
            clauses = [
                *self._weighted(searcher, "text", terms, 1.0),
                *self._weighted(searcher, "pairs", _pairs(terms), PAIR_WEIGHT),
                *self._weighted(searcher, "parts", word_parts(text), PART_WEIGHT),
            ]
        if not clauses:
            return []
        wanted = _any_of(clauses)
        if filters:
            # As a clause of its own, a filter would let papers pass that hold no word.
            met = tantivy.Query.boost_query(self._filter(filters), 0.0)
            must = tantivy.Occur.Must
            wanted = tantivy.Query.boolean_query([(must, wanted), (must, met)])
        with _translated(self._folder):
            hits = searcher.search(wanted, limit, count=False).hits
            return list(zip(_positions(searcher, hits), (float(s) for s, _ in hits), strict=True))

    def meeting(self, filters: Filters) -> NDArray[np.bool_]:
        """Tell which papers meet filters.

        Returns:
            Shape (positions,), as far as there are such papers.
        """
        with _translated(self._folder):
            searcher = self._index.searcher()
            found = searcher.search(
                self._filter(filters), max(1, searcher.num_docs), count=False
            ).hits
            positions = np.array(_positions(searcher, found), np.int64)
        allowed = np.zeros(int(positions.max(initial=-1)) + 1, np.bool_)
        allowed[positions] = True
        return allowed

    def terms(self, text: str) -> list[str]:
        """Return the stemmed, lower-case terms of a text, in order, as the index counts them."""
        return terms_of(normalize(text))

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

    def holding(
        self, words: Iterable[str], limit: int, filters: Filters | None = None
    ) -> tuple[list[int], int]:
        """Find the papers that hold every one of the words, in any form.

        Args:
            words: As for ``document_frequency``; one without a letter or digit is passed over.
            limit: Most papers to return, at least 1.
            filters: What the papers must meet.

        Returns:
            The positions of such papers, best by BM25 first, and how many there are in all.
        """
        import tantivy

        terms = [terms for word in words if (terms := self.terms(word))]
        clauses = [self._query(each) for each in terms[:MAX_QUERY_TERMS]]
        if filters:
            clauses.append(tantivy.Query.boost_query(self._filter(filters), 0.0))
        if not clauses:
            return [], 0
        query = tantivy.Query.boolean_query([(tantivy.Occur.Must, each) for each in clauses])
        with _translated(self._folder):
            searcher = self._index.searcher()
            found = searcher.search(query, limit)
            count = int(found.count)  # type: ignore[attr-defined]  # missing from the stub
            return _positions(searcher, found.hits), count

    def _filter(self, filters: Filters) -> tantivy.Query:
        """The papers that meet filters."""
        import tantivy

        clauses = []
        first, last = filters.years
        if (first, last) != (None, None):
            kind = tantivy.FieldType.Integer
            clauses.append(tantivy.Query.range_query(self._schema, "year", kind, first, last))
        clauses += [self._named("authors", each) for each in filters.authors]
        if filters.venues:
            clauses.append(_any_of([self._named("venue", each) for each in filters.venues]))
        clauses += [self._meets(each) for each in filters.conditions]
        if filters.ids is not None:
            clauses.append(tantivy.Query.term_set_query(self._schema, "id", list(filters.ids)))
        return tantivy.Query.boolean_query([(tantivy.Occur.Must, each) for each in clauses])

    def _named(self, field: str, name: str) -> tantivy.Query:
        """The papers that have the words of a name next to each other in a field."""
        import tantivy

        words = _folded(name).split()
        if len(words) == 1:
            return tantivy.Query.term_query(self._schema, field, words[0])
        if not words:
            return tantivy.Query.empty_query()
        return tantivy.Query.phrase_query(self._schema, field, list(words))

    def _meets(self, condition: Condition) -> tantivy.Query:
        import tantivy

        path = f"metadata.{condition.field}"
        if condition.operator == "=":
            values: list[Any] = [_value(condition.value), *_typed(condition.value)]
            return _any_of([tantivy.Query.term_query(self._schema, path, each) for each in values])
        # Ranges inside the metadata can only be asked for in the query language.
        escaped = "".join(
            char if char in _PLAIN_FIELD_CHARS or char == "." else f"\\{char}"
            for char in condition.field
        )
        number = format(Decimal(condition.value), "f")
        span = {
            "<": f"[* TO {number}}}",
            "<=": f"[* TO {number}]",
            ">": f"{{{number} TO *]",
            ">=": f"[{number} TO *]",
        }[condition.operator]
        with _translated(self._folder):
            return self._index.parse_query(f"metadata.{escaped}:{span}", ["id"])

    def _weighted(
        self, searcher: tantivy.Searcher, field: str, terms: Sequence[str], weight: float
    ) -> list[tantivy.Query]:
        """Return a query for each distinct term, which counts as often as the term occurs."""
        import tantivy

        def one(term: str) -> tantivy.Query:
            return tantivy.Query.term_query(self._schema, field, term, index_option="freq")

        counts = list(Counter(terms).items())[:MAX_QUERY_TERMS]
        if searcher.num_docs > _MANY_PAPERS:
            most = _COMMON * searcher.num_docs
            counts = [each for each in counts if searcher.doc_freq(field, each[0]) <= most]
        return [tantivy.Query.boost_query(one(term), weight * count) for term, count in counts]

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

    def versions(self, first: int, stop: int) -> list[tuple[int, int]]:
        """Return (position, version) of the papers at positions from ``first`` to before ``stop``.

        A position occurs as often as the index holds a paper for it; ``version_of`` says what a
        version is.
        """
        import tantivy

        kind = tantivy.FieldType.Unsigned
        query = tantivy.Query.range_query(
            self._schema, "position", kind, first, stop, include_upper=False
        )
        with _translated(self._folder):
            searcher = self._index.searcher()
            hits = searcher.search(query, max(1, searcher.num_docs), count=False).hits
            addresses = [address for _, address in hits]
            versions = _numbers(searcher, "version", addresses)
            return sorted(zip(_numbers(searcher, "position", addresses), versions, strict=True))

    def __len__(self) -> int:
        """Return the number of papers in the index."""
        return int(self._index.searcher().num_docs)


def word_parts(text: str) -> list[str]:
    """Return the parts of the words of a normalised text, each of ``PART_CHARS`` characters.

    A word has marks at both ends; one that is shorter than a part is a part.
    """
    words = (f"_{word}_" for word in _WORD.findall(text.lower()))
    return [
        word[start : start + PART_CHARS]
        for word in words
        for start in range(max(1, len(word) - PART_CHARS + 1))
    ]


def terms_of(text: str) -> list[str]:
    """Return the stemmed, lower-case terms of a normalised text, in order."""
    return list(_analyzer().analyze(text))


def version_of(fingerprint: str) -> int:
    """Return the part of a paper's fingerprint that the index keeps: its first 60 bits."""
    return int(fingerprint[:15], 16)


def _positions(searcher: tantivy.Searcher, hits: Sequence[tuple[Any, Any]]) -> list[int]:
    return _numbers(searcher, "position", [address for _, address in hits])


def _numbers(searcher: tantivy.Searcher, field: str, addresses: list[Any]) -> list[int]:
    return [int(each or 0) for each in searcher.fast_field_values(field, addresses)]


def _pairs(terms: Sequence[str]) -> list[str]:
    return [f"{one}_{other}" for one, other in pairwise(terms)]


def _any_of(queries: Sequence[tantivy.Query]) -> tantivy.Query:
    import tantivy

    return tantivy.Query.boolean_query([(tantivy.Occur.Should, each) for each in queries])


def _document(position: int, paper: Paper) -> tantivy.Document:
    import tantivy

    document = tantivy.Document()
    document.add_text("id", paper.id)
    document.add_unsigned("position", position)
    document.add_unsigned("version", version_of(paper.fingerprint))
    text = normalize(f"{paper.title}\n{paper.abstract}")
    document.add_text("text", text)
    document.add_text("pairs", " ".join(_pairs(terms_of(text))))
    document.add_text("parts", " ".join(word_parts(text)))
    if paper.year is not None:
        document.add_integer("year", paper.year)
    for author in paper.authors:
        document.add_text("authors", _folded(author))
    document.add_text("venue", _folded(paper.venue or ""))
    document.add_json("metadata", _values(paper.metadata))
    return document


def _folded(name: str) -> str:
    """Return the words of a name without accents and signs, in lower case."""
    return " ".join(_WORD.findall(normalize(name).lower()))


def _value(text: str) -> str:
    return normalize(text).lower()


def _typed(text: str) -> list[bool | int | float]:
    """Return what else than a text a value may be in the metadata."""
    found: list[bool | int | float] = []
    if text.lower() in {"true", "false"}:
        found.append(text.lower() == "true")
    for kind in (int, float):
        with suppress(ValueError, OverflowError):
            found.append(kind(text))
    return [each for each in found if abs(each) < 2**63]


def _values(value: Any) -> Any:
    """Return metadata to filter by: texts normalised, and what cannot be asked for left out."""
    if isinstance(value, Mapping):
        items = ((str(key), _values(each)) for key, each in value.items())
        return {key: each for key, each in items if key and each is not None}
    if isinstance(value, (list, tuple)):
        return [each for each in map(_values, value) if each is not None]
    if isinstance(value, str):
        return _value(value) if len(value) <= _MAX_VALUE_CHARS else None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None


def _schema() -> tantivy.Schema:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field("position", indexed=True, fast=True)
    builder.add_unsigned_field("version", fast=True)
    builder.add_text_field("text", tokenizer_name="en_stem", index_option="position")
    builder.add_text_field("pairs", tokenizer_name="whitespace", index_option="freq")
    builder.add_text_field("parts", tokenizer_name="whitespace", index_option="freq")
    builder.add_integer_field("year", indexed=True, fast=True)
    builder.add_text_field("authors", tokenizer_name="whitespace", index_option="position")
    builder.add_text_field("venue", tokenizer_name="whitespace", index_option="position")
    builder.add_json_field(
        "metadata", fast=True, tokenizer_name="raw", index_option="basic", expand_dots_enabled=True
    )
    return builder.build()


@cache
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
        hint = repair_hint(folder.parent)
        raise IndexDamagedError(reason, path=folder.parent, hint=hint) from error
