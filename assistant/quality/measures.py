"""The table of an evaluation: shares and times over judged answers, by kind of question."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from assistant.quality.evaluation import (
    UNANSWERABLE,
    Verdict,
    count_words,
    markers_of,
    without_markers,
)

ALL = "all"
"""The kind of a measure over all questions."""
DIRECT_WORDS = (25, 40)
"""Numbers of words within which a direct answer should have all facts."""
RETRIEVED_SHORT, RETRIEVED_DEEP = 4, 8
"""Ranks down to which gold papers are looked for."""
RATIO = "of plain"
"""The unit of a time that is divided by the plain pipeline's."""
WORDS = "words"
"""The unit of a number of words."""

_WARM, _COLD = "papers read before", "papers read first"
_FIRST_SENTENCE, _DONE = "first verified sentence", "whole answer"
_TIMES = {
    "sources shown": "retrieved_seconds",
    "first text shown": "first_text_seconds",
    _FIRST_SENTENCE: "first_sentence_seconds",
    _DONE: "total_seconds",
}
_SPEAKS_OF_THE_SOURCE = re.compile(
    r"\b(?:[Ww]e|[Oo]ur)\b|\b(?:[Tt]he|[Tt]his|[Tt]hese) (?:abstract|paper|author)s?\b"
)


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table: ``value`` is a share in [0, 1] or, with a unit, a quantity."""

    kind: str
    name: str
    value: float | None
    count: str
    """The numbers that the value was computed from, such as ``58 of 68``."""
    unit: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return "none"
        if self.unit == RATIO and 0 < self.value < 1:
            return f"1/{1 / self.value:.1f} {self.unit}"
        if self.unit == WORDS:
            return f"{self.value:g} {self.unit}"
        return f"{self.value:.2f} {self.unit}" if self.unit else f"{100 * self.value:.1f}%"


def measure(verdicts: Sequence[Verdict]) -> list[Measure]:
    """Return the table of measures: quality by kind, abstention, validity, time."""
    kinds = list(dict.fromkeys(verdict.kind for verdict in verdicts))
    measures: list[Measure] = []
    for kind in kinds:
        if kind != UNANSWERABLE:
            of_kind = [v for v in verdicts if v.kind == kind]
            measures += [*_rightness(kind, of_kind), *_form(kind, of_kind)]
            measures += _retrieval(kind, of_kind)
    return [
        *measures,
        *_abstention(verdicts),
        *_form(ALL, verdicts),
        *_validity(verdicts),
        *_times(verdicts),
    ]


def measures_table(
    columns: Mapping[str, Sequence[Verdict]],
) -> list[tuple[str, str, list[Measure | None]]]:
    """Return the lines of the table: kind, name, and the measure of each system that has it.

    Args:
        columns: Judged answers by the name of the system; those of the second and later ones are
            the times that the first one's are divided by.
    """
    first, *others = columns.values()
    tables = [measure(verdicts) for verdicts in columns.values()]
    for other in others:
        tables[0] += ratios(first, other)
    by_name = [{(m.kind, m.name): m for m in table} for table in tables]
    lines = dict.fromkeys(key for table in by_name for key in table)
    return [(kind, name, [table.get((kind, name)) for table in by_name]) for kind, name in lines]


def ratios(ours: Sequence[Verdict], plain: Sequence[Verdict]) -> list[Measure]:
    """Return our median times divided by those of the plain pipeline, over the same questions.

    The plain pipeline verifies nothing: our first verified sentence is compared with its first
    text. Only questions count for which no paper had to be read first.
    """
    beside = {verdict.row.get("id"): verdict for verdict in plain}
    pairs = [(v, beside[v.row.get("id")]) for v in ours if v.row.get("id") in beside]
    warm = [(a, b) for a, b in pairs if not a.is_cold]
    found = []
    for name, key, their_key in (
        ("first text shown", "first_text_seconds", "first_text_seconds"),
        (_FIRST_SENTENCE, "first_sentence_seconds", "first_text_seconds"),
        (_DONE, "total_seconds", "total_seconds"),
    ):
        our_times = _seconds([a for a, _ in warm], key)
        their_times = _seconds([b for _, b in warm], their_key)
        if our_times and their_times:
            value = statistics.median(our_times) / statistics.median(their_times)
            count = f"{len(our_times)} and {len(their_times)} answers"
            found.append(Measure(_WARM, f"{name}, median, of plain", value, count, RATIO))
    return found


def _rightness(kind: str, verdicts: Sequence[Verdict]) -> list[Measure]:
    papers_known = [v for v in verdicts if v.gold]
    facts_known = [v for v in verdicts if v.facts_met]
    cited = sum(len(v.cited) for v in papers_known)
    strays = sum(len(v.stray) for v in papers_known)
    facts = [met for v in verdicts for met in v.facts_met]
    return [
        _share(kind, "right", verdicts, lambda v: v.right),
        _part(kind, "facts met", sum(facts), len(facts)),
        *(
            _part(
                kind,
                f"all facts within the first {words} words",
                sum(v.facts_within(words) for v in facts_known),
                len(facts_known),
            )
            for words in DIRECT_WORDS
        ),
        _part(kind, "citation precision", cited - strays, cited),
        _part(
            kind,
            "citation recall",
            sum(len(v.gold & v.cited) for v in papers_known),
            sum(len(v.gold) for v in papers_known),
        ),
        _share(kind, "declined", verdicts, lambda v: v.status == "abstained"),
    ]


def _retrieval(kind: str, verdicts: Sequence[Verdict]) -> list[Measure]:
    papers_known = [v for v in verdicts if v.gold]
    gold = sum(len(v.gold) for v in papers_known)
    ranks = [{t: r for t, r in _ranks(v).items() if t in v.gold} for v in papers_known]
    best = [max((1 / rank for rank in each.values()), default=0.0) for each in ranks]
    found = [
        _part(
            kind,
            f"gold papers in the top {depth}",
            sum(rank <= depth for each in ranks for rank in each.values()),
            gold,
        )
        for depth in (RETRIEVED_SHORT, RETRIEVED_DEEP)
    ]
    mean = statistics.fmean(best) if best else None
    return [*found, Measure(kind, "MRR of the retrieval", mean, f"{len(best)} questions")]


def _ranks(verdict: Verdict) -> dict[str, int]:
    """Return the rank of each retrieved title, from 1, by the retrieval's score."""
    passages = sorted(verdict.row["passages"], key=lambda passage: -passage["score"])
    return {passage["title"]: rank for rank, passage in enumerate(passages, start=1)}


def _form(kind: str, verdicts: Sequence[Verdict]) -> list[Measure]:
    """Return measures of what is shown: wrong strings, length, direct answers, quotations."""
    answered = [v for v in verdicts if v.status == "answered"]
    sentences = [sentence for v in answered for sentence in v.row["sentences"]]
    quoted = sum(bool(sentence.get("verbatim")) for sentence in sentences)
    return [
        _share(kind, "wrong shown as fact", verdicts, lambda v: bool(v.wrong_shown)),
        _median(kind, "words of an answer, median", [v.words for v in answered]),
        *_direct_answers(kind, answered),
        _part(kind, "sentences in the model's own words", len(sentences) - quoted, len(sentences)),
        _part(kind, "sentences that became a quotation", quoted, len(sentences)),
        _share(kind, "own words speak of 'we' or 'the abstract'", answered, _speaks_of_the_source),
    ]


def _direct_answers(kind: str, answered: Sequence[Verdict]) -> list[Measure]:
    """Return the measures of direct answers; none where answers do not have that part."""
    if not any("short" in v.row for v in answered):
        return []
    direct = [v.direct_answer for v in answered if v.direct_answer]
    speaking = sum(bool(_SPEAKS_OF_THE_SOURCE.search(text)) for text in direct)
    return [
        _part(kind, "direct answer present, of answered", len(direct), len(answered)),
        _median(kind, "words of a direct answer, median", map(count_words, direct)),
        _part(kind, "direct answer speaks of 'we' or 'the abstract'", speaking, len(direct)),
    ]


def _speaks_of_the_source(verdict: Verdict) -> bool:
    own = [each["text"] for each in verdict.row["sentences"] if not each.get("verbatim")]
    return any(_SPEAKS_OF_THE_SOURCE.search(without_markers(text)) for text in own)


def _abstention(verdicts: Sequence[Verdict]) -> list[Measure]:
    due = [v for v in verdicts if not v.answerable]
    declined = [v for v in verdicts if v.status == "abstained"]
    rightly = sum(not v.answerable for v in declined)
    precision, recall = rightly / len(declined or [0]), rightly / len(due or [0])
    harmonic = 2 * precision * recall / (precision + recall) if rightly else 0.0
    return [
        _part(UNANSWERABLE, "abstained (recall)", rightly, len(due)),
        _part(UNANSWERABLE, "abstention precision", rightly, len(declined)),
        Measure(UNANSWERABLE, "abstention F1", harmonic if due else None, f"{len(due)} due"),
        _share(
            "answerable",
            "declined",
            [v for v in verdicts if v.answerable],
            lambda v: v.status == "abstained",
        ),
    ]


def _validity(verdicts: Sequence[Verdict]) -> list[Measure]:
    quotes = sum(len(v.row["citations"]) for v in verdicts)
    broken = [each for v in verdicts for each in v.broken]
    bad_quotes = sum(each.startswith("quote") for each in broken)
    markers = sum(len(markers_of(v.row)) for v in verdicts)
    sentences = sum(len(v.row["sentences"]) for v in verdicts)
    return [
        _part(ALL, "quotes exact", quotes - bad_quotes, quotes),
        _part(ALL, "markers valid", markers - (len(broken) - bad_quotes), markers),
        Measure(
            ALL,
            "numbers and names that the cited abstract lacks",
            float(sum(len(v.unsupported) for v in verdicts)),
            f"{sentences} sentences",
            WORDS,
        ),
        _share(ALL, "failed", verdicts, lambda v: v.status == "error"),
    ]


def _times(verdicts: Sequence[Verdict]) -> list[Measure]:
    warm = [v for v in verdicts if not v.is_cold]
    cold = [v for v in verdicts if v.is_cold]
    return [
        line
        for kind, group in ((_WARM, warm), (_COLD, cold))
        for name, key in _TIMES.items()
        for line in _quantiles(kind, name, _seconds(group, key))
    ]


def _seconds(verdicts: Sequence[Verdict], key: str) -> list[float]:
    """Return the times of answers that have them; files of earlier versions may lack one."""
    times = [v.row["timings"].get(key) for v in verdicts]
    return sorted(time for time in times if time is not None)


def _quantiles(kind: str, name: str, seconds: Sequence[float]) -> list[Measure]:
    if not seconds:
        return []
    p95 = seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))]
    count = f"{len(seconds)} answers"
    return [
        Measure(kind, f"{name}, median", statistics.median(seconds), count, "s"),
        Measure(kind, f"{name}, p95", p95, count, "s"),
    ]


def _median(kind: str, name: str, values: Iterable[int]) -> Measure:
    numbers = list(values)
    value = float(statistics.median(numbers)) if numbers else None
    return Measure(kind, name, value, f"{len(numbers)} answers", WORDS)


def _share(
    kind: str, name: str, verdicts: Sequence[Verdict], holds: Callable[[Verdict], bool]
) -> Measure:
    return _part(kind, name, sum(map(holds, verdicts)), len(verdicts))


def _part(kind: str, name: str, part: int, whole: int) -> Measure:
    return Measure(kind, name, part / whole if whole else None, f"{part} of {whole}")
