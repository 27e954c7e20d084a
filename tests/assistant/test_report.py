"""A report says everything about every question, and runs nothing that stands in it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

import pytest

from assistant.quality import charts
from assistant.quality.evaluation import Verdict, judge
from assistant.quality.measures import measures_table
from assistant.quality.report import report_html
from assistant.types import Done
from tests.fakes import PAPERS, answer, answered_story

VOID = {"meta", "input", "br"}


class Nesting(HTMLParser):
    """Tags of a page, and whether each that was opened is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def verdict(question: str = "How fast is it?", **columns: Any) -> Verdict:
    (told,) = [e.answer for e in answered_story(question) if isinstance(e, Done)]
    titles = sorted({citation.title for citation in told.citations})
    row = {"id": "q1", "kind": "single", "papers": titles, "facts": [["5.7"]]}
    return judge({**row, **told.as_dict(), **columns})


def test_a_report_shows_question_answer_quotes_papers_and_verdict() -> None:
    good, bad = verdict(), verdict("Why?", id="q2", facts=[["nowhere"]])
    page = report_html({"ours": [good, bad], "plain": [bad, bad]}, "Answers to q.jsonl")
    nesting = Nesting(page)
    assert nesting.open == []
    assert nesting.seen.count("svg") >= 3
    for wanted in ("How fast is it?", PAPERS[0].title, "lacks: nowhere", "5.7 seconds", "q2"):
        assert wanted in page


def test_nothing_in_a_report_becomes_markup() -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    hostile = verdict(evil, kind=evil, text=evil, standalone_question=evil, reason=evil)
    nesting = Nesting(report_html({"ours": [hostile]}, evil))
    assert "script" not in nesting.seen
    assert "img" not in nesting.seen


def test_an_abstention_that_read_no_paper_can_be_reported() -> None:
    nothing = answer("?", [], [], reason="there is no paper in the collection")
    page = report_html({"ours": [judge({"kind": "single", **nothing.as_dict()})]}, "One")
    assert "there is no paper in the collection" in page


def test_the_table_has_a_column_for_each_system() -> None:
    rows = measures_table({"ours": [verdict()], "plain": [verdict(facts=[["nowhere"]])]})
    (right,) = [values for kind, name, values in rows if (kind, name) == ("single", "right")]
    assert [str(value) for value in right] == ["100.0%", "0.0%"]


@pytest.mark.parametrize(
    "chart",
    [
        charts.stacked_bars("A & <B>", ["<k>"], {"right": [1], "wrong": [0]}, "questions"),
        charts.cumulative("Time", {"ours": [1.0, 2.0], "none": []}, "seconds"),
        charts.calibration("Probe", [0.1, 1.0, 2.0], [False, True, True], "log odds"),
    ],
)
def test_a_chart_is_well_formed(chart: str) -> None:
    assert ET.fromstring(chart).tag.endswith("svg")
