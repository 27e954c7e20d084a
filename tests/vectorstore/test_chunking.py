from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorstore import Chunk, Paper, chunk_paper, read_papers
from vectorstore.chunking import CHUNK_CHARS, chunk_spans, chunks_from_spans

PROSE = st.lists(
    st.sampled_from(
        [
            "We show it. ",
            "et al. said so. ",
            "Why? ",
            "\n\n",
            "(see [1].) ",
            "e.g. this; ",
            "über, ",
        ]
    )
    | st.text(max_size=80)
    | st.text("ab.\n ", max_size=200)
    | st.text("x", min_size=300, max_size=900),
    min_size=1,
    max_size=30,
).map("".join)


def assert_exact(paper: Paper, chunks: tuple[Chunk, ...]) -> None:
    end = 0
    for position, chunk in enumerate(chunks):
        assert chunk.id == f"{paper.id}:{position}"
        assert (chunk.paper_id, chunk.position) == (paper.id, position)
        assert paper.abstract[chunk.start : chunk.end] == chunk.text
        assert chunk.text.strip()
        assert len(chunk.text) <= CHUNK_CHARS
        assert not paper.abstract[end : chunk.start].strip(), "a character between chunks is lost"
        assert chunk.start >= end, "chunks overlap"
        end = chunk.end
    assert not paper.abstract[end:].strip(), "the end is lost"


@given(PROSE)
def test_chunks_are_exact_spans_that_lose_and_repeat_nothing(abstract: str) -> None:
    paper = Paper("p", "Title", abstract)
    assert_exact(paper, chunk_paper(paper))


def test_the_seeds_are_cut_at_sentence_ends(seeds: Path) -> None:
    papers = [paper for paper in read_papers([seeds]) if isinstance(paper, Paper)]
    ends = []
    for paper in papers:
        chunks = chunk_paper(paper)
        assert_exact(paper, chunks)
        ends += [chunk.text.rstrip(")\"'")[-1] for chunk in chunks[:-1]]
    assert sum(end in ".!?" for end in ends) / len(ends) > 0.9


def test_an_abbreviation_is_no_sentence_end() -> None:
    first = "We follow Smith et al. " + "A" + "a" * 200 + " and go on, "
    abstract = first + "b" * 160 + ". Then B comes, e.g. In tables, " + "c" * 200 + "."
    texts = [chunk.text for chunk in chunk_paper(Paper("p", "T", abstract))]
    assert not any(text.endswith(("et al.", "e.g.")) for text in texts)


@pytest.mark.parametrize("abstract", ["Short.", "  Short with space around.\n", "x" * CHUNK_CHARS])
def test_a_short_abstract_is_one_chunk(abstract: str) -> None:
    (chunk,) = chunk_paper(Paper("p", "T", abstract))
    assert chunk.text == abstract.strip()


def test_spans_are_enough_to_make_the_chunks_again() -> None:
    paper = Paper("a:b", "T", "A sentence of some length. " * 60)
    assert chunks_from_spans(paper, chunk_spans(paper.abstract)) == chunk_paper(paper)
