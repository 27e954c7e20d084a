"""The chat protocol: what is said in OpenAI's words is what the answer says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from assistant.serving.openai_chat import ChatRequest, Script, completion
from assistant.types import Citation, Sentence
from tests.fakes import PAPERS, answer, citation

TEXTS = st.text(st.sampled_from("ab [](<!é𝔸\n.1"), max_size=20)


def request(**fields: object) -> ChatRequest:
    messages = [{"role": "user", "content": "How fast is it?"}]
    return ChatRequest.model_validate({"model": "m", "messages": messages, **fields})


def test_a_conversation_is_a_question_with_its_history() -> None:
    messages = [
        {"role": "system", "content": "Talk like a pirate."},
        {"role": "user", "content": "How fast is it?"},
        {"role": "assistant", "content": "Very."},
        {"role": "user", "content": "x" * 5_000},
        {"role": "user", "content": "?!"},
        {"role": "user", "content": [{"type": "text", "text": "And how"}] * 2},
    ]
    asked = request(messages=messages)
    assert asked.question == "And how\nAnd how"
    assert asked.history == ("How fast is it?",)


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"tools": [{"type": "function"}]},
        {"response_format": {"type": "json_object"}},
        {"logprobs": True},
        {"modalities": ["text", "audio"]},
        {"messages": []},
        {"messages": [{"role": "assistant", "content": "Hello"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
    ],
)
def test_what_would_change_the_answer_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        request(**fields)


@pytest.mark.parametrize(
    "fields",
    [{"temperature": 2.0}, {"max_tokens": 1}, {"tools": []}, {"n": 1}, {"unheard_of": {"a": 1}}],
)
def test_what_only_tunes_is_ignored(fields: dict[str, object]) -> None:
    assert request(**fields).question == "How fast is it?"


def sentences() -> st.SearchStrategy[list[Sentence]]:
    def build(parts: list[tuple[str, int]]) -> list[Sentence]:
        built = []
        for number, (text, paper) in enumerate(parts, start=1):
            cited = citation(number, PAPERS[paper], PAPERS[paper].abstract[:20])
            built.append(Sentence(f"{text} [{number}]", (cited,), support=1.0))
        return built

    return st.lists(st.tuples(TEXTS, st.integers(0, 2)), max_size=5).map(build)


@given(sentences())
def test_each_annotation_points_at_its_marker_and_quotes_its_paper(said: list[Sentence]) -> None:
    message = completion(answer("?", said, PAPERS), str, sources=False).choices[0].message
    assert len(message.annotations) == len(said)
    papers = {paper.id: paper for paper in PAPERS}
    for annotation in message.annotations:
        place, ours = annotation.url_citation, annotation.paper_citation
        marker = message.content[place.start_index : place.end_index]
        assert marker == f"[{ours.number}]"
        assert papers[ours.paper_id].abstract[ours.start : ours.end] == ours.quote


@given(sentences())
def test_pieces_add_up_to_the_whole(said: list[Sentence]) -> None:
    whole = completion(answer("?", said, PAPERS, text="no"), str, sources=True)
    script = Script(str)
    pieces = [script.say(sentence) for sentence in said]
    pieces.append(script.close(answer("?", said, PAPERS, text="no"), sources=True))
    assert "".join(pieces) == script.text == whole.choices[0].message.content


@given(TEXTS)
def test_no_text_becomes_a_link_an_image_or_a_tag(text: str) -> None:
    cited = Citation(1, "p", "t", "p:0", 0, 1, "q")
    piece = Script(str).say(Sentence(text, (cited,), support=1.0))
    assert "](" not in piece
    assert "][" not in piece
    assert "<a" not in piece
    assert "<!" not in piece


def test_sources_come_only_if_they_are_asked_for() -> None:
    said = [Sentence("Fast. [1]", (citation(1, PAPERS[0], "Larch"),), support=1.0)]
    plain = completion(answer("?", said, PAPERS), str, sources=False).choices[0].message.content
    listed = completion(answer("?", said, PAPERS), str, sources=True).choices[0].message.content
    assert plain == "Fast. [1]"
    assert listed == f"Fast. [1]\n\nSources:\n- [1] {PAPERS[0].title}: “Larch”"


def test_a_listing_is_a_list() -> None:
    said = [
        Sentence(f"{paper.title} [{n}]", (citation(n, paper, paper.abstract[:9]),), support=1.0)
        for n, paper in enumerate(PAPERS[:2], start=1)
    ]
    listing = replace(answer("?", said, PAPERS), lead="2 of 4 papers:")
    text = completion(listing, str, sources=False).choices[0].message.content
    assert text == f"2 of 4 papers:\n- {PAPERS[0].title} [1]\n- {PAPERS[1].title} [2]"
