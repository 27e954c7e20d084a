"""From what the model writes about a paper to what may be shown of it. Pure.

A sentence is shown as it was written if the paper holds its words, numbers and names, and if it
leaves out no number of the sentences that it rests on. Otherwise those are quoted: small models
find the place in a paper more reliably than they say what stands there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from assistant.answer.sentences import Span
from assistant.answer.verification import Evidence
from vectorstore import Paper

# Measured on the development questions, see docs/engine.md.
PROBE_SURE = 0.0
"""Log odds from which the usual support is enough."""
SUPPORT_AT_LEAST, SUPPORT_IF_UNSURE = 0.7, 0.85
"""Share of a sentence's content words that its paper must hold."""
SUPPORT_TO_POINT = 0.4
"""Share from which a sentence that is not shown still tells which place of the paper is meant."""
PROBE_TO_QUOTE = 0.0
"""Log odds from which a paper is quoted though nothing that was written could be verified."""

_MARKER = re.compile(r"\s*\[\s*\d+(?:\s*[,;–-]\s*\d+)*\s*\]")
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
        sure = one_of_several or probe >= PROBE_SURE
        self._wanted = SUPPORT_AT_LEAST if sure else SUPPORT_IF_UNSURE
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
        check = self._evidence.check(text, self._question)
        if _DECLINES.search(text):
            self._may_be_quoted = False
            return
        if check.missing_numbers:
            self._may_be_quoted = False  # the answer is not in there
        if not (complete and check.holds(self._wanted)):
            if check.support >= SUPPORT_TO_POINT:
                self._held += self._quotations(check.spans[:1])
            return
        yield from self._release()
        if self._evidence.leaves_out_a_number(text, check.spans):
            yield from self._quotations(check.spans)
        else:
            yield Claim(self._evidence.paper, text, check.spans, check.support)
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


def without_markers(text: str) -> str:
    """Without what looks like a citation and is none of ours: a question, abstract or title's."""
    return _MARKER.sub("", text)


def plain(text: str) -> str:
    """On one line, and without what looks like a citation of ours."""
    return " ".join(without_markers(text).split())
