"""A verdict follows from citations, facts and status, and from nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.quality.evaluation import Verdict, judge, measure
from tests.fakes import PAPERS

LARCH, FINCH = PAPERS[0], PAPERS[1]
QUOTE = "States take 9 MB per page and are dropped when they have not been used for a month."


def row(**changes: Any) -> dict[str, Any]:
    start = LARCH.abstract.index(QUOTE)
    citation = {"number": 1, "paper_id": LARCH.id, "title": LARCH.title, "quote": QUOTE}
    passages = [
        {"paper_id": p.id, "title": p.title, "text": p.abstract, "score": s, "probe": s}
        for p, s in ((LARCH, 2.0), (FINCH, 1.0))
    ]
    return {
        "id": "1",
        "kind": "single",
        "papers": [LARCH.title],
        "facts": [["9 MB", "9 megabytes"]],
        "text": "A state takes 9 MB. [1]",
        "status": "answered",
        "reason": None,
        "citations": [{**citation, "start": start, "end": start + len(QUOTE)}],
        "sentences": [{"text": "A state takes 9 MB. [1]", "citations": [1]}],
        "passages": passages,
        "timings": {"retrieved_seconds": 0.1, "first_text_seconds": 2.0, "total_seconds": 3.0},
        "tokens": {"papers_read": 0},
        **changes,
    }


def values(*verdicts: Verdict) -> dict[tuple[str, str], float | None]:
    return {(each.kind, each.name): each.value for each in measure(verdicts)}


def test_a_right_answer_is_right_in_every_measure() -> None:
    verdict = judge(row())
    assert verdict.right
    assert verdict.unsupported == verdict.broken == ()
    found = values(verdict)
    for name in ("right", "facts met", "citation precision", "citation recall"):
        assert found["single", name] == 1.0
    assert found["papers read before", "first text shown, median"] == 2.0


def test_where_the_papers_are_not_known_nothing_is_said_of_them() -> None:
    unknown = judge(row(papers=[]))
    found = values(unknown)
    assert found["single", "facts met"] == 1.0
    names = ("citation precision", "citation recall", "MRR of the retrieval")
    assert [found["single", name] for name in names] == [None] * 3
    # A row without papers changes nothing in what the others give.
    both = values(unknown, judge(row()))
    assert [both["single", name] for name in names] == [1.0] * 3


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"facts": [["9 MB"], ["ten"]]}, "lacks: ten"),
        ({"papers": [LARCH.title, FINCH.title]}, "does not cite"),
        ({"papers": [FINCH.title], "facts": []}, "cites: Larch"),
        ({"status": "abstained", "reason": "unsure"}, "abstained: unsure"),
        ({"status": "error", "reason": "broke"}, "failed: broke"),
        ({"kind": "unanswerable", "papers": [], "facts": []}, "do not say"),
    ],
)
def test_each_fault_is_named(changes: dict[str, Any], complaint: str) -> None:
    verdict = judge(row(**changes))
    assert not verdict.right
    assert any(complaint in problem for problem in verdict.problems)


def test_a_noted_paper_may_be_cited_and_of_several_sets_the_nearest_counts() -> None:
    assert judge(row(papers=[], facts=[], note=f"{LARCH.title} is fine", kind="multi")).right
    assert judge(row(papers=None, any_of=[[FINCH.title], [LARCH.title]])).right


def test_an_invented_number_a_shifted_quote_and_a_dangling_marker_are_seen() -> None:
    invented = {"text": "It takes 11 MB. [1]", "citations": [1]}
    assert judge(row(sentences=[invented])).unsupported == ("11",)
    good = row()["citations"][0]
    assert judge(row(citations=[{**good, "start": good["start"] + 1}])).broken == ("quote 1",)
    assert judge(row(text="9 MB [1][7]")).broken == ("marker 7",)


def test_abstention_is_measured_both_ways() -> None:
    nothing = {"status": "abstained", "reason": "no", "citations": [], "sentences": []}
    due = judge(row(kind="unanswerable", papers=[], facts=[], text="no", **nothing))
    wrong = judge(row(text="no", **nothing))
    found = values(due, wrong, judge(row()))
    assert found["unanswerable", "abstained (recall)"] == 1.0
    assert found["unanswerable", "abstention precision"] == 0.5
    assert found["answerable", "declined"] == 0.5
