"""Promises of what is taken along: complete, escaped, and readable by the programs it is for."""

from __future__ import annotations

import re

import pytest
from hypothesis import given

from assistant.streaming.turn import Turn
from assistant.ui.export import FORMATS, cited_papers, exported
from assistant.ui.references import citation_keys, references
from tests.assistant.test_page import Reader, last_turn, turns
from tests.fakes import (
    HOSTILE,
    PAPERS,
    abstained_story,
    answered_story,
    failing_story,
    followed_up_story,
    hostile_story,
)
from vectorstore import Paper, read_papers


@pytest.mark.parametrize("form", FORMATS)
def test_an_answer_is_taken_along_whole(form: str) -> None:
    turn = last_turn(answered_story(), "How fast is it?")
    name, content, _ = exported("How fast is it?", [turn], form)
    assert name.startswith("How fast is it.")
    for paper in PAPERS[:2]:
        assert paper.title in content
    assert PAPERS[2].title not in content
    if form in ("markdown", "html", "latex"):
        assert "answers in 5.7 seconds instead of 38" in content
        assert "[1] [1]" not in content


def body_of(page: str) -> Reader:
    return Reader(page.partition("<body>")[2].partition("</body>")[0])


@given(turns())
def test_nothing_of_a_web_page_is_foreign_markup(turn: Turn) -> None:
    read = body_of(exported("<script>", [turn], "html").content)
    assert {tag for tag, _ in read.tags} <= {
        "a", "blockquote", "em", "h1", "h2", "li", "ol", "p", "q",
    }  # fmt: skip
    for _, attributes in read.tags:
        assert set(attributes) <= {"href", "id", "rel"}
        assert re.match(r"(https?://|#paper-\d+$)", attributes.get("href") or "#paper-1")


def test_a_hostile_record_stays_text() -> None:
    turn = last_turn(hostile_story())
    page = exported("t", [turn], "html").content
    assert "<script>window" not in page
    assert HOSTILE.title in body_of(page).text()
    told = exported("t", [turn], "markdown").content
    assert not re.search(r"(?<!\\)<(?!https?://)", told)
    assert "\\input" not in exported("\\input{secret}", [turn], "latex").content


def test_an_abstention_and_a_follow_up_are_taken_along_and_a_failure_is_not() -> None:
    abstained = last_turn(abstained_story(), "What do swans eat?")
    followed = last_turn(followed_up_story(), "And how large are they?")
    told = exported("t", [abstained, followed], "markdown").content
    assert "The papers do not say" in told
    assert "How large are the states that Larch keeps?" in told
    failed = Turn(1, "broken?", 68, outcome="failed", message=str(failing_story()[1]))
    assert "broken" not in exported("t", [failed], "markdown").content


def test_a_document_cites_by_the_keys_of_its_references() -> None:
    told = exported("t", [last_turn(answered_story())], "latex").content
    cited = {key for keys in re.findall(r"\\cite\{([^}]*)\}", told) for key in keys.split(",")}
    assert cited == set(citation_keys(PAPERS[:2]).values())
    assert cited == set(re.findall(r"^@\w+\{([^,]+),", told, re.MULTILINE))


def test_csl_json_is_read_as_papers_again(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "r.json"
    path.write_text(references(PAPERS, "csl-json"), encoding="utf-8")
    read = [each for each in read_papers([path]) if isinstance(each, Paper)]
    assert [(p.id, p.title, p.authors, p.year) for p in read] == [
        (p.id, p.title, p.authors, p.year) for p in PAPERS
    ]


def test_cited_papers_are_named_once_in_order() -> None:
    turn = last_turn(answered_story())
    assert cited_papers([turn, turn]) == PAPERS[:2]
