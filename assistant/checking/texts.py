"""Check a text of somebody else, sentence by sentence, against the papers of a collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from assistant.checking.citations import Citations
from assistant.checking.judgement import Judgement, PaperCheck
from assistant.checking.lexicon import lexicon
from assistant.checking.markers import plain
from assistant.checking.sentences import sentence_spans
from assistant.checking.words import words_of
from assistant.types import CheckedSentence
from vectorstore import Paper

MOST_CHARACTERS = 80_000
"""Longest text that is checked at once, some 12,000 words; as JSON it stays below a megabyte."""
PAPERS_COMPARED = 6
"""Papers that each sentence is compared with, the nearest first."""
SHARE_TO_NAME = 0.35
"""Share of a sentence's words from which the nearest paper is worth naming."""
_CLAIM_WORDS = 2
"""Content words that a sentence must have to claim something about a paper."""
_PAPERS_PREPARED = 64


def check_text(
    text: str, find_papers: Callable[[str], Sequence[Paper]]
) -> Iterator[CheckedSentence]:
    """Compare each sentence of a text with the papers that are nearest to it.

    Args:
        text: Any prose; citation markers such as "[3]" in it are passed over.
        find_papers: Returns the papers to compare a sentence with.

    Yields:
        The sentences in order, also those that claim nothing.
    """
    citations = Citations()
    prepared: dict[str, PaperCheck] = {}
    for start, end in sentence_spans(text):
        sentence = text[start:end]
        claim = plain(sentence)
        if not makes_claim(claim):
            yield CheckedSentence(sentence, "no_claim", "it claims nothing about a paper", 0.0, ())
            continue
        papers = find_papers(claim)
        judged = [(paper, _prepared(paper, prepared).check(claim)) for paper in papers]
        yield _checked(sentence, judged, citations)


def _prepared(paper: Paper, prepared: dict[str, PaperCheck]) -> PaperCheck:
    if paper.id not in prepared:
        if len(prepared) >= _PAPERS_PREPARED:
            prepared.pop(next(iter(prepared)))
        prepared[paper.id] = PaperCheck(paper)
    return prepared[paper.id]


def makes_claim(sentence: str) -> bool:
    """Return False for questions, headings, and sentences about the text itself."""
    if sentence.rstrip().endswith("?"):
        return False
    known = lexicon()
    words = words_of(sentence)
    content = [word for word in words if word.has_content and word.plain not in known.light]
    return len(content) >= _CLAIM_WORDS and not any(
        word.plain in known.parts_of_a_text for word in words
    )


def _checked(
    sentence: str, judged: Sequence[tuple[Paper, Judgement]], citations: Citations
) -> CheckedSentence:
    if not judged:
        return CheckedSentence(
            sentence, "not_found", "there is no paper to compare it with", 0.0, ()
        )
    supported = [each for each in judged if each[1].supported]
    if supported:
        paper, best = max(supported, key=lambda each: each[1].support)
    else:
        paper, best = max(judged, key=lambda each: each[1].share)
    cited = (
        tuple(citations.cite(paper, span) for span in best.spans)
        if best.verdict != "not_found"
        else ()
    )
    reason = best.reason
    if best.verdict == "not_found" and len(judged) > 1:
        named = best.share >= SHARE_TO_NAME
        reason = (
            f"nearest paper, {plain(paper.title)}: {reason}" if named else "no paper is about this"
        )
    return CheckedSentence(sentence, best.verdict, reason, best.support, cited)
