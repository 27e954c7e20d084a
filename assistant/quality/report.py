"""The report of an evaluation: one HTML file with tables, charts, and every question in detail.

All text that comes from questions, papers and answers is escaped by the template engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assistant.quality import charts
from assistant.quality.evaluation import Verdict, facts_of, wrong_of
from assistant.quality.measures import DIRECT_WORDS, measures_table
from assistant.question_files.questions import several
from assistant.templates import template

Columns = Mapping[str, Sequence[Verdict]]
"""Verdicts by the name of the system, ours first."""

_TEMPLATE = "report.html"


def report_html(columns: Columns, title: str) -> str:
    """Return the report as HTML.

    Args:
        columns: At least one system; the second and later ones may have been asked fewer questions.
        title: Name of what was measured.
    """
    ours = next(iter(columns.values()))
    others = [
        (name, {verdict.row.get("id"): verdict for verdict in verdicts})
        for name, verdicts in list(columns.items())[1:]
    ]
    return template(_TEMPLATE).render(
        title=title,
        systems=list(columns),
        table=measures_table(columns),
        charts=_charts(columns),
        questions=[
            {
                **_question(verdict),
                "others": [
                    (name, _counted(found[verdict.row.get("id")]))
                    for name, found in others
                    if verdict.row.get("id") in found
                ],
            }
            for verdict in ours
        ],
        wrong=sum(not verdict.right for verdict in ours),
        model=ours[0].row["model"] if ours else "",
    )


def _charts(columns: Columns) -> list[str]:
    return [
        *(_outcomes(name, verdicts) for name, verdicts in columns.items()),
        _latency(columns),
        *_calibration(next(iter(columns.values()))),
    ]


def _outcomes(name: str, verdicts: Sequence[Verdict]) -> str:
    kinds = list(dict.fromkeys(verdict.kind for verdict in verdicts))
    parts = {
        "right": [v.right for v in verdicts],
        "wrong": [not v.right and v.status == "answered" for v in verdicts],
        "abstained": [not v.right and v.status == "abstained" for v in verdicts],
        "failed": [v.status == "error" for v in verdicts],
    }
    counts = {
        part: [
            sum(is_so for is_so, v in zip(each, verdicts, strict=True) if v.kind == kind)
            for kind in kinds
        ]
        for part, each in parts.items()
    }
    return charts.stacked_bars(f"What became of the questions: {name}", kinds, counts, "questions")


def _latency(columns: Columns) -> str:
    series: dict[str, list[float]] = {}
    for name, verdicts in columns.items():
        for label, key in (("first text", "first_text_seconds"), ("done", "total_seconds")):
            times = [v.row["timings"][key] for v in verdicts]
            series[f"{name}, {label}"] = [time for time in times if time is not None]
    return charts.cumulative("Time since the question was asked", series, "seconds")


def _calibration(verdicts: Sequence[Verdict]) -> list[str]:
    probed = [(v.probe, v.answerable) for v in verdicts if v.probe is not None]
    if len({answerable for _, answerable in probed}) < 2:
        return []
    scores, outcomes = zip(*probed, strict=True)
    return [
        charts.calibration(
            "Is the probe right? Share of questions that the papers answer",
            scores,
            outcomes,
            "best log odds of yes against no",
        )
    ]


def _question(verdict: Verdict) -> dict[str, Any]:
    row = verdict.row
    ranks = sorted(row["passages"], key=lambda passage: -passage["score"])
    rank_of = {passage["paper_id"]: rank for rank, passage in enumerate(ranks, start=1)}
    return {
        **_counted(verdict),
        "id": row.get("id", ""),
        "kind": verdict.kind,
        "question": row["question"],
        "history": [
            each.get("question") if isinstance(each, dict) else each for each in _history(row)
        ],
        "standalone": row["standalone_question"],
        "sentences": row["sentences"],
        "reference": row.get("answer") or "",
        "note": row.get("note") or "",
        "facts": list(zip(facts_of(row), verdict.facts_met, strict=True)),
        "wrong_strings": [(each, each in verdict.wrong_shown) for each in wrong_of(row)],
        "gold": [(title, title in verdict.cited) for title in sorted(verdict.gold)],
        "also": several(row.get("also")),
        "passages": [
            {
                **passage,
                "rank": rank_of[passage["paper_id"]],
                "gold": passage["title"] in verdict.gold,
                "cited": passage["title"] in verdict.cited,
            }
            for passage in row["passages"]
        ],
        "timings": row["timings"],
        "tokens": row["tokens"],
    }


def _history(row: Mapping[str, Any]) -> list[Any]:
    history = row.get("history") or []
    return history if isinstance(history, list) else [history]


def _counted(verdict: Verdict) -> dict[str, Any]:
    """Return an answer, and how it counted."""
    row = verdict.row
    return {
        "right": verdict.right,
        "status": verdict.status,
        "why": verdict.problems or ("as it should be",),
        "wrong_shown": verdict.wrong_shown,
        "unsupported": verdict.unsupported,
        "direct": verdict.direct_answer,
        "text": row["text"],
        "citations": row["citations"],
        "words": verdict.words,
        "within": [(words, verdict.facts_within(words)) for words in DIRECT_WORDS]
        if verdict.facts_met
        else [],
    }
