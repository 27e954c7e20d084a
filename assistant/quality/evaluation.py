"""How good are answers? Rows of a batch, judged against the papers and facts they should have.

A question file for this carries, beside ``question`` and ``history``, the columns ``kind``
(``single``, ``multi``, ``followup``, ``unanswerable`` or a name of your own), ``papers`` (titles
that a right answer cites, all of them; or ``any_of``, a list of such lists), ``facts`` (groups of
strings; the answer must hold one of each group, in any case), ``expected`` (a text that the answer
must hold, or a list of which it must hold one) and ``note`` (titles in it may be cited too). Ids do
as well as titles. In the cells of a table, semicolons part papers and groups, bars the strings of a
group. Without papers, citations are not judged. Pure:
works on the JSON contract of an answer and knows nothing of how it came about.
"""

from __future__ import annotations

import re
import statistics
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assistant.question_files.questions import several

Row = Mapping[str, Any]

UNANSWERABLE = "unanswerable"
RETRIEVED_DEEP, RETRIEVED_SHORT = 8, 4

_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
).split()


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer, judged."""

    row: Row
    kind: str
    facts_met: tuple[bool, ...]
    """One for each group of facts."""
    gold: frozenset[str]
    """Titles that should be cited; of several acceptable sets the one that fits best."""
    cited: frozenset[str]
    stray: frozenset[str]
    """Titles that are cited and are neither gold nor noted."""
    problems: tuple[str, ...]
    """Why it is not right, in words; none if it is."""
    unsupported: tuple[str, ...]
    """Numbers and names of shown sentences that the abstracts cited there do not hold."""
    broken: tuple[str, ...]
    """Quotes that are not the text at their offsets, and markers without a citation."""

    @property
    def right(self) -> bool:
        """All facts, all gold papers cited, no stray one; or an abstention where one was due."""
        return not self.problems

    @property
    def status(self) -> str:
        """``answered``, ``abstained`` or ``error``."""
        return str(self.row["status"])

    @property
    def answerable(self) -> bool:
        """Whether the papers hold an answer."""
        return self.kind != UNANSWERABLE

    @property
    def is_cold(self) -> bool:
        """Whether papers had to be read for it first."""
        return bool(self.row["tokens"].get("papers_read", 0))

    @property
    def probe(self) -> float | None:
        """Best log odds over the papers that were probed."""
        scores = [p["probe"] for p in self.row["passages"] if p["probe"] is not None]
        return max(scores, default=None)


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table: ``value`` is a share in [0, 1] or, with a unit, a quantity."""

    kind: str
    name: str
    value: float | None
    count: str
    """What the value was computed from, such as ``58 of 68``."""
    unit: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return "none"
        return f"{self.value:.2f} {self.unit}" if self.unit else f"{100 * self.value:.1f}%"


def judge(row: Row) -> Verdict:
    """Compare one answer with what its columns ask for."""
    kind = kind_of(row)
    cited = frozenset(citation["title"] for citation in row["citations"])
    sets = _acceptable(row)
    gold = _fitting(sets, cited)
    judged = sets or kind == UNANSWERABLE
    stray = frozenset(t for t in cited - gold if judged and t not in str(row.get("note", "")))
    groups = facts_of(row)
    facts = tuple(_holds_one(row["text"], group) for group in groups)
    return Verdict(
        row=row,
        kind=kind,
        facts_met=facts,
        gold=gold,
        cited=cited,
        stray=stray,
        problems=tuple(
            _problems(row, kind, list(zip(groups, facts, strict=True)), gold - cited, stray)
        ),
        unsupported=tuple(unsupported(row)),
        broken=tuple(_broken(row)),
    )


def kind_of(columns: Row) -> str:
    """The kind of a question, by its column or else by whether anything is wanted of its answer."""
    named = any(columns.get(name) for name in ("papers", "any_of", "facts", "expected"))
    return str(columns.get("kind") or ("single" if named else UNANSWERABLE))


def is_judged(columns: Row) -> bool:
    """Whether the columns of a question say what its answer should be."""
    return any(columns.get(name) for name in ("kind", "papers", "any_of", "facts", "expected"))


def facts_of(columns: Row) -> list[list[str]]:
    """The groups of strings of which an answer must hold one each."""
    facts, expected = columns.get("facts") or [], columns.get("expected")
    groups = [part.split("|") for part in several(facts)] if isinstance(facts, str) else [*facts]
    if expected not in (None, "", []):
        groups.append(expected if isinstance(expected, list) else [expected])
    listed = [each if isinstance(each, list) else [each] for each in groups]
    return [[str(variant).strip() for variant in group] for group in listed]


def _acceptable(row: Row) -> list[frozenset[str]]:
    """The sets of titles that may be cited; none if nothing is said of it."""
    found = [*row["passages"], *row["citations"]]
    titles = {each["paper_id"]: each["title"] for each in found}
    given = row.get("any_of") or [row["papers"]] if row.get("papers") or row.get("any_of") else []
    sets = [several(each) for each in given]
    return [frozenset(titles.get(each, each) for each in named) for named in sets]


def _fitting(sets: Sequence[frozenset[str]], cited: frozenset[str]) -> frozenset[str]:
    """The acceptable set of papers that the citations come closest to."""
    order = sorted(sets, key=lambda titles: (len(titles ^ cited), -len(titles)))
    return order[0] if order else frozenset()


def _holds_one(text: str, variants: Sequence[str]) -> bool:
    padded = f" {text} ".casefold()
    return any(variant.casefold() in padded for variant in variants)


def _problems(
    row: Row,
    kind: str,
    facts: Sequence[tuple[Sequence[str], bool]],
    uncited: frozenset[str],
    stray: frozenset[str],
) -> list[str]:
    if row["status"] == "error":
        return [f"failed: {row['reason']}"]
    if kind == UNANSWERABLE:
        return ["answered, though the papers do not say"] * (row["status"] == "answered")
    if row["status"] == "abstained":
        return [f"abstained: {row['reason']}"]
    found = [f"lacks: {' / '.join(group)}" for group, met in facts if not met]
    retrieved = {passage["title"] for passage in row["passages"]}
    found += [
        f"does not cite{'' if title in retrieved else ' (nor retrieve)'}: {title}"
        for title in sorted(uncited)
    ]
    return found + [f"cites: {title}" for title in sorted(stray)]


def unsupported(row: Row) -> list[str]:
    """Numbers and names of shown sentences that the abstracts cited there do not hold.

    An independent look; knows nothing of the check that let them pass.
    """
    abstracts = {passage["paper_id"]: passage for passage in row["passages"]}
    papers = {c["number"]: abstracts.get(c["paper_id"]) for c in row["citations"]}
    found = []
    for sentence in row["sentences"]:
        sources = [papers.get(number) for number in sentence["citations"]]
        source = _letters(" ".join(f"{p['title']} {p['text']}" for p in sources if p))
        text = re.sub(r"\[\d+\]", "", sentence["text"])
        found += [word for word in _numbers_and_names(text) if not _occurs(word, source)]
    return found


def _numbers_and_names(text: str) -> list[str]:
    """Words with a digit in them, or with a capital behind their first letter."""
    words = re.findall(r"\w[\w.,%+-]*\w|\w", text)
    return [w for w in words if any(c.isdigit() for c in w) or any(c.isupper() for c in w[1:])]


def _occurs(word: str, source: str) -> bool:
    if word.isdigit() and int(word) < len(_NUMBER_WORDS) and _NUMBER_WORDS[int(word)] in source:
        return True
    return _letters(word) in source


def _letters(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(char for char in plain if char.isalnum())


def _broken(row: Row) -> list[str]:
    texts = {passage["paper_id"]: passage["text"] for passage in row["passages"]}
    found = [
        f"quote {c['number']}"
        for c in row["citations"]
        if texts.get(c["paper_id"], "")[c["start"] : c["end"]] != c["quote"] or not c["quote"]
    ]
    numbers = {citation["number"] for citation in row["citations"]}
    markers = {int(number) for number in re.findall(r"\[(\d+)\]", row["text"])}
    return found + [f"marker {number}" for number in sorted(markers - numbers)]


def measure(verdicts: Sequence[Verdict]) -> list[Measure]:
    """The table of measures: quality by kind, abstention, validity, time."""
    kinds = list(dict.fromkeys(verdict.kind for verdict in verdicts))
    measures: list[Measure] = []
    for kind in kinds:
        if kind != UNANSWERABLE:
            measures += _of_kind(kind, [v for v in verdicts if v.kind == kind])
    return [*measures, *_abstention(verdicts), *_validity(verdicts), *_times(verdicts)]


def _of_kind(kind: str, verdicts: Sequence[Verdict]) -> list[Measure]:
    def retrieved(verdict: Verdict, depth: int) -> int:
        titles = {title for title, rank in _ranks(verdict).items() if rank <= depth}
        return len(verdict.gold & titles)

    # Of the others only the facts are known.
    papers_known = [v for v in verdicts if v.gold]
    gold = sum(len(v.gold) for v in papers_known)
    cited = sum(len(v.cited) for v in papers_known)
    strays = sum(len(v.stray) for v in papers_known)
    facts = [met for v in verdicts for met in v.facts_met]
    best = [
        max((1 / r for t, r in _ranks(v).items() if t in v.gold), default=0.0) for v in papers_known
    ]
    return [
        _share(kind, "right", sum(v.right for v in verdicts), len(verdicts)),
        _share(kind, "facts met", sum(facts), len(facts)),
        _share(kind, "citation precision", cited - strays, cited),
        _share(kind, "citation recall", sum(len(v.gold & v.cited) for v in verdicts), gold),
        _share(
            kind,
            f"gold papers in the top {RETRIEVED_SHORT}",
            sum(retrieved(v, RETRIEVED_SHORT) for v in verdicts),
            gold,
        ),
        _share(
            kind,
            f"gold papers in the top {RETRIEVED_DEEP}",
            sum(retrieved(v, RETRIEVED_DEEP) for v in verdicts),
            gold,
        ),
        Measure(
            kind, "MRR of the retrieval", statistics.fmean(best) if best else None, f"{len(best)}"
        ),
    ]


def _ranks(verdict: Verdict) -> dict[str, int]:
    """Rank of each retrieved title, from 1, by the retrieval's score."""
    passages = sorted(verdict.row["passages"], key=lambda passage: -passage["score"])
    return {passage["title"]: rank for rank, passage in enumerate(passages, start=1)}


def _abstention(verdicts: Sequence[Verdict]) -> list[Measure]:
    due = [v for v in verdicts if not v.answerable]
    answerable = [v for v in verdicts if v.answerable]
    declined = [v for v in verdicts if v.status == "abstained"]
    rightly = sum(not v.answerable for v in declined)
    precision, recall = rightly / len(declined or [0]), rightly / len(due or [0])
    harmonic = 2 * precision * recall / (precision + recall) if rightly else 0.0
    return [
        _share(UNANSWERABLE, "abstained (recall)", rightly, len(due)),
        _share(UNANSWERABLE, "abstention precision", rightly, len(declined)),
        Measure(UNANSWERABLE, "abstention F1", harmonic if due else None, f"{len(due)} due"),
        _share(
            "answerable",
            "declined",
            sum(v.status == "abstained" for v in answerable),
            len(answerable),
        ),
    ]


def _validity(verdicts: Sequence[Verdict]) -> list[Measure]:
    quotes = sum(len(v.row["citations"]) for v in verdicts)
    broken = [each for v in verdicts for each in v.broken]
    bad_quotes = sum(each.startswith("quote") for each in broken)
    markers = sum(len(set(re.findall(r"\[\d+\]", v.row["text"]))) for v in verdicts)
    sentences = [v.row["sentences"] for v in verdicts]
    return [
        _share("all", "quotes exact", quotes - bad_quotes, quotes),
        _share("all", "markers valid", markers - (len(broken) - bad_quotes), markers),
        Measure(
            "all",
            "numbers and names that the cited abstract lacks",
            float(sum(len(v.unsupported) for v in verdicts)),
            f"{sum(map(len, sentences))} sentences",
            "words",
        ),
        _share("all", "failed", sum(v.status == "error" for v in verdicts), len(verdicts)),
    ]


def _times(verdicts: Sequence[Verdict]) -> list[Measure]:
    warm = [v for v in verdicts if not v.is_cold]
    cold = [v for v in verdicts if v.is_cold]
    return [
        line
        for kind, group in (("papers read before", warm), ("papers read first", cold))
        for name, key in (
            ("sources shown", "retrieved_seconds"),
            ("first text shown", "first_text_seconds"),
            ("done", "total_seconds"),
        )
        for line in _quantiles(kind, name, [v.row["timings"][key] for v in group])
    ]


def _quantiles(kind: str, name: str, values: Sequence[float | None]) -> list[Measure]:
    there = sorted(value for value in values if value is not None)
    if not there:
        return []
    p95 = there[min(len(there) - 1, int(0.95 * len(there)))]
    count = f"{len(there)} answers"
    return [
        Measure(kind, f"{name}, median", statistics.median(there), count, "s"),
        Measure(kind, f"{name}, p95", p95, count, "s"),
    ]


def _share(kind: str, name: str, part: int, whole: int) -> Measure:
    return Measure(kind, name, part / whole if whole else None, f"{part} of {whole}")
