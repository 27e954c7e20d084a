"""Sentences are exact spans; nothing but white space lies between them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.checking.sentences import sentence_spans
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


@given(st.text(alphabet="1aA .!?()[]'\"“”\n-", min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_repeated_text_takes_no_longer_a_character(unit: str) -> None:
    text = (unit * 20_000)[:20_000]
    started = time.process_time()
    sentence_spans(text)
    assert time.process_time() - started < 4


@pytest.mark.parametrize(
    "text",
    ["1. " * 13_000, "U.S. " * 8_000, "a.[" + "1" * 100 + " B", "“" * 40_000, " 'a" * 13_000],
    ids=["list", "abbreviations", "digits", "quotation marks", "apostrophes"],
)
def test_hostile_text_is_cut_within_four_seconds(text: str) -> None:
    started = time.process_time()
    sentence_spans(text)
    assert time.process_time() - started < 4


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
        ("In the U.S. We see more. Done.", ["In the U.S.", "We see more.", "Done."]),
        ("In the U.S. market it fell. Done.", ["In the U.S. market it fell.", "Done."]),
        (
            "It follows Dr. Smith et al. In Fig. 2 too.",
            ["It follows Dr. Smith et al. In Fig. 2 too."],
        ),
        ('He said "Stop. Go." We went.', ['He said "Stop. Go."', "We went."]),
        ("It works. (It does. Often.) We win.", ["It works.", "(It does. Often.)", "We win."]),
        ("1. First it reads. 2. Then it asks.", ["1. First it reads.", "2. Then it asks."]),
        ("It stays... quiet. Loud... Then over.", ["It stays... quiet.", "Loud...", "Then over."]),
        ("它很快。它很好！", ["它很快。", "它很好！"]),
        ("First line.\nSecond line\ngoes on.", ["First line.", "Second line\ngoes on."]),
        ("Is it so (p < .1).Then on!", ["Is it so (p < .1).", "Then on!"]),
        ("", []),
        ("   ", []),
        ("no end", ["no end"]),
    ],
)
def test_what_looks_like_an_end_and_is_none(text: str, sentences: list[str]) -> None:
    assert [text[start:end] for start, end in sentence_spans(text)] == sentences
