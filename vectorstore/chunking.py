"""Abstracts to chunks: exact spans that end at sentence ends. Pure; only importer of the splitter.

Chunks are what the dense index compares: a span of a few sentences matches a question better than
a whole abstract, and its offsets serve the citations.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from vectorstore.types import Chunk, Paper

if TYPE_CHECKING:
    from langchain_text_splitters import RecursiveCharacterTextSplitter

CHUNKING_VERSION = 1
"""Raise when the same abstract would be cut elsewhere; indexes are then to be built anew."""

CHUNK_CHARS = 400

# Paragraph; sentence; clause; word; anywhere. A sentence ends at .!? (and closing marks) before a
# capital, but not after an initial or a usual abbreviation.
_SEPARATORS = [
    r"\n\s*\n",
    r"(?<![A-Z]\.)(?<!e\.g\.)(?<!i\.e\.)(?<!et al\.)(?<!vs\.)(?<!cf\.)"
    r"(?<=[.!?])[)\]\"'”’]*\s+(?=[\"'“‘(\[]?[A-Z0-9])",
    r"(?<=[;:,])\s+",
    r"\s+",
    "",
]


def chunk_paper(paper: Paper) -> tuple[Chunk, ...]:
    """Cut the abstract of a paper into chunks of at most ``CHUNK_CHARS`` characters.

    Args:
        paper: A paper whose abstract is not blank.

    Returns:
        Chunks in order, without overlap; between them they hold every character of the abstract
        that is not white space, and ``paper.abstract[chunk.start:chunk.end] == chunk.text``.
    """
    return chunks_from_spans(paper, chunk_spans(paper.abstract))


def chunk_spans(abstract: str) -> tuple[tuple[int, int], ...]:
    """Return the (start, end) character offsets of the chunks of an abstract."""
    if len(abstract) <= CHUNK_CHARS:
        stripped = abstract.strip()
        start = len(abstract) - len(abstract.lstrip())
        return ((start, start + len(stripped)),) if stripped else ()
    pieces = _splitter().create_documents([abstract])
    starts = [piece.metadata["start_index"] for piece in pieces]
    spans = zip(starts, (len(piece.page_content) for piece in pieces), strict=True)
    return tuple((start, start + length) for start, length in spans)


def chunks_from_spans(paper: Paper, spans: tuple[tuple[int, int], ...]) -> tuple[Chunk, ...]:
    """Make the chunks of a paper out of the offsets that ``chunk_spans`` returned for it."""
    return tuple(
        Chunk(f"{paper.id}:{position}", paper.id, position, start, end, paper.abstract[start:end])
        for position, (start, end) in enumerate(spans)
    )


@cache
def _splitter() -> RecursiveCharacterTextSplitter:
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    # keep_separator loses no character; the splitter strips white space at the ends of chunks only.
    return RecursiveCharacterTextSplitter(
        separators=_SEPARATORS,
        is_separator_regex=True,
        keep_separator="end",
        chunk_size=CHUNK_CHARS,
        chunk_overlap=0,
        add_start_index=True,
        strip_whitespace=True,
    )
