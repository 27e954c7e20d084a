"""Measure the sentence check on claims whose truth is known.

A file of claims is JSON Lines. Each row has a ``sentence``, the title or id of the ``paper`` that
it is about, and a ``label`` (``supported`` or ``unsupported``). It may have a ``type`` (the way in
which a supported claim is worded, or an unsupported one is wrong), an ``id``, and ``span``: the
exact substrings of the abstract that hold a supported claim.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from assistant.checking.judgement import Judgement, PaperCheck
from assistant.checking.sentences import Span
from assistant.errors import QuestionFileError
from vectorstore import Paper

SUPPORTED, CONTRADICTED, NOT_FOUND = VERDICTS = ("supported", "contradicted", "not_found")
LABELS = (SUPPORTED, "unsupported")
ONE_DETAIL_WRONG = ("negation", "direction", "number", "swap")
"""Types of unsupported claims in which one detail of the abstract is turned or exchanged."""
HEAVILY_REWORDED = "heavy"
"""The type of supported claims that share few words with the abstract."""

_HINT = '{"sentence": "...", "paper": "TITLE", "label": "supported", "type": "...", "span": [...]}'


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence about a paper, and whether the abstract supports it."""

    id: str
    sentence: str
    paper: str
    """Title or id."""
    supported: bool
    type: str
    spans: tuple[str, ...]
    """Substrings of the abstract that hold a supported claim."""


class CheckedSentence(Protocol):
    """The result of the sentence check, as far as it is measured here."""

    @property
    def verdict(self) -> str:
        """One of ``VERDICTS``."""

    @property
    def reason(self) -> str:
        """The word, number or direction that speaks against the sentence; empty if none does."""

    @property
    def spans(self) -> Sequence[Span]:
        """The places of the abstract that are cited."""


SentenceCheck = Callable[[str, Paper], CheckedSentence]
"""The check of one sentence against one paper."""


@dataclass(frozen=True, slots=True)
class CheckedClaim:
    """A claim, and what the check said of it."""

    claim: Claim
    paper: Paper
    verdict: str
    reason: str
    cited: tuple[Span, ...]
    seconds: float
    """Processor time of the check; other programs on the machine do not count."""

    @property
    def shown(self) -> bool:
        """True if the sentence would be shown as fact."""
        return self.verdict == SUPPORTED

    @property
    def covered(self) -> bool:
        """True if the cited places hold every span that the claim rests on."""
        inside = {at for start, end in self.cited for at in range(start, end)}
        return all(
            any(inside.issuperset(place) for place in _places(span, self.paper.abstract))
            for span in self.claim.spans
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the row that a run leaves for this claim."""
        return {
            "id": self.claim.id,
            "sentence": self.claim.sentence,
            "paper": self.paper.title,
            "label": LABELS[not self.claim.supported],
            "type": self.claim.type,
            "verdict": self.verdict,
            "reason": self.reason,
            "quotes": [self.paper.abstract[start:end] for start, end in self.cited],
            "covered": self.covered if self.claim.spans else None,
            "seconds": self.seconds,
        }


def _places(span: str, abstract: str) -> Iterator[range]:
    """Yield the positions of each place at which a span stands in the abstract."""
    start = abstract.find(span)
    while start >= 0:
        yield range(start, start + len(span))
        start = abstract.find(span, start + 1)


def read_claims(path: Path) -> list[Claim]:
    """Read a file of claims.

    Raises:
        QuestionFileError: If it cannot be read, or holds no claims, with its file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        detail = (isinstance(error, OSError) and error.strerror) or str(error)
        raise QuestionFileError(
            f"cannot be read ({detail.lower()})",
            path=str(path),
            line=None,
            hint="check the path and the encoding (UTF-8)",
        ) from error
    claims = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                claims.append(_claim(json.loads(line), number))
            except (ValueError, TypeError) as error:
                raise QuestionFileError(
                    f"not a claim ({error})", path=str(path), line=number, hint=_HINT
                ) from error
    if not claims:
        raise QuestionFileError("holds no claim", path=str(path), line=None, hint=_HINT)
    return claims


def _claim(row: Any, number: int) -> Claim:
    if not isinstance(row, dict):
        raise TypeError("not a JSON object")
    for name in ("sentence", "paper"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise ValueError(f"{name} is missing")
    if row.get("label") not in LABELS:
        raise ValueError(f"label must be {' or '.join(LABELS)}")
    span = row.get("span") or []
    return Claim(
        id=str(row.get("id") or number),
        sentence=row["sentence"],
        paper=row["paper"],
        supported=row["label"] == SUPPORTED,
        type=str(row.get("type") or ""),
        spans=(span,) if isinstance(span, str) else tuple(map(str, span)),
    )


def check_sentence(sentence: str, paper: Paper) -> Judgement:
    """Compare a sentence with a paper, by the check that decides what an answer shows."""
    return PaperCheck(paper).check(sentence)


def check_claims(
    claims: Iterable[Claim], papers: Mapping[str, Paper], check: SentenceCheck
) -> Iterator[CheckedClaim]:
    """Check claims against their papers.

    Args:
        claims: Claims whose paper is not given are left out.
        papers: Papers by id and by title.
        check: The sentence check.
    """
    for claim in claims:
        if (paper := papers.get(claim.paper)) is not None:
            started = time.process_time()
            found = check(claim.sentence, paper)
            seconds = time.process_time() - started
            yield CheckedClaim(
                claim, paper, found.verdict, found.reason, tuple(found.spans), seconds
            )


HEADER = ("claims", "shown", "contradicted", "not found", "spans cited", "CPU ms a sentence")


def claims_table(checked: Sequence[CheckedClaim]) -> list[tuple[str, ...]]:
    """Return the lines of the table, with the columns of ``HEADER``: by type, then summed up."""
    supported = [each for each in checked if each.claim.supported]
    unsupported = [each for each in checked if not each.claim.supported]
    lines = [*_by_type(LABELS[0], supported), *_by_type(LABELS[1], unsupported)]
    lines += [
        _line(f"{LABELS[0]}: without {HEAVILY_REWORDED}", _without_heavy(supported)),
        _line(f"{LABELS[0]}: all", supported),
        _line(
            f"{LABELS[1]}: {', '.join(ONE_DETAIL_WRONG)}",
            [each for each in unsupported if each.claim.type in ONE_DETAIL_WRONG],
        ),
        _line(f"{LABELS[1]}: all", unsupported),
    ]
    return [line for line in lines if line[1]]


def _without_heavy(supported: Sequence[CheckedClaim]) -> list[CheckedClaim]:
    return [each for each in supported if each.claim.type != HEAVILY_REWORDED]


def _by_type(label: str, checked: Sequence[CheckedClaim]) -> list[tuple[str, ...]]:
    types = dict.fromkeys(each.claim.type for each in checked)
    return [
        _line(
            f"{label}: {name or 'no type'}", [each for each in checked if each.claim.type == name]
        )
        for name in types
    ]


def _line(name: str, checked: Sequence[CheckedClaim]) -> tuple[str, ...]:
    verdicts = [each.verdict for each in checked]
    with_spans = [each.covered for each in checked if each.claim.spans]
    milliseconds = [1000 * each.seconds for each in checked]
    return (
        name,
        *(_share(verdicts.count(verdict), len(checked)) for verdict in VERDICTS),
        _share(sum(with_spans), len(with_spans)),
        f"{statistics.median(milliseconds):.1f}" if milliseconds else "",
    )


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({part / whole:.0%})" if whole else ""
