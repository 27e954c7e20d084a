"""From what the model writes about a paper to what may be shown of it. Pure.

A sentence is shown as it was written if the check supports it, and if it leaves out no number of
the sentences that it rests on. Otherwise those are quoted: small models
find the place in a paper more reliably than they say what stands there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from assistant.answer.verification import Evidence
from assistant.checking.judgement import PaperCheck
from assistant.checking.markers import plain
from assistant.checking.sentences import Span
from vectorstore import Paper

# Measured on the development questions, see docs/engine.md.
SHARE_TO_POINT = 0.4
"""Share of a failed sentence's words that the paper must hold for its place to be quoted."""
PROBE_TO_QUOTE = 0.0
"""Log odds from which a paper is quoted though nothing that was written could be verified."""

_LIST_NUMBER = re.compile(r"^\d{1,2}[.)]\s+")
_FRAME = re.compile(
    r"^(?:it|(?:the|this) (?:abstract|paper|authors?)) "
    r"(?:(?:also|then|further|specifically) )*"
    r"(?:(?:states?|mentions?|says?|notes?|explains?|shows?|highlights?|reports?|argues?)"
    r"|(?:begins|starts|concludes|ends) by (?:stating|saying|noting|mentioning))(?: that\b|:)\s+",
    re.IGNORECASE,
)
"""What the model puts around what a paper says; the citation says it better."""
_QUOTATION_MARKS = dict.fromkeys(map(ord, '"“”„«»'))
_DECLINES = re.compile(
    r"\b(?:does|do|did|is|are|was|were|has|have)(?:\s+not|n['’]t)\s+(?:\w+\s+){0,3}?"
    r"(?:mention|specif|stat|provid|say|contain|discuss|report|give|address|include|disclos|"
    r"explicit|detail|indicat|describ|cover|available|clear)"
    r"|\bno\s+(?:information|mention|details?)\b|\bunclear\b|\bcannot\s+(?:be\s+)?(?:determin|answer)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Claim:
    """What may be shown as fact."""

    paper: Paper
    text: str
    spans: tuple[Span, ...]
    """The sentences of the abstract that hold it, in order; at least one."""
    support: float
    verbatim: bool = False
    """It is such a sentence itself."""


class Page:
    """One paper that is being written from.

    Args:
        evidence: The paper.
        question: What was asked.
        probe: Log odds that the paper holds the answer.
        one_of_several: Other papers answer, too, and each does so in one claim.
    """

    def __init__(
        self, evidence: Evidence, question: str, *, probe: float, one_of_several: bool
    ) -> None:
        self._evidence = evidence
        self._question = question
        self._several = one_of_several
        self._check = PaperCheck(evidence.paper)
        self._may_be_quoted = one_of_several or probe >= PROBE_TO_QUOTE
        self._held: list[Claim] = []
        """Quotations that wait for a verified sentence: alone they may be beside the point."""
        self._shown: set[Span] = set()

    def consider(self, text: str, *, complete: bool = True) -> Iterator[Claim]:
        """Judge a sentence of the model; yields what may be shown because of it.

        Args:
            text: The sentence.
            complete: It was not cut off in the middle.
        """
        text = unframed(plain(text).strip('*"“” '))
        judgement = self._check.check(text, self._question)
        if _DECLINES.search(text):
            self._may_be_quoted = False
            return
        if self._evidence.lacks_a_number(text):
            self._may_be_quoted = False  # the answer is not in there
        if not (complete and judgement.supported):
            if judgement.share >= SHARE_TO_POINT:
                self._held += self._quotations(judgement.spans)
            return
        yield from self._release()
        if self._evidence.leaves_out_a_number(text, judgement.spans):
            yield from self._quotations(judgement.spans)
        else:
            yield Claim(self._evidence.paper, text, judgement.spans, judgement.support)
        self._may_be_quoted = True

    def rest(self) -> Iterator[Claim]:
        """What is left to be shown when the model has ended."""
        if self._may_be_quoted:
            yield from self._release()

    def _release(self) -> Iterator[Claim]:
        held, self._held = self._held, []
        yield from held

    def _quotations(self, spans: tuple[Span, ...]) -> list[Claim]:
        fresh = [span for span in spans if span not in self._shown]
        self._shown.update(fresh)
        paper = self._evidence.paper
        return [
            Claim(paper, plain(paper.abstract[a:b]), ((a, b),), 1.0, verbatim=True)
            for a, b in fresh
        ]


def unquoted(text: str) -> str:
    """What the model writes without its quotation marks: ours mean that each word is the paper's.

    Nor does anything else look between them: pysbd finds no sentence there.
    """
    return text.translate(_QUOTATION_MARKS)


def unframed(text: str) -> str:
    """A sentence without "The abstract states that" and the like, and without a list's number."""
    bare = _FRAME.sub("", _LIST_NUMBER.sub("", text))
    return bare[:1].upper() + bare[1:] if bare != text else text
