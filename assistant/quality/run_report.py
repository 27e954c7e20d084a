"""The report of a run: what became of the questions, in one HTML file with charts.

Rows are counted as they pass; kept are numbers, names, and the slowest few. Where the columns of a
question say what its answer should be, the answer is judged as `evaluation` does. Knows nothing of
how answers come about. All that stands in the report is escaped by the template engine.
"""

from __future__ import annotations

import heapq
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from assistant.quality import charts
from assistant.quality.evaluation import Verdict, is_judged, judge, unsupported
from assistant.quality.measures import Measure, measure
from assistant.question_files.answers import Fields, Rows, json_row
from assistant.question_files.questions import Question
from assistant.templates import template

MOST_SHOWN = 10
_MOST_WRONG = 200
_STATUSES = {"answered": "answered", "abstained": "not in the papers", "error": "failed"}


@dataclass
class Tally:
    """What is known of the rows that have passed."""

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    papers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Id and title of cited papers, by the answers that cite them."""
    seconds: list[float] = field(default_factory=list)
    first_text: list[float] = field(default_factory=list)
    slowest: list[tuple[float, int, str, str]] = field(default_factory=list)
    """Seconds, a number that tells equal ones apart, id and question."""
    unsupported: Counter[int] = field(default_factory=Counter)
    """How many answers have so many numbers and names that the cited abstracts lack."""
    quoted: Counter[int] = field(default_factory=Counter)
    """How many answers have so many sentences that were replaced by a quotation."""
    verdicts: list[Verdict] = field(default_factory=list)

    def add(self, question: Question, fields: Fields) -> None:
        """Count a row."""
        status = fields["status"]
        self.statuses[status] += 1
        if status == "error":
            self.reasons[fields["reason"]] += 1
        self.papers.update({(c["paper_id"], c["title"]) for c in fields["citations"]})
        if question.problem is None:
            self._time(question, fields)
        if status == "answered":
            self.unsupported[len(unsupported(fields))] += 1
            self.quoted[sum(sentence["verbatim"] for sentence in fields["sentences"])] += 1
        if is_judged(question.columns):
            self.verdicts.append(_slim(judge(json_row(question, fields))))

    def _time(self, question: Question, fields: Fields) -> None:
        total = fields["timings"]["total_seconds"]
        self.seconds.append(total)
        first = fields["timings"]["first_text_seconds"]
        if first is not None:
            self.first_text.append(first)
        entry = (total, len(self.seconds), question.id, question.text)
        if len(self.slowest) < MOST_SHOWN:
            heapq.heappush(self.slowest, entry)
        else:
            heapq.heappushpop(self.slowest, entry)


def write_report(path: Path, title: str) -> Callable[[Rows], None]:
    """A function that takes the rows of a run and writes their report.

    Raises:
        OSError: The file cannot be written.
    """

    def write(rows: Rows) -> None:
        path.write_text(report_html(rows, title), encoding="utf-8", errors="replace")

    return write


def report_html(rows: Rows, title: str) -> str:
    """The report; rows are read once."""
    tally = Tally()
    for question, fields in rows:
        tally.add(question, fields)
    wrong = [verdict for verdict in tally.verdicts if not verdict.right]
    return template("run_report.html").render(
        title=title,
        total=tally.statuses.total(),
        counts=[(label, tally.statuses[status]) for status, label in _STATUSES.items()],
        figures=_figures(tally),
        charts=_charts(tally),
        slowest=sorted(tally.slowest, reverse=True),
        papers=tally.papers.most_common(MOST_SHOWN),
        reasons=tally.reasons.most_common(MOST_SHOWN),
        judged=len(tally.verdicts),
        measures=_measures(tally.verdicts),
        wrong=[
            {"id": each.row.get("id", ""), "question": each.row["question"], "why": each.problems}
            for each in wrong[:_MOST_WRONG]
        ],
        wrong_count=len(wrong),
    )


def _figures(tally: Tally) -> list[tuple[str, str]]:
    figures = [("papers cited", f"{len(tally.papers):,}")]
    for name, values in (("to the first text", tally.first_text), ("a question", tally.seconds)):
        if values:
            p95 = sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]
            told = f"{statistics.median(values):.1f} s, 95% within {p95:.1f} s"
            figures.append((f"time {name}, median", told))
    if tally.seconds:
        figures.append(("questions an hour", f"{3600 * len(tally.seconds) / _spent(tally):,.0f}"))
    lacking = sum(count for number, count in tally.unsupported.items() if number)
    figures.append(("answers with a number or name that the cited abstracts lack", f"{lacking:,}"))
    return figures


def _spent(tally: Tally) -> float:
    return sum(tally.seconds) or 1.0


def _charts(tally: Tally) -> list[str]:
    statuses = {label: tally.statuses[status] for status, label in _STATUSES.items()}
    drawn = [charts.bars("What became of the questions", statuses, "questions")]
    times = {"first text": tally.first_text, "done": tally.seconds}
    if tally.seconds:
        drawn.append(charts.cumulative("Time since the question was asked", times, "seconds"))
    if tally.papers:
        most = {
            f"{title} ({paper_id})": count
            for (paper_id, title), count in tally.papers.most_common(MOST_SHOWN)
        }
        drawn.append(charts.bars("Papers most used", most, "answers that cite it"))
    if tally.slowest:
        slow = {f"{key}: {text}": round(s, 1) for s, _, key, text in sorted(tally.slowest)[::-1]}
        drawn.append(charts.bars("Slowest questions", slow, "seconds"))
    if tally.unsupported:
        for title, counts in (
            ("Numbers and names that the cited abstracts lack", tally.unsupported),
            ("Sentences that a quotation stands in for", tally.quoted),
        ):
            named = {f"{number} in an answer": counts[number] for number in sorted(counts)}
            drawn.append(charts.bars(title, named, "answers"))
    return drawn


def _measures(verdicts: list[Verdict]) -> list[Measure]:
    return [each for each in measure(verdicts) if each.value is not None] if verdicts else []


def _slim(verdict: Verdict) -> Verdict:
    """The verdict without the abstracts, of which a run may have millions of words."""
    row: dict[str, Any] = dict(verdict.row)
    row["passages"] = [{**passage, "text": ""} for passage in row["passages"]]
    return replace(verdict, row=row)
