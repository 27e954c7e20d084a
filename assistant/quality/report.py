"""The report of an evaluation: one HTML file with tables, charts, and every question in detail.

Knows nothing of how answers come about. All that stands in it is escaped by the template engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assistant.quality import charts
from assistant.quality.evaluation import Measure, Verdict, facts_of, measure
from assistant.templates import template

Columns = Mapping[str, Sequence[Verdict]]
"""Verdicts by the name of the system, ours first."""

_TEMPLATE = "report.html"


def report_html(columns: Columns, title: str) -> str:
    """Draw the report.

    Args:
        columns: At least one system; all were asked the same questions.
        title: What was measured.
    """
    ours = next(iter(columns.values()))
    return template(_TEMPLATE).render(
        title=title,
        systems=list(columns),
        table=measures_table(columns),
        charts=_charts(columns),
        questions=[_question(verdict) for verdict in ours],
        wrong=sum(not verdict.right for verdict in ours),
        model=ours[0].row["model"] if ours else "",
    )


def measures_table(columns: Columns) -> list[tuple[str, str, list[Measure | None]]]:
    """The lines of the table: kind, name, and the measure of each system that has it."""
    tables = [{(m.kind, m.name): m for m in measure(verdicts)} for verdicts in columns.values()]
    return [(kind, name, [table.get((kind, name)) for table in tables]) for kind, name in tables[0]]


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
        "id": row.get("id", ""),
        "kind": verdict.kind,
        "right": verdict.right,
        "status": verdict.status,
        "question": row["question"],
        "history": row.get("history") or [],
        "standalone": row["standalone_question"],
        "why": verdict.problems or ("as it should be",),
        "unsupported": verdict.unsupported,
        "text": row["text"],
        "sentences": row["sentences"],
        "citations": row["citations"],
        "facts": list(zip(facts_of(row), verdict.facts_met, strict=True)),
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
