"""One question on its way to an answer: what was found, and what may be said so far.

Knows nothing of the model: claims come in, the cited answer comes out.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assistant.answer.verification import Evidence, content_words
from assistant.answer.writing import Claim
from assistant.checking.citations import Citations
from assistant.checking.markers import plain, without_markers
from assistant.checking.sentences import sentence_spans
from assistant.types import (
    Answer,
    Citation,
    Closest,
    Sentence,
    ShownPassage,
    Status,
    Timings,
    Tokens,
)
from vectorstore import Paper, Passage

if TYPE_CHECKING:
    from vectorstore.filters import Filters

CLOSEST = 3
"""Papers that an abstention names."""
_MOST_WORDS = 6
_MORE_THAN_WORDS = re.compile(r"[<>\[\]{}|\n]|\b(?:ignore|repeat|say|pretend)\b", re.IGNORECASE)


@dataclass(slots=True)
class Answering:
    """What is known about one question so far."""

    question: str
    where: Filters | None = None
    """What the papers must meet that may be asked."""
    earlier: str = ""
    """The questions that this one leans on."""
    shifts: bool = False
    """It takes their matter elsewhere: what answered them does not answer this one."""
    started: float = field(default_factory=time.perf_counter)
    lead: str = ""
    """What was counted, for a question about the collection itself."""
    passages: tuple[Passage, ...] = ()
    retrieved_seconds: float | None = None
    first_text_seconds: float | None = None
    first_sentence_seconds: float | None = None
    likelihoods: dict[str, float] = field(default_factory=dict)
    """Of the papers that met the question, by id, best first."""
    probed: dict[str, float] = field(default_factory=dict)
    sentences: list[Sentence] = field(default_factory=list)
    cited: Citations = field(default_factory=Citations)

    @property
    def standalone(self) -> str | None:
        """What is really asked, where it is more than the question."""
        return f"{self.earlier} {self.question}" if self.earlier else None

    @property
    def asked(self) -> str:
        """The question that the papers are asked."""
        return self.standalone or self.question

    @property
    def scores(self) -> dict[str, float]:
        """The retrieval's, by paper id."""
        return {passage.paper.id: passage.score for passage in self.passages}

    @property
    def ranked(self) -> list[Paper]:
        """The papers that met the question, best first."""
        found = {passage.paper.id: passage.paper for passage in self.passages}
        return [found[each] for each in self.likelihoods]

    @property
    def seconds(self) -> float:
        """Since the question was asked."""
        return time.perf_counter() - self.started

    def say(self, claim: Claim, *, titled: bool) -> Sentence | None:
        """Take a claim into the answer, cited; None if it was said before.

        Args:
            claim: What may be shown.
            titled: Put the paper's title before its first claim, as where several papers answer.
        """
        if any(claim.text in sentence.text for sentence in self.sentences):
            return None
        title = f"{without_markers(claim.paper.title)}: "
        front = title if titled and not self._has_said(claim.paper) else ""
        citations = tuple(self.cited.cite(claim.paper, span) for span in claim.spans)
        text = f"“{claim.text}”" if claim.verbatim else claim.text
        sentence = Sentence(
            f"{front}{text} {_markers(citations)}", citations, claim.support, claim.verbatim
        )
        self.sentences.append(sentence)
        self.text_was_shown()
        if self.first_sentence_seconds is None:
            self.first_sentence_seconds = self.seconds
        return sentence

    def text_was_shown(self) -> None:
        """Note when the first text, if only a draft, can be seen."""
        if self.first_text_seconds is None:
            self.first_text_seconds = self.seconds

    def enlist(self, name: str, papers: Sequence[Evidence], topic: str) -> Sentence:
        """Name papers, each cited with its sentence that has most to do with a topic."""
        entries, citations = [], list[Citation]()
        for evidence in papers:
            spans = evidence.spans_about(topic) or sentence_spans(evidence.paper.abstract)
            citations.append(self.cited.cite(evidence.paper, spans[0]))
            title = without_markers(evidence.paper.title)
            entries.append(f"{title} {_markers(citations[-1:])}")
        front = f"{name}: " if name else ""
        sentence = Sentence(front + "; ".join(entries), tuple(citations), support=1.0)
        self.sentences.append(sentence)
        return sentence

    def _has_said(self, paper: Paper) -> bool:
        return any(each.citations[0].paper_id == paper.id for each in self.sentences)

    def finished(
        self,
        status: Status,
        reason: str | None,
        *,
        model: str,
        tokens: Tokens,
        closest: Sequence[Evidence] = (),
    ) -> Answer:
        """The answer.

        Args:
            status: Whether there is one.
            reason: Why there is none.
            model: Who wrote it.
            tokens: What that took.
            closest: For an abstention: papers near the question, the nearest first.
        """
        near = tuple(found for each in closest[:CLOSEST] if (found := closest_of(each, self.asked)))
        if reason and closest and (absent := absent_words(closest[0], self.asked)):
            named = ", ".join(f"“{word}”" for word in absent[:_MOST_WORDS])
            reason += f"; the closest one does not mention {named}"
        text = self._text() if status == "answered" else _abstention(reason, near)
        return Answer(
            question=self.question,
            text=text,
            status=status,
            reason=reason,
            sentences=tuple(self.sentences),
            citations=tuple(self.cited.all),
            passages=self._shown(),
            timings=Timings(
                self.retrieved_seconds,
                self.first_text_seconds,
                self.seconds,
                self.first_sentence_seconds,
            ),
            tokens=tokens,
            model=model,
            standalone_question=self.standalone,
            lead=self.lead,
            closest=near,
        )

    def _shown(self) -> tuple[ShownPassage, ...]:
        """The papers that were read, best first; where none was, those that were found."""
        found = {passage.paper.id: passage for passage in self.passages}
        return tuple(
            ShownPassage(
                paper=found[each].paper,
                chunk_id=found[each].chunk.id,
                score=found[each].score,
                likelihood=self.likelihoods.get(each),
                probe=self.probed.get(each),
            )
            for each in self.likelihoods or found
        )

    def _text(self) -> str:
        papers = {citation.paper_id for s in self.sentences for citation in s.citations}
        if len(papers) < 2 and not self.lead:
            return " ".join(sentence.text for sentence in self.sentences)
        lines = [
            "- " + " ".join(sentence.text for sentence in group)
            for _, group in itertools.groupby(
                self.sentences, lambda sentence: sentence.citations[0].paper_id
            )
        ]
        return "\n".join([self.lead, *lines] if self.lead else lines)


def _abstention(reason: str | None, near: Sequence[Closest]) -> str:
    text = f"The papers do not say: {reason}."
    if near:
        lines = [f"- {without_markers(each.title)}: “{plain(each.quote)}”" for each in near]
        text += "\n".join([" The closest papers, and what they do say:", *lines])
    return text


def _markers(citations: Sequence[Citation]) -> str:
    return "".join(f"[{citation.number}]" for citation in citations)


def closest_of(evidence: Evidence, question: str) -> Closest | None:
    """The sentence of a paper that has most to do with a question, else with its own title."""
    paper = evidence.paper
    spans = evidence.spans_about(question) or evidence.spans_about(paper.title)
    if not spans:
        return None
    start, end = spans[0]
    return Closest(paper.id, paper.title, start, end, paper.abstract[start:end])


def absent_words(evidence: Evidence, question: str) -> list[str]:
    """Content words of a question that a paper does not hold, as the user wrote them.

    None of a question that is more than words on a line: it may be made to put words in our mouth.
    """
    if _MORE_THAN_WORDS.search(question):
        return []
    absent = evidence.absent(content_words(question))
    spelt = {word.casefold(): word for word in re.findall(r"[^\W_]+", question)}
    return [spelt.get(word, word) for word in absent]
