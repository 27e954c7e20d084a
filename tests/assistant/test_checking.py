"""A sentence is supported only if its paper says it."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.checking.defects import MEASURES
from assistant.checking.judgement import PaperCheck, weights
from assistant.checking.sentences import sentence_spans
from assistant.checking.texts import check_text, makes_claim
from assistant.checking.words import words_of
from assistant.resources import resource
from vectorstore import Paper
from vectorstore.sources.papers import read_papers

TITLE = 'T\\"ULU 3: Pushing Frontiers'
ABSTRACT = (
    'We introduce T\\"ULU 3, which builds on Llama 3.1 base models. It is compared on nine '
    "datasets and four tasks with closed models such as GPT-4o-mini. Recall rises by 4.03\\%, "
    "1,000 annotators agree, and its loss uses the Fr\\'echet mean of $R^3$."
)
TULU = PaperCheck(Paper("tulu", TITLE, ABSTRACT))
TRIAL = PaperCheck(
    Paper(
        "trial",
        "A trial of the drug",
        "In mice, the drug reduced pain in 12 of 40 animals. Relapse was seen in 30.8% of treated "
        "and 12.5% of untreated animals. The drug may prevent relapse without raising pressure. "
        "Sleep did not improve.",
    )
)
SEEDS = [
    paper
    for paper in read_papers([resource("seeds/huggingface_papers.txt")])
    if isinstance(paper, Paper)
]


@pytest.mark.parametrize(
    "sentence",
    [
        "TÜLU 3 builds on Llama 3.1 base models.",
        "It is compared on 9 datasets.",
        "Recall rises by 4.03%.",
        "1000 annotators agree.",
        "The loss uses the Fréchet mean of R^3.",
        "It is compared with closed models such as GPT-4o-mini.",
    ],
)
def test_a_sentence_in_other_spelling_is_supported(sentence: str) -> None:
    judgement = TULU.check(sentence)
    assert judgement.supported, judgement.reason
    assert judgement.spans
    assert judgement.reason == ""


@pytest.mark.parametrize(
    ("sentence", "word"),
    [
        ("It is compared on 8 datasets.", "8"),
        ("Recall rises by 4.3%.", "4.3"),
        ("It builds on Mistral base models.", "Mistral"),
        ("It is compared with closed models such as GPT-5.", "5"),
    ],
)
def test_a_number_or_name_from_elsewhere_is_named(sentence: str, word: str) -> None:
    judgement = TULU.check(sentence)
    assert not judgement.supported
    assert word in judgement.reason


@pytest.mark.parametrize(
    "sentence",
    [
        "In mice, the drug increased pain in 12 of 40 animals.",
        "Relapse was seen in 12.5% of treated and 30.8% of untreated animals.",
        "Sleep did improve.",
        "The drug may prevent relapse while raising pressure.",
    ],
)
def test_a_turned_sentence_is_not_supported(sentence: str) -> None:
    judgement = TRIAL.check(sentence)
    assert not judgement.supported
    assert judgement.reason


@pytest.mark.parametrize("paper", SEEDS, ids=lambda paper: paper.id[:30])
def test_every_sentence_of_an_abstract_is_supported_by_itself(paper: Paper) -> None:
    check = PaperCheck(paper)
    for start, end in sentence_spans(paper.abstract):
        judgement = check.check(paper.abstract[start:end])
        assert judgement.supported, judgement
        assert (start, end) in judgement.spans


def test_a_sentence_of_another_paper_is_not_supported() -> None:
    for paper, other in zip(SEEDS, [*SEEDS[1:], SEEDS[0]], strict=True):
        check = PaperCheck(paper)
        for start, end in sentence_spans(other.abstract):
            assert not check.check(other.abstract[start:end]).supported


def test_nothing_that_is_found_can_speak_for_a_sentence() -> None:
    fitted = weights()
    assert set(fitted.by_measure) == set(MEASURES)
    assert all(weight <= 0 for weight in fitted.by_measure.values())


@given(st.text(max_size=300))
def test_any_text_can_be_checked(text: str) -> None:
    judgement = TULU.check(text)
    assert 0 <= judgement.support <= 1
    assert judgement.supported == (not judgement.reason)
    assert all(ABSTRACT[start:end].strip() for start, end in judgement.spans)


@given(st.text() | st.text("Aæøıéñ\u0301\u0308 12"))
def test_composed_and_decomposed_text_are_judged_alike(text: str) -> None:
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert TULU.check(composed) == TULU.check(decomposed)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("ninety-seven of 436 cases", [97, 436]),
        ("13,343 people and 1,000.5 more", [13343, 1000.5]),
        ("164M tokens, 2k users, 3 million words", [164e6, 2000, 3e6]),
        ("a fourfold rise, twice as fast, half of them", [4, 2, 0.5]),
        ("two thousand papers", [2000]),
    ],
)
def test_numbers_have_their_value(text: str, values: list[float]) -> None:
    assert [word.number for word in words_of(text) if word.number is not None] == values


def test_a_text_is_checked_sentence_by_sentence() -> None:
    text = (
        "In this section we look at the drug. In mice, the drug reduced pain in 12 of 40 animals "
        "[3]. In mice, the drug increased pain in 12 of 40 animals. Bananas are grown in Ecuador."
    )
    checked = list(check_text(text, lambda _: [TRIAL.paper]))
    assert [each.verdict for each in checked] == [
        "no_claim",
        "supported",
        "contradicted",
        "not_found",
    ]
    assert " ".join(each.sentence for each in checked) == text
    for each in checked:
        for citation in each.citations:
            assert TRIAL.paper.abstract[citation.start : citation.end] == citation.quote
    assert "increased" in checked[2].reason
    assert "reduced" in checked[2].reason
    assert json.dumps([each.as_dict() for each in checked])


def test_questions_and_headings_claim_nothing() -> None:
    assert not makes_claim("Does the drug help?")
    assert not makes_claim("Results.")
    assert makes_claim("The drug reduced pain.")


def test_of_the_claims_in_the_quality_folder_few_wrong_ones_on_the_seeds_pass() -> None:
    path = Path(__file__).parents[1] / "quality" / "claims.jsonl"
    papers = {paper.title: PaperCheck(paper) for paper in SEEDS}
    shown: dict[str, list[bool]] = {"supported": [], "unsupported": []}
    for line in path.read_text(encoding="utf-8").splitlines():
        claim = json.loads(line)
        if claim["paper"] in papers:
            check = papers[claim["paper"]].check(claim["sentence"])
            shown[claim["label"]].append(check.supported)
    assert len(shown["unsupported"]) >= 40
    assert sum(shown["unsupported"]) <= 0.15 * len(shown["unsupported"])
    assert sum(shown["supported"]) >= 0.2 * len(shown["supported"])
