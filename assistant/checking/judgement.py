"""From the measures of a sentence to a verdict: may it stand as what the paper says?

A logistic model without a positive weight: whatever is found can only speak against a sentence. Its
weights and the least support that is asked for are in ``weights.json``; ``python -m
benchmarks.fit_check`` fits them and prints how far they carry to other papers (docs/checking.md).
"""

from __future__ import annotations

import functools
import json
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from assistant.checking.alignment import Alignment, PaperWords, align
from assistant.checking.defects import CONTRADICTIONS, MEASURES, Defect, compare
from assistant.checking.sentences import Span
from assistant.checking.words import without_answer_word, words_of
from vectorstore import Paper

Verdict = Literal["supported", "contradicted", "not_found"]

SHARE_TO_CONTRADICT = 0.6
"""Share of a sentence's weight that a paper must hold to be about the same thing."""
SHARE_TO_SUPPORT = 0.5
"""Share of a sentence's weight that a paper must hold to support it, whatever else is right."""
_WEIGHTS = Path(__file__).with_name("weights.json")


@dataclass(frozen=True, slots=True)
class Weights:
    """The fitted model.

    Attributes:
        base: Log odds of a sentence in which nothing wrong was found.
        by_measure: Log odds that a unit of each measure takes away; none is positive.
        support_at_least: Support from which a sentence counts as supported.
    """

    base: float
    by_measure: Mapping[str, float]
    support_at_least: float


@functools.cache
def weights() -> Weights:
    """Return the fitted model, read once."""
    fields = json.loads(_WEIGHTS.read_text(encoding="utf-8"))
    return Weights(fields["base"], fields["by_measure"], fields["support_at_least"])


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a sentence stands against one paper.

    Attributes:
        verdict: ``supported`` if it may be shown as what the paper says.
        support: Estimated probability that the paper says it, in [0, 1].
        reason: Why it is not supported, for the reader; empty if it is.
        spans: The sentences of the abstract that it rests on, in order; none if no word is shared.
        share: Weighted share of its words that these sentences hold, in [0, 1].
    """

    verdict: Verdict
    support: float
    reason: str
    spans: tuple[Span, ...]
    share: float

    @property
    def supported(self) -> bool:
        """True if the sentence may be shown as what the paper says."""
        return self.verdict == "supported"


class PaperCheck:
    """One paper, prepared for checking sentences against it.

    Args:
        paper: Spans point into its abstract; the title counts as text, but is never quoted.
    """

    def __init__(self, paper: Paper) -> None:
        self.paper = paper
        self._words = PaperWords(paper.title, paper.abstract)

    def check(self, sentence: str, question: str = "") -> Judgement:
        """Compare a sentence with the paper.

        Args:
            sentence: One sentence, or an elliptic answer such as "No, 97 of the 436 cases."
            question: Words that the sentence only repeats from it need not stand in the paper.
        """
        # Abstracts are stored composed.
        claim = without_answer_word(unicodedata.normalize("NFC", sentence))
        alignment = align(self._words, claim)
        if not alignment.content:
            return Judgement("not_found", 0.0, "there is nothing in it to compare", (), 0.0)
        compared = compare(self._words, alignment, words_of(question))
        defects = {name: measure(compared) for name, measure in MEASURES.items()}
        return _judged(self._words, alignment, defects)


def _judged(paper: PaperWords, alignment: Alignment, defects: Mapping[str, Defect]) -> Judgement:
    fitted = weights()
    against = {name: fitted.by_measure[name] * defect.size for name, defect in defects.items()}
    support = 1 / (1 + math.exp(-(fitted.base + sum(against.values()))))
    share = 1 - defects["missing_share"].size
    spans = tuple(paper.spans[number] for number in alignment.chosen)
    if spans and support >= fitted.support_at_least and share >= SHARE_TO_SUPPORT:
        return Judgement("supported", support, "", spans, share)
    told = [name for name in against if defects[name].reason]
    worst = min(told, key=against.__getitem__, default="")
    contradicts = worst in CONTRADICTIONS and share >= SHARE_TO_CONTRADICT
    reason = defects[worst].reason if worst else "too few of its words stand together there"
    return Judgement("contradicted" if contradicts else "not_found", support, reason, spans, share)
