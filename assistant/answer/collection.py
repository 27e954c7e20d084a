"""Questions about the collection itself: answered from all records, without the model.

What is counted is what can be checked: the papers whose title or abstract holds the words of the
question, in any of their forms.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from assistant.answer.verification import content_words
from vectorstore import Paper

if TYPE_CHECKING:
    from vectorstore.filters import Filters
    from vectorstore.store import Store

LISTED = 50
"""Most papers that one answer lists."""

_MOST_SUBJECTS, _PAPERS_PER_SUBJECT, _WORDS_PER_SUBJECT = 8, 3, 3
_SAMPLED = 3000
"""Papers that the subjects of a large collection are found from."""

_WORKS = r"(?:papers|articles|abstracts|publications|records|works|studies)"
_HERE = r"(?:in|does)\s+(?:the|this|my|your|our)\s+(?:collection|corpus|library|database|index)"
_THERE = (
    r"(?:are\s+there|exist|do\s+(?:we|you|i)\s+have|"
    rf"(?:are\s+)?{_HERE}(?:\s+(?:have|hold|contain))?)"
)
_ABOUT = (
    r"(?:on|about|for|with|concerning|regarding|related\s+to|dealing\s+with|"
    r"(?:(?:that|which)\s+)?(?:(?:are|is)\s+(?:on|about)|deals?\s+with|"
    r"(?:mention|discuss|cover|address|concern|treat|use|study|involve|describe)(?:s|es|ing)?))"
)
_TOPIC = rf"(?:{_ABOUT}\s+(?P<topic>.+?))"
_END = rf"(?:\s+{_THERE}|\s+in\s+(?:total|all)|\s+altogether)?\s*[?.!]*\s*$"

_COUNT = re.compile(
    rf"^\W*how\s+many\s+{_WORKS}(?:\s+{_THERE})?(?:\s+{_TOPIC})?{_END}", re.IGNORECASE
)
_LIST = re.compile(
    rf"""^\W*(?:please\s+)?
    (?: (?:list|show|name|give|enumerate|find)(?:\s+me|\s+us)?\s+
        (?:(?:all|every|each)(?:\s+of)?(?:\s+the)?|the)\s+(?:{_WORKS}|paper|article|work|study)
      | (?:which|what)\s+{_WORKS}\s+{_THERE}
    )(?:\s+{_TOPIC})?{_END}""",
    re.IGNORECASE | re.VERBOSE,
)
_HOLDER = r"(?:this|the|my|your|our)\s+(?:\w+\s+)?(?:collection|corpus|library|database|papers)"
_OVERVIEW = re.compile(
    rf"""^\W*(?:
      what\s+(?:is|are)\s+{_HOLDER}\s+(?:of\s+(?:papers|abstracts)\s+)?(?:all\s+)?about
    | what(?:['’]s|\s+is)\s+in\s+{_HOLDER}
    | (?:what|which)\s+(?:topics|subjects|themes|areas|fields)\s+(?:\w+\s+){{0,3}}?{_HOLDER}\b.*
    | (?:summari[sz]e|describe|give\s+(?:me\s+)?an\s+overview\s+of)\s+
      (?!the\s+papers){_HOLDER}
    )\s*[?.!]*\s*$""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class CollectionQuestion:
    """What is asked about the collection."""

    kind: Literal["count", "list", "overview"]
    topic: str = ""
    """As the user put it; nothing if all papers are meant."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The answer: a counted sentence, and the papers behind it."""

    lead: str
    groups: tuple[tuple[str, tuple[Paper, ...]], ...]
    """A name, or nothing, and the papers under it."""
    topic: str = ""
    """What it is about, where that was asked."""

    @property
    def papers(self) -> tuple[Paper, ...]:
        """All of them, each once, in order."""
        return tuple({p.id: p for _, papers in self.groups for p in papers}.values())


def about_collection(question: str) -> CollectionQuestion | None:
    """What a question asks about the collection; None if it asks about what papers say. Pure."""
    if _OVERVIEW.match(question):
        return CollectionQuestion("overview")
    for kind, pattern in (("count", _COUNT), ("list", _LIST)):
        if match := pattern.match(question):
            topic = (match["topic"] or "").strip(" \"'“”")
            if content_words(topic) or not topic:
                return CollectionQuestion("count" if kind == "count" else "list", topic)
    return None


def look_up(
    wanted: CollectionQuestion, store: Store, where: Filters | None = None
) -> Listing | None:
    """Answer from all records, or those that meet filters; None if no paper holds the words."""
    if wanted.kind == "overview":
        return _overview(store, where)
    number = store.count(where)
    total = f"{number:,} {'paper' if number == 1 else 'papers'}"
    if not wanted.topic:
        papers = tuple(paper for paper, _ in zip(store.papers(where), range(LISTED), strict=False))
        return _listing(f"There are {total}", papers, number) if papers else None
    for words in _spellings(wanted.topic):
        papers, count = store.holding(words, LISTED, where)
        if papers:
            held = " and ".join(f"“{word}”" for word in words)
            verb = "holds" if count == 1 else "hold"
            lead = f"{count:,} of {total} {verb} {held} in title or abstract"
            return _listing(lead, papers, count, wanted.topic)
    return None


def _spellings(topic: str) -> Sequence[Sequence[str]]:
    """What papers on a topic hold: its words in a row or, if no paper does, all over the text."""
    words = content_words(topic)
    return ([topic], words) if len(topic.split()) > 1 else (words,)


def _listing(lead: str, papers: Sequence[Paper], count: int, topic: str = "") -> Listing:
    if count > len(papers):
        lead += f"; {len(papers)} of them"
    return Listing(f"{lead}:", tuple(("", (paper,)) for paper in papers), topic)


def _overview(store: Store, where: Filters | None) -> Listing | None:
    """Subjects of the collection: groups of near papers, named by the words that set them apart."""
    from vectorstore.subjects import find_subjects

    papers, vectors = store.sample(_SAMPLED, where)
    if not papers:
        return None
    subjects = find_subjects(
        [f"{paper.title}. {paper.abstract}" for paper in papers], vectors, _MOST_SUBJECTS
    )
    years = [paper.year for paper in papers if paper.year]
    span = f" from {min(years)} to {max(years)}" if years and min(years) < max(years) else ""
    number = store.count(where)
    total = f"{number:,} {'paper' if number == 1 else 'papers'}"
    lead = f"{total}{span}. The main subjects, largest first, and papers typical of them:"
    groups = tuple(
        (
            ", ".join(subject.words[:_WORDS_PER_SUBJECT]),
            tuple(papers[each] for each in subject.members[:_PAPERS_PER_SUBJECT]),
        )
        for subject in subjects
    )
    return Listing(lead, groups)
