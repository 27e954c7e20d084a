"""The vocabulary of an answer: what a question returns, and the events on the way there.

``Answer.as_dict`` is the JSON contract of the terminal, the batch files and the API: fields may
be added, none renamed. Knows nothing of models, prompts or pages.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vectorstore import Paper, Passage

_MARKER = re.compile(r"\[(\d+)\]")

Status = Literal["answered", "abstained", "error"]


@dataclass(frozen=True, slots=True)
class Citation:
    """One quotation: ``paper.abstract[start:end] == quote``; its marker is ``[number]``."""

    number: int
    paper_id: str
    title: str
    chunk_id: str
    start: int
    end: int
    quote: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of an answer and the citations it rests on; ``text`` ends with their markers."""

    text: str
    citations: tuple[Citation, ...]
    support: float
    """Estimated probability that the cited sentences say it, in [0, 1]; 1 for a quotation."""
    verbatim: bool = False
    """The sentence is a quotation, shown in place of one that failed or left out a number."""


@dataclass(frozen=True, slots=True)
class CheckedSentence:
    """One sentence of a text that was compared with the papers.

    Attributes:
        sentence: As it stands in the text.
        verdict: ``supported``, ``contradicted``, ``not_found``, or ``no_claim`` for a sentence that
            was not compared because it claims nothing about a paper.
        reason: Why it is not supported, for the reader; empty if it is.
        support: Estimated probability that the cited paper says it, in [0, 1].
        citations: The places that support or contradict it; numbered through the whole text.
    """

    sentence: str
    verdict: Literal["supported", "contradicted", "not_found", "no_claim"]
    reason: str
    support: float
    citations: tuple[Citation, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON contract."""
        return {
            "sentence": self.sentence,
            "verdict": self.verdict,
            "reason": self.reason,
            "support": round(self.support, 3),
            "citations": [citation_fields(citation) for citation in self.citations],
        }


@dataclass(frozen=True, slots=True)
class ShownPassage:
    """A paper that the model read for this question; an answer has them best first."""

    paper: Paper
    chunk_id: str
    score: float
    """Of the retrieval; orders one result."""
    likelihood: float | None
    """log P(question | paper), in nats; orders the papers of one question. None if not read."""
    probe: float | None
    """Log odds of yes against no to "does this paper hold the answer"; None if it was not asked."""


@dataclass(frozen=True, slots=True)
class Closest:
    """What a paper near an unanswered question does say: ``paper.abstract[start:end] == quote``."""

    paper_id: str
    title: str
    start: int
    end: int
    quote: str


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds since the question was asked; None for what never came."""

    retrieved_seconds: float | None
    first_text_seconds: float | None
    """When the first text could be seen: on a page and a terminal, the draft of a sentence."""
    total_seconds: float
    first_sentence_seconds: float | None = None
    """When the first verified sentence could."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the model did: tokens taken from kept states, read anew, and written."""

    reused: int = 0
    prefilled: int = 0
    decoded: int = 0
    papers_read: int = 0
    """Papers that had to be read for this question; 0 if all had been read before."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a question. An abstention is a result too; so is an error, in a batch."""

    question: str
    text: str
    status: Status
    reason: str | None
    sentences: tuple[Sentence, ...]
    citations: tuple[Citation, ...]
    passages: tuple[ShownPassage, ...]
    timings: Timings
    tokens: Tokens
    model: str
    standalone_question: str | None = None
    """What was really asked, where a follow-up had to be rewritten."""
    lead: str = ""
    """Stands above the sentences of an answer about the collection: counted, not written."""
    closest: tuple[Closest, ...] = ()
    """For an abstention: the nearest papers, and what they do say."""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The JSON contract."""
        return {
            "question": self.question,
            "text": self.text,
            "status": self.status,
            "reason": self.reason,
            "standalone_question": self.standalone_question,
            "lead": self.lead,
            "citations": [citation_fields(citation) for citation in self.citations],
            "sentences": [
                {
                    "text": sentence.text,
                    "citations": [citation.number for citation in sentence.citations],
                    "support": round(sentence.support, 3),
                    "verbatim": sentence.verbatim,
                }
                for sentence in self.sentences
            ],
            "passages": [
                {
                    "paper_id": passage.paper.id,
                    "title": passage.paper.title,
                    "text": passage.paper.abstract,
                    "score": round(passage.score, 4),
                    "likelihood": _rounded(passage.likelihood, 2),
                    "probe": _rounded(passage.probe, 3),
                }
                for passage in self.passages
            ],
            "closest": [
                {
                    "paper_id": each.paper_id,
                    "title": each.title,
                    "start": each.start,
                    "end": each.end,
                    "quote": each.quote,
                }
                for each in self.closest
            ],
            "timings": {
                "retrieved_seconds": self.timings.retrieved_seconds,
                "first_text_seconds": self.timings.first_text_seconds,
                "first_sentence_seconds": self.timings.first_sentence_seconds,
                "total_seconds": self.timings.total_seconds,
            },
            "tokens": {
                "reused": self.tokens.reused,
                "prefilled": self.tokens.prefilled,
                "decoded": self.tokens.decoded,
                "papers_read": self.tokens.papers_read,
            },
            "model": self.model,
        }

    def __str__(self) -> str:
        """The text, and below it each quotation with its paper."""
        lines = [self.text]
        if self.citations:
            lines.append("")
            lines += [f'[{c.number}] {c.title}: "{c.quote}"' for c in self.citations]
        return "\n".join(lines)

    def _repr_markdown_(self) -> str:
        quotes = [
            f"> **[{c.number}]** {_escape_markdown(c.title)}: “{_escape_markdown(c.quote)}”"
            for c in self.citations
        ]
        return "\n\n".join([_escape_markdown(self.text), *quotes])

    def _repr_html_(self) -> str:
        """For a notebook: each marker shows its quotation to whoever points at it; no script."""
        hints = {
            str(c.number): (html.escape(f"{c.title}: “{c.quote}”"), f"[{c.number}]")
            for c in self.citations
        }

        def hinted(marker: re.Match[str]) -> str:
            if marker[1] not in hints:
                return marker[0]
            return '<abbr title="{}">{}</abbr>'.format(*hints[marker[1]])

        text = _MARKER.sub(hinted, html.escape(self.text).replace("\n", "<br>"))
        quotes = "".join(
            f'<li value="{c.number}"><cite>{html.escape(c.title)}</cite>: '
            f"<q>{html.escape(c.quote)}</q></li>"
            for c in self.citations
        )
        return f"<p>{text}</p><ol>{quotes}</ol>" if quotes else f"<p>{text}</p>"


def citation_fields(citation: Citation) -> dict[str, Any]:
    """A citation as the JSON contract has it."""
    return {
        "number": citation.number,
        "paper_id": citation.paper_id,
        "title": citation.title,
        "chunk_id": citation.chunk_id,
        "start": citation.start,
        "end": citation.end,
        "quote": citation.quote,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _escape_markdown(text: str) -> str:
    return "".join("\\" + char if char in "\\`*_{}<>#|$~" else char for char in text)


@dataclass(frozen=True, slots=True)
class Queued:
    """Others are being served first; ``ahead`` of them, from 1."""

    ahead: int


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The candidate papers, best first; comes before any work of the model."""

    passages: tuple[Passage, ...]
    seconds: float
    standalone_question: str | None = None
    lead: str = ""
    """As of the answer; known at once."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The model reads a paper for the first time: number ``position`` of ``total``."""

    paper: Paper
    position: int
    total: int


@dataclass(frozen=True, slots=True)
class Ranked:
    """The papers that the model read, by how well they explain the question, best first."""

    papers: tuple[Paper, ...]


@dataclass(frozen=True, slots=True)
class Probed:
    """Does this paper hold the answer: ``score`` is the log odds of yes against no."""

    paper: Paper
    score: float
    doubtful: bool = False
    """Something else speaks against it, so that the odds must be higher."""


@dataclass(frozen=True, slots=True)
class Draft:
    """The sentence that is being written. Not verified: show it as a draft or not at all."""

    text: str


@dataclass(frozen=True, slots=True)
class Verified:
    """A sentence that may be shown as fact; it replaces the draft."""

    sentence: Sentence


@dataclass(frozen=True, slots=True)
class Done:
    """The last event of every stream."""

    answer: Answer


Event = Queued | Retrieved | Reading | Ranked | Probed | Draft | Verified | Done
