"""A sentence passes only if its paper says it: words, numbers, names."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assistant.answer.verification import Evidence, flatten, names, numbers, words_of
from assistant.checking.sentences import sentence_spans
from assistant.resources import resource
from vectorstore import Paper
from vectorstore.sources.papers import read_papers

TITLE = 'T\\"ULU 3: Pushing Frontiers'
ABSTRACT = (
    'We introduce T\\"ULU 3, which builds on Llama 3.1 base models. It is compared on nine '
    "datasets and four tasks with closed models such as GPT-4o-mini. Recall rises by 4.03\\%, "
    "1,000 annotators agree, and its loss uses the Fr\\'echet mean of $R^3$."
)
SEEDS = [
    paper
    for paper in read_papers([resource("seeds/huggingface_papers.txt")])
    if isinstance(paper, Paper)
]


def rare(words: Iterable[str]) -> dict[str, int]:
    return dict.fromkeys(words, 1)


def evidence() -> Evidence:
    return of(TITLE, ABSTRACT)


def of(title: str, abstract: str) -> Evidence:
    return Evidence(Paper("id", title, abstract), rare, 100)


@pytest.mark.parametrize(
    "sentence",
    [
        "TÜLU 3 builds on Llama 3.1 base models.",
        "It is compared on 9 datasets.",
        "Recall rises by 4.03%.",
        "1000 annotators agree.",
        "The loss uses the Fréchet mean of R^3.",
        "Closed models such as GPT-4o-mini are compared.",
    ],
)
def test_what_the_paper_says_in_other_spelling_passes(sentence: str) -> None:
    check = evidence().check(sentence)
    assert check.sound
    assert check.support >= 0.99
    assert check.spans


@pytest.mark.parametrize(
    ("sentence", "numbers", "names"),
    [
        ("It is compared on 8 datasets.", ("8",), ()),
        ("It is compared on eleven datasets.", ("11",), ()),
        ("Recall rises by 4.3%.", ("4.3",), ()),
        ("It builds on Mistral base models.", (), ("Mistral",)),
        ("Closed models such as GPT-5 are compared.", ("5",), ("GPT-5",)),
        ("The loss uses the BERTScore mean.", (), ("BERTScore",)),
    ],
)
def test_a_number_or_name_from_elsewhere_is_named(
    sentence: str, numbers: tuple[str, ...], names: tuple[str, ...]
) -> None:
    check = evidence().check(sentence)
    assert not check.sound
    assert check.missing_numbers == numbers
    assert check.missing_names == names


def test_the_spans_are_the_sentences_that_hold_the_words() -> None:
    check = evidence().check("It is compared on nine datasets with GPT-4o-mini.")
    assert [ABSTRACT[start:end] for start, end in check.spans] == [
        "It is compared on nine datasets and four tasks with closed models such as GPT-4o-mini."
    ]


@pytest.mark.parametrize("paper", SEEDS, ids=lambda paper: paper.id[:30])
def test_every_sentence_of_an_abstract_is_supported_by_itself(paper: Paper) -> None:
    own = Evidence(paper, rare, 68)
    for start, end in sentence_spans(paper.abstract):
        check = own.check(paper.abstract[start:end])
        assert check.sound, check
        assert check.support == pytest.approx(1.0)
        assert (start, end) in check.spans


def test_a_sentence_of_another_paper_is_not_supported() -> None:
    for paper, other in zip(SEEDS, [*SEEDS[1:], SEEDS[0]], strict=True):
        own = Evidence(paper, rare, 68)
        checks = [own.check(other.abstract[a:b]) for a, b in sentence_spans(other.abstract)]
        passed = [check for check in checks if check.sound and check.support >= 0.7]
        assert len(passed) <= 1, (paper.title, other.title)


@given(st.text() | st.text("Aæøıéñ\u0301\u0308\\{}$^~\"' 12"))
@example("\\À")
def test_composed_and_decomposed_text_have_the_same_words(text: str) -> None:
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert words_of(composed) == words_of(decomposed) == words_of(text)
    assert flatten(composed) == flatten(decomposed) == flatten(text)


@given(st.text(max_size=300))
def test_any_text_can_be_checked(text: str) -> None:
    check = evidence().check(text)
    assert 0 <= check.support <= 1
    assert all(ABSTRACT[start:end].strip() for start, end in check.spans)


def test_what_its_spans_only_deny_cannot_be_asserted() -> None:
    paper = of("Toy", "The results are surely not SOTA. Speed is not reduced.")
    assert paper.check("It claims SOTA results.").denied == ("sota",)
    assert paper.check("It does not claim SOTA results.").sound
    assert paper.check("The results are reported.").sound


def test_numbers_compare_by_value() -> None:
    assert numbers("nine, 9, 9.0 and 1,000 or 1000; 0.50") == {"9", "1000", "0.5"}


def test_names_are_capitals_inside_words_or_sentences() -> None:
    assert names("The model BERT beats GPT-4 and LoRA, says Smith.") == [
        "BERT",
        "GPT-4",
        "LoRA",
        "Smith",
    ]


def test_an_abbreviation_may_be_made_of_words_that_the_paper_holds() -> None:
    abstract = "We use non-negative matrix factorization to recover the classes."
    paper = of("Topics", abstract)
    spelt = "The step is non-negative matrix factorization (NMF)."
    assert paper.check(spelt).missing_names == ()
    assert paper.check("The step is non-negative tensor factorization (NTF).").missing_names
    assert paper.check("The step is NMF.").missing_names


def test_a_name_of_the_question_is_foreign_unless_the_paper_has_it_or_spells_it_out() -> None:
    paper = of("Forgetting in LLMs", "Large language models forget with SalUn.")
    assert paper.foreign_names("Which LLM does SalUn make forget?") == ()
    assert paper.foreign_names("What FID does SalUn reach on MuJoCo?") == ("FID", "MuJoCo")


def test_a_sentence_that_leaves_out_a_number_of_its_source_is_told() -> None:
    abstract = "Pretraining took 184K GPU-hours, forgetting about 2 GPU hours. It has 7 layers."
    paper = of("Forgetting", abstract)
    first, second = sentence_spans(abstract)
    assert paper.leaves_out_a_number("It took 184K GPU-hours.", [first])
    assert not paper.leaves_out_a_number("It took 184K GPU-hours, not 2 GPU hours.", [first])
    assert not paper.leaves_out_a_number("It has seven layers.", [second])


def test_the_words_of_a_question_that_a_paper_lacks_are_named() -> None:
    paper = of("Forgetting", "We finetune models.")
    assert paper.absent(["model", "finetuning", "batch", "size"]) == ["batch", "size"]
