"""Words, numbers and names compare whatever their spelling."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from hypothesis import example, given
from hypothesis import strategies as st

from assistant.answer.verification import Evidence, flatten, names, numbers, words_of
from assistant.checking.sentences import sentence_spans
from vectorstore import Paper


def rare(words: Iterable[str]) -> dict[str, int]:
    return dict.fromkeys(words, 1)


def of(title: str, abstract: str) -> Evidence:
    return Evidence(Paper("id", title, abstract), rare, 100)


@given(st.text() | st.text("Aæøıéñ\u0301\u0308\\{}$^~\"' 12"))
@example("\\À")
def test_composed_and_decomposed_text_have_the_same_words(text: str) -> None:
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert words_of(composed) == words_of(decomposed) == words_of(text)
    assert flatten(composed) == flatten(decomposed) == flatten(text)


def test_numbers_compare_by_value() -> None:
    assert numbers("nine, 9, 9.0 and 1,000 or 1000; 0.50") == {"9", "1000", "0.5"}


def test_names_are_capitals_inside_words_or_sentences() -> None:
    assert names("The model BERT beats GPT-4 and LoRA, says Smith.") == [
        "BERT",
        "GPT-4",
        "LoRA",
        "Smith",
    ]


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
