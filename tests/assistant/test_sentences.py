"""Sentences are exact spans; nothing but white space lies between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.answer.sentences import sentence_spans
from assistant.resources import resource
from vectorstore import Paper
from vectorstore.sources.papers import read_papers

SEEDS = [
    paper
    for paper in read_papers([resource("seeds/huggingface_papers.txt")])
    if isinstance(paper, Paper)
]


def between(text: str) -> str:
    """What no span covers."""
    rest, position = "", 0
    for start, end in sentence_spans(text):
        assert position <= start < end <= len(text)
        rest, position = rest + text[position:start], end
    return rest + text[position:]


@given(st.text(alphabet=st.sampled_from('ab .!?"()\n-1,$\\é“”'), max_size=120))
def test_spans_are_ordered_and_lose_nothing(text: str) -> None:
    assert not between(text).strip()


@given(st.text(max_size=200))
def test_any_text_is_survived(text: str) -> None:
    assert not between(text).strip()


@pytest.mark.parametrize("paper", SEEDS, ids=lambda paper: paper.id[:30])
def test_every_bundled_abstract_is_cut_into_whole_sentences(paper: Paper) -> None:
    spans = sentence_spans(paper.abstract)
    assert not between(paper.abstract).strip()
    assert len(spans) >= 3
    for start, end in spans:
        sentence = paper.abstract[start:end]
        assert sentence[0].isupper() or sentence[0].isdigit() or sentence[0] in "\"'($`“", sentence
        assert len(sentence.split()) >= 3, sentence


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It gains 3.5 points. We win.", ["It gains 3.5 points.", "We win."]),
        ("We test e.g. BERT et al. on it. Fine.", ["We test e.g. BERT et al. on it.", "Fine."]),
        ("See https://a.b/c.html. Next one.", ["See https://a.b/c.html.", "Next one."]),
        ("It does (i) this. And (ii) that.", ["It does (i) this.", "And (ii) that."]),
        (
            "Zero-shot -- or none. Then more -- always.",
            ["Zero-shot -- or none.", "Then more -- always."],
        ),
        ("", []),
        ("   ", []),
        ("no end", ["no end"]),
    ],
)
def test_what_looks_like_an_end_and_is_none(text: str, sentences: list[str]) -> None:
    assert [text[start:end] for start, end in sentence_spans(text)] == sentences
