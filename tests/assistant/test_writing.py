"""What the model writes about a paper is shown only as far as the paper holds it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.answer.verification import Evidence
from assistant.answer.writing import Claim, Page, unframed, unquoted
from assistant.checking.sentences import sentence_spans
from vectorstore import Paper

ABSTRACT = (
    "We introduce Larch, which reads each page once. It answers in 5.7 seconds instead of 38 on a "
    "laptop. Its authors trained two variants, LarchS and LarchL, on public data. States are "
    "dropped when they have not been used for a month."
)
PAPER = Paper("larch", "Larch: Reading Once", ABSTRACT)
QUESTION = "How fast is Larch, and which variants are there?"


def page(probe: float = 2.0, *, several: bool = False) -> Page:
    def rare(words: Iterable[str]) -> dict[str, int]:
        return dict.fromkeys(words, 1)

    return Page(Evidence(PAPER, rare, 100), QUESTION, probe=probe, one_of_several=several)


def shown(sentences: Iterable[str], probe: float = 2.0, *, several: bool = False) -> list[Claim]:
    written = page(probe, several=several)
    return [*(claim for text in sentences for claim in written.consider(text)), *written.rest()]


def test_a_sentence_that_the_paper_holds_is_shown_as_it_was_written() -> None:
    (claim,) = shown(["The abstract states that Larch reads each page once [7]."])
    assert claim.text == "Larch reads each page once."
    assert not claim.verbatim
    assert [ABSTRACT[a:b] for a, b in claim.spans] == [
        "We introduce Larch, which reads each page once."
    ]


def test_sentences_that_the_model_puts_into_quotation_marks_are_told_apart() -> None:
    written = unquoted(
        'The abstract states: "We introduce Larch, which reads each page once. It answers in 5.7 '
        'seconds instead of 38 on a laptop. "'
    )
    claims = shown(written[a:b] for a, b in sentence_spans(written))
    assert [claim.text for claim in claims] == [
        "We introduce Larch, which reads each page once.",
        "It answers in 5.7 seconds instead of 38 on a laptop.",
    ]


def test_where_a_number_was_left_out_the_place_itself_is_quoted() -> None:
    (claim,) = shown(["It answers in 5.7 seconds."])
    assert claim.verbatim
    assert claim.text == "It answers in 5.7 seconds instead of 38 on a laptop."


def test_a_sentence_that_fails_still_points_to_its_place() -> None:
    good, quoted = shown(
        ["Larch reads each page once.", "Unused states of last month are thrown away and dropped."]
    )
    assert not good.verbatim
    assert quoted.verbatim
    assert quoted.text == "States are dropped when they have not been used for a month."


def test_a_sentence_that_was_cut_off_points_but_is_not_shown() -> None:
    written = page()
    cut = "The authors trained two variants, LarchS"
    claims = [*written.consider(cut, complete=False), *written.rest()]
    assert [claim.text for claim in claims] == [
        "Its authors trained two variants, LarchS and LarchL, on public data."
    ]


@pytest.mark.parametrize(
    "sentence",
    [
        "Larch answers in 4.2 seconds on a laptop.",
        "The abstract does not mention states that are dropped.",
    ],
)
def test_nothing_is_quoted_for_a_number_from_elsewhere_or_a_refusal(sentence: str) -> None:
    assert shown([sentence]) == []


def test_nothing_is_quoted_alone_unless_the_paper_is_sure_to_answer() -> None:
    failing = ["Unused states of last month are thrown away and dropped."]
    assert shown(failing, probe=2.0)
    assert shown(failing, probe=-0.1) == []
    assert shown(failing, probe=-0.1, several=True)


def test_no_place_is_quoted_twice() -> None:
    claims = shown(["It answers in 5.7 seconds.", "It answers in 38 seconds on a laptop."])
    assert len(claims) == 1


def test_what_frames_a_sentence_is_cut() -> None:
    assert unframed("The authors also note that it works.") == "It works."
    assert unframed("2. it also mentions that speed rises.") == "Speed rises."
    assert unframed("The abstract states: we win.") == "We win."
    assert unframed("The abstract concludes by stating that it works.") == "It works."
    assert unframed("The abstract is long.") == "The abstract is long."


@given(st.lists(st.text(max_size=60), max_size=5), st.floats(-5, 5))
def test_whatever_is_written_a_claim_rests_on_spans_and_a_quotation_is_one(
    texts: list[str], probe: float
) -> None:
    for claim in shown([*texts, "Larch reads each page once."], probe=probe):
        assert claim.spans
        if claim.verbatim:
            ((start, end),) = claim.spans
            assert claim.text == " ".join(ABSTRACT[start:end].split())


def test_what_looks_like_a_citation_in_an_abstract_is_none_of_ours() -> None:
    paper = Paper("p", "Title", "Larch answers in 7 seconds [3], not in 38 [1, 2] seconds.")
    written = Page(
        Evidence(paper, lambda words: dict.fromkeys(words, 1), 9),
        "How fast?",
        probe=2,
        one_of_several=False,
    )
    (claim,) = written.consider("Larch answers in 7 seconds.")
    assert claim.verbatim
    assert claim.text == "Larch answers in 7 seconds, not in 38 seconds."
    assert [paper.abstract[a:b] for a, b in claim.spans] == [paper.abstract]
