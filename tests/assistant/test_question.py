"""Which questions can be asked, which want several papers, which lean on earlier ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.answer.question import (
    MOST_CHARACTERS,
    asks_for_several,
    checked,
    refers_back,
    shifts_subject,
)
from assistant.errors import QuestionError


@pytest.mark.parametrize("text", ["", "   ", "?", "...!", "\x00\x01", "\u200b"])
def test_what_holds_no_word_is_no_question(text: str) -> None:
    with pytest.raises(QuestionError) as caught:
        checked(text)
    assert caught.value.hint


def test_a_hundred_thousand_characters_are_refused_in_words() -> None:
    with pytest.raises(QuestionError, match="100,000 characters"):
        checked("word " * 19_999 + "word?")


@given(st.text(max_size=MOST_CHARACTERS))
def test_a_checked_question_is_printable_and_stays_as_it_is(text: str) -> None:
    try:
        question = checked(text)
    except QuestionError:
        return
    assert question
    assert question == checked(question)
    assert all(char.isprintable() or char in "\n\t" for char in question)


def test_a_lone_surrogate_is_replaced() -> None:
    assert checked("what \udcff is it") == "what ? is it"


@pytest.mark.parametrize(
    "question",
    [
        "Which methods make diffusion models forget, and what is the idea of each?",
        "Compare UL2 and CodeGen2.",
        "What approaches are there to continual learning?",
        "What is the difference between LIME and SHAP?",
        "List all papers about retrieval.",
    ],
)
def test_questions_over_several_papers_are_seen(question: str) -> None:
    assert asks_for_several(question)


@pytest.mark.parametrize(
    "question",
    [
        "How many datasets does BenchX include?",
        "What does the temperature do in contrastive learning?",
        "Which architecture has an output dictionary made of input positions?",
    ],
)
def test_questions_about_one_thing_are_not(question: str) -> None:
    assert not asks_for_several(question)


@pytest.mark.parametrize(
    ("question", "leans"),
    [
        ("And on which datasets?", True),
        ("How much does that method modify?", True),
        ("Why?", True),
        ("Which closed models does it beat?", True),
        ("Which benchmark compares chest X-ray pretraining methods?", False),
        ("What is Meta-Transformer?", False),
        ("What do swans eat?", False),
        ("How does SalUn work?", False),
        ("Explain unlearning", False),
        ("Explain more", True),
        ("Which modalities?", True),
        ("How many parameters?", True),
        ("What is the accuracy?", True),
        ("What are limitations?", True),
        ("Why does performance drop?", True),
        ("Who are the authors?", True),
    ],
)
def test_follow_ups_are_rewritten_only_when_they_lean(question: str, leans: bool) -> None:
    assert refers_back(question) == leans


@pytest.mark.parametrize(
    ("question", "shifts"),
    [
        ("Is there something like that for code models too, and what did they learn?", True),
        ("Has that kind of thing been done for GANs as well?", True),
        ("Does it also work for audio?", True),
        ("And why is too much of it bad?", False),
        ("How many tasks as well as datasets did they use?", False),
        ("Which closed models does it beat?", False),
    ],
)
def test_follow_ups_that_take_the_matter_elsewhere_are_seen(question: str, shifts: bool) -> None:
    assert shifts_subject(question) == shifts
