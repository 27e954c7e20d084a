"""A verdict follows from citations, facts and status, and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assistant.quality.evaluation import Verdict, facts_of, judge
from assistant.quality.measures import measure, measures_table
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


QUALITY = Path(__file__).resolve().parent.parent / "quality"


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


@pytest.mark.parametrize(
    ("text", "variant", "is_met"),
    [
        ("It takes 9\u00a0MB.", "9 mb", True),
        ("An eﬃcient state.", "efficient", True),
        ("It is 4", " 4 ", True),
        ("It is 14", " 4 ", False),
        ("Four[1], or so", "four,", True),
        ("There are some. [12]", "12", False),
        ("There are some. [12]", "", False),
    ],
)
def test_a_fact_is_found_as_a_reader_would(text: str, variant: str, is_met: bool) -> None:
    citations = [{**row()["citations"][0], "number": 12}]
    met = judge(row(text=text, facts=[[variant, "nowhere"]], citations=citations)).facts_met
    assert met == (is_met,)


def test_in_the_cell_of_a_table_blanks_separate_and_in_a_list_they_count() -> None:
    assert facts_of({"facts": "a | b ; c", "expected": " d"}) == [["a", "b"], ["c"], [" d"]]
    assert facts_of({"facts": [[" 4 ", "four"], "five"], "expected": ""}) == [
        [" 4 ", "four"],
        ["five"],
    ]


def test_facts_count_by_the_word_within_which_the_last_of_them_stands() -> None:
    text = "word " * 23 + "– 9 MB [1] " + "word " * 13 + "ten pages"
    both = judge(row(text=text, facts=[["9 MB"], ["ten"]]))
    assert both.right
    assert [both.facts_within(words) for words in (24, 38, 39, 100)] == [False, False, True, True]
    found = values(both, judge(row(text=text)))
    assert found["single", "all facts within the first 25 words"] == 0.5
    assert found["single", "all facts within the first 40 words"] == 1.0


def test_facts_and_wrong_strings_count_only_in_what_is_shown_as_fact() -> None:
    changes: dict[str, Any] = {"text": "It takes 9 MB per page.", "wrong": ["per PAGE", "11 MB"]}
    shown = judge(row(**changes))
    assert shown.wrong_shown == ("per PAGE",)
    assert shown.right  # a measure of its own
    declined = judge(row(status="abstained", reason="unsure", **changes))
    assert declined.wrong_shown == ()
    assert declined.facts_met == (False,)
    found = values(shown, declined)
    assert found["single", "wrong shown as fact"] == found["all", "wrong shown as fact"] == 0.5
    assert found["single", "declined"] == 0.5
    assert judge(row(wrong="9 MB; nothing")).wrong_shown == ("9 MB",)


def test_a_paper_that_may_be_cited_is_no_stray_and_not_missed_either() -> None:
    noise = {**row()["citations"][0], "paper_id": FINCH.id, "title": FINCH.title}
    both = [row()["citations"][0], noise]
    for also in ([FINCH.title], [FINCH.id], FINCH.id):
        assert judge(row(citations=both, also=also)).right
        assert judge(row(also=also)).right
    found = values(judge(row(citations=both, also=[FINCH.title])))
    assert found["single", "citation precision"] == found["single", "citation recall"] == 1.0
    assert judge(row(citations=both)).problems == (f"cites: {FINCH.title}",)


def test_direct_answers_are_measured_where_answers_have_them() -> None:
    assert ("all", "direct answer present, of answered") not in values(judge(row()))
    rows = [
        row(short="A state takes 9 MB. [1]"),
        row(short="The abstract says that we need 9 MB. [1]"),
        row(short=None),
        row(short=None, status="abstained", reason="unsure"),
    ]
    found = values(*map(judge, rows))
    assert found["single", "direct answer present, of answered"] == 2 / 3
    assert found["all", "words of a direct answer, median"] == 6.5
    assert found["all", "direct answer speaks of 'we' or 'the abstract'"] == 0.5


def test_sentences_are_the_models_own_or_became_quotations() -> None:
    own = {"text": "We find that it takes 9 MB. [1]", "citations": [1], "verbatim": False}
    quotation = {"text": f"“{QUOTE} In our paper.” [1]", "citations": [1], "verbatim": True}
    found = values(
        judge(row(sentences=[own, quotation, quotation])), judge(row(sentences=[quotation]))
    )
    assert found["single", "sentences in the model's own words"] == 0.25
    assert found["all", "sentences that became a quotation"] == 0.75
    assert found["all", "own words speak of 'we' or 'the abstract'"] == 0.5


def test_times_are_divided_by_those_of_the_plain_pipeline_on_the_same_questions() -> None:
    def timed(number: int, first: float, sentence: float | None, done: float) -> Verdict:
        timings = {
            "retrieved_seconds": 0.1,
            "first_text_seconds": first,
            "first_sentence_seconds": sentence,
            "total_seconds": done,
        }
        return judge(row(id=str(number), timings=timings))

    ours = [timed(1, 1.0, 2.0, 4.0), timed(2, 1.0, 3.0, 4.0), timed(3, 90.0, 90.0, 90.0)]
    cold = judge(row(id="4", tokens={"papers_read": 2}))
    plain = [timed(1, 10.0, None, 2.0), timed(2, 10.0, None, 2.0), timed(4, 1.0, None, 1.0)]
    table = {
        name: values for _, name, values in measures_table({"ours": [*ours, cold], "plain": plain})
    }
    assert str(table["first text shown, median, of plain"][0]) == "1/10.0 of plain"
    assert str(table["first verified sentence, median, of plain"][0]) == "1/4.0 of plain"
    assert str(table["whole answer, median, of plain"][0]) == "2.00 of plain"
    assert table["whole answer, median, of plain"][1] is None


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


@pytest.mark.parametrize("path", sorted(QUALITY.glob("questions/*.jsonl")), ids=lambda p: p.stem)
def test_the_reference_answers_of_the_question_files_count_as_right(path: Path) -> None:
    columns = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(columns) == len({each["id"] for each in columns}) == 90
    for each in columns:
        answerable = bool(each["papers"])
        verdict = judge(
            {
                **row(),
                "wrong": None,
                **each,
                "text": each["answer"],
                "status": "answered" if answerable else "abstained",
                "citations": [
                    {
                        "number": 1,
                        "paper_id": title,
                        "title": title,
                        "start": 0,
                        "end": 0,
                        "quote": "",
                    }
                    for title in each["papers"]
                ],
            }
        )
        assert verdict.answerable is answerable
        assert (verdict.problems, verdict.wrong_shown) == ((), ()), each["id"]
